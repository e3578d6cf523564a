//! `probes`: requests of shifter's own to both versions, for a service with too few users.

use crate::config::parse::duration::{duration, seconds};
use crate::config::parse::raw::{Many, Scalar, Value};
use crate::config::parse::value::{self, Check};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The requests that both versions get while green has users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// The paths, requested in turn; at least one.
    pub paths: Vec<String>,
    /// Requests per second to each version.
    pub per_second: u32,
    /// The longest wait for one answer.
    pub timeout: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { paths = [\"/\"], per_second = 5 }"
)]
pub(crate) struct RawProbes {
    paths: Option<Many>,
    per_second: Value<i64>,
    timeout: Value<Scalar>,
}

/// A longer timeout would leave too many probes in flight.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// Probes per second of each version.
const PER_SECOND: u32 = 5;

/// Timeout of each probe.
const TIMEOUT: Duration = seconds(10);

/// The path of our own requests where none is configured.
const OWN_PATH: &str = "/";

pub(crate) fn probes(raw: &RawProbes) -> Check<Probes> {
    Ok(Probes {
        paths: paths(&raw.paths)?,
        per_second: value::number("per_second", &raw.per_second, 1..=100, PER_SECOND)?,
        timeout: duration("timeout", &raw.timeout, TIMEOUT_RANGE, TIMEOUT)?,
    })
}

/// The paths of our own requests; the root by default.
pub(crate) fn paths(raw: &Option<Many>) -> Check<Vec<String>> {
    let Some(many) = raw else {
        return Ok(vec![OWN_PATH.to_owned()]);
    };
    let path = |item| value::path("paths", item, true);
    value::non_empty("paths", many)?.iter().map(path).collect()
}
