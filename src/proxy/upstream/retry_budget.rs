//! The retry budget: how often requests may be retried, so that retries never become a second load
//! on a backend in trouble.
//!
//! As in Finagle, Linkerd and Envoy: a share of the requests of the last seconds, and a few in any
//! case. Older requests count for less and less (a decaying count: after ten seconds a third of it
//! is left). Requests are counted by the metrics already, and those counts are only read when there
//! is something to retry: a request that goes well pays nothing for this.

use crate::config::RetryBudget;
use crate::core::time::Time;
use std::sync::{Mutex, PoisonError};

/// The time constant of the decay: seconds after which a past count is worth 1/e of its value.
const MEMORY: f64 = 10.0;

/// The retries that were spent lately, for one service; it outlives the entries of the table.
#[derive(Debug, Default)]
pub struct Spent(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    at: Time,
    /// Requests that had ended at `at`, since the start.
    ended: u64,
    requests: f64,
    retries: f64,
}

impl Spent {
    /// Whether one more request may be retried, which then counts.
    ///
    /// `ended` is how many requests of the service have ended since the start.
    pub fn take(&self, budget: &RetryBudget, ended: u64, now: Time) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.age(ended, now);
        let allowed = f64::from(budget.percent) / 100.0 * counts.requests
            + f64::from(budget.per_second) * MEMORY;
        let fits = counts.retries + 1.0 <= allowed;
        if fits {
            counts.retries += 1.0;
        }
        fits
    }
}

impl Counts {
    fn age(&mut self, ended: u64, now: Time) {
        let passed = now.0.saturating_sub(self.at.0) as f64 / 1_000.0 / MEMORY;
        let left = (-passed).exp();
        // Requests since then are assumed to have come evenly: they have decayed, too.
        let fresh = if passed > 0.0 {
            (1.0 - left) / passed
        } else {
            1.0
        };
        self.requests = self.requests * left + ended.saturating_sub(self.ended) as f64 * fresh;
        self.retries *= left;
        (self.ended, self.at) = (ended, now.max(self.at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIFTH: RetryBudget = RetryBudget {
        percent: 20,
        per_second: 1,
    };

    /// The retries that were allowed, when each request asks for one, at `rate` requests a second
    /// for `seconds` seconds.
    fn allowed(spent: &Spent, budget: &RetryBudget, from: u64, seconds: u64, rate: u64) -> u64 {
        let (mut count, start) = (0, from * rate);
        for n in start..start + seconds * rate {
            let now = Time(n * 1_000 / rate);
            count += u64::from(spent.take(budget, n, now));
        }
        count
    }

    #[test]
    fn a_flood_of_failures_is_tried_again_for_a_fifth_of_it() {
        let spent = Spent::default();
        let first = allowed(&spent, &FIFTH, 0, 60, 1_000);
        assert!((11_900..13_000).contains(&first), "{first}");
        let second = allowed(&spent, &FIFTH, 60, 60, 1_000);
        assert!((11_900..12_200).contains(&second), "{second}");
    }

    #[test]
    fn a_few_are_tried_again_whatever_the_traffic() {
        let spent = Spent::default();
        let burst = (0..50).filter(|_| spent.take(&FIFTH, 0, Time(5))).count();
        assert_eq!(burst, 10, "ten seconds of one a second");
        assert!(!spent.take(&FIFTH, 0, Time(100)));
        assert!(spent.take(&FIFTH, 0, Time(1_200)));
        let none = RetryBudget {
            percent: 0,
            per_second: 0,
        };
        assert!(!Spent::default().take(&none, 1_000_000, Time(5)));
    }

    #[test]
    fn traffic_of_long_ago_buys_nothing() {
        let spent = Spent::default();
        let share = RetryBudget {
            percent: 100,
            per_second: 0,
        };
        assert!(spent.take(&share, 1_000, Time(1_000)));
        assert!(!spent.take(&share, 1_000, Time(120_000)));
        // A clock that stands still or runs back counts nothing twice.
        assert!(!spent.take(&share, 1_000, Time(1)));
        assert!(spent.take(&share, 1_002, Time(120_000)));
    }
}
