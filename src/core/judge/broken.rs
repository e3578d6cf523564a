//! Gross failure of blue itself: then "not worse than blue" is no praise.
//!
//! The comparison with blue asks whether green is worse. Beside a blue that fails every third request it finds nothing
//! wrong with a green that does too, and silence at a deadline would promote it. So while blue's failure rate in a share
//! is at or above [`Policy::gross_failures`](crate::core::judge::Policy::gross_failures), what is not proven is [`Verdict::BlueFails`]: no policy promotes on it. It
//! convicts nothing, so no chance of a false rollback is spent on it, and a proven pass stays one: a green that is shown to
//! be within the margin of blue, or to be better, takes over as before.

use super::words::counted;
use super::{Judge, Verdict};
use crate::core::sequential::Block;

/// Requests of blue in a share below which its failure rate is not reported.
const REQUESTS_MIN: u64 = 20;

/// Whether `bad` of `requests` is a gross part.
fn gross(bad: u64, requests: u64, limit: f64) -> bool {
    bad > 0 && bad as f64 >= limit * requests as f64
}

impl Judge {
    /// The verdict on a share without proof in which blue fails grossly.
    pub(super) fn blue_fails(&self) -> Option<Verdict> {
        let Block {
            blue,
            blue_bad,
            green,
            green_bad,
            ..
        } = self.step;
        let limit = self.policy.gross_failures;
        if blue < REQUESTS_MIN || !gross(blue_bad, blue, limit) {
            return None;
        }
        let green_too = gross(green_bad, green, limit);
        let (of_blue, of_green) = (counted(blue_bad, blue), counted(green_bad, green));
        let reason = format!(
            "blue itself fails {} of its requests in this share ({}), green {} ({}): {}",
            of_blue.0,
            of_blue.1,
            of_green.0,
            of_green.1,
            match green_too {
                true => "not to be worse than that is no reason to promote it",
                false =>
                    "silence is no reason to promote it, nor to take it away; `shifter promote` and `shifter rollback` decide",
            }
        );
        Some(Verdict::BlueFails {
            reason,
            green_too,
            step_requests: green,
            total_requests: self.total_requests,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::tests::pool;
    use crate::core::judge::{Control, Policy};
    use crate::core::stats::{Baseline, Tick};

    fn judged(policy: Policy, seconds: u64, blue: (u64, u64), green: (u64, u64)) -> Judge {
        let mut judge = Judge::new(policy);
        let (blue, green) = (pool(blue.0, blue.1), pool(green.0, green.1));
        for _ in 0..seconds {
            judge.tick(&Tick { blue, green });
        }
        judge
    }

    /// `None` where blue's failures are not reported, else whether green fails too.
    fn broken(seconds: u64, blue: (u64, u64), green: (u64, u64)) -> Option<bool> {
        match judged(Policy::default(), seconds, blue, green).verdict() {
            Verdict::BlueFails { green_too, .. } => Some(green_too),
            _ => None,
        }
    }

    #[test]
    fn a_blue_that_fails_grossly_is_no_measure() {
        let table = [
            ("blue is sound", 5, (20, 0), (5, 0), None),
            (
                "one in a hundred is no gross failure",
                5,
                (100, 1),
                (5, 0),
                None,
            ),
            ("one in eleven neither", 2, (11, 1), (1, 0), None),
            ("one in ten is", 2, (10, 1), (1, 0), Some(false)),
            ("nineteen requests say nothing", 1, (19, 19), (1, 0), None),
            ("twenty do", 1, (20, 20), (1, 0), Some(false)),
            ("both fail alike", 10, (10, 3), (10, 3), Some(true)),
            ("all is lost", 10, (10, 10), (10, 10), Some(true)),
            ("green does better", 4, (10, 5), (10, 0), Some(false)),
            ("green had no request", 4, (10, 5), (0, 0), Some(false)),
        ];
        for (what, seconds, blue, green, expected) in table {
            assert_eq!(broken(seconds, blue, green), expected, "{what}");
        }
    }

    #[test]
    fn what_is_proven_stays_proven() {
        let judge = judged(Policy::default(), 60, (10, 3), (10, 9));
        assert!(matches!(judge.verdict(), Verdict::Fail { .. }));
        let errors_alone = Policy {
            weights: [1.0, 0.0, 0.0, 0.0],
            ..Policy::default()
        };
        let judge = judged(errors_alone, 600, (10, 5), (10, 0));
        assert_eq!(judge.verdict(), Verdict::Pass, "a green that mends it");
    }

    #[test]
    fn a_green_that_leans_worse_than_a_bad_blue_is_said_to() {
        let judge = judged(Policy::default(), 4, (20, 3), (20, 12));
        assert!(judge.verdict().leans_worse(), "{:?}", judge.verdict());
    }

    #[test]
    fn where_green_serves_alone_blue_is_not_spoken_of() {
        let mut judge = judged(Policy::default(), 4, (20, 10), (20, 10));
        let past = Baseline {
            failure_rate: 0.5,
            limits: None,
        };
        judge.start_step(true, Control::History(past));
        for _ in 0..4 {
            judge.tick(&Tick {
                blue: pool(0, 0),
                green: pool(20, 10),
            });
        }
        assert!(!matches!(judge.verdict(), Verdict::BlueFails { .. }));
    }

    #[test]
    fn a_service_whose_failures_are_usual_leaves_it_out() {
        let policy = Policy {
            gross_failures: Policy::NEVER_GROSS,
            ..Policy::default()
        };
        let judge = judged(policy, 10, (10, 10), (10, 10));
        assert!(!matches!(judge.verdict(), Verdict::BlueFails { .. }));
    }

    #[test]
    fn the_words_say_who_fails_how_much_and_what_follows() {
        let judge = judged(Policy::default(), 10, (100, 30), (10, 3));
        let verdict = judge.verdict();
        assert_eq!(
            judge.report().line(&verdict),
            "blue itself fails 30% of its requests in this share (300 of 1,000), green 30% (30 of 100): not to be worse than that is no reason to promote it"
        );
        let judge = judged(Policy::default(), 10, (100, 30), (10, 0));
        let line = judge.report().line(&judge.verdict());
        assert!(
            line.ends_with("silence is no reason to promote it, nor to take it away; `shifter promote` and `shifter rollback` decide"),
            "{line}"
        );
    }
}
