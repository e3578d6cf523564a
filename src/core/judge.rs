//! Compares green with blue: counts in, verdict and evidence out.


use serde::{Deserialize, Serialize};

/// What the evidence says about green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Green is as good as blue within the allowed margin.
    Pass,
    /// Green is worse; the reason is shown to people.
    Fail {
        /// Why, in numbers.
        reason: String,
    },
    /// Not enough evidence either way yet.
    Inconclusive {
        /// The evidence of harm is above the amber line: never promote on silence.
        leaning_worse: bool,
        /// Green requests judged in this step.
        step_requests: u64,
        /// Green requests judged in the whole rollout.
        total_requests: u64,
    },
    /// Green has had no request in this step that could be judged.
    NoData,
}
