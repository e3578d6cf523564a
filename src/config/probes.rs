//! Requests of shifter's own to both versions, for a service with too few users.

use crate::config::defaults;
use crate::config::parse::duration::duration;
use crate::config::parse::raw::{Many, Scalar, Value};
use crate::config::parse::value::{self, Check};
use crate::config::types::Service;
use crate::core::judge::{Policy, Unit};
use crate::core::probes::halved;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A longer timeout would leave too many probes in flight.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

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

pub(crate) fn probes(raw: &RawProbes) -> Check<Probes> {
    Ok(Probes {
        paths: paths(&raw.paths)?,
        per_second: value::number(
            "per_second",
            &raw.per_second,
            1..=100,
            defaults::PROBES_PER_SECOND,
        )?,
        timeout: duration("timeout", &raw.timeout, TIMEOUTS, defaults::PROBE_TIMEOUT)?,
    })
}

/// The paths of our own requests; the root by default.
pub(crate) fn paths(raw: &Option<Many>) -> Check<Vec<String>> {
    let Some(many) = raw else {
        return Ok(vec![defaults::OWN_PATH.to_owned()]);
    };
    let path = |item| value::path("paths", item, true);
    value::some("paths", many)?.iter().map(path).collect()
}

impl Service {
    /// The policy of the judge of users' requests: where probes are judged beside it, each has half of the accepted
    /// chance of a false rollback.
    pub fn policy(&self) -> Policy {
        let mut policy = self.judgement.policy();
        if self.confirm.is_zero() {
            policy.fair_share = 0.0;
        }
        if self.sticky.is_some() {
            policy.unit = Unit::Users;
            // Requests of a pinned user come together: a route that fails for one user must not convict.
            policy.routes_share = 0.0;
        }
        match self.probes {
            Some(_) => halved(&policy),
            None => policy,
        }
    }
}
