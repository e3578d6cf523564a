//! Compares green's answers with blue's beyond failures and the first byte: redirects, 4xx, clients that leave before
//! the answer, and the time until the last byte.
//!
//! Each kind has a FAIL process of its own on the two-by-two tables of its requests in one second. Chance gives both
//! versions the same requests, so under "green is not worse in this kind" the bad ones of a second fall on green as
//! Fisher's noncentral hypergeometric distribution says, given how many there are: scanners, monitors, expired
//! sessions and clients that leave quickly fall on both alike, and base rates cancel. So each process is dominated by a
//! nonnegative supermartingale (Turner, Ly, Grünwald, arXiv 2106.02693; the guard only lowers it:
//! `sequential/wealth.rs`). The four enter the evidence of harm with a fixed weight each, a quarter of
//! [`Policy::answers_share`]: an average of e-values with fixed weights is an e-value however they depend on each
//! other (Vovk, Wang, "E-values", Annals of Statistics 2021, section 3), and here they do: a green that hangs is slow
//! and given up. A kind that is not judged gives its weight back to the rest.
//!
//! Assumptions beyond those of the comparison of failures:
//!
//! - **Alike is right.** A release that redirects or refuses on purpose is worse by this measure; such a release
//!   declares it (`answers`, `--expect`). 304 is no redirect here: whether a client sends a conditional request depends
//!   on the version that answered it before.
//! - **Giving up is caused by waiting, or falls on both.** The compared figure is the share of all begun requests that
//!   the client ended before the header. A request that is still being sent is left out: its sender may be slow.
//!   Requests count in the second of their end, so a green within the latency margin shifts a part of its requests to a
//!   later second, of both outcomes alike.
//! - **A client's line falls on both.** The time until the last byte has the client's own line in it, on both versions
//!   with the same distribution. It is compared at one level, nine of ten of blue's: at the median most answers end
//!   with their first byte, which is compared already, and at 99 of 100 the slowest lines decide, so that a green that
//!   sends its bodies slowly would be found later. Above 10 s an answer is late on both versions.
//!
//! Redirects, 4xx and clients that left have the guard and the tolerance of failures, and count from the first second; for
//! clients that left ten times the odds are tolerated as long as latency is not judged, because a cold start is no fault. That
//! is a process of its own; its evidence is multiplied with that of the time after, because in each second one of them moves.
//! The last byte has the guard and the tolerance of latency, waits for its grace, and convicts nothing in a share that is too
//! small for a fair comparison ([`super::terms`]).
//!
//! Where users are pinned, chance places newcomers one by one, and no other user: their requests alone are compared.
//! While green serves alone nothing is.

use super::metric_test::{MetricTest, add};
use super::words::{against_one, counted, milliseconds};
use super::{Judge, Metric, Policy, Report, Terms, Unit};
use crate::core::answers::{Alike, AnswerKind, Expected, Hearing};
use crate::core::sequential::{Block, FailProcess};
use crate::core::stats::{PoolCounts, Tick};
use serde::{Deserialize, Serialize};

/// Odds of leaving that are tolerated on top while latency is not judged: a cold start makes some clients leave, a
/// green that hangs makes all of them leave. The factor is that of gross slowness, ten times blue's median.
const COLD: f64 = 10.0;

/// The processes and counts of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct One {
    kind: AnswerKind,
    fail: FailProcess,
    /// Evidence from a share that is too small for a fair comparison: it never convicts.
    small: Option<FailProcess>,
    /// Evidence on clients that gave up while latency is not judged: with a wider tolerance.
    cold: Option<FailProcess>,
    /// The kind is not judged in this share ([`Terms::cleared`]).
    cleared: bool,
    open: Block,
    seen: Block,
    /// The evidence has reached the threshold of a whole verdict.
    told: bool,
}

/// All kinds that are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Answers(Vec<One>);

/// The result of one kind. Counts are of the whole rollout beside blue; the last byte without its grace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerFinding {
    /// The compared kind.
    pub kind: AnswerKind,
    /// What it leads to.
    pub hearing: Hearing,
    /// Blue's requests; for clients that gave up, all requests that were begun.
    pub blue_requests: u64,
    /// Blue's requests of this kind.
    pub blue_bad: u64,
    /// Green's requests.
    pub green_requests: u64,
    /// Green's requests of this kind.
    pub green_bad: u64,
    /// Evidence that green has more of them, as a natural logarithm, in nats.
    pub ln_e: f64,
    /// Whether the evidence has reached `1 / alpha` by itself.
    pub told: bool,
}

impl Policy {
    /// The weight of a kind in the evidence of harm.
    fn answer_share(&self, kind: AnswerKind) -> f64 {
        match self.answers[kind as usize] {
            Hearing::Judge => self.answers_share / AnswerKind::ALL.len() as f64,
            Hearing::Report | Hearing::Off => 0.0,
        }
    }

    /// The weight of all kinds in the evidence of harm.
    pub(super) fn answers_part(&self) -> f64 {
        AnswerKind::ALL
            .map(|kind| self.answer_share(kind))
            .iter()
            .sum()
    }

    /// Whether a kind is compared at all.
    pub fn compares(&self, kind: AnswerKind) -> bool {
        self.answers[kind as usize] != Hearing::Off
    }

    /// This policy for a release that changes these on purpose: kinds that would be judged are only reported.
    pub fn expecting(mut self, expected: &[Expected]) -> Policy {
        for kind in AnswerKind::ALL {
            let hearing = &mut self.answers[kind as usize];
            if *hearing == Hearing::Judge && expected.contains(&kind.expected()) {
                *hearing = Hearing::Report;
            }
        }
        self.contents = self.contents.expecting(expected);
        self
    }
}

/// The counts of this kind in a second; the last byte is ignored before green is `warm`.
fn counted_in(kind: AnswerKind, tick: &Tick, unit: Unit, warm: bool) -> Block {
    let of = |pool: &PoolCounts| {
        let requests = match unit {
            Unit::Requests => Some(pool.requests),
            Unit::Users => pool.users.map(|users| users.fresh.requests),
        };
        let Some(requests) = requests else {
            return (0, 0);
        };
        let answers = &pool.answers;
        let (of, bad) = match kind {
            AnswerKind::LastByte if !warm => (0, 0),
            AnswerKind::LastByte => (answers.timed, answers.late),
            AnswerKind::GaveUp => {
                let left = answers.by_request[kind as usize];
                (requests + left, left)
            }
            kind => (requests, answers.by_request[kind as usize]),
        };
        (of, bad.min(of))
    };
    let ((blue, blue_bad), (green, green_bad)) = (of(&tick.blue), of(&tick.green));
    Block {
        seconds: 1,
        blue,
        blue_bad,
        green,
        green_bad,
    }
}

impl One {
    fn process(policy: &Policy, kind: AnswerKind, times: f64) -> FailProcess {
        let like = match kind {
            AnswerKind::LastByte => Metric::P90,
            _ => Metric::Err,
        };
        let m = like as usize;
        let odds = times * policy.omega0[m];
        FailProcess::new(policy.betting(like), odds, policy.delta0_ppm[m])
    }

    fn new(policy: &Policy, kind: AnswerKind) -> One {
        One {
            kind,
            fail: One::process(policy, kind, 1.0),
            small: None,
            cold: (kind == AnswerKind::GaveUp).then(|| One::process(policy, kind, COLD)),
            cleared: false,
            open: Block::default(),
            seen: Block::default(),
            told: false,
        }
    }

    /// Adds a second beside blue; a block closes once each pool had a request in it.
    fn tick(&mut self, second: &Block, warm: bool) {
        add(&mut self.seen, second);
        add(&mut self.open, second);
        if self.cleared {
            self.open = Block::default();
        } else if self.open.blue > 0 && self.open.green > 0 {
            let cold = self.cold.as_mut().filter(|_| !warm);
            let fail = self.small.as_mut().or(cold).unwrap_or(&mut self.fail);
            fail.block(&self.open);
            self.open = Block::default();
        }
    }

    fn ln_e(&self, small: bool) -> f64 {
        let more = self.small.as_ref().filter(|_| small);
        let parts = [self.cold.as_ref(), more].into_iter().flatten();
        self.fail.ln_e() + parts.map(FailProcess::ln_e).sum::<f64>()
    }
}

impl Answers {
    pub(super) fn new(policy: &Policy) -> Answers {
        let compared = AnswerKind::ALL
            .into_iter()
            .filter(|kind| policy.compares(*kind));
        Answers(compared.map(|kind| One::new(policy, kind)).collect())
    }

    /// The comparisons of a judge that was saved before they existed.
    pub(super) fn unknown() -> Answers {
        Answers(vec![])
    }

    /// Another share begins: an open block would mix two shares.
    pub(super) fn start_share(&mut self, policy: &Policy, terms: Terms) {
        for one in &mut self.0 {
            one.open = Block::default();
            let small = terms.small && one.kind == AnswerKind::LastByte;
            one.small = (small && !terms.cleared).then(|| One::process(policy, one.kind, 1.0));
            one.cleared = small && terms.cleared;
        }
    }

    /// Takes a second beside blue.
    pub(super) fn tick(&mut self, policy: &Policy, tick: &Tick, warm: bool) {
        for one in &mut self.0 {
            one.tick(&counted_in(one.kind, tick, policy.unit, warm), warm);
            one.told |= one.ln_e(false) >= policy.ln_limit();
        }
    }

    fn findings(&self, policy: &Policy) -> Vec<AnswerFinding> {
        let finding = |one: &One| AnswerFinding {
            kind: one.kind,
            hearing: policy.answers[one.kind as usize],
            blue_requests: one.seen.blue,
            blue_bad: one.seen.blue_bad,
            green_requests: one.seen.green,
            green_bad: one.seen.green_bad,
            ln_e: one.ln_e(true),
            told: one.told,
        };
        self.0.iter().map(finding).collect()
    }
}

impl Judge {
    /// The weighted evidence of each judged kind; with `small` it includes a small share's evidence.
    pub(super) fn by_answers(&self, small: bool) -> impl Iterator<Item = (AnswerKind, f64)> {
        let weigh = move |one: &One| {
            let share = self.policy.answer_share(one.kind);
            (share > 0.0).then(|| (one.kind, share.ln() + one.ln_e(small)))
        };
        self.answers.0.iter().filter_map(weigh)
    }

    /// The kind with more weighted evidence than everything else, if there is one.
    pub(super) fn answered_worse(&self) -> Option<AnswerKind> {
        let most = self.by_answers(true).max_by(|a, b| a.1.total_cmp(&b.1))?;
        (most.1 > self.heaviest_other()).then_some(most.0)
    }

    /// The heaviest evidence of a comparison, limit, route or gross slowness.
    pub(super) fn heaviest_other(&self) -> f64 {
        let gross = self.gross.as_ref();
        let gross = gross.map(|gross| self.policy.gross_share.ln() + gross.ln_e());
        let by_route = self.policy.routes_share.ln() + self.routes.ln_heaviest();
        let compared = self.weighted(MetricTest::ln_small).into_iter();
        let others = compared.chain(self.limited()).chain(gross);
        others.fold(by_route, f64::max)
    }

    /// Whether a kind is reported that is not judged.
    pub fn has_told(&self) -> bool {
        let hearing = |one: &One| self.policy.answers[one.kind as usize];
        let mut all = self.answers.0.iter();
        all.any(|one| one.told && hearing(one) == Hearing::Report)
    }

    /// The result of each kind.
    pub(super) fn answer_findings(&self) -> Vec<AnswerFinding> {
        self.answers.findings(&self.policy)
    }
}

impl AnswerFinding {
    /// Green against blue, in words; `alike` says where green's answers were, as far as it is known:
    /// `green answers 404 to 100% (414 of 414), blue to 0% (0 of 420): most of them GET / (400 of 414)`.
    pub fn words(&self, alike: Option<&Alike>, limits: Option<[u64; 2]>) -> String {
        let (green, green_of) = counted(self.green_bad, self.green_requests);
        let (blue, blue_of) = counted(self.blue_bad, self.blue_requests);
        let most = alike.and_then(Alike::words);
        let most = most.map_or(String::new(), |most| format!(": {most}"));
        let by_status = |class: &str| {
            let status = alike.and_then(Alike::status_of_most).unwrap_or(class);
            format!(
                "green answers {status} to {green} ({green_of}), blue to {blue} ({blue_of}){most}"
            )
        };
        match self.kind {
            AnswerKind::Redirect => by_status("3xx"),
            AnswerKind::ClientError => by_status("4xx"),
            AnswerKind::GaveUp => format!(
                "clients gave up on {green} of green before an answer ({green_of}), on {blue} of blue ({blue_of}){most}"
            ),
            AnswerKind::LastByte => {
                let above = |at: usize| {
                    limits.map_or(String::new(), |limits| {
                        format!(" above {}", milliseconds(limits[at]))
                    })
                };
                format!(
                    "green {green}{} until the last byte ({green_of}) against blue {blue}{} ({blue_of})",
                    above(1),
                    above(0)
                )
            }
        }
    }
}

impl Report {
    /// Describes a kind of answers.
    pub fn answer_words(&self, finding: &AnswerFinding) -> String {
        let limits = self.limits.and_then(|limits| limits.last_byte);
        finding.words(self.faults.answers.get(&finding.kind), limits)
    }

    /// Describes the kind with more weighted evidence than everything else, if there is one.
    pub(super) fn blamed_answers(&self) -> Option<String> {
        let kind = self.answer?;
        let found = self.answers.iter().find(|finding| finding.kind == kind)?;
        Some(self.answer_words(found))
    }

    /// Describes a kind that is reported and not judged.
    pub fn finding_words(&self, finding: &AnswerFinding) -> String {
        format!(
            "{}, evidence {}: told, and not judged in this rollout",
            self.answer_words(finding),
            against_one(finding.ln_e)
        )
    }

    /// Kinds that are reported and not judged, and are worse on green with evidence of `1 / alpha`.
    pub fn told(&self) -> impl Iterator<Item = &AnswerFinding> {
        let told = |finding: &&AnswerFinding| finding.told && finding.hearing == Hearing::Report;
        self.answers.iter().filter(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::answers::AnswerTick;
    use crate::core::judge::{Cause, Control, Verdict};
    use crate::core::stats::Limits;
    use crate::core::users::{Sample, UserTick};
    use proptest::prelude::*;

    fn pool(requests: u64, by_request: [u64; 3], late: u64) -> PoolCounts {
        PoolCounts {
            requests,
            timed: requests,
            answers: AnswerTick {
                by_request,
                timed: requests,
                late,
            },
            ..PoolCounts::default()
        }
    }

    /// The second in which green fails, out of `seconds`.
    fn fails(judge: &mut Judge, seconds: u64, blue: PoolCounts, green: PoolCounts) -> Option<u64> {
        (1..=seconds).find(|_| {
            judge.tick(&Tick { blue, green });
            matches!(judge.verdict(), Verdict::Fail { .. })
        })
    }

    const USUAL: [u64; 3] = [1, 1, 1];

    #[test]
    fn a_green_that_answers_otherwise_than_blue_goes_in_seconds_and_is_told_why() {
        let others = pool(20, USUAL, 2);
        for (green, words) in [
            (
                pool(20, [20, 0, 0], 2),
                "green answers 3xx to 100% (120 of 120), blue to 5.0% (6 of 120)",
            ),
            (
                pool(20, [0, 20, 0], 2),
                "green answers 4xx to 100% (120 of 120), blue to 5.0% (6 of 120)",
            ),
            (
                pool(0, [0, 0, 21], 0),
                "clients gave up on 100% of green before an answer (126 of 126), on 4.8% of blue (6 of 126)",
            ),
        ] {
            let mut judge = Judge::new(Policy::default());
            let at = fails(&mut judge, 60, others, green);
            assert!(at.is_some_and(|at| at <= 8), "{words}: {at:?}");
            let mut judge = Judge::new(Policy::default());
            for _ in 0..6 {
                judge.tick(&Tick {
                    blue: others,
                    green,
                });
            }
            let report = judge.report();
            assert!(report.answer.is_some(), "{words}");
            assert_eq!(report.blamed_answers().as_deref(), Some(words));
        }
    }

    #[test]
    fn what_both_answer_alike_convicts_nobody() {
        for by_request in [USUAL, [20, 0, 0], [0, 20, 0], [0, 0, 40], [4, 4, 4]] {
            let mut judge = Judge::new(Policy::default());
            let both = pool(20, by_request, 2);
            assert_eq!(fails(&mut judge, 900, both, both), None, "{by_request:?}");
            assert!(judge.ln_e() < 0.05 && judge.report().answer.is_none());
        }
    }

    #[test]
    fn blue_having_more_is_no_evidence() {
        let mut judge = Judge::new(Policy::default());
        let blue = pool(20, [10, 10, 10], 10);
        assert_eq!(fails(&mut judge, 300, blue, pool(20, [0; 3], 0)), None);
        assert!(judge.ln_e() < 1e-9, "{}", judge.ln_e());
    }

    #[test]
    fn a_pause_of_three_seconds_and_a_cold_start_convict_nobody() {
        let mut judge = Judge::new(Policy::default());
        let blue = pool(40, USUAL, 4);
        for round in 0..3 {
            assert_eq!(
                fails(&mut judge, 4, blue, pool(40, [0, 1, 40], 4)),
                None,
                "{round}"
            );
            assert_eq!(fails(&mut judge, 180, blue, blue), None, "{round}");
        }
        let mut judge = Judge::new(Policy::default());
        let cold = pool(40, [1, 1, 6], 4);
        assert_eq!(fails(&mut judge, 30, blue, cold), None, "a cold start");
        assert!(
            fails(&mut judge, 60, blue, cold).is_some(),
            "and no end of it"
        );
    }

    #[test]
    fn what_is_reported_is_told_and_convicts_nothing() {
        let blue = pool(20, USUAL, 2);
        let green = pool(20, [0, 20, 0], 2);
        let policy = Policy::default().expecting(&[Expected::Status]);
        let mut judge = Judge::new(policy.clone());
        assert_eq!(fails(&mut judge, 600, blue, green), None);
        assert!(judge.ln_e() < 0.05 && judge.has_told());
        let report = judge.report();
        let told: Vec<_> = report.told().map(|one| report.finding_words(one)).collect();
        assert_eq!(
            told,
            [
                "green answers 4xx to 100% (12,000 of 12,000), blue to 5.0% (600 of 12,000), evidence more than 1,000,000,000:1: told, and not judged in this rollout"
            ]
        );
        let mut judge = Judge::new(policy.clone());
        let left = pool(20, [0, 0, 20], 2);
        assert!(
            fails(&mut judge, 60, blue, left).is_some(),
            "the rest is judged"
        );
        let off = Policy {
            answers: [Hearing::Off; 4],
            ..policy
        };
        let mut judge = Judge::new(off.expecting(&[Expected::Status]));
        assert_eq!(fails(&mut judge, 60, blue, green), None);
        assert_eq!(judge.report().answers, []);
        assert!(judge.ln_e() < 0.05 && !judge.has_told());
    }

    #[test]
    fn the_last_byte_is_heard_as_latency_is() {
        let limits = Limits::alone([1_000; 3]);
        let limits = Limits {
            last_byte: Some([50_000, 56_000]),
            ..limits
        };
        let (blue, green) = (pool(95, USUAL, 10), pool(95, USUAL, 95));
        let mut judge = Judge::new(Policy::default());
        judge.set_limits(Some(limits));
        let at = fails(&mut judge, 90, blue, green);
        assert!(
            at.is_some_and(|at| (31..60).contains(&at)),
            "after its grace: {at:?}"
        );
        assert_eq!(judge.cause(), Some(Cause::Evidence));
        let words = judge.report().failure();
        assert!(
            words.starts_with("green 100% above 56 ms until the last byte ("),
            "{words}"
        );
        assert!(words.contains("against blue 11% above 50 ms ("), "{words}");

        let small = Terms {
            raised: true,
            small: true,
            ..Terms::default()
        };
        let few = pool(5, [0; 3], 5);
        let mut judge = Judge::new(Policy::default());
        judge.start_share(false, Control::Concurrent, small);
        assert_eq!(fails(&mut judge, 300, blue, few), None, "a small share");
        let Verdict::Unconfirmed { reason } = judge.verdict() else {
            panic!("{:?}", judge.verdict());
        };
        assert!(reason.contains("until the last byte"), "{reason}");
        let equal = Terms {
            raised: true,
            confirms: true,
            ..Terms::default()
        };
        let mut slow = judge.clone();
        slow.start_share(false, Control::Concurrent, equal);
        assert!(fails(&mut slow, 90, blue, green).is_some(), "an equal one");
        let cleared = Terms {
            small: true,
            cleared: true,
            ..Terms::default()
        };
        judge.start_share(false, Control::Concurrent, cleared);
        assert_eq!(fails(&mut judge, 300, blue, few), None);
        assert!(!matches!(judge.verdict(), Verdict::Unconfirmed { .. }));
    }

    #[test]
    fn where_users_are_pinned_newcomers_alone_are_compared() {
        let policy = Policy {
            unit: Unit::Users,
            ..Policy::default()
        };
        let by = |fresh: u64, by_request: [u64; 3]| PoolCounts {
            users: Some(UserTick {
                fresh: Sample {
                    requests: fresh,
                    ..Sample::default()
                },
                ..UserTick::default()
            }),
            ..pool(50, by_request, 0)
        };
        let mut judge = Judge::new(policy.clone());
        judge.start_step(false, Control::Concurrent);
        assert!(fails(&mut judge, 60, by(10, [0; 3]), by(10, [0, 10, 0])).is_some());
        let mut judge = Judge::new(policy.clone());
        assert_eq!(fails(&mut judge, 60, by(0, [0; 3]), by(0, [0; 3])), None);
        let mut judge = Judge::new(policy);
        let nobody = pool(50, [0, 50, 0], 0);
        assert_eq!(fails(&mut judge, 60, pool(50, [0; 3], 0), nobody), None);
        assert!(
            judge
                .report()
                .answers
                .iter()
                .all(|one| one.green_requests == 0)
        );
    }

    #[test]
    fn a_green_that_serves_alone_is_not_compared() {
        let mut judge = Judge::new(Policy::default());
        let past = crate::core::stats::Baseline {
            failure_rate: 0.01,
            limits: None,
        };
        judge.start_step(true, Control::History(past));
        let nobody = PoolCounts::default();
        assert_eq!(
            fails(&mut judge, 60, nobody, pool(50, [0, 50, 0], 50)),
            None
        );
        let answers = judge.report().answers;
        assert!(answers.iter().all(|one| one.green_requests == 0));
    }

    #[test]
    fn policies_and_judges_of_before_have_no_share_for_answers() {
        let mut value = serde_json::to_value(Policy::default()).unwrap();
        let keys = value.as_object_mut().unwrap();
        keys.remove("answers_share");
        keys.remove("answers");
        let old: Policy = serde_json::from_value(value).unwrap();
        assert_eq!((old.answers_share, old.answers_part()), (0.0, 0.0));
        let mut judge = Judge::new(old);
        assert_eq!(
            fails(&mut judge, 60, pool(20, USUAL, 2), pool(20, [0, 20, 0], 2)),
            None
        );
        let mut value = serde_json::to_value(Judge::new(Policy::default())).unwrap();
        value.as_object_mut().unwrap().remove("answers");
        let mut judge: Judge = serde_json::from_value(value).unwrap();
        assert_eq!(
            fails(&mut judge, 60, pool(20, USUAL, 2), pool(20, [0, 20, 0], 2)),
            None
        );
    }

    /// The result of `tests/reference/answers.py` for one case.
    #[derive(Deserialize)]
    struct Golden {
        name: String,
        seconds: Vec<[[u64; 6]; 2]>,
        ln_e: Vec<Vec<f64>>,
        whole: Vec<f64>,
    }

    #[test]
    fn the_second_implementation_has_the_same_numbers() {
        let text = include_str!("../../../tests/reference/answers.json");
        let cases: Vec<Golden> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 7);
        for case in cases {
            let mut judge = Judge::new(Policy::default());
            for (at, second) in case.seconds.iter().enumerate() {
                let [blue, green] = second.map(|[requests, a, b, c, timed, late]| PoolCounts {
                    requests,
                    answers: AnswerTick {
                        by_request: [a, b, c],
                        timed,
                        late,
                    },
                    ..PoolCounts::default()
                });
                judge.tick(&Tick { blue, green });
                for (one, golden) in judge.answer_findings().iter().zip(&case.ln_e) {
                    let (ours, theirs) = (one.ln_e, golden[at]);
                    let name = &case.name;
                    assert!(
                        (ours - theirs).abs() < 1e-9,
                        "{name}, {at}: {:?} {ours} {theirs}",
                        one.kind
                    );
                }
                let (ours, theirs) = (judge.ln_e(), case.whole[at]);
                assert!(
                    (ours - theirs).abs() < 1e-9,
                    "{}, {at}: {ours} {theirs}",
                    case.name
                );
            }
        }
    }

    proptest! {
        /// The whole evidence is the fixed average of the former evidence and the four kinds.
        #[test]
        fn the_evidence_is_an_average_with_fixed_weights(
            seconds in prop::collection::vec((1u64..30, 1u64..30, [0u64..20, 0u64..20, 0u64..20], [0u64..20, 0u64..20, 0u64..20], 0u64..20, 0u64..20), 1..60),
            heard in prop::array::uniform4(0usize..3),
        ) {
            let hearing = heard.map(|at| [Hearing::Judge, Hearing::Report, Hearing::Off][at]);
            let policy = Policy { warmup_s: 5, gross_share: 0.0, answers: hearing, ..Policy::default() };
            let mut judge = Judge::new(policy.clone());
            let mut without = Judge::new(Policy { answers_share: 0.0, ..policy.clone() });
            for (blue, green, b, g, late_blue, late_green) in seconds {
                let tick = Tick { blue: pool(blue, b, late_blue), green: pool(green, g, late_green) };
                judge.tick(&tick);
                without.tick(&tick);
            }
            let each = policy.answers_share / 4.0;
            let kinds: f64 = judge
                .answer_findings()
                .iter()
                .filter(|one| one.hearing == Hearing::Judge)
                .map(|one| each * one.ln_e.exp())
                .sum();
            let judged = hearing.iter().filter(|one| **one == Hearing::Judge).count() as f64;
            // The other metrics lose weight to these in proportion to their weight beside routes.
            let apart = policy.routes_share;
            let kept = (1.0 - apart - each * judged) / (1.0 - apart);
            let before = without.ln_e().exp();
            // Routes are worth 1 here.
            let expected = apart + kept * (before - apart) + kinds;
            prop_assert!((judge.ln_e() - expected.ln()).abs() < 1e-9, "{} {}", judge.ln_e(), expected.ln());
        }
    }
}
