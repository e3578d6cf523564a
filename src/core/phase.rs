//! The phases of a rollout.

use crate::core::outcome::Outcome;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// The phase of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Working on `plan.steps[step]`.
    Running {
        /// Index into the plan.
        step: usize,
    },
    /// A person paused the plan here. Evidence against green still ends its share.
    Paused {
        /// Index into the plan.
        step: usize,
    },
    /// Green has everything; blue is kept warm, then drained.
    Promoted,
    /// Blue has everything again; green is draining.
    RollingBack {
        /// The outcome after the drain.
        outcome: Outcome,
    },
    /// The rollout is over.
    Finished {
        /// How the rollout ended.
        outcome: Outcome,
    },
}

/// A phase as the API, labels and `status` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PhaseKind {
    /// Green is made, and waited for until it is healthy.
    Starting,
    /// Requests of shifter's own warm green up.
    Warming,
    /// Smoke checks run against green.
    SmokeTesting,
    /// Hooks run.
    RunningHooks,
    /// Green has a share, and is judged.
    Shifting,
    /// A step waits for a person's approval.
    AwaitingApproval,
    /// A person paused the plan.
    Paused,
    /// Green has everything; blue is kept warm, then drained.
    Promoted,
    /// Blue has everything again; green is draining.
    RollingBack,
    /// The rollout is over.
    Finished,
}

impl PhaseKind {
    /// Every kind, in the order of a rollout.
    pub const ALL: &'static [PhaseKind] = PhaseKind::VARIANTS;

    /// The name in labels and the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
