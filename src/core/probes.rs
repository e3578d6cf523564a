//! Requests of our own to both versions, for a service with too few users; counted and judged apart from users'
//! requests.
//!
//! They send both versions the same requests at the same time, so they are a comparison also where green has all users.
//! They count only while green's user requests in a share are fewer than the probes: with more users the two versions
//! have different loads, and users are better evidence. Probes say nothing of green on other paths: there users alone
//! decide.

use crate::core::answers::Hearing;
use crate::core::fault::Faults;
use crate::core::judge::words::grouped;
use crate::core::judge::{
    ContentPolicy, Control, Finding, Judge, Metric, Policy, Report, Slo, Verdict,
};
use crate::core::stats::{History, Limits, SpanStats, Tick};

/// The policy of the judge of users' requests where probes are judged beside them.
///
/// Each judge has half of the accepted chances of a false rollback and of a false promotion, so that both together keep
/// within them (Boole's inequality).
pub fn halved(policy: &Policy) -> Policy {
    Policy {
        alpha: policy.alpha / 2.0,
        alpha_pass: policy.alpha_pass / 2.0,
        ..policy.clone()
    }
}

/// The policy of the probes' judge beside this one of users' requests.
///
/// Caps and absolute limits are for users; and a few probes per second are too few for the slowest hundredth.
pub fn beside(users: &Policy) -> Policy {
    Policy {
        weights: [0.5, 0.25, 0.25, 0.0],
        max_excess_failures: None,
        slo: Slo::default(),
        routes_share: 0.0,
        routes_amber: 0.0,
        answers_share: 0.0,
        answers: [Hearing::Off; 4],
        contents: ContentPolicy::default(),
        ..users.by_requests()
    }
}

/// The verdict on users' requests, and their number.
#[derive(Clone, Debug, PartialEq)]
pub struct Users {
    /// Its verdict.
    pub verdict: Verdict,
    /// Users' requests on green in this share.
    pub step_requests: u64,
    /// Blue was given a share again because green looked worse to users.
    pub suspicious: bool,
}

/// The results of the probes in one rollout.
#[derive(Clone, Debug)]
pub struct Probes {
    judge: Judge,
    /// Blue's probe answers of the last minutes, from which latency limits are frozen.
    past: History,
    limits: Option<Limits>,
    verdict: Verdict,
    /// Where green failed.
    faults: Faults,
    /// Probes of green in this share.
    step: u64,
    /// Probes of blue and green in the rollout.
    ended: [u64; 2],
}

impl Probes {
    /// Probes that have not been sent yet.
    pub fn new(policy: Policy) -> Probes {
        Probes {
            judge: Judge::new(policy),
            past: History::default(),
            limits: None,
            verdict: Verdict::NoData,
            faults: Faults::default(),
            step: 0,
            ended: [0; 2],
        }
    }

    /// Starts another share; `last` when green's promotion follows.
    pub fn start_step(&mut self, last: bool) {
        self.judge.start_step(last, Control::Concurrent);
        self.verdict = Verdict::NoData;
        self.step = 0;
        self.freeze();
    }

    /// Sets limits that were frozen before, from a recording.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = Some(limits);
        self.judge.set_limits(self.limits);
    }

    /// The latency limits in this share.
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// Number of probes that have ended in the rollout, on blue and on green.
    pub fn ended(&self) -> [u64; 2] {
        self.ended
    }

    /// Takes one second of counts; returns the probes' own verdict.
    pub fn take(&mut self, tick: &Tick) -> &Verdict {
        self.judge.tick(tick);
        self.step += tick.green.requests;
        self.ended[0] += tick.blue.requests;
        self.ended[1] += tick.green.requests;
        self.verdict = self.judge.verdict();
        &self.verdict
    }

    /// Takes blue's span of the last seconds, and where green failed in them; returns limits, when new ones hold from
    /// now on.
    pub fn span(&mut self, blue: &SpanStats, faults: Faults) -> Option<Limits> {
        self.past.push(blue);
        self.faults.merge(faults);
        if self.limits.is_none() {
            self.freeze();
            return self.limits;
        }
        None
    }

    fn freeze(&mut self) {
        let (fail, pass) = self.judge.margins();
        self.limits = Limits::freeze(&self.past.total().latency, fail, pass);
        self.judge.set_limits(self.limits);
    }

    /// Whether users are so few that probes count.
    fn heard(&self, users: &Users) -> bool {
        users.step_requests < self.step
    }

    /// The verdict on users' requests, combined with the probes' where these count.
    ///
    /// Bad probes end the rollout. Good ones stand in where users are too few, and never where users lean worse or have
    /// raised a suspicion; probes that lean worse delay what users have not proven to be good.
    pub fn weigh(&self, users: Users) -> Verdict {
        if !self.heard(&users) {
            return users.verdict;
        }
        match (&self.verdict, users.verdict) {
            (_, verdict @ Verdict::Fail { .. }) => verdict,
            (Verdict::Fail { reason }, _) => Verdict::Fail {
                reason: self.blaming(reason),
            },
            (_, verdict @ (Verdict::Pass | Verdict::Suspect { .. })) => verdict,
            (_, verdict) if verdict.leans_worse() => verdict,
            (Verdict::Pass, _) if !users.suspicious => Verdict::Pass,
            (own, verdict) if own.leans_worse() => verdict.doubted(),
            (_, verdict) => verdict,
        }
    }

    fn blaming(&self, reason: &str) -> String {
        let words = self.faults.words(1);
        let words = words.filter(|_| self.judge.report().is_about_failures());
        let words = words.map_or(String::new(), |words| format!("; {words}"));
        format!("probes: {reason}{words}")
    }

    /// The report behind the probes' verdict.
    pub fn report(&self) -> Report {
        Report {
            faults: self.faults.clone(),
            ..self.judge.report()
        }
    }

    /// One line on the probes' results in this share.
    pub fn line(&self) -> String {
        if self.step == 0 {
            return "probes: none has been answered in this share yet".to_owned();
        }
        let report = self.judge.report();
        let failing = |finding: &Finding| 2 * finding.blue_bad > finding.blue_requests;
        // Requests that blue does not answer prove nothing.
        let useless = report.finding(Metric::Err).is_some_and(failing);
        let hint = match useless {
            true => "; blue itself fails most of them: look at `paths`",
            false => "",
        };
        format!(
            "probes, {} of each version in this share: {}{hint}",
            grouped(self.step),
            report.line(&self.verdict)
        )
    }

    /// The line of [`Probes::line`] where the probes decide and users do not; `None` where users do, or where the
    /// reason of the verdict has it already.
    pub fn line_on(&self, users: Users, weighed: &Verdict) -> Option<String> {
        let (own, heard) = (users.verdict.clone(), self.heard(&users));
        let silent = own == Verdict::NoData && heard;
        let theirs = silent || self.weigh(users) != own;
        (theirs && !matches!(weighed, Verdict::Fail { .. })).then(|| self.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::tests;
    use crate::core::stats::PoolCounts;
    use proptest::prelude::*;

    fn pool(requests: u64, failed: u64) -> PoolCounts {
        PoolCounts {
            timed: requests - failed,
            ..tests::pool(requests, failed)
        }
    }

    const PER_SECOND: u64 = 5;

    /// One second of probes of two equal versions, of which green fails some.
    fn second(probes: &mut Probes, at: u64, green_failed: u64) {
        let mut blue = SpanStats {
            requests: PER_SECOND,
            ..SpanStats::default()
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
        probes.take(&tick);
        probes.span(&blue, Faults::default());
    }

    fn probed(seconds: u64, green_failed: u64) -> Probes {
        let mut probes = Probes::new(beside(&halved(&Policy::default())));
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
        let users = halved(&whole);
        let probes = beside(&users);
        assert!((users.alpha + probes.alpha - whole.alpha).abs() < 1e-15);
        assert!((users.alpha_pass + probes.alpha_pass - whole.alpha_pass).abs() < 1e-15);
        assert_eq!(users.max_excess_failures, Some(5));
        assert_eq!(probes.max_excess_failures, None);
    }

    /// A verdict on few users, without a suspicion.
    fn few(verdict: Verdict) -> Users {
        Users {
            verdict,
            step_requests: 7,
            suspicious: false,
        }
    }

    #[test]
    fn good_probes_stand_in_for_users_who_say_too_little() {
        let probes = probed(600, 0);
        assert_eq!(probes.verdict, Verdict::Pass, "{}", probes.line());
        assert!(probes.limits().is_some());
        for users in [Verdict::NoData, undecided(false), Verdict::Pass] {
            assert_eq!(probes.weigh(few(users)), Verdict::Pass);
        }
        assert_eq!(probes.weigh(few(undecided(true))), undecided(true));
        let line = probes.line_on(few(Verdict::NoData), &Verdict::Pass);
        let line = line.unwrap_or_default();
        assert!(
            line.starts_with(
                "probes, 3,000 of each version in this share: green is as good as blue: 3 of 4"
            ),
            "{line}"
        );
        assert_eq!(
            probes.line_on(few(Verdict::Pass), &Verdict::Pass),
            None,
            "users have shown it"
        );
    }

    #[test]
    fn good_probes_are_silent_beside_many_users_and_under_a_suspicion() {
        let probes = probed(600, 0);
        let many = Users {
            step_requests: 3_000,
            ..few(undecided(false))
        };
        assert_eq!(probes.weigh(many), undecided(false));
        let suspicious = Users {
            suspicious: true,
            ..few(undecided(false))
        };
        assert_eq!(probes.weigh(suspicious), undecided(false));
    }

    #[test]
    fn bad_probes_end_it_unless_users_are_many() {
        let probes = probed(60, 2);
        let suspect = Verdict::Suspect {
            reason: String::new(),
        };
        for users in [Verdict::NoData, undecided(false), Verdict::Pass, suspect] {
            let Verdict::Fail { reason } = probes.weigh(few(users)) else {
                panic!("{}", probes.line());
            };
            assert!(reason.starts_with("probes: green 40% errors"), "{reason}");
        }
        let many = Users {
            step_requests: 300,
            ..few(Verdict::Pass)
        };
        assert_eq!(probes.weigh(many), Verdict::Pass);
    }

    #[test]
    fn probes_that_blue_fails_too_show_nothing_and_say_what_to_do() {
        let mut probes = Probes::new(beside(&halved(&Policy::default())));
        probes.start_step(false);
        let tick = Tick {
            blue: pool(PER_SECOND, PER_SECOND),
            green: pool(PER_SECOND, PER_SECOND),
        };
        for _ in 0..600 {
            probes.take(&tick);
        }
        assert_eq!(probes.weigh(few(Verdict::NoData)), Verdict::NoData);
        assert!(
            probes.line().ends_with("look at `paths`"),
            "{}",
            probes.line()
        );
    }

    /// Without that the default rate would be of no use.
    #[test]
    fn a_share_passes_within_minutes_at_the_default_rate() {
        let mut probes = Probes::new(beside(&halved(&Policy::default())));
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
        let within =
            |took: Option<u64>, most| took.is_some_and(|took| (most / 2..=most).contains(&took));
        assert!(within(first, 120), "{first:?}");
        assert!(within(last, 420), "{last:?}");
    }

    #[test]
    fn a_share_begins_with_nothing_shown_and_with_the_limits_of_the_one_before() {
        let mut probes = probed(600, 0);
        probes.start_step(true);
        assert_eq!(probes.weigh(few(Verdict::NoData)), Verdict::NoData);
        assert!(probes.limits().is_some());
    }

    proptest! {
        /// Only evidence lets a share pass: users' own, or the probes' where users are few and not against it.
        #[test]
        fn nothing_passes_without_evidence(
            said in 0usize..5,
            users in prop_oneof![Just(Verdict::Pass), Just(Verdict::NoData), any::<bool>().prop_map(undecided),
                Just(Verdict::Fail { reason: String::new() }), Just(Verdict::Suspect { reason: String::new() })],
            step_requests in 0u64..20,
            suspicious in any::<bool>(),
        ) {
            let fail = Verdict::Fail { reason: "why".to_owned() };
            let said = [Verdict::Pass, Verdict::NoData, undecided(false), undecided(true), fail][said].clone();
            let probes = Probes { verdict: said.clone(), step: 10, ..Probes::new(Policy::default()) };
            let weighed = probes.weigh(Users { verdict: users.clone(), step_requests, suspicious });
            let few = step_requests < 10;
            if weighed == Verdict::Pass && users != Verdict::Pass {
                let willing = matches!(users, Verdict::NoData | Verdict::Inconclusive { leaning_worse: false, .. });
                prop_assert!(said == Verdict::Pass && willing && few && !suspicious);
            }
            if matches!(users, Verdict::Fail { .. }) || !few {
                prop_assert_eq!(weighed, users);
            } else if matches!(said, Verdict::Fail { .. }) {
                let fails = matches!(weighed, Verdict::Fail { .. });
                prop_assert!(fails);
            }
        }
    }
}
