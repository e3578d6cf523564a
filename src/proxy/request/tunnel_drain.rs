//! Draining of WebSockets, other tunnels and streams of a pool: they end one by one, not all in one
//! instant.
//!
//! A client that is cut off reconnects at once, so the ends are spread over the time that is left.

use crate::core::class::Class;
use crate::proxy::downstream::close_signal::CloseSignal;
use crate::proxy::downstream::timeout_stream::TimeoutStream;
use crate::proxy::request::context::RequestContext;
use crate::proxy::request::exchange::Exchange;
use pingora::proxy::Session;
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long a stream that is to end waits for its next message, which ends it in order.
const NEXT_MESSAGE: Duration = Duration::from_millis(500);

/// An open tunnel or stream that is watched, and ended when its pool is drained; dropping this ends
/// the watch.
#[derive(Debug)]
pub struct Tunnel {
    waiting: AbortHandle,
    let_go: Arc<AtomicBool>,
}

/// The client's side of a tunnel or a stream.
#[derive(Debug)]
pub enum User {
    /// An HTTP/1 connection of its own.
    Connection(CloseSignal),
    /// An HTTP/2 stream beside others.
    Stream(CloseSignal),
}

impl User {
    /// The client's side of a request.
    pub fn of(session: &Session, exchange: Option<&Exchange>) -> Option<User> {
        match TimeoutStream::of(session) {
            Some(stream) => Some(User::Connection(stream.cut())),
            None => exchange.map(|exchange| User::Stream(exchange.cut())),
        }
    }

    async fn end(self) {
        match self {
            User::Connection(cut) => cut.tell(),
            User::Stream(cut) => {
                tokio::time::sleep(NEXT_MESSAGE).await;
                cut.tell();
            }
        }
    }
}

impl Tunnel {
    /// Watches over a tunnel or a stream; `leaving` says within which time it must end, `closed`
    /// counts when it does.
    ///
    /// Before `since` it is not known to be a stream, and is left alone.
    pub fn open(
        user: User,
        since: Option<Instant>,
        mut leaving: watch::Receiver<Option<Duration>>,
        closed: Option<IntCounter>,
    ) -> Tunnel {
        let let_go = Arc::new(AtomicBool::new(false));
        let told = let_go.clone();
        let waiting = tokio::spawn(async move {
            loop {
                let Ok(within) = leaving
                    .wait_for(Option::is_some)
                    .await
                    .map(|within| *within)
                else {
                    return;
                };
                let share = rand::random_range(0.0..1.0);
                let wait = within.unwrap_or_default().mul_f64(share);
                let left_alone = since.map(|since| since.saturating_duration_since(Instant::now()));
                let wait = wait.max(left_alone.unwrap_or_default());
                tokio::select! {
                    () = tokio::time::sleep(wait) => break,
                    stays = leaving.wait_for(Option::is_none) => if stays.is_err() { return },
                }
            }
            closed.iter().for_each(IntCounter::inc);
            told.store(true, Relaxed);
            user.end().await;
        });
        Tunnel {
            waiting: waiting.abort_handle(),
            let_go,
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

impl RequestContext {
    /// The upgrade was accepted: what is judged is over, the tunnel is only in flight.
    ///
    /// On a client's connection of its own, it ends when its backend is drained.
    pub fn upgraded(&mut self, user: Option<User>) {
        self.end(101, Class::Ok);
        self.upgraded = true;
        let (Some(service), Some(member), Some(spot)) =
            (self.service(), self.member(), self.spot())
        else {
            return;
        };
        let metrics = service.metrics(spot.color);
        metrics.upgraded.inc();
        let closed = metrics.upgraded_closed.clone();
        let leaving = member.state.leaving();
        self.tunnel = user.map(|user| Tunnel::open(user, None, leaving, Some(closed)));
    }

    /// The answer is a stream, from `since` on at the latest; it ends when its backend is drained.
    pub fn streams(&mut self, user: Option<User>, since: Option<Instant>) {
        let (Some(member), Some(user)) = (self.member(), user) else {
            return;
        };
        let leaving = member.state.leaving();
        self.tunnel = Some(Tunnel::open(user, since, leaving, None));
    }

    /// Whether the request is to end because the version that serves it is drained.
    pub fn is_let_go(&self) -> bool {
        self.tunnel
            .as_ref()
            .is_some_and(|tunnel| tunnel.let_go.load(Relaxed))
    }
}
