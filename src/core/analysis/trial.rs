//! A rollout with everything that decides about it.

use super::{Evidence, Harm, Line, Past, Share};
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

/// The machine, the evidence, the sources, and what they come to together.
///
/// It holds no clock and does no I/O: seconds of counts, answers of sources and events are handed in, actions and lines
/// to record come out.
#[derive(Clone, Debug)]
pub struct Trial {
    pub(super) rollout: Rollout,
    pub(super) evidence: Evidence,
    sources: Sources,
    /// Blue's past as it was before a restart of the process.
    kept: Option<Baseline>,
    /// Where green's failed requests failed, since its first share or a restart.
    faults: Faults,
    /// What the judge of users' requests said last, weighed with what probes and sources say.
    pub(super) verdict: Option<Verdict>,
    pub(super) harm: Harm,
}

impl Trial {
    /// A rollout whose evidence begins; `probed` when requests of shifter's own are judged beside users'.
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

    /// Blue's past as it was before a restart of the process.
    pub fn keep(&mut self, past: Option<Baseline>) {
        self.kept = past;
    }

    /// The machine.
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

    /// The judge of probes, for what is not judged: blue's spans and green's faults.
    pub fn probes_mut(&mut self) -> Option<&mut Probes> {
        self.evidence.probes_mut()
    }

    /// The sources, to be asked.
    pub fn sources_mut(&mut self) -> &mut Sources {
        &mut self.sources
    }

    /// The latency limits of the present share, once they are frozen.
    pub fn limits(&self) -> Option<Limits> {
        self.evidence.limits()
    }

    /// The last verdict in this share, weighed with what probes and sources say.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Blue's past beside what is kept from before a restart.
    pub fn past<'a>(&self, blue: &'a History) -> Past<'a> {
        Past {
            history: blue,
            kept: self.kept,
        }
    }

    /// Gives the machine an event; what is to be done about it.
    pub fn on(&mut self, event: Event, now: Time) -> Vec<Action> {
        self.rollout.on(event, now)
    }

    /// Puts the machine back to what it was: its last change could not be recorded.
    pub fn revert(&mut self, rollout: Rollout) {
        self.rollout = rollout;
    }

    /// Whether seconds are judged now: green has a share, and the plan is under way.
    pub fn judges(&self) -> bool {
        self.rollout.weight() > Weight::NONE && self.rollout.step_index().is_some()
    }

    /// Green has this share from now on, and had another one before: verdict and limits begin anew. The lines to record.
    pub fn start_share(
        &mut self,
        before: Weight,
        weight: Weight,
        blue: &History,
        now: Time,
    ) -> Vec<Line> {
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
    pub fn freeze(&mut self, blue: &History) -> Option<Line> {
        if !self.judges() {
            return None;
        }
        let past = self.past(blue);
        self.evidence.freeze(&past)
    }

    /// Freezes the latency limits of this share once more, from the times of the baseline; the line to record.
    pub fn freeze_fairly(&mut self, baseline: &Histogram) -> Option<Line> {
        let judged = self.judges() && !self.withheld();
        judged.then(|| self.evidence.freeze_fairly(baseline))?
    }

    /// Tells what blue did by route before green has a share, once; the line to record.
    pub fn remember_routes(&mut self, weight: Weight, usual: &Usual) -> Option<Line> {
        let begins = weight > Weight::NONE && self.rollout.step_index().is_some();
        begins.then(|| self.evidence.remember_routes(usual))?
    }

    /// Counts by route what comes in the second that is judged next; the line to record.
    pub fn routes(&mut self, counted: &[RouteCounts]) -> Option<Line> {
        let judged = self.judges() && !self.rollout.degraded();
        judged.then(|| self.evidence.routes(counted))?
    }

    /// Counts what answers were like in the second that is judged next; the line to record.
    pub fn contents(&mut self, counted: &[ContentCounts]) -> Option<Line> {
        let judged = self.judges() && !self.rollout.degraded();
        judged.then(|| self.evidence.contents(counted))?
    }

    /// Judges one second of users' requests; the line to record. Green has so many members.
    ///
    /// In a window without green there is nothing of green's to judge. Beside a dead blue every green looks good: such seconds say nothing, and are not judged.
    pub fn second(&mut self, tick: &Tick, members: usize) -> Option<Line> {
        if !self.judges() || self.rollout.degraded() || self.withheld() {
            return None;
        }
        let (verdict, line) = self.evidence.second(tick);
        self.verdict = Some(self.weighed(verdict, members));
        Some(line)
    }

    /// Judges one second of probes; the line to record.
    pub fn probe_second(&mut self, tick: &Tick) -> Option<Line> {
        self.evidence.probe_second(tick)
    }

    /// Keeps where green's requests failed.
    pub fn blame(&mut self, faults: Faults) {
        self.faults.merge(faults);
    }

    /// What the verdict on users' requests comes to beside probes and sources.
    ///
    /// Probes first: they stand in for users. Sources last: they can only hold up or end what the requests say.
    fn weighed(&self, verdict: Verdict, members: usize) -> Verdict {
        let told = self.with_faults(verdict, members);
        let weighed = match self.evidence.probes() {
            Some(probes) => probes.weigh(self.users(told)),
            None => told,
        };
        self.sources.weigh(weighed)
    }

    /// What users say, for probes to be held against.
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
            // Statuses and routes of answers are known here alone.
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

    /// What the verdict rests on, and where green failed.
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
