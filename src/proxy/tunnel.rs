//! WebSockets, other tunnels and event streams of a pool that is let go: they end one by one, not all in one instant.
//!
//! Whoever is cut off comes back at once, so a crowd of them is spread over the time that is left.

use crate::proxy::cut::Cut;
use prometheus::IntCounter;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// An open tunnel, which ends when it is told to; dropped, nobody waits for that any more.
#[derive(Debug)]
pub struct Tunnel {
    waiting: AbortHandle,
}

impl Tunnel {
    /// Watches over a tunnel or a stream on the user's connection; `leaving` says within which time it must end, `closed`
    /// counts when it does.
    pub fn open(
        user: Cut,
        mut leaving: watch::Receiver<Option<Duration>>,
        closed: Option<IntCounter>,
    ) -> Tunnel {
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
                tokio::select! {
                    () = tokio::time::sleep(wait) => break,
                    stays = leaving.wait_for(Option::is_none) => if stays.is_err() { return },
                }
            }
            closed.iter().for_each(IntCounter::inc);
            user.tell();
        });
        Tunnel {
            waiting: waiting.abort_handle(),
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}
