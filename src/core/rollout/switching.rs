//! A switchback in the state machine: for some minutes green's requests go to green and to blue in turn.
//!
//! Only a share under way can be in one. Whatever else changes the rollout (a person, evidence against green, a lost
//! pool, an unknown state of Docker, a restart) ends it, and then green has its share or none, as decided: a window
//! never outlives it.

use crate::core::plan::Step;
use crate::core::rollout::{Action, Phase, Rollout};
use crate::core::time::Time;
use crate::core::weight::Weight;
use serde::{Deserialize, Serialize};

/// The largest share of green beside which blue has enough requests left to be compared, and is not slower because it
/// gets so few.
pub const SHARE_MAX: Weight = match Weight::percent(80) {
    Some(share) => share,
    None => Weight::NONE,
};

/// A switchback under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switching {
    /// When it began.
    pub since: Time,
    /// Green serves its own requests in the present window.
    pub green: bool,
}

impl Rollout {
    /// The switchback under way, if there is one.
    pub fn switching(&self) -> Option<Switching> {
        self.switching
    }

    /// Whether a suspicion that green harms blue would start a switchback now.
    pub fn may_switch(&self) -> bool {
        let Phase::Running { step } = self.phase else {
            return false;
        };
        let shift = matches!(self.plan.steps.get(step), Some(Step::Shift { .. }));
        let shared = self.weight > Weight::NONE && self.weight <= SHARE_MAX;
        let sees = !self.blue_down && !self.green_down && !self.blind();
        shift
            && shared
            && sees
            && !self.challenged
            && self.confirming.is_none()
            && self.accused.is_none()
    }

    /// Begins a switchback; green keeps its share until the first window changes it.
    pub(super) fn suspect(&mut self, now: Time) -> Vec<Action> {
        if self.switching.is_some() || !self.may_switch() {
            return vec![];
        }
        self.switching = Some(Switching {
            since: now,
            green: true,
        });
        vec![Action::Window { green: true }]
    }

    /// The next window.
    pub(super) fn next_window(&mut self, green: bool) -> Vec<Action> {
        let Some(switching) = &mut self.switching else {
            return vec![];
        };
        switching.green = green;
        vec![Action::Window { green }]
    }

    /// Ends the switchback. Its time counts neither as time at this share nor towards the share's deadline.
    pub(super) fn end_switching(&mut self, now: Time) {
        if let Some(switching) = self.switching.take() {
            self.since = self.since.after(now.since(switching.since));
        }
    }

    /// Gives green its requests back after an event that ended a switchback without routing anew.
    pub(super) fn restore(&self, switched: bool, actions: &mut Vec<Action>) {
        let routed = |action: &Action| matches!(action, Action::SetWeight(_));
        if switched && self.switching.is_none() && !actions.iter().any(routed) {
            actions.insert(0, Action::Window { green: true });
        }
    }
}
