//! A rollout with everything that decides about it.

use super::{Evidence, Harm, Past, RecordedLine, Share};
use crate::core::contents::ContentCounts;
use crate::core::fault::Faults;
use crate::core::judge::{Cause, Judge, Policy, Report, Terms, Verdict};
use crate::core::probes::{Probes, Users};
use crate::core::rollout::{Action, Event, Rollout};
use crate::core::routes::{RouteCounts, Usual};
use crate::core::source::Sources;
use crate::core::stats::{Baseline, Histogram, History, Limits, Tick};
use crate::core::time::Time;
use crate::core::weight::Weight;

/// The state machine, the evidence and the sources, and the verdict that follows from all of them.
///
/// It holds no clock and does no I/O: seconds of counts, answers of sources and events are handed in, actions and lines
/// to record come out.
#[derive(Clone, Debug)]
pub struct Trial {
    pub(super) rollout: Rollout,
    pub(super) evidence: Evidence,
    sources: Sources,
    /// Blue's past as saved before a restart of the process.
    kept: Option<Baseline>,
    /// Where green's requests failed, since its first share or a restart.
    faults: Faults,
    /// The last verdict of the judge of users' requests, combined with probes and sources.
    pub(super) verdict: Option<Verdict>,
    pub(super) harm: Harm,
}

impl Trial {
    /// A rollout without evidence; `probed` when shifter's own probe requests are judged beside users' requests.
    pub fn new(rollout: Rollout, policy: Policy, probed: bool, sources: Sources) -> Trial {
        Trial {
            rollout,
            evidence: Evidence::new(policy, probed),
            sources,
            kept: None,
            faults: Faults::default(),
            verdict: None,
            harm: Harm::default(),
        }
    }

    /// Leaves out the intervals of the odds ratio: for simulations.
    pub fn without_intervals(mut self) -> Trial {
        self.evidence = self.evidence.without_intervals();
        self
    }

    /// Sets blue's past as saved before a restart of the process.
    pub fn keep(&mut self, past: Option<Baseline>) {
        self.kept = past;
    }

    /// The state machine.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// The judge of users' requests.
    pub fn judge(&self) -> &Judge {
        self.evidence.judge()
    }

    /// The judge of probes, where there are probes.
    pub fn probes(&self) -> Option<&Probes> {
        self.evidence.probes()
    }

    /// The judge of probes, to update what it does not judge: blue's spans and green's faults.
    pub fn probes_mut(&mut self) -> Option<&mut Probes> {
        self.evidence.probes_mut()
    }

    /// The sources, to be queried.
    pub fn sources_mut(&mut self) -> &mut Sources {
        &mut self.sources
    }

    /// The latency limits of the present share, once they are frozen.
    pub fn limits(&self) -> Option<Limits> {
        self.evidence.limits()
    }

    /// The last verdict in this share, combined with probes and sources.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Blue's past of this process, with the one saved before a restart.
    pub fn past<'a>(&self, blue: &'a History) -> Past<'a> {
        Past {
            history: blue,
            kept: self.kept,
        }
    }

    /// Gives the state machine an event; returns the actions to take.
    pub fn on(&mut self, event: Event, now: Time) -> Vec<Action> {
        self.rollout.on(event, now)
    }

    /// Resets the state machine to `rollout`: its last change could not be recorded.
    pub fn revert(&mut self, rollout: Rollout) {
        self.rollout = rollout;
    }

    /// Whether seconds are judged now: green has a share, and the plan is under way.
    pub fn judges(&self) -> bool {
        self.rollout.weight() > Weight::NONE && self.rollout.step_index().is_some()
    }

    /// Green has a new share from now on: verdict and limits start anew. `before` is the weight until now. Returns the
    /// lines to record.
    pub fn start_share(
        &mut self,
        before: Weight,
        weight: Weight,
        blue: &History,
        now: Time,
    ) -> Vec<RecordedLine> {
        self.verdict = None;
        self.sources.restart(now);
        self.watch_blue(before, weight, blue);
        let Some(step) = self.rollout.step_index().filter(|_| weight > Weight::NONE) else {
            return vec![];
        };
        let plan = self.rollout.plan();
        let share = Share {
            weight,
            last: plan.last_shift() == Some(step),
            blue_can_answer: plan.challenge > Weight::NONE && !self.rollout.degraded(),
            terms: self.terms(before, weight),
        };
        let past = self.past(blue);
        self.evidence.start_share(share, &past)
    }

    fn terms(&self, before: Weight, weight: Weight) -> Terms {
        let raised = weight > before;
        let (ramp, confirms) = (self.rollout.plan().ramp, self.rollout.confirming());
        let baseline = self.rollout.places(weight).is_some();
        Terms {
            raised,
            ramp_s: if raised && before > Weight::NONE {
                ramp.as_secs()
            } else {
                0
            },
            small: !baseline && self.judge().policy().is_small(weight),
            confirms,
            cleared: !confirms && self.rollout.confirmed(),
            baseline,
        }
    }

    /// Freezes the latency limits of this share when blue has enough samples; the line to record when they are new.
    pub fn freeze(&mut self, blue: &History) -> Option<RecordedLine> {
        if !self.judges() {
            return None;
        }
        let past = self.past(blue);
        self.evidence.freeze(&past)
    }

    /// Freezes the latency limits of this share once more, from the times of the baseline; the line to record.
    pub fn freeze_fairly(&mut self, baseline: &Histogram) -> Option<RecordedLine> {
        let judged = self.judges() && !self.withheld();
        judged.then(|| self.evidence.freeze_fairly(baseline))?
    }

    /// Records blue's counts by route once, before green has a share; the line to record.
    pub fn remember_routes(&mut self, weight: Weight, usual: &Usual) -> Option<RecordedLine> {
        let begins = weight > Weight::NONE && self.rollout.step_index().is_some();
        begins.then(|| self.evidence.remember_routes(usual))?
    }

    /// Counts the second that is judged next by route; the line to record.
    pub fn routes(&mut self, counted: &[RouteCounts]) -> Option<RecordedLine> {
        let judged = self.judges() && !self.rollout.degraded();
        judged.then(|| self.evidence.routes(counted))?
    }

    /// Counts sizes and content types of answers in the second that is judged next; the line to record.
    pub fn contents(&mut self, counted: &[ContentCounts]) -> Option<RecordedLine> {
        let judged = self.judges() && !self.rollout.degraded();
        judged.then(|| self.evidence.contents(counted))?
    }

    /// Judges one second of users' requests; the line to record. `members` is the number of green's backends.
    ///
    /// A window without green has no requests of green to judge. Beside a dead blue every green looks good: such
    /// seconds are no evidence, and are not judged.
    pub fn second(&mut self, tick: &Tick, members: usize) -> Option<RecordedLine> {
        if !self.judges() || self.rollout.degraded() || self.withheld() {
            return None;
        }
        let (verdict, line) = self.evidence.second(tick);
        self.verdict = Some(self.weighed(verdict, members));
        Some(line)
    }

    /// Judges one second of probes; the line to record.
    pub fn probe_second(&mut self, tick: &Tick) -> Option<RecordedLine> {
        self.evidence.probe_second(tick)
    }

    /// Keeps where green's requests failed.
    pub fn blame(&mut self, faults: Faults) {
        self.faults.merge(faults);
    }

    /// The verdict on users' requests, combined with probes and sources.
    ///
    /// Probes first: they stand in for users. Sources last: they can only delay or end what the requests say.
    fn weighed(&self, verdict: Verdict, members: usize) -> Verdict {
        let told = self.with_faults(verdict, members);
        let weighed = match self.evidence.probes() {
            Some(probes) => probes.weigh(self.users(told)),
            None => told,
        };
        self.sources.weigh(weighed)
    }

    /// The evidence of users' requests, for comparison with the probes.
    fn users(&self, verdict: Verdict) -> Users {
        Users {
            verdict,
            step_requests: self.judge().step_requests(),
            suspicious: self.rollout.challenged(),
        }
    }

    /// Adds words on where green failed to a verdict that is about failed requests.
    fn with_faults(&self, verdict: Verdict, members: usize) -> Verdict {
        let Verdict::Fail { mut reason } = verdict else {
            return verdict;
        };
        let report = self.report();
        if report.answer.is_some() && report.cause == Some(Cause::Evidence) {
            // Only here are statuses and routes of answers known.
            return Verdict::Fail {
                reason: report.failure(),
            };
        }
        if report.is_about_failures()
            && let Some(words) = self.faults.words(members)
        {
            reason = format!("{reason}; {words}");
        }
        Verdict::Fail { reason }
    }

    /// The evidence behind the verdict, and where green failed.
    pub fn report(&self) -> Report {
        Report {
            faults: self.faults.clone(),
            probes: self.probes().map(|probes| Box::new(probes.report())),
            ..self.judge().report()
        }
    }

    /// One line on a verdict, for people.
    pub fn line(&self, verdict: &Verdict) -> String {
        if let (Verdict::Fail { .. }, Some(harm)) = (verdict, self.harm()) {
            return harm.to_owned();
        }
        let users = || self.users(self.judge().verdict());
        let probes = || self.probes()?.line_on(users(), verdict);
        let others = self.sources.line(verdict).or_else(probes);
        others.unwrap_or_else(|| self.judge().report().line(verdict))
    }
}
