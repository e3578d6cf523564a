//! `[service.NAME.retry_budget]`: how much is tried again.

use crate::config::parse::raw::Value;
use crate::config::parse::value::{self, Check};
use serde::Deserialize;

/// The limit of retries: the sum of both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Percentage of the requests of the last ten seconds.
    pub percent: u32,
    /// Retries per second in any case, on average over ten seconds.
    pub per_second: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { percent = 20, per_second = 10 }"
)]
pub(crate) struct RawRetryBudget {
    pub(crate) percent: Value<i64>,
    pub(crate) per_second: Value<i64>,
}

/// As in Finagle and Linkerd.
const DEFAULT: RetryBudget = RetryBudget {
    percent: 20,
    per_second: 10,
};

pub(crate) fn retry_budget(raw: &RawRetryBudget) -> Check<RetryBudget> {
    let default = DEFAULT;
    let each = |key, raw, most, default| value::number(key, raw, 0..=most, default);
    Ok(RetryBudget {
        percent: each("percent", &raw.percent, 100, default.percent)?,
        per_second: each("per_second", &raw.per_second, 10_000, default.per_second)?,
    })
}
