//! Compares green with blue: counts in, verdict and evidence out.
//!
//! Four metrics are judged: failed requests, and requests slower than blue's p50, p90 and p99. For each,
//! a FAIL process gathers evidence that green is worse over the whole rollout, and a PASS process that
//! it is good enough in this step. The evidence of harm is the weighted average of the four, and of one
//! process more for each absolute limit: an average of e-values is an e-value however they depend on
//! each other. Evidence by route group ([`routes`]), by further properties of answers ([`answers`]) and, where they are
//! judged, by sizes and content types ([`contents`]) have a fixed share of that average.

pub mod absolute_limit;
mod answers;
mod broken;
mod content;
mod contents;
mod doubt;
mod gross;
mod kind;
mod lasting;
pub mod metric_test;
mod policy;
pub mod report;
mod routes;
mod shared;
mod terms;
mod users;
mod verdict;
pub mod words;

pub use absolute_limit::{LimitFinding, Slo};
pub use answers::AnswerFinding;
pub use content::{Content, ContentFinding, ContentPolicy};
pub use gross::GrossFinding;
pub use kind::VerdictKind;
pub use policy::Policy;
pub use report::{Cause, Finding, Metric, Report};
pub use routes::{Blamed, PLACES, RouteFinding};
pub use shared::{Reference, Shared};
pub use terms::Terms;
pub use users::{Spoken, Unit};
pub use verdict::Verdict;

use self::{
    absolute_limit::AbsoluteLimit, answers::Answers, contents::Contents, gross::Gross,
    routes::Routes,
};
use crate::core::answers::AnswerKind;
use crate::core::routes::{RouteCounts, RoutePast, RouteSecond};
use crate::core::sequential::{Block, OddsGrid, ln_sum};
use crate::core::stats::{Baseline, Limits, Margin, Tick};
use metric_test::{MetricTest, add};
use serde::{Deserialize, Serialize};
use users::SeenUsers;

/// What green is compared with in a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Blue, which serves beside green: whatever happens outside happens to both and cancels.
    Concurrent,
    /// Blue's past, because green serves alone: an incident outside looks like green's fault.
    History(Baseline),
    /// Blue's past, which may only raise suspicion: blue is warm and can be compared again.
    Suspicion(Baseline),
}

impl Control {
    /// Blue's past, where green serves alone.
    pub fn past(&self) -> Option<&Baseline> {
        match self {
            Control::Concurrent => None,
            Control::History(baseline) | Control::Suspicion(baseline) => Some(baseline),
        }
    }
}

/// Judges one rollout, second by second.
///
/// Equal ticks give equal verdicts: the judge reads no clock and draws no random numbers. How long a step may last is
/// not the judge's matter. One judge serves one rollout; a new rollout needs a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    policy: Policy,
    last: bool,
    control: Control,
    limits: Option<Limits>,
    tracks: [MetricTest; 4],
    rails: Vec<AbsoluteLimit>,
    #[serde(default)]
    gross: Option<Gross>,
    #[serde(default)]
    terms: Terms,
    /// Seconds until latency is judged in this share.
    #[serde(default)]
    cold: u64,
    #[serde(default = "Routes::unknown")]
    routes: Routes,
    #[serde(default = "Answers::unknown")]
    answers: Answers,
    #[serde(default)]
    contents: Contents,
    seconds: u64,
    recent: [Block; Judge::RECENT],
    ln_e_max: f64,
    step: Block,
    #[serde(default)]
    step_seconds: u64,
    total_requests: u64,
    excess_before: f64,
    /// Natural logarithm of the part of the evidence that is left after [`Judge::stake`], in nats.
    #[serde(default)]
    ln_kept: f64,
}

impl Judge {
    /// Seconds that the outage guard considers.
    const RECENT: usize = 5;

    /// A judge without evidence, in a first step beside blue that is not the last one.
    pub fn new(policy: Policy) -> Judge {
        let tracks = Metric::ALL.map(|metric| MetricTest::new(&policy, metric));
        let mut judge = Judge {
            rails: AbsoluteLimit::all(&policy),
            gross: (policy.gross_share > 0.0).then(|| Gross::new(&policy)),
            terms: Terms::default(),
            cold: policy.warmup_s,
            routes: Routes::new(&policy),
            answers: Answers::new(&policy),
            contents: Contents::default(),
            policy,
            last: false,
            control: Control::Concurrent,
            limits: None,
            tracks,
            seconds: 0,
            recent: [Block::default(); Judge::RECENT],
            ln_e_max: 0.0,
            step: Block::default(),
            step_seconds: 0,
            total_requests: 0,
            excess_before: 0.0,
            ln_kept: 0.0,
        };
        judge.start_step(false, Control::Concurrent);
        judge
    }

    /// This judge without intervals of the odds ratio, which serve display only and cost most of the computing time:
    /// for simulations.
    pub fn without_intervals(mut self) -> Judge {
        for track in &mut self.tracks {
            track.odds = OddsGrid::off();
        }
        self
    }

    /// Begins a step. Evidence against green is kept; evidence for it starts anew, because green
    /// must be shown good enough at this share. Half-open blocks are dropped: they mix two shares.
    pub fn start_step(&mut self, last: bool, control: Control) {
        self.start_share(last, control, Terms::default());
    }

    /// Begins a step on these terms.
    pub fn start_share(&mut self, last: bool, control: Control, terms: Terms) {
        if terms.raised && self.policy.warms_up_each_share {
            self.cold = self.policy.warmup_s + terms.ramp_s;
        }
        self.terms = terms;
        // A step with fewer failures than expected is no licence for the next one.
        self.excess_before += self.step_excess().max(0.0);
        self.step = Block::default();
        self.step_seconds = 0;
        self.last = last;
        self.control = control;
        if let Some(gross) = &mut self.gross {
            gross.start_share();
        }
        for (track, metric) in self.tracks.iter_mut().zip(Metric::ALL) {
            track.start_step(&self.policy, metric, last, &control, terms);
        }
        self.routes.start_step();
        self.answers.start_share(&self.policy, terms);
        self.contents.start_step();
    }

    /// Sets the latency limits by which slow requests are counted from now on; the judge only shows them.
    pub fn set_limits(&mut self, limits: Option<Limits>) {
        self.limits = limits;
    }

    /// The latency margins for freezing the limits of this step: FAIL, PASS.
    pub fn margins(&self) -> (Margin, Margin) {
        let pass = if self.last {
            self.policy.lat_pass_final
        } else {
            self.policy.lat_pass
        };
        (self.policy.lat_fail, pass)
    }

    /// The settings.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How the present share began.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Whether nothing is known by route yet: [`Judge::remember_routes`] may add blue's past.
    pub fn knows_no_route(&self) -> bool {
        self.routes.is_empty()
    }

    /// Takes blue's counts by route before green had users.
    pub fn remember_routes(&mut self, past: &[RoutePast]) {
        self.routes.remember(&self.policy, past);
    }

    /// Counts by route in the form that this judge takes and that is recorded.
    pub fn sort_routes(&self, counted: &[RouteCounts]) -> RouteSecond {
        self.routes.sorted(counted)
    }

    /// Takes the counts by route of the second that the next [`Judge::tick`] judges.
    pub fn count_routes(&mut self, second: &RouteSecond) {
        self.routes.count(&self.policy, second);
    }

    /// Takes one second of counts. Feed it every second from the moment that green has a share.
    pub fn tick(&mut self, tick: &Tick) {
        let warm = self.cold == 0;
        self.cold = self.cold.saturating_sub(1);
        for (track, metric) in self.tracks.iter_mut().zip(Metric::ALL) {
            let mut seen = metric.seen(tick, warm);
            if self.control.past().is_some() {
                seen.block = Block {
                    blue: 0,
                    blue_bad: 0,
                    ..seen.block
                };
            }
            if track.is_by_users() {
                let users = SeenUsers::of(metric, tick, &seen, warm);
                track.tick_users(metric, &seen, &users);
            } else {
                track.tick(&seen);
            }
        }
        for rail in &mut self.rails {
            rail.tick(tick, warm);
        }
        // A cold start is no fault: in green's first share gross slowness waits for the grace, too.
        let started = self.seconds >= self.policy.warmup_s;
        let beside = self.control == Control::Concurrent;
        if let Some(gross) = self.gross.as_mut().filter(|_| started && beside) {
            gross.tick(tick);
        }
        self.routes.tick(beside);
        if beside {
            self.answers.tick(&self.policy, tick, warm);
            self.contents.tick(&self.policy);
        }
        let failures = Metric::Err.seen(tick, warm).block;
        add(&mut self.step, &failures);
        self.total_requests += failures.green;
        let recent = match self.policy.unit {
            Unit::Requests => failures,
            // One busy user is no outage.
            Unit::Users => {
                SeenUsers::of(Metric::Err, tick, &Metric::Err.seen(tick, warm), warm).pass
            }
        };
        self.recent[self.seconds as usize % Judge::RECENT] = recent;
        self.seconds += 1;
        self.step_seconds += 1;
        self.ln_e_max = self.ln_e_max.max(self.ln_e());
    }

    /// Seconds until latency is judged in this share.
    pub fn grace_left(&self) -> u64 {
        self.cold
    }

    /// Whether latency is judged by now.
    pub fn hears_latency(&self) -> bool {
        self.cold == 0
    }

    /// Green requests judged in this step.
    pub fn step_requests(&self) -> u64 {
        self.step.green
    }

    /// Evidence that green is worse, now: a natural logarithm, in nats.
    pub fn ln_e(&self) -> f64 {
        self.whole(MetricTest::ln_e, false)
    }

    /// Evidence that green is worse, including the latency evidence of a small share, which never convicts; in nats.
    pub fn ln_small(&self) -> f64 {
        self.whole(MetricTest::ln_small, true)
    }

    fn whole(&self, ln_e: fn(&MetricTest) -> f64, small: bool) -> f64 {
        let compared = self.weighted(ln_e).into_iter();
        let gross = self
            .gross
            .as_ref()
            .map(|gross| self.policy.gross_share.ln() + gross.ln_e());
        let by_route = self.policy.routes_share.ln() + self.routes.ln_e();
        let answers = self.by_answers(small).map(|(_, ln_e)| ln_e);
        let contents = self.contents.ln_weighted(&self.policy);
        let others = gross.into_iter().chain([by_route]).chain(answers);
        let others = others.chain(contents);
        let terms: Vec<f64> = compared.chain(self.limited()).chain(others).collect();
        ln_sum(&terms) + self.ln_kept
    }

    /// Takes this part of the evidence of harm away as the stake of another test; its natural logarithm, in nats.
    ///
    /// From now on the wealth is `(1 - part) * E(t) + part * E(now) * S(t)`, where `S` starts at 1 and is a
    /// nonnegative supermartingale itself: so is the sum, and it started with the wealth that there was. Each
    /// of the two terms alone is at most the sum, so "either of them reaches `1 / alpha`" has a chance of at
    /// most `alpha`, whatever they have to do with each other. Before the first stake nothing is given up.
    pub fn stake(&mut self, part: f64) -> f64 {
        let staked = part.ln() + self.ln_e();
        self.ln_kept += (1.0 - part).ln();
        staked
    }

    /// The weight of comparisons and limits in the whole: gross slowness, routes and answers have the rest.
    fn rest(&self) -> f64 {
        let gross = self.gross.as_ref().map_or(0.0, |_| self.policy.gross_share);
        let answers = self.policy.answers_part() + self.policy.contents.judged_share();
        1.0 - gross - self.policy.routes_share - answers
    }

    /// Evidence that green, which serves alone, is worse than blue's past, in nats; it starts anew with each step.
    ///
    /// It is no verdict: what happens outside looks the same. So it may be gathered as often as one
    /// likes, and the chance of a false rollback is still that of [`Judge::ln_e`].
    pub fn ln_suspicion(&self) -> f64 {
        let others = self.policy.routes_share + self.policy.answers_part();
        ln_sum(&self.weighted(MetricTest::ln_suspicion)) - (1.0 - others).ln()
    }

    /// The weighted evidence of each comparison, in nats. The shares of limits and routes are taken off all alike.
    fn weighted(&self, ln_e: fn(&MetricTest) -> f64) -> [f64; 4] {
        let mut terms = [f64::NEG_INFINITY; 4];
        let rails = self.policy.rails_share(self.rails.len());
        let rest = (self.rest() * (1.0 - rails)).ln();
        for ((term, track), weight) in terms.iter_mut().zip(&self.tracks).zip(self.policy.weights) {
            if weight > 0.0 {
                *term = weight.ln() + rest + ln_e(track);
            }
        }
        terms
    }

    /// The weighted evidence of each absolute limit, in nats.
    fn limited(&self) -> impl Iterator<Item = f64> {
        let share = self.rest() * self.policy.rails_share(self.rails.len());
        let each = (share / self.rails.len().max(1) as f64).ln();
        self.rails.iter().map(move |rail| each + rail.ln_e())
    }

    /// The absolute limit with more weighted evidence than every comparison, if there is one.
    fn broken(&self) -> Option<usize> {
        let compared = self
            .weighted(MetricTest::ln_e)
            .into_iter()
            .fold(0.0, f64::max);
        let limited = self.limited().enumerate();
        let most = limited.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (most.1 > compared).then_some(most.0)
    }

    /// Whether gross slowness has more weighted evidence than every comparison and limit.
    fn grossly_slow(&self) -> bool {
        let compared = self.weighted(MetricTest::ln_small).into_iter();
        let others = compared.chain(self.limited()).fold(0.0, f64::max);
        let gross = self.gross.as_ref();
        gross.is_some_and(|gross| self.policy.gross_share.ln() + gross.ln_e() > others)
    }

    /// Whether one route has more weighted evidence than every comparison and every limit.
    fn by_route(&self) -> bool {
        let compared = self.weighted(MetricTest::ln_e).into_iter();
        let most = compared.chain(self.limited()).fold(0.0, f64::max);
        self.policy.routes_share.ln() + self.routes.ln_heaviest() > most
    }

    /// Why green fails, if it does.
    pub fn cause(&self) -> Option<Cause> {
        if self.outage() {
            Some(Cause::Outage)
        } else if self.ln_e_max >= self.policy.ln_limit() {
            Some(match self.broken() {
                Some(_) if self.by_route() || self.by_contents().is_some() => Cause::Evidence,
                Some(_) if self.answered_worse().is_none() => Cause::Slo,
                _ => Cause::Evidence,
            })
        } else if self
            .policy
            .max_excess_failures
            .is_some_and(|most| self.excess() > most as f64)
        {
            Some(Cause::HarmCap)
        } else {
            None
        }
    }

    /// The verdict on the evidence now.
    pub fn verdict(&self) -> Verdict {
        if self.cause().is_some() {
            return Verdict::Fail {
                reason: self.report().failure(),
            };
        }
        if self.step.green == 0 {
            return self.blue_fails().unwrap_or(Verdict::NoData);
        }
        if self.ln_suspicion() >= self.policy.suspicion.ln() {
            return Verdict::Suspect {
                reason: self.report().suspicion(),
            };
        }
        if self.is_to_be_confirmed() {
            return Verdict::Unconfirmed {
                reason: self.report().unconfirmed(),
            };
        }
        let leaning_worse = self.ln_small().max(self.ln_suspicion()) > self.policy.amber.ln()
            || self.routes.leaning(&self.policy);
        if !leaning_worse && self.shown() {
            return Verdict::Pass;
        }
        let undecided = Verdict::Inconclusive {
            leaning_worse,
            step_requests: self.step.green,
            total_requests: self.total_requests,
        };
        match self.blue_fails() {
            Some(verdict) if !leaning_worse => verdict,
            _ => undecided,
        }
    }

    /// Whether a small share has shown slowness but no failures: an equal share would have more of those.
    fn is_to_be_confirmed(&self) -> bool {
        let [failures, p50, p90, p99] = self.weighted(MetricTest::ln_small);
        let (mut failures, mut latency) = (vec![failures], vec![p50, p90, p99]);
        for (kind, ln_e) in self.by_answers(true) {
            match kind {
                AnswerKind::LastByte => latency.push(ln_e),
                _ => failures.push(ln_e),
            }
        }
        self.terms.small
            && !self.terms.cleared
            && ln_sum(&latency) >= self.policy.confirm.ln()
            && ln_sum(&failures) <= self.policy.amber.ln()
    }

    /// Whether every required metric is proven to be within the margin.
    fn shown(&self) -> bool {
        let needed = self.policy.ln_pass();
        let mut asked = Metric::ALL
            .into_iter()
            .filter_map(|one| self.ln_e_pass(one));
        asked.all(|ln_e| ln_e >= needed)
    }

    /// Evidence that green is good enough in this metric, in nats; `None` where that is not required.
    fn ln_e_pass(&self, metric: Metric) -> Option<f64> {
        let m = metric as usize;
        let weighs = self.policy.weights[m] > 0.0;
        self.tracks[m].ln_e_pass().filter(|_| weighs)
    }

    /// Whether green fails nearly everything, and blue (where it serves) much less: no statistics needed.
    fn outage(&self) -> bool {
        if self.seconds < Judge::RECENT as u64 {
            return false;
        }
        let mut all = Block::default();
        for second in &self.recent {
            add(&mut all, second);
        }
        let each_second = self.recent.iter().all(|s| 2 * s.green_bad >= s.green);
        let green_down = all.green >= 10 && 10 * all.green_bad >= 9 * all.green && each_second;
        let blue_better = all.blue > 0 && 2 * all.blue_bad * all.green <= all.green_bad * all.blue;
        green_down && (blue_better || self.control.past().is_some())
    }

    /// Failed requests that green cost beyond blue's rate, over the whole rollout.
    ///
    /// The sum over all steps of `green failed - green requests * rate`, where `rate` is blue's failed
    /// over blue's requests in the same step (0 where blue had none), or the baseline's failure rate in
    /// a step in which green serves alone. Steps are taken apart because blue's share changes between
    /// them: pooled, an incident that hits both pools during the larger share would look like harm.
    pub fn excess(&self) -> f64 {
        self.excess_before + self.step_excess()
    }

    fn step_excess(&self) -> f64 {
        let rate = match self.control.past() {
            Some(baseline) => baseline.failure_rate,
            None if self.step.blue == 0 => 0.0,
            None => self.step.blue_bad as f64 / self.step.blue as f64,
        };
        self.step.green_bad as f64 - self.step.green as f64 * rate
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::answers::AnswerTick;
    use crate::core::sequential::HistoryFail;
    use crate::core::stats::PoolCounts;

    pub(crate) fn pool(requests: u64, failed: u64) -> PoolCounts {
        PoolCounts {
            requests,
            failed,
            ..PoolCounts::default()
        }
    }

    fn timed(requests: u64, slow: [u64; 3]) -> PoolCounts {
        PoolCounts {
            requests,
            failed: 0,
            timed: requests,
            slow_fail: slow,
            slow_pass: slow,
            ..PoolCounts::default()
        }
    }

    fn feed(judge: &mut Judge, seconds: u64, blue: PoolCounts, green: PoolCounts) {
        for _ in 0..seconds {
            judge.tick(&Tick { blue, green });
        }
    }

    const PAST: Baseline = Baseline {
        failure_rate: 0.0065,
        limits: None,
    };

    #[test]
    fn without_a_green_request_there_is_no_data() {
        let mut judge = Judge::new(Policy::default());
        feed(&mut judge, 100, pool(500, 1), pool(0, 0));
        assert_eq!(judge.verdict(), Verdict::NoData);
        feed(&mut judge, 1, pool(500, 1), pool(1, 0));
        assert!(matches!(
            judge.verdict(),
            Verdict::Inconclusive {
                step_requests: 1,
                ..
            }
        ));
        judge.start_step(true, Control::Concurrent);
        assert_eq!(judge.verdict(), Verdict::NoData);
    }

    #[test]
    fn without_intervals_the_verdict_is_the_same() {
        let mut judges = [
            Judge::new(Policy::default()),
            Judge::new(Policy::default()).without_intervals(),
        ];
        for judge in &mut judges {
            feed(judge, 40, timed(475, [240, 48, 5]), timed(25, [11, 2, 0]));
            feed(judge, 20, pool(475, 1), pool(25, 2));
        }
        let [plain, quick] = judges.map(|judge| (judge.verdict(), judge.report()));
        assert_eq!(plain.0, quick.0);
        assert!((plain.1.ln_e_max - quick.1.ln_e_max).abs() < 1e-12);
        let odds = |report: &Report| report.findings.iter().map(|f| f.odds).collect::<Vec<_>>();
        assert_eq!(odds(&plain.1), odds(&quick.1));
        let finding = quick.1.finding(Metric::Err).unwrap();
        assert_eq!((finding.odds_low, finding.odds_high), (0.0, None));
    }

    #[test]
    fn green_alone_equals_the_history_process() {
        let policy = Policy::default();
        let mut judge = Judge::new(policy.clone());
        judge.start_step(true, Control::History(PAST));
        let mut alone = HistoryFail::new(policy.history_betting(), PAST.failure_rate);
        for failed in [0, 3, 2, 0, 4] {
            judge.tick(&Tick {
                blue: pool(7, 7),
                green: pool(50, failed),
            });
            alone.block(1, 50, failed);
            let report = judge.report();
            let err = report.finding(Metric::Err).unwrap();
            assert!((err.ln_e_fail - alone.ln_e()).abs() < 1e-12);
            assert_eq!(report.finding(Metric::P99).unwrap().ln_e_pass, None);
        }
    }

    #[test]
    fn evidence_from_beside_blue_is_carried_into_the_time_alone() {
        let mut judge = Judge::new(Policy::default());
        feed(&mut judge, 6, pool(475, 0), pool(25, 3));
        let before = judge.ln_e();
        judge.start_step(true, Control::History(PAST));
        assert!(
            (judge.ln_e() - before).abs() < 1e-12,
            "a switch is no evidence"
        );
        feed(&mut judge, 20, pool(0, 0), pool(500, 50));
        let alone = judge.ln_e();
        assert!(alone > before + 1.0);
        judge.start_step(false, Control::Concurrent);
        assert!((judge.ln_e() - alone).abs() < 1e-12);
    }

    #[test]
    fn a_new_baseline_keeps_the_evidence() {
        let mut judge = Judge::new(Policy::default());
        judge.start_step(false, Control::History(PAST));
        feed(&mut judge, 10, pool(0, 0), pool(500, 25));
        let before = judge.ln_e();
        assert!(before > 0.5);
        judge.start_step(
            true,
            Control::History(Baseline {
                failure_rate: 0.01,
                ..PAST
            }),
        );
        assert!((judge.ln_e() - before).abs() < 1e-12);
    }

    #[test]
    fn a_block_never_spans_two_shares() {
        let mut judge = Judge::new(Policy::default());
        feed(&mut judge, 1, pool(0, 0), pool(1, 1));
        judge.start_step(false, Control::Concurrent);
        feed(&mut judge, 1, pool(9, 0), pool(0, 0));
        assert!(
            judge.ln_e().abs() < 1e-12,
            "half a table is no evidence: {}",
            judge.ln_e()
        );
        feed(&mut judge, 1, pool(0, 0), pool(1, 1));
        assert!(judge.ln_e() > 0.1, "within a share it is");
    }

    #[test]
    fn green_under_suspicion_never_passes() {
        let mut judge = Judge::new(Policy::default());
        // Separate bursts.
        for _ in 0..4 {
            feed(&mut judge, 1, pool(475, 0), pool(25, 3));
            feed(&mut judge, 2, pool(475, 0), pool(25, 0));
        }
        judge.start_step(true, Control::History(PAST));
        feed(&mut judge, 40, pool(0, 0), pool(500, 0));
        let shown = judge
            .report()
            .finding(Metric::Err)
            .unwrap()
            .ln_e_pass
            .unwrap();
        assert!(
            shown > judge.policy().ln_pass() && judge.ln_e() > 1.5f64.ln(),
            "{shown} {}",
            judge.ln_e()
        );
        assert!(matches!(
            judge.verdict(),
            Verdict::Inconclusive {
                leaning_worse: true,
                ..
            }
        ));
    }

    #[test]
    fn latency_is_left_out_where_the_past_says_nothing_of_it() {
        let mut judge = Judge::new(Policy::default());
        judge.start_step(true, Control::History(PAST));
        feed(&mut judge, 300, pool(0, 0), timed(500, [500, 500, 500]));
        assert_eq!(judge.verdict(), Verdict::Pass);
        let with_limits = Baseline {
            limits: Some([1, 2, 3]),
            ..PAST
        };
        let mut judge = Judge::new(Policy::default());
        judge.start_step(true, Control::History(with_limits));
        feed(&mut judge, 29, pool(0, 0), timed(500, [500, 500, 500]));
        assert_eq!(
            judge.report().finding(Metric::P50).unwrap().green_requests,
            0,
            "warm-up"
        );
        feed(&mut judge, 60, pool(0, 0), timed(500, [500, 500, 500]));
        assert_eq!(judge.cause(), Some(Cause::Evidence));
        let mut judge = Judge::new(Policy::default());
        judge.start_step(true, Control::History(with_limits));
        feed(&mut judge, 120, pool(0, 0), timed(500, [100, 20, 1]));
        assert_eq!(judge.verdict(), Verdict::Pass);
    }

    #[test]
    fn blue_s_past_may_only_raise_suspicion_where_blue_can_be_asked() {
        let mut judge = Judge::new(Policy::default());
        judge.start_step(true, Control::Suspicion(PAST));
        feed(&mut judge, 60, pool(0, 0), pool(500, 60));
        assert_eq!(judge.cause(), None, "an incident looks like this, too");
        assert!(judge.ln_e() < 1e-12, "and is no evidence of harm");
        let Verdict::Suspect { reason } = judge.verdict() else {
            panic!("{:?}", judge.verdict())
        };
        assert!(
            reason
                .starts_with("green 12% errors (3,600 of 30,000), where blue's past allows 0.65%"),
            "{reason}"
        );
        judge.start_step(true, Control::Concurrent);
        feed(&mut judge, 60, pool(125, 15), pool(375, 45));
        assert_eq!(judge.cause(), None, "blue does no better");
        judge.start_step(true, Control::Suspicion(PAST));
        assert!(judge.ln_suspicion() < 1e-12, "it begins anew");
        judge.start_step(true, Control::Concurrent);
        feed(&mut judge, 60, pool(125, 0), pool(375, 45));
        assert_eq!(judge.cause(), Some(Cause::Evidence), "blue does better");
    }

    #[test]
    fn a_green_that_is_down_is_not_asked_about() {
        let mut judge = Judge::new(Policy::default());
        judge.start_step(true, Control::Suspicion(PAST));
        feed(&mut judge, 5, pool(0, 0), pool(25, 25));
        assert_eq!(judge.cause(), Some(Cause::Outage));
    }

    #[test]
    fn an_outage_needs_no_blue_when_green_serves_alone() {
        let mut judge = Judge::new(Policy::default());
        judge.start_step(true, Control::History(PAST));
        feed(&mut judge, 4, pool(0, 0), pool(25, 25));
        assert_eq!(judge.cause(), None);
        feed(&mut judge, 1, pool(0, 0), pool(25, 25));
        assert_eq!(judge.cause(), Some(Cause::Outage));
        let Verdict::Fail { reason } = judge.verdict() else {
            panic!("{:?}", judge.verdict())
        };
        assert_eq!(
            reason,
            "green failed 125 of 125 requests in the last 5 seconds"
        );
    }

    #[test]
    fn a_shared_outage_is_not_green_fault() {
        let mut judge = Judge::new(Policy::default());
        feed(&mut judge, 60, pool(475, 475), pool(25, 25));
        assert_eq!(judge.cause(), None);
        assert!(judge.ln_e() < 0.1);
    }

    #[test]
    fn the_harm_cap_counts_failures_beyond_blue_rate() {
        let policy = Policy {
            max_excess_failures: Some(10),
            alpha: 1e-300,
            ..Policy::default()
        };
        let mut judge = Judge::new(policy);
        feed(&mut judge, 10, pool(1_000, 100), pool(100, 11));
        assert!((judge.excess() - 10.0).abs() < 1e-9);
        assert_eq!(judge.cause(), None, "ten are allowed");
        judge.start_step(true, Control::History(PAST));
        feed(&mut judge, 1, pool(0, 0), pool(100, 2));
        assert!((judge.excess() - (10.0 + 2.0 - 0.65)).abs() < 1e-9);
        assert_eq!(judge.cause(), Some(Cause::HarmCap));
        let Verdict::Fail { reason } = judge.verdict() else {
            panic!("{:?}", judge.verdict())
        };
        assert!(
            reason.contains("11 failed requests more") && reason.contains("at most 10"),
            "{reason}"
        );
    }

    #[test]
    fn an_incident_during_the_larger_share_is_no_harm() {
        let mut judge = Judge::new(Policy::default());
        feed(&mut judge, 100, pool(950, 0), pool(50, 0));
        judge.start_step(true, Control::Concurrent);
        feed(&mut judge, 100, pool(500, 50), pool(500, 50));
        assert!(judge.excess().abs() < 1e-6, "{}", judge.excess());
    }

    #[test]
    fn the_last_step_has_the_tighter_margin() {
        let mut judge = Judge::new(Policy::default());
        assert_eq!(
            judge.margins().1,
            Margin {
                ratio: 0.50,
                millis: 10.0
            }
        );
        judge.start_step(true, Control::Concurrent);
        assert_eq!(
            judge.margins().1,
            Margin {
                ratio: 0.25,
                millis: 5.0
            }
        );
        assert_eq!(
            judge.margins().0,
            Margin {
                ratio: 0.10,
                millis: 1.0
            }
        );
    }

    fn limited(slo: Slo) -> Judge {
        Judge::new(Policy {
            slo,
            ..Policy::default()
        })
    }

    const ERRORS: Slo = Slo {
        error_rate: Some(0.05),
        latency: [None; 3],
    };

    #[test]
    fn beyond_an_absolute_limit_a_green_that_equals_blue_goes() {
        let mut free = Judge::new(Policy::default());
        let mut judge = limited(ERRORS);
        for judge in [&mut free, &mut judge] {
            feed(judge, 60, pool(100, 12), pool(100, 12));
        }
        assert_eq!(free.cause(), None, "it is as good as blue");
        assert_eq!(judge.cause(), Some(Cause::Slo));
        let Verdict::Fail { reason } = judge.verdict() else {
            panic!("{:?}", judge.verdict())
        };
        assert!(
            reason.starts_with(
                "green 12% errors (720 of 6,000), where max_error_rate allows 5.0%, evidence "
            ),
            "{reason}"
        );
    }

    #[test]
    fn no_single_request_breaks_an_absolute_limit() {
        let mut judge = limited(ERRORS);
        judge.start_step(true, Control::History(PAST));
        feed(&mut judge, 1, pool(0, 0), pool(1, 1));
        feed(&mut judge, 3, pool(0, 0), pool(0, 0));
        feed(&mut judge, 1, pool(0, 0), pool(2, 2));
        assert_eq!(judge.cause(), None, "{}", judge.report().failure());
    }

    #[test]
    fn an_absolute_limit_of_latency_needs_no_blue_and_waits_for_the_warm_up() {
        let slo = Slo {
            error_rate: None,
            latency: [None, None, Some(800_000)],
        };
        let slow = PoolCounts {
            slow_slo: [0, 0, 10],
            ..timed(100, [0; 3])
        };
        let mut judge = limited(slo);
        judge.start_step(true, Control::History(PAST));
        feed(&mut judge, 30, pool(0, 0), slow);
        assert_eq!(judge.report().rails[0].requests, 0, "warm-up");
        feed(&mut judge, 60, pool(0, 0), slow);
        assert_eq!(judge.cause(), Some(Cause::Slo));
        let reason = judge.report().failure();
        assert!(
            reason.starts_with(
                "green 10% above 800 ms (600 of 6,000), where max_p99 allows 1.0%, evidence "
            ),
            "{reason}"
        );
        let mut judge = limited(slo);
        judge.start_step(true, Control::History(PAST));
        let within = PoolCounts {
            slow_slo: [100, 100, 1],
            ..slow
        };
        feed(&mut judge, 900, pool(0, 0), within);
        assert_eq!(judge.cause(), None, "one in a hundred is what p99 allows");
    }

    #[test]
    fn absolute_limits_are_looked_at_in_every_share() {
        let mut judge = limited(ERRORS);
        feed(&mut judge, 5, pool(95, 10), pool(50, 6));
        let beside = judge.report().rails[0].ln_e;
        judge.start_step(true, Control::History(PAST));
        assert!((judge.report().rails[0].ln_e - beside).abs() < 1e-12);
        feed(&mut judge, 5, pool(0, 0), pool(50, 6));
        let rail = judge.report().rails[0].clone();
        assert!(rail.ln_e > beside && rail.requests == 500, "{rail:?}");
    }

    #[test]
    fn impossible_counts_and_settings_do_no_harm() {
        let wild = PoolCounts {
            requests: 3,
            failed: 9,
            timed: 1,
            slow_fail: [7; 3],
            slow_pass: [7; 3],
            slow_slo: [7; 3],
            slow_gross: 0,
            users: None,
            answers: AnswerTick {
                by_request: [7; 3],
                timed: 1,
                late: 9,
            },
        };
        let mut judge = Judge::new(Policy {
            warmup_s: 0,
            slo: Slo {
                error_rate: Some(0.0),
                latency: [Some(0); 3],
            },
            ..Policy::default()
        });
        feed(&mut judge, 3, wild, wild);
        let nothing = Baseline {
            failure_rate: 0.0,
            limits: Some([0; 3]),
        };
        judge.start_step(true, Control::History(nothing));
        feed(&mut judge, 3, wild, wild);
        assert!(
            judge
                .report()
                .findings
                .iter()
                .all(|f| f.ln_e_fail.is_finite())
        );
    }

    #[test]
    fn a_saved_judge_goes_on_where_it_was() {
        let mut judge = Judge::new(Policy::default());
        feed(
            &mut judge,
            40,
            timed(475, [240, 48, 5]),
            timed(25, [11, 2, 0]),
        );
        let saved = serde_json::to_string(&judge).unwrap();
        let mut restored: Judge = serde_json::from_str(&saved).unwrap();
        for j in [&mut judge, &mut restored] {
            feed(j, 40, timed(475, [240, 48, 5]), timed(25, [11, 2, 0]));
        }
        assert!((judge.ln_e() - restored.ln_e()).abs() < 1e-12);
        assert_eq!(judge.verdict(), restored.verdict());
    }
}
