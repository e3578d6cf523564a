//! One recorded input of the analysis.

use crate::core::contents::ContentSecond;
use crate::core::judge::{Control, Policy, Terms, Verdict};
use crate::core::routes::{RoutePast, RouteSecond};
use crate::core::stats::{Limits, Tick};
use serde::{Deserialize, Serialize};

/// One recorded line: an input of the judges, in order. Enough to judge a rollout again with byte-identical results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedLine {
    /// The first line of a rollout, and the first after a restart: the policy. Evidence begins anew.
    Policy(Box<Policy>),
    /// A share began.
    Start {
        /// The last share of the plan.
        last: bool,
        /// What green is compared with.
        control: Control,
        /// Its weight in basis points.
        weight: u16,
        /// How it began; recordings from before there were terms get the default.
        #[serde(default)]
        terms: Terms,
    },
    /// The latency limits were frozen.
    Limits(Limits),
    /// Blue's counts by route before green had users.
    Past(Vec<RoutePast>),
    /// The counts by route of the second of users' requests that comes next, where there were some.
    Routes(RouteSecond),
    /// Sizes and content types of answers in the next second of users' requests, where there were some.
    Contents(ContentSecond),
    /// One second of users' requests.
    Second {
        /// The counts.
        tick: Tick,
        /// The verdict of the judge of users' requests after this second.
        verdict: Verdict,
    },
    /// One second of requests of shifter's own.
    Probed {
        /// The counts.
        tick: Tick,
        /// The verdict of the judge of probes after this second.
        verdict: Verdict,
    },
    /// Blue was worse beside green than in its past: a switchback began.
    Suspected {
        /// The reason, in numbers.
        reason: String,
        /// The part of the judge's evidence that the switchback was given, 0 to 1.
        part: f64,
    },
    /// The switchback ended.
    Switched {
        /// The reason, in numbers.
        reason: String,
        /// Green harms blue.
        harmed: bool,
    },
    /// The latency limits of probes were frozen.
    ProbeLimits(Limits),
}
