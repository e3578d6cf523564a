//! The outcome of a rollback, by its cause.

use crate::core::outcome::Outcome;
use crate::core::rollout::Rollout;

impl Rollout {
    /// Green died or failed a check: a regression once users have seen it, unfit before.
    pub(super) fn unfit(&self, reason: String) -> Outcome {
        if self.exposed {
            self.worse(reason)
        } else {
            Outcome::NeverFit { reason }
        }
    }

    /// A command of the user's failed: once users have seen green, that is no evidence about green.
    pub(super) fn stopped_by(&self, reason: String) -> Outcome {
        if self.exposed {
            Outcome::Stopped { reason }
        } else {
            Outcome::NeverFit { reason }
        }
    }

    /// Green is worse than blue.
    pub(super) fn worse(&self, mut reason: String) -> Outcome {
        if self.blue_down {
            reason.push_str("; blue is down too, so nothing serves until one of them is mended");
        }
        Outcome::RolledBack { reason }
    }
}
