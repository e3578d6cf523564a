//! Tells a client's connection to end, without a descriptor of its own: thousands may be open for
//! hours.

use futures::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

/// A signal shared by a connection and the task that may end it.
#[derive(Clone, Debug, Default)]
pub struct CloseSignal(Arc<State>);

#[derive(Debug, Default)]
struct State {
    told: AtomicBool,
    reader: AtomicWaker,
}

impl CloseSignal {
    /// Tells the connection to end.
    pub fn tell(&self) {
        self.0.told.store(true, Ordering::Release);
        self.0.reader.wake();
    }

    /// Whether the connection is to end; registers the reader, to be woken when it is.
    pub fn told(&self, reader: &Context<'_>) -> bool {
        self.0.reader.register(reader.waker());
        self.0.told.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let cut = CloseSignal::default();
        let heard = cut.clone();
        let reading = tokio::spawn(poll_fn(move |cx| match heard.told(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }));
        tokio::task::yield_now().await;
        assert!(!reading.is_finished(), "nobody told it to end");
        cut.tell();
        reading.await.unwrap();
    }
}
