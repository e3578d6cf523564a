//! How a share begins, beyond the control that green is compared with.

use super::Policy;
use crate::core::weight::Weight;
use serde::{Deserialize, Serialize};

/// How a share begins. The default is how every share began before there were terms: recordings from then have no
/// terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Green has a larger share than before and needs `latency_grace` to warm up; seconds of a ramp come on top.
    pub raised: bool,
    /// Seconds over which green's share grows to its weight.
    pub ramp_s: u64,
    /// Green's share is so small that any version would be colder in it: slowness in it never convicts.
    pub small: bool,
    /// Slowness in a small share is confirmed in an equal share.
    pub confirms: bool,
    /// Slowness of this small share was not confirmed in an equal share: it is not judged any more.
    pub cleared: bool,
    /// Green's latency is compared with a fresh copy of blue's release that has as large a share: a fair comparison,
    /// also in a small share.
    pub baseline: bool,
}

impl Policy {
    /// Whether a share of this weight is too small for a fair comparison of latency.
    ///
    /// A pool with few requests is colder: caches, idle connections and sleeping workers. From `fair_share` on
    /// both versions are about equally warm.
    pub fn is_small(&self, weight: Weight) -> bool {
        weight > Weight::NONE && weight.ratio() < self.fair_share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::{Control, Judge, Verdict};
    use crate::core::stats::{PoolCounts, Tick};

    const SMALL: Terms = Terms {
        raised: true,
        ramp_s: 0,
        small: true,
        confirms: false,
        cleared: false,
        baseline: false,
    };

    fn pool(requests: u64, slow: [u64; 3], gross: u64) -> PoolCounts {
        PoolCounts {
            requests,
            timed: requests,
            slow_fail: slow,
            slow_pass: slow,
            slow_gross: gross,
            ..PoolCounts::default()
        }
    }

    /// The first second after which the judge reports slowness; green has a twentieth of 200 requests per second.
    fn says(
        judge: &mut Judge,
        seconds: u64,
        green: PoolCounts,
        wanted: fn(&Verdict) -> bool,
    ) -> Option<u64> {
        let blue = pool(190, [95, 19, 2], 0);
        (1..=seconds).find(|_| {
            judge.tick(&Tick { blue, green });
            wanted(&judge.verdict())
        })
    }

    fn fails(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Fail { .. })
    }

    fn unconfirmed(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Unconfirmed { .. })
    }

    fn judge(terms: Terms) -> Judge {
        let mut judge = Judge::new(Policy::default());
        judge.start_share(false, Control::Concurrent, terms);
        judge
    }

    const SLOW: [u64; 3] = [10, 9, 5];

    #[test]
    fn slowness_of_a_small_share_is_to_be_confirmed_and_errors_convict() {
        let mut slow = judge(SMALL);
        let asked = says(&mut slow, 120, pool(10, SLOW, 0), unconfirmed);
        assert!(asked.is_some_and(|at| (31..60).contains(&at)), "{asked:?}");
        assert_eq!(says(&mut slow, 600, pool(10, SLOW, 0), fails), None);
        assert!(slow.ln_e() < 1.0 && slow.ln_small() > slow.policy().ln_limit());
        let bad = PoolCounts {
            failed: 5,
            ..pool(10, [5, 1, 0], 0)
        };
        assert!(says(&mut judge(SMALL), 60, bad, fails).is_some());
        let old = Policy {
            fair_share: 0.0,
            ..Policy::default()
        };
        assert!(!old.is_small(Weight::percent(1).unwrap()));
        assert!(Policy::default().is_small(Weight::percent(49).unwrap()));
        assert!(!Policy::default().is_small(Weight::percent(50).unwrap()));
    }

    #[test]
    fn an_equal_share_convicts_a_slow_green_and_clears_one_that_was_cold() {
        let equal = Terms {
            raised: true,
            confirms: true,
            ..Terms::default()
        };
        let mut slow = judge(SMALL);
        says(&mut slow, 120, pool(10, SLOW, 0), unconfirmed);
        slow.start_share(false, Control::Concurrent, equal);
        let found = says(&mut slow, 120, pool(190, [171, 95, 40], 0), fails);
        assert!(
            found.is_some_and(|at| at > 30),
            "not before its grace: {found:?}"
        );

        let mut cold = judge(SMALL);
        says(&mut cold, 120, pool(10, SLOW, 0), unconfirmed);
        cold.start_share(false, Control::Concurrent, equal);
        assert_eq!(says(&mut cold, 120, pool(190, [95, 19, 2], 0), fails), None);
        let cleared = Terms {
            raised: false,
            cleared: true,
            ..SMALL
        };
        cold.start_share(false, Control::Concurrent, cleared);
        assert_eq!(says(&mut cold, 300, pool(10, SLOW, 0), unconfirmed), None);
        let passes = |verdict: &Verdict| *verdict == Verdict::Pass;
        assert!(
            says(&mut cold, 600, pool(10, SLOW, 0), passes).is_some(),
            "errors decide alone"
        );
    }

    /// Green in a twentieth is cold, and so is a baseline; blue's failures are those of its pool and of the baseline.
    #[test]
    fn beside_a_baseline_a_small_share_convicts_and_a_cold_green_is_not_slower() {
        let terms = Terms {
            small: false,
            baseline: true,
            ..SMALL
        };
        let sides = |judge: &mut Judge, green: PoolCounts| {
            let cold = PoolCounts {
                requests: 190,
                ..pool(10, [9, 6, 3], 0)
            };
            let mut seconds = 1..=120;
            seconds.find(|_| {
                judge.tick(&Tick { blue: cold, green });
                fails(&judge.verdict())
            })
        };
        assert_eq!(sides(&mut judge(terms), pool(10, [9, 6, 3], 0)), None);
        let mut slow = judge(terms);
        let found = sides(&mut slow, pool(10, [10, 10, 10], 0));
        assert!(
            found.is_some_and(|at| at > 30),
            "not before its grace: {found:?}"
        );
        let words = slow.report().failure();
        assert!(words.contains("against the baseline"), "{words}");
        let bad = PoolCounts {
            failed: 5,
            ..pool(10, [9, 6, 3], 0)
        };
        let mut fails = judge(terms);
        assert!(sides(&mut fails, bad).is_some());
        let words = fails.report().failure();
        assert!(
            words.contains("against blue"),
            "failures are held against all of blue: {words}"
        );
    }

    #[test]
    fn latency_waits_in_each_raised_share_and_gross_slowness_does_not() {
        let raised = Terms {
            raised: true,
            ..Terms::default()
        };
        for (terms, from) in [
            (raised, 31),
            (
                Terms {
                    ramp_s: 20,
                    ..raised
                },
                51,
            ),
            (Terms::default(), 1),
        ] {
            let mut judge = judge(raised);
            says(&mut judge, 100, pool(10, [5, 1, 0], 0), fails);
            judge.start_share(true, Control::Concurrent, terms);
            let found = says(&mut judge, 300, pool(10, [10, 10, 10], 0), fails);
            assert!(found.is_some_and(|at| at >= from), "{terms:?}: {found:?}");
            assert!(
                found.is_some_and(|at| at <= from + 25),
                "{terms:?}: {found:?}"
            );
        }
        let mut hangs = judge(raised);
        assert_eq!(
            says(&mut hangs, 29, pool(10, [10; 3], 10), fails),
            None,
            "a cold start"
        );
        let mut hangs = judge(raised);
        says(&mut hangs, 60, pool(10, [5, 1, 0], 0), fails);
        hangs.start_share(true, Control::Concurrent, raised);
        let found = says(&mut hangs, 30, pool(10, [10; 3], 10), fails);
        assert!(found.is_some(), "ten times blue's median counts at once");
        let words = hangs.report().failure();
        assert!(
            words.contains("above ten times blue's median (10 of 10)")
                || words.contains("above ten times blue's median"),
            "{words}"
        );
    }
}
