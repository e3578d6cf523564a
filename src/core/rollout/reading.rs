//! Read access to a rollout's state.

use crate::core::event::Event;
use crate::core::judge::Verdict;
use crate::core::outcome::Outcome;
use crate::core::phase::PhaseKind;
use crate::core::plan::{Plan, Step};
use crate::core::rollout::{Phase, Rollout};
use crate::core::time::Time;
use crate::core::weight::Weight;
use std::time::Duration;

impl Rollout {
    /// Green's share right now.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// The phase of the rollout.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The plan that the rollout follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The phase as the API and labels name it.
    pub fn phase_kind(&self) -> PhaseKind {
        match &self.phase {
            Phase::Running { .. } => match self.step() {
                Some(Step::Start) => PhaseKind::Starting,
                Some(Step::Warm) => PhaseKind::Warming,
                Some(Step::Smoke) => PhaseKind::SmokeTesting,
                Some(Step::Hooks { .. }) => PhaseKind::RunningHooks,
                Some(Step::Approve) => PhaseKind::AwaitingApproval,
                Some(Step::Shift { .. } | Step::Retire) | None => PhaseKind::Shifting,
            },
            Phase::Paused { .. } => PhaseKind::Paused,
            Phase::Promoted => PhaseKind::Promoted,
            Phase::RollingBack { .. } => PhaseKind::RollingBack,
            Phase::Finished { .. } => PhaseKind::Finished,
        }
    }

    /// The index of the step under way, paused or not.
    pub fn step_index(&self) -> Option<usize> {
        match self.phase {
            Phase::Running { step } | Phase::Paused { step } => Some(step),
            _ => None,
        }
    }

    /// The step under way, if any.
    pub fn step(&self) -> Option<&Step> {
        self.plan.steps.get(self.step_index()?)
    }

    /// When the current step or phase was entered.
    pub fn since(&self) -> Time {
        self.since
    }

    /// Time from the start, restarts included.
    pub fn age(&self, now: Time) -> Duration {
        self.spent + now.since(self.started)
    }

    /// Whether blue has no healthy backend.
    pub fn degraded(&self) -> bool {
        self.blue_down
    }

    /// Whether blue has a small share again, to show whether it does better than a green under suspicion.
    pub fn challenged(&self) -> bool {
        self.challenged
    }

    /// Whether slowness of a small share is being confirmed in an equal share now.
    pub fn confirming(&self) -> bool {
        self.confirming.is_some()
    }

    /// Whether slowness of this share was looked for in an equal share and not confirmed.
    pub fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// The outcome of the judge's verdict, had the plan let it end the rollout.
    pub fn accused(&self) -> Option<&Outcome> {
        self.accused.as_ref()
    }

    /// The outcome: known from the promotion or the rollback on.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Promoted => Some(&Outcome::Promoted),
            Phase::RollingBack { outcome } | Phase::Finished { outcome } => Some(outcome),
            _ => None,
        }
    }

    /// Whether Docker's state is unknown.
    pub fn blind(&self) -> bool {
        self.blind.is_some()
    }

    /// Whether an event must wait until Docker's state is known again: it is repeated then.
    pub fn defers(&self, event: &Event) -> bool {
        self.blind()
            && matches!(
                event,
                Event::Warmed | Event::Smoked(Ok(())) | Event::Hooked(Ok(()))
            )
    }

    /// Whether an event is ignored while Docker's state is unknown.
    pub(super) fn overlooks(&self, event: &Event) -> bool {
        let said = match event {
            Event::Ready => true,
            Event::Judged(verdict) => !matches!(verdict, Verdict::Fail { .. }),
            _ => false,
        };
        self.defers(event) || (said && self.blind())
    }

    /// Whether the rollout is over.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Finished { .. })
    }
}
