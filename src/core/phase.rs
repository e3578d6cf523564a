//! The phases of a rollout.

use crate::core::outcome::Outcome;
use serde::{Deserialize, Serialize};

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
