//! Requests of our own to both versions, for a service whose users are too few; counted and judged apart from theirs.
//!
//! They ask both versions the same at the same time, so they are a comparison also where green has all users.
//! What they cannot say is how green does on other paths: there users decide alone.

use crate::core::judge::words::grouped;
use crate::core::judge::{Control, Judge, Metric, Policy, Slo, Verdict};
use crate::core::stats::{History, Limits, Stats, Tick};

/// The policies of the judge of users' requests and of that of probes.
///
/// Each has half of the chance of a false rollback, so that both together keep it (Boole's inequality). Caps and absolute
/// limits are about users; and a few probes a second say nothing of the slowest hundredth.
pub fn apart(policy: &Policy) -> (Policy, Policy) {
    let users = Policy {
        alpha: policy.alpha / 2.0,
        ..policy.clone()
    };
    let probes = Policy {
        weights: [0.5, 0.25, 0.25, 0.0],
        max_excess_failures: None,
        slo: Slo::default(),
        ..users.clone()
    };
    (users, probes)
}

/// What the probes of one rollout have shown.
#[derive(Clone, Debug)]
pub struct Probes {
    judge: Judge,
    /// Blue's answers of the last minutes, from which latency limits are frozen.
    past: History,
    limits: Option<Limits>,
    verdict: Verdict,
}

impl Probes {
    /// Nothing asked yet.
    pub fn new(policy: Policy) -> Probes {
        Probes {
            judge: Judge::new(policy),
            past: History::default(),
            limits: None,
            verdict: Verdict::NoData,
        }
    }

    /// Another share begins; `last` when green's promotion follows.
    pub fn start_step(&mut self, last: bool) {
        self.judge.start_step(last, Control::Concurrent);
        self.limits = None;
        self.verdict = Verdict::NoData;
        self.freeze();
    }

    /// What latency is held against in this share.
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// Takes seconds of counts, with blue's span of them; true when there are limits from now on.
    pub fn take(&mut self, ticks: &[Tick], blue: &Stats) -> bool {
        for tick in ticks {
            self.judge.tick(tick);
        }
        self.verdict = self.judge.verdict();
        self.past.push(blue);
        self.limits.is_none() && self.freeze()
    }

    fn freeze(&mut self) -> bool {
        let (fail, pass) = self.judge.margins();
        self.limits = Limits::freeze(&self.past.total().latency, fail, pass);
        self.judge.set_limits(self.limits);
        self.limits.is_some()
    }

    /// What the verdict on users' requests comes to beside what the probes say.
    ///
    /// Bad probes end it. Good ones stand in for users who say too little, and never for users who lean worse; probes
    /// that lean worse hold it up.
    pub fn weigh(&self, users: Verdict) -> Verdict {
        match (&self.verdict, users) {
            (_, users @ (Verdict::Fail { .. } | Verdict::Suspect { .. })) => users,
            (Verdict::Fail { reason }, _) => Verdict::Fail {
                reason: format!("probes: {reason}"),
            },
            (
                Verdict::Inconclusive {
                    leaning_worse: true,
                    step_requests,
                    total_requests,
                },
                Verdict::Pass | Verdict::NoData,
            ) => Verdict::Inconclusive {
                leaning_worse: true,
                step_requests: *step_requests,
                total_requests: *total_requests,
            },
            (
                Verdict::Inconclusive {
                    leaning_worse: true,
                    ..
                },
                Verdict::Inconclusive {
                    step_requests,
                    total_requests,
                    ..
                },
            ) => Verdict::Inconclusive {
                leaning_worse: true,
                step_requests,
                total_requests,
            },
            (
                Verdict::Pass,
                Verdict::NoData
                | Verdict::Inconclusive {
                    leaning_worse: false,
                    ..
                },
            ) => Verdict::Pass,
            (_, users) => users,
        }
    }

    /// One line on what they have shown.
    pub fn line(&self) -> String {
        let report = self.judge.report();
        let asked = report
            .finding(Metric::Err)
            .map_or(0, |finding| finding.green_requests);
        format!(
            "probes, {} to each version: {}",
            grouped(asked),
            report.line(&self.verdict)
        )
    }

    /// The same where they, and not users, make the verdict; `None` where users do, or its reason says so already.
    pub fn line_on(&self, users: &Verdict, weighed: &Verdict) -> Option<String> {
        let theirs =
            !matches!(weighed, Verdict::Fail { .. }) && self.weigh(users.clone()) != *users;
        theirs.then(|| self.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stats::PoolTick;
    use proptest::prelude::*;

    fn pool(requests: u64, failed: u64) -> PoolTick {
        PoolTick {
            requests,
            failed,
            timed: requests - failed,
            ..PoolTick::default()
        }
    }

    const PER_SECOND: u64 = 5;

    /// One second of probes of two equal versions, of which green fails some.
    fn second(probes: &mut Probes, at: u64, green_failed: u64) {
        let mut blue = Stats {
            requests: PER_SECOND,
            ..Stats::default()
        };
        for _ in 0..PER_SECOND {
            blue.latency.record(1_000);
        }
        let mut tick = Tick {
            blue: pool(PER_SECOND, 0),
            green: pool(PER_SECOND, green_failed),
        };
        if probes.limits().is_some() {
            let of = |every: u64| u64::from(at.is_multiple_of(every));
            let slow = [2 + of(2), of(2), of(20)];
            (tick.blue.slow_fail, tick.blue.slow_pass) = (slow, slow);
        }
        probes.take(&[tick], &blue);
    }

    fn probed(seconds: u64, green_failed: u64) -> Probes {
        let mut probes = Probes::new(apart(&Policy::default()).1);
        probes.start_step(false);
        for at in 0..seconds {
            second(&mut probes, at, green_failed);
        }
        probes
    }

    fn undecided(leaning_worse: bool) -> Verdict {
        Verdict::Inconclusive {
            leaning_worse,
            step_requests: 7,
            total_requests: 9,
        }
    }

    #[test]
    fn both_judges_together_keep_the_chance_of_a_false_rollback() {
        let whole = Policy {
            max_excess_failures: Some(5),
            ..Policy::default()
        };
        let (users, probes) = apart(&whole);
        assert!((users.alpha + probes.alpha - whole.alpha).abs() < 1e-15);
        assert_eq!(users.max_excess_failures, Some(5));
        assert_eq!(probes.max_excess_failures, None);
    }

    #[test]
    fn good_probes_stand_in_for_users_who_say_too_little() {
        let probes = probed(600, 0);
        assert_eq!(probes.verdict, Verdict::Pass, "{}", probes.line());
        assert!(probes.limits().is_some());
        for users in [Verdict::NoData, undecided(false), Verdict::Pass] {
            assert_eq!(probes.weigh(users), Verdict::Pass);
        }
        assert_eq!(probes.weigh(undecided(true)), undecided(true));
        let line = probes.line_on(&Verdict::NoData, &Verdict::Pass);
        let line = line.unwrap_or_default();
        assert!(
            line.starts_with("probes, 3,000 to each version: green is as good as blue: 3 of 4"),
            "{line}"
        );
        assert_eq!(probes.line_on(&Verdict::Pass, &Verdict::Pass), None);
    }

    #[test]
    fn bad_probes_end_it_whatever_users_say() {
        let probes = probed(60, 2);
        for users in [Verdict::NoData, undecided(false), Verdict::Pass] {
            let Verdict::Fail { reason } = probes.weigh(users) else {
                panic!("{}", probes.line());
            };
            assert!(reason.starts_with("probes: green 40% errors"), "{reason}");
        }
    }

    /// Without that the default rate would be of no use.
    #[test]
    fn a_share_passes_within_minutes_at_the_default_rate() {
        let mut probes = Probes::new(apart(&Policy::default()).1);
        let mut took = |last: bool| {
            probes.start_step(last);
            let passed = |at: &u64| {
                second(&mut probes, *at, 0);
                probes.verdict == Verdict::Pass
            };
            (0..3_600).find(passed)
        };
        let (first, last) = (took(false), took(true));
        println!("{first:?} and {last:?} seconds");
        assert!(first.is_some_and(|first| first <= 240), "{first:?}");
        assert!(last.is_some_and(|last| last <= 720), "{last:?}");
    }

    #[test]
    fn a_share_begins_with_nothing_shown_and_with_the_limits_of_the_one_before() {
        let mut probes = probed(600, 0);
        probes.start_step(true);
        assert_eq!(probes.weigh(Verdict::NoData), Verdict::NoData);
        assert!(probes.limits().is_some());
    }

    proptest! {
        /// Only evidence lets a share pass: users' own, or the probes' where users do not lean worse.
        #[test]
        fn nothing_passes_without_evidence(
            said in 0usize..5,
            users in prop_oneof![Just(Verdict::Pass), Just(Verdict::NoData), any::<bool>().prop_map(undecided),
                Just(Verdict::Fail { reason: String::new() }), Just(Verdict::Suspect { reason: String::new() })],
        ) {
            let fail = Verdict::Fail { reason: "why".to_owned() };
            let said = [Verdict::Pass, Verdict::NoData, undecided(false), undecided(true), fail][said].clone();
            let probes = Probes { verdict: said.clone(), ..Probes::new(Policy::default()) };
            let weighed = probes.weigh(users.clone());
            if weighed == Verdict::Pass {
                let willing = matches!(users, Verdict::NoData | Verdict::Inconclusive { leaning_worse: false, .. });
                let never_against = !matches!(said, Verdict::Fail { .. } | Verdict::Inconclusive { leaning_worse: true, .. });
                prop_assert!((users == Verdict::Pass && never_against) || (said == Verdict::Pass && willing));
            }
            if matches!(users, Verdict::Fail { .. } | Verdict::Suspect { .. }) {
                prop_assert_eq!(weighed, users);
            }
        }
    }
}
