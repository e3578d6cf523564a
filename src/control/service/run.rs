//! One rollout under way: the state machine, the judge, and their inputs.

use crate::config::Service;
use crate::control::api::view::{RolloutView, StepView};
use crate::control::service::observed::ObservedBaseline;
use crate::control::signals::probes::Prober;
use crate::control::signals::sources;
use crate::core::analysis::{RecordedLine, Trial};
use crate::core::answers::{AnswerKind, Expected};
use crate::core::judge::{Content, Policy};
use crate::core::plan::Step;
use crate::core::probes::Probes;
use crate::core::rollout::{Event, Outcome, Phase, Rollout};
use crate::core::stats::SpanStats;
use crate::core::time::Time;
use crate::core::usage::ResourceUsage;
use crate::store::journal::SavedRollout;
use std::sync::Arc;
use std::time::Duration;

/// One rollout under way.
pub struct Run {
    /// The rollout as recorded.
    pub saved: SavedRollout,
    /// The state machine with its evidence.
    pub trial: Trial,
    /// The service's settings at its start: a reload changes those of the next rollout.
    pub settings: Arc<Service>,
    /// Requests of our own to both versions.
    pub prober: Option<Prober>,
    /// Resource usage of both versions.
    pub usage: ResourceUsage,
    /// Differences of sizes and types that were reported, by route.
    pub told_contents: Vec<(String, Content)>,
    /// Green has been healthy once: from then on its loss counts against it.
    pub ready: bool,
    /// Since when all of green has been healthy without a break.
    pub well_since: Option<Time>,
    /// The observed state of the baseline.
    pub baseline: ObservedBaseline,
    /// Whether each pool was seen without a healthy backend.
    pub lost: [bool; 2],
    /// The image of green's containers, where shifter makes them.
    pub image: Option<String>,
    /// Refuse to start with too little memory for two versions.
    pub strict: bool,
    /// It was stated that this is the first version.
    pub first: bool,
    /// What green changes on purpose: only reported in this rollout, not judged.
    pub expect: Vec<Expected>,
    /// Kinds of answers that were reported.
    pub told: Vec<AnswerKind>,
    /// Number of members that green must have to be ready.
    pub members: usize,
    /// Events that could not be recorded yet.
    pub pending: Vec<Event>,
    /// The statistics of both pools in this step.
    pub step_spans: [SpanStats; 2],
    /// The furthest step that was begun.
    pub reached: usize,
    /// Lines to be recorded.
    pub lines: Vec<(i64, String)>,
    recorded: i64,
}

/// The shortest time of the first share.
fn first_hold(rollout: &Rollout) -> Duration {
    let hold = |step: &Step| match step {
        Step::Shift { hold, .. } => Some(*hold),
        _ => None,
    };
    rollout
        .plan()
        .steps
        .iter()
        .find_map(hold)
        .unwrap_or_default()
}

/// The furthest step that a rollout has begun, by its phase: the last one where it was promoted.
fn reached(rollout: &Rollout) -> usize {
    let last = rollout.plan().steps.len().saturating_sub(1);
    let promoted = *rollout.phase() == Phase::Promoted;
    let at = rollout.step_index();
    at.unwrap_or(if promoted { last } else { 0 })
}

impl Run {
    /// A rollout without evidence; `ready` when green has been healthy before.
    pub fn new(
        saved: SavedRollout,
        rollout: Rollout,
        settings: Arc<Service>,
        policy: Policy,
        ready: bool,
        recorded: i64,
    ) -> Run {
        let sources = sources::of(&settings.sources);
        let usage = ResourceUsage::within(first_hold(&rollout));
        let reached = reached(&rollout);
        let prober = Prober::of(&settings).unwrap_or_else(|error| {
            tracing::warn!(service = %settings.name, "no probes: {error}");
            None
        });
        let mut run = Run {
            saved,
            trial: Trial::new(rollout, policy.clone(), prober.is_some(), sources),
            settings,
            prober,
            usage,
            told_contents: vec![],
            ready,
            well_since: None,
            baseline: ObservedBaseline::default(),
            lost: [false; 2],
            image: None,
            strict: false,
            first: false,
            expect: vec![],
            told: vec![],
            members: 1,
            pending: vec![],
            step_spans: Default::default(),
            reached,
            lines: vec![],
            recorded,
        };
        run.trial.switch_back(run.settings.switchback);
        run.record(&RecordedLine::Policy(Box::new(policy)));
        run
    }

    /// Kinds of answers that are worse on green, not judged, and not reported before.
    pub fn findings(&mut self) -> Vec<String> {
        // A report is made for this only in a rollout that has something to report.
        if !self.trial.judge().has_told() {
            return vec![];
        }
        let report = self.trial.report();
        let fresh = report.told().filter(|one| !self.told.contains(&one.kind));
        let fresh: Vec<_> = fresh
            .map(|one| (one.kind, report.finding_words(one)))
            .collect();
        self.told.extend(fresh.iter().map(|(kind, _)| *kind));
        fresh.into_iter().map(|(_, words)| words).collect()
    }

    /// Differences of sizes and types of answers that were not reported before.
    pub fn content_findings(&mut self) -> Vec<String> {
        let found = self.trial.judge().content_findings().into_iter();
        let mut lines = vec![];
        for finding in found {
            let known = (finding.route.clone(), finding.what);
            if !self.told_contents.contains(&known) {
                self.told_contents.push(known);
                lines.push(finding.line());
            }
        }
        lines
    }

    /// Adds a line to the recording.
    pub fn record(&mut self, line: &RecordedLine) {
        if let Ok(body) = serde_json::to_string(line) {
            self.lines.push((self.recorded, body));
            self.recorded += 1;
        }
    }

    /// One line on the state: the verdict, and the window of a switchback.
    fn line(&self) -> Option<String> {
        let verdict = self.trial.verdict();
        let line = verdict.map(|verdict| self.trial.line(verdict));
        match (self.trial.window_words(), line) {
            (Some(window), Some(line)) => Some(format!("{window}; {line}")),
            (window, line) => window.or(line),
        }
    }

    /// The view of the rollout.
    pub fn view(&self, now: Time) -> RolloutView {
        let report = self.trial.report();
        let outcome = self.trial.rollout().outcome();
        RolloutView {
            id: self.saved.id,
            strategy: self.saved.strategy.clone(),
            from: self.saved.from.clone(),
            to: self.saved.to.clone(),
            started_at: self.saved.started_at.clone(),
            phase: self.trial.rollout().phase_kind().name().to_owned(),
            step: self.trial.rollout().step_index(),
            steps: self.steps(),
            step_seconds: now.since(self.trial.rollout().since()).as_secs_f64(),
            age_seconds: self.trial.rollout().age(now).as_secs_f64(),
            degraded: self.trial.rollout().degraded(),
            outcome: outcome.map(|outcome| outcome.name().to_owned()),
            reason: outcome.and_then(Outcome::reason).map(str::to_owned),
            accused: self
                .trial
                .rollout()
                .accused()
                .and_then(Outcome::reason)
                .map(str::to_owned),
            waits: None,
            line: self.line(),
            verdict: self.trial.verdict().cloned(),
            probes: self.trial.probes().map(Probes::line),
            evidence: Some(report),
        }
    }

    fn steps(&self) -> Vec<StepView> {
        let current = self.trial.rollout().step_index();
        let over = current.is_none();
        let plan = self.trial.rollout().plan();
        let promoted = *self.trial.rollout().phase() == Phase::Promoted;
        let seconds = |span: &Duration| Some(span.as_secs_f64());
        let step = |(i, step): (usize, &Step)| {
            let (hold_seconds, deadline_seconds) = match step {
                Step::Shift { hold, deadline, .. } => (seconds(hold), seconds(deadline)),
                // Blue is kept warm, then drained.
                Step::Retire => (
                    seconds(&plan.keep_blue),
                    seconds(&(plan.keep_blue + plan.drain)),
                ),
                _ => (None, None),
            };
            let state = match current {
                Some(at) if i == at => "current",
                Some(at) if i < at => "done",
                _ if promoted && *step == Step::Retire => "current",
                _ if over && self.trial.rollout().outcome() == Some(&Outcome::Promoted) => "done",
                _ if over && i < self.reached => "done",
                _ if over && i == self.reached => "ended",
                _ if over => "skipped",
                _ => "todo",
            };
            StepView {
                name: step.to_string(),
                hold_seconds,
                deadline_seconds,
                state: state.to_owned(),
            }
        };
        plan.steps.iter().enumerate().map(step).collect()
    }
}
