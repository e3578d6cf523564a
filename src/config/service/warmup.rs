//! `[service.NAME.warmup]`: requests of our own before any user sees green.

use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::raw::{Many, Scalar, Value};
use crate::config::parse::value::{self, Check};
use crate::config::service::probes::paths;
use serde::Deserialize;
use std::time::Duration;

/// Requests of our own to each member of green, so that no user waits for cold caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// The paths, requested in turn; at least one.
    pub paths: Vec<String>,
    /// Number of requests to each member, in all.
    pub requests: u32,
    /// Number of requests in flight.
    pub concurrency: u32,
    /// The longest wait for one answer.
    pub timeout: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { paths = [\"/\"], requests = 50 }"
)]
pub(crate) struct RawWarmup {
    pub(crate) paths: Option<Many>,
    pub(crate) requests: Value<i64>,
    pub(crate) concurrency: Value<i64>,
    pub(crate) timeout: Value<Scalar>,
}

/// Requests of a warm-up to each member.
const REQUESTS: u32 = 50;

/// Warm-up requests in flight.
const CONCURRENCY: u32 = 4;

/// Timeout of each warm-up request.
const TIMEOUT: Duration = seconds(10);

pub(crate) fn warmup(raw: &RawWarmup) -> Check<Warmup> {
    Ok(Warmup {
        paths: paths(&raw.paths)?,
        requests: value::number("requests", &raw.requests, 1..=100_000, REQUESTS)?,
        concurrency: value::number("concurrency", &raw.concurrency, 1..=1_000, CONCURRENCY)?,
        timeout: duration("timeout", &raw.timeout, SHORT, TIMEOUT)?,
    })
}
