//! How a rollout ends.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

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
    /// The outcome without its reason.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Outcome::Promoted => OutcomeKind::Promoted,
            Outcome::RolledBack { .. } => OutcomeKind::RolledBack,
            Outcome::NeverFit { .. } => OutcomeKind::NeverFit,
            Outcome::Inconclusive { .. } => OutcomeKind::Inconclusive,
            Outcome::Stopped { .. } => OutcomeKind::Stopped,
        }
    }

    /// The name in labels and the API.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

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

/// How a rollout ended, without the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OutcomeKind {
    /// Green carries all traffic.
    Promoted,
    /// Green was worse.
    RolledBack,
    /// Green failed before it was fit to serve.
    NeverFit,
    /// Nothing was proven in time.
    Inconclusive,
    /// A person stopped it, or a newer green replaced it.
    Stopped,
}

impl OutcomeKind {
    /// Every kind: label sets are created up front.
    pub const ALL: &'static [OutcomeKind] = OutcomeKind::VARIANTS;

    /// The name in labels and the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_labels_name_outcomes_alike() {
        let reason = String::new;
        for (at, outcome) in [
            Outcome::Promoted,
            Outcome::RolledBack { reason: reason() },
            Outcome::NeverFit { reason: reason() },
            Outcome::Inconclusive { reason: reason() },
            Outcome::Stopped { reason: reason() },
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(outcome.kind(), OutcomeKind::ALL[at]);
            let value = serde_json::to_value(&outcome).expect("an outcome is written");
            assert_eq!(value["outcome"], outcome.name());
            assert_eq!(outcome.name().parse(), Ok(outcome.kind()));
        }
    }
}
