//! What can be read off a rollout.

use crate::core::event::Event;
use crate::core::judge::Verdict;
use crate::core::outcome::Outcome;
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

    /// Where the rollout stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What the rollout works through.
    pub fn plan(&self) -> &Plan {
        &self.plan
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

    /// When the present step or phase was entered.
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

    /// Whether blue has a little back, to show whether it does better than a green under suspicion.
    pub fn challenged(&self) -> bool {
        self.challenged
    }

    /// Whether slowness that a small share has shown is looked at in an equal share now.
    pub fn confirming(&self) -> bool {
        self.confirming.is_some()
    }

    /// Whether slowness of this share was looked at in an equal share, and was not there.
    pub fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// What the judge would have ended it with, had the plan let it.
    pub fn accused(&self) -> Option<&Outcome> {
        self.accused.as_ref()
    }

    /// How it ended, or is ending: known from the promotion or the rollback on.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Promoted => Some(&Outcome::Promoted),
            Phase::RollingBack { outcome } | Phase::Finished { outcome } => Some(outcome),
            _ => None,
        }
    }

    /// Whether what runs where cannot be known.
    pub fn blind(&self) -> bool {
        self.blind.is_some()
    }

    /// Whether an event must wait until what runs where can be seen again: it is given once more then.
    pub fn defers(&self, event: &Event) -> bool {
        self.blind()
            && matches!(
                event,
                Event::Warmed | Event::Smoked(Ok(())) | Event::Hooked(Ok(()))
            )
    }

    /// Whether an event means nothing while what runs where cannot be seen.
    pub(super) fn overlooks(&self, event: &Event) -> bool {
        let said = match event {
            Event::Ready => true,
            Event::Judged(verdict) => !matches!(verdict, Verdict::Fail { .. }),
            _ => false,
        };
        self.defers(event) || (said && self.blind())
    }

    /// Whether nothing is left to do.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Finished { .. })
    }
}
