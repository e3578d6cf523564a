//! First failures that came at once, counted at the pace at which harm goes on.

use crate::core::sequential::{Block, ln_sum};
use serde::{Deserialize, Serialize};

/// Number of past seconds that are considered.
const WINDOW: usize = 10;

/// Seconds with harm in the window from which harm counts as lasting: a pause of three seconds touches at most four.
const GOES_ON: usize = 5;

/// Evidence in nats that a second adds to the budget, where harm goes on.
const RATE: f64 = 1.0;

/// The evidence of first failures without any guard, and the budget that limits it.
///
/// The product of likelihood ratios, averaged over the six alternatives, is a nonnegative supermartingale under "green is not
/// worse" (see [`super::users`]). What counts is the smaller of it and a budget. A process that is never above such a
/// supermartingale reaches `1 / alpha` with a chance of at most `alpha` (Ville 1939), whatever the budget goes by: so it
/// may go by later requests of users that have failed already, which is no evidence itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lasting {
    /// Natural logarithm of the wealth on each alternative, in nats.
    ln_raw: [f64; 6],
    /// The budget: natural logarithm of the evidence that may count, in nats.
    budget: f64,
    /// Whether there was harm in each of the last seconds.
    recent: [bool; WINDOW],
    seconds: usize,
}

impl Default for Lasting {
    fn default() -> Lasting {
        Lasting {
            ln_raw: [-6f64.ln(); 6],
            budget: 0.0,
            recent: [false; WINDOW],
            seconds: 0,
        }
    }
}

impl Lasting {
    /// Takes a second: its log likelihood ratios, and the requests of both pools, one for each user.
    ///
    /// The second has harm when green failed some of them, and at least twice as large a part as blue.
    pub(super) fn second(&mut self, raw: &[f64; 6], requests: &Block) {
        for (ln_raw, more) in self.ln_raw.iter_mut().zip(raw) {
            *ln_raw += more;
        }
        let (green, blue) = (
            requests.green_bad * requests.blue,
            requests.blue_bad * requests.green,
        );
        let harm = requests.green_bad > 0 && green >= 2 * blue;
        self.recent[self.seconds % WINDOW] = harm;
        self.seconds += 1;
        let bad = self.recent.iter().filter(|harm| **harm).count();
        if harm && bad >= GOES_ON {
            self.budget += RATE;
        }
    }

    /// The evidence so far, as a natural logarithm, in nats.
    pub(super) fn ln_e(&self) -> f64 {
        ln_sum(&self.ln_raw).min(self.budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(seconds: usize, harmful: impl Fn(usize) -> bool, raw: f64) -> Lasting {
        let mut lasting = Lasting::default();
        for second in 0..seconds {
            let requests = Block {
                seconds: 1,
                blue: 20,
                blue_bad: 0,
                green: 20,
                green_bad: 4 * u64::from(harmful(second)),
            };
            let increments = if second == 0 { [raw; 6] } else { [0.0; 6] };
            lasting.second(&increments, &requests);
        }
        lasting
    }

    #[test]
    fn what_counts_is_never_more_than_the_evidence_or_the_budget() {
        assert_eq!(fed(4, |_| true, 20.0).ln_e(), 0.0, "a pause");
        assert_eq!(
            fed(60, |at| at < 4, 20.0).ln_e(),
            0.0,
            "a pause, and good seconds"
        );
        assert_eq!(
            fed(9, |_| true, 20.0).ln_e(),
            5.0,
            "a nat a second from the fifth on"
        );
        assert!(
            (fed(60, |_| true, 3.0).ln_e() - 3.0).abs() < 1e-12,
            "no more than it is worth"
        );
        assert!((fed(60, |_| true, -2.0).ln_e() + 2.0).abs() < 1e-12);
        assert_eq!(
            fed(600, |at| at % 30 < 4, 20.0).ln_e(),
            0.0,
            "pauses apart from each other"
        );
        assert!(
            fed(60, |at| at % 2 == 0, 20.0).ln_e() > 15.0,
            "every other second"
        );
    }
}
