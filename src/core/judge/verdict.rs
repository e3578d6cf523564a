//! The judge's verdict.

use serde::{Deserialize, Serialize};

/// The result of the evidence on green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Green is as good as blue within the allowed margin.
    Pass,
    /// Green is worse; the reason is shown to people.
    Fail {
        /// The reason, in numbers.
        reason: String,
    },
    /// Green serves alone and looks worse than blue's past: blue is to be compared again now.
    Suspect {
        /// The reason, in numbers.
        reason: String,
    },
    /// Green looks slower in a share that is too small for a fair comparison: both are to get about the same share.
    Unconfirmed {
        /// The reason, in numbers.
        reason: String,
    },
    /// Not enough evidence either way yet.
    Inconclusive {
        /// The evidence of harm is above the amber threshold: no promotion without proof.
        leaning_worse: bool,
        /// Green requests judged in this step.
        step_requests: u64,
        /// Green requests judged in the whole rollout.
        total_requests: u64,
    },
    /// Nothing is proven, and blue itself fails grossly: being no worse than that is no reason to promote green.
    BlueFails {
        /// How much both fail, in numbers.
        reason: String,
        /// Green fails grossly, too.
        green_too: bool,
        /// Green requests judged in this step.
        step_requests: u64,
        /// Green requests judged in the whole rollout.
        total_requests: u64,
    },
    /// Green has had no request in this step that could be judged.
    NoData,
}

impl Verdict {
    /// Whether the verdict is undecided, with evidence of harm above the amber threshold.
    pub fn leans_worse(&self) -> bool {
        matches!(
            self,
            Verdict::Inconclusive {
                leaning_worse: true,
                ..
            }
        )
    }

    /// This verdict after another source than the judge found something bad: no pass, and no undecided verdict that
    /// could be passed over.
    pub fn doubted(self) -> Verdict {
        let leaning = |step_requests, total_requests| Verdict::Inconclusive {
            leaning_worse: true,
            step_requests,
            total_requests,
        };
        match self {
            Verdict::Pass | Verdict::NoData => leaning(0, 0),
            Verdict::Inconclusive {
                step_requests,
                total_requests,
                ..
            }
            | Verdict::BlueFails {
                step_requests,
                total_requests,
                ..
            } => leaning(step_requests, total_requests),
            decided => decided,
        }
    }
}
