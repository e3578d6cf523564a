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
        /// Why.
        reason: String,
    },
    /// Blue carries all traffic: green never became fit to serve, and no user saw it.
    NeverFit {
        /// Why.
        reason: String,
    },
    /// Blue carries all traffic: nothing was shown in time.
    Inconclusive {
        /// Why.
        reason: String,
    },
    /// Blue carries all traffic: a person, or a newer green, said so.
    Stopped {
        /// Why.
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

    /// Why it ended so; nothing to say about a promotion.
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
