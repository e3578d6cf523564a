//! Absolute limits beside the comparison: what green may not exceed, whatever blue does.

use super::{Metric, Policy};
use crate::core::sequential::HistoryFail;
use crate::core::stats::{Ceilings, QUANTILES, Tick};
use serde::{Deserialize, Serialize};

/// The absolute limits of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// Share of requests that may fail, above 0 and below 1.
    pub error_rate: Option<f64>,
    /// Times to the first byte that 50 %, 10 % and 1 % of the requests may exceed.
    pub latency: Ceilings,
}

impl Slo {
    /// The key of a metric's limit in the file.
    pub const fn key(metric: Metric) -> &'static str {
        match metric {
            Metric::Err => "max_error_rate",
            Metric::P50 => "max_p50",
            Metric::P90 => "max_p90",
            Metric::P99 => "max_p99",
        }
    }

    /// The share of requests that a metric's limit allows to be bad; `None` without a limit.
    fn allowed(&self, metric: Metric) -> Option<f64> {
        match metric.level() {
            None => self.error_rate,
            Some(level) => self.latency[level].map(|_| 1.0 - QUANTILES[level]),
        }
    }
}

/// One limit, and the evidence that green is beyond it: an e-process against a fixed rate, over all shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::core::judge) struct AbsoluteLimit {
    metric: Metric,
    allowed: f64,
    fail: HistoryFail,
    seconds: u64,
    requests: u64,
    bad: u64,
}

/// The result of one absolute limit. Counts are of the whole rollout; latency without the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitFinding {
    /// What is limited.
    pub metric: Metric,
    /// The share of bad requests that is allowed.
    pub allowed: f64,
    /// Microseconds above which a request is bad; `None` for failures.
    pub ceiling: Option<u64>,
    /// Green's requests.
    pub requests: u64,
    /// Green's failed or slow requests.
    pub bad: u64,
    /// Evidence that green is beyond the limit, as a natural logarithm, in nats.
    pub ln_e: f64,
}

impl AbsoluteLimit {
    /// One for each limit of the policy.
    pub(in crate::core::judge) fn all(policy: &Policy) -> Vec<AbsoluteLimit> {
        let rail = |metric| {
            let allowed = policy.slo.allowed(metric)?;
            Some(AbsoluteLimit {
                metric,
                allowed,
                fail: HistoryFail::new(policy.history_betting(), allowed),
                seconds: 0,
                requests: 0,
                bad: 0,
            })
        };
        Metric::ALL.into_iter().filter_map(rail).collect()
    }

    /// Takes a second; latency is ignored before green is `warm`.
    pub(in crate::core::judge) fn tick(&mut self, tick: &Tick, warm: bool) {
        let green = &tick.green;
        let (requests, bad) = match self.metric.level() {
            None => (green.requests, green.failed),
            Some(_) if !warm => (0, 0),
            Some(level) => (green.timed, green.slow_slo[level]),
        };
        let bad = bad.min(requests);
        self.seconds += 1;
        if requests > 0 {
            self.fail.block(self.seconds, requests, bad);
            self.seconds = 0;
        }
        self.requests += requests;
        self.bad += bad;
    }

    /// Evidence that green is beyond the limit, as a natural logarithm, in nats.
    pub(in crate::core::judge) fn ln_e(&self) -> f64 {
        self.fail.ln_e()
    }

    pub(in crate::core::judge) fn finding(&self, slo: &Slo) -> LimitFinding {
        LimitFinding {
            metric: self.metric,
            allowed: self.allowed,
            ceiling: self.metric.level().and_then(|level| slo.latency[level]),
            requests: self.requests,
            bad: self.bad,
            ln_e: self.ln_e(),
        }
    }
}
