//! `slo`: what green may not exceed, whatever blue does.

use crate::config::parse::duration::duration_at;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{self, Check};
use crate::core::judge::{Metric, Slo};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { max_error_rate = \"5%\", max_p99 = \"800ms\" }"
)]
pub(crate) struct RawSlo {
    pub(crate) max_error_rate: Value<Scalar>,
    pub(crate) max_p50: Value<Scalar>,
    pub(crate) max_p90: Value<Scalar>,
    pub(crate) max_p99: Value<Scalar>,
}

/// A request counts as slow after 10 s at the latest, so a limit must lie below that.
const CEILING: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(9);

pub(crate) fn slo(table: &Spanned<RawSlo>) -> Check<Slo> {
    let raw = table.get_ref();
    let error_rate = raw.max_error_rate.as_ref().map(max_error_rate);
    let mut limits = Slo {
        error_rate: error_rate.transpose()?,
        ..Slo::default()
    };
    for (metric, time) in [
        (Metric::P50, &raw.max_p50),
        (Metric::P90, &raw.max_p90),
        (Metric::P99, &raw.max_p99),
    ] {
        let (Some(level), Some(time)) = (metric.level(), time) else {
            continue;
        };
        let ceiling = duration_at(Slo::key(metric), &time.get_ref().0, time.span(), CEILING)?;
        limits.latency[level] = Some(u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX));
    }
    if limits == Slo::default() {
        return Err(Problem::at(
            table.span(),
            "`slo` limits nothing",
            "this table",
            "for example: slo = { max_error_rate = \"5%\", max_p99 = \"800ms\" }",
        ));
    }
    Ok(limits)
}

fn max_error_rate(raw: &Spanned<Scalar>) -> Check<f64> {
    let text = &raw.get_ref().0;
    let percent = text
        .strip_suffix('%')
        .and_then(|n| n.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.001..=90.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(Problem::at(
            raw.span(),
            format!(
                "`max_error_rate` is \"{}\": it must be 0.001% to 90%",
                value::brief(text)
            ),
            "not a share of requests",
            "write percent in quotes: \"5%\" lets one request in twenty fail",
        )),
    }
}
