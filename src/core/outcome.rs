//! How a rollout ends.

use serde::{Deserialize, Serialize};

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Green carries all traffic.
    Promoted,
    /// Blue carries all traffic: green was worse.
    RolledBack {
        /// The reason.
        reason: String,
    },
    /// Blue carries all traffic: green failed before it was fit to serve, and no user saw it.
    NeverFit {
        /// The reason.
        reason: String,
    },
    /// Blue carries all traffic: nothing was proven in time.
    Inconclusive {
        /// The reason.
        reason: String,
    },
    /// Blue carries all traffic: a person stopped the rollout, or a newer green replaced it.
    Stopped {
        /// The reason.
        reason: String,
    },
}

impl Outcome {
    /// The name in labels and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Outcome::Promoted => "promoted",
            Outcome::RolledBack { .. } => "rolled_back",
            Outcome::NeverFit { .. } => "never_fit",
            Outcome::Inconclusive { .. } => "inconclusive",
            Outcome::Stopped { .. } => "stopped",
        }
    }

    /// Every name: label sets are created up front.
    pub const NAMES: [&str; 5] = [
        "promoted",
        "rolled_back",
        "never_fit",
        "inconclusive",
        "stopped",
    ];

    /// The reason of the outcome; `None` for a promotion.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Promoted => None,
            Outcome::RolledBack { reason }
            | Outcome::NeverFit { reason }
            | Outcome::Inconclusive { reason }
            | Outcome::Stopped { reason } => Some(reason),
        }
    }
}
