//! Requests of shifter's own to both versions, for a service whose users are too few.

use crate::config::defaults;
use crate::config::file::{Many, Scalar, Value};
use crate::config::types::Service;
use crate::config::value::{self, Check};
use crate::core::judge::{Policy, Unit};
use crate::core::probes::halved;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Who waits longer keeps too many under way.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// What both versions are asked while green has users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Asked in turn; at least one.
    pub paths: Vec<String>,
    /// Requests a second to each version.
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
        timeout: value::duration("timeout", &raw.timeout, TIMEOUTS, defaults::PROBE_TIMEOUT)?,
    })
}

/// What requests of our own ask for; the root, where nothing is said.
pub(crate) fn paths(raw: &Option<Many>) -> Check<Vec<String>> {
    let Some(many) = raw else {
        return Ok(vec![defaults::OWN_PATH.to_owned()]);
    };
    let path = |item| value::path("paths", item, true);
    value::some("paths", many)?.iter().map(path).collect()
}

impl Service {
    /// What the judge of users' requests goes by: where probes are judged beside it, each has half of the chance of a
    /// false rollback.
    pub fn policy(&self) -> Policy {
        let mut policy = self.judgement.policy();
        if self.confirm.is_zero() {
            policy.fair_share = 0.0;
        }
        if self.sticky.is_some() {
            policy.unit = Unit::Users;
            // Requests of a pinned user fall together: a route that fails for one user must not convict.
            policy.routes_share = 0.0;
        }
        match self.probes {
            Some(_) => halved(&policy),
            None => policy,
        }
    }
}
