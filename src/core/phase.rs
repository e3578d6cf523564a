//! Where a rollout stands.

use crate::core::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Working on `plan.steps[step]`.
    Running {
        /// Index into the plan.
        step: usize,
    },
    /// A person stopped the plan here. Bad news still takes green off.
    Paused {
        /// Index into the plan.
        step: usize,
    },
    /// Green has everything; blue is kept warm, then drained.
    Promoted,
    /// Blue has everything again; green is draining.
    RollingBack {
        /// How the rollout will have ended.
        outcome: Outcome,
    },
    /// Nothing is left to do.
    Finished {
        /// How the rollout ended.
        outcome: Outcome,
    },
}
