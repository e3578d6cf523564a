//! The minimum rate of a request's body: a client that lets it drip in holds a connection and a
//! backend for ever.
//!
//! Only waiting counts, so a client is not charged for a backend that takes nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bytes that earn one second of waiting.
const BYTES_A_SECOND: u32 = 1_024;

/// The most waiting time that a body can have earned, as a multiple of its grace: a client that was
/// fast at first may stall for that long.
const SAVED: u32 = 6;

/// How long one request body may still be waited for.
#[derive(Debug)]
pub struct MinBodyRate {
    left: Duration,
    most: Duration,
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl MinBodyRate {
    /// A body that may keep us waiting for `grace`, and for one second more for each KiB that
    /// comes.
    pub fn new(grace: Duration) -> MinBodyRate {
        MinBodyRate {
            left: grace,
            most: SAVED * grace,
            waiting: None,
            timer: None,
        }
    }

    /// Counts bytes that came: the wait for them is over.
    pub fn came(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.waiting.take() {
            self.left = self.left.saturating_sub(now - since);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1) * bytes / BYTES_A_SECOND;
        self.left = (self.left + earned).min(self.most);
    }

    /// Nothing has come yet; the deadline for the next bytes.
    fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting.get_or_insert(now) + self.left
    }

    /// Nothing has come yet; ready when the deadline has passed.
    pub fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.wait(Instant::now());
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Waits of `wait` seconds, each ended by `bytes` bytes; the index of the wait at which the
    /// body is given up.
    fn given_up(wait: u32, bytes: usize, times: u32) -> Option<u32> {
        let mut now = Instant::now();
        let mut pace = MinBodyRate::new(10 * SECOND);
        (0..times).find(|_| {
            let late = pace.wait(now) <= now + wait * SECOND;
            now += wait * SECOND;
            pace.came(bytes, now);
            late
        })
    }

    #[test]
    fn all_waits_of_a_body_count_and_each_kib_earns_a_second() {
        assert_eq!(given_up(3, 8, 100), Some(3), "9 s of 10, and then 12");
        assert_eq!(given_up(4, 4_096, 100), None, "a slow line that goes on");
        assert_eq!(given_up(11, 1 << 20, 100), Some(0));
    }

    #[test]
    fn who_was_quick_may_not_stall_for_ever() {
        let mut pace = MinBodyRate::new(10 * SECOND);
        let now = Instant::now();
        pace.came(1 << 30, now);
        assert_eq!(pace.wait(now), now + 60 * SECOND);
    }

    #[test]
    fn who_is_not_waited_for_is_not_charged() {
        let mut pace = MinBodyRate::new(10 * SECOND);
        let now = Instant::now();
        pace.came(1_024, now);
        let later = now + 3_600 * SECOND;
        assert_eq!(pace.wait(later), later + 11 * SECOND);
    }
}
