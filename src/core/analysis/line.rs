//! One recorded input of the analysis.

use crate::core::contents::ContentSecond;
use crate::core::judge::{Control, Policy, Terms, Verdict};
use crate::core::routes::{RoutePast, RouteSecond};
use crate::core::stats::{Limits, Tick};
use serde::{Deserialize, Serialize};

/// One recorded line: what the judges were told, in order. Enough to judge a rollout again, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
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
        /// How it began; the terms of before there were any where a recording has none.
        #[serde(default)]
        terms: Terms,
    },
    /// The latency limits were frozen.
    Limits(Limits),
    /// What blue did by route before green had users.
    Past(Vec<RoutePast>),
    /// The counts by route of the second of users' requests that comes next, where there were some.
    Routes(RouteSecond),
    /// What answers were like in the second of users' requests that comes next, where there were some.
    Contents(ContentSecond),
    /// One second of users' requests.
    Second {
        /// The counts.
        tick: Tick,
        /// What the judge of users' requests said after them.
        verdict: Verdict,
    },
    /// One second of requests of shifter's own.
    Probed {
        /// The counts.
        tick: Tick,
        /// What the judge of probes said after them.
        verdict: Verdict,
    },
    /// Blue beside green was worse than its past: a switchback began.
    Suspected {
        /// Why, in numbers.
        reason: String,
        /// The part of the judge's evidence that it was given.
        part: f64,
    },
    /// The switchback was over.
    Switched {
        /// Why, in numbers.
        reason: String,
        /// Green harms blue.
        harmed: bool,
    },
    /// The latency limits of probes were frozen.
    ProbeLimits(Limits),
}
