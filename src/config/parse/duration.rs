//! Times with units, and their limits.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{Check, brief};
use jiff::SignedDuration;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

const MILLISECOND: Duration = Duration::from_millis(1);

/// Limits of the time of one request, one check or one connection.
pub(crate) const SHORT: RangeInclusive<Duration> = MILLISECOND..=HOUR;

/// Limits of the time of one step or one rollout.
pub(crate) const LONG: RangeInclusive<Duration> = MILLISECOND..=Duration::from_secs(7 * 24 * 3600);

/// Limits of a wait that may be zero.
pub(crate) const OPTIONAL: RangeInclusive<Duration> = Duration::ZERO..=DAY;

const TIMES: &str = "write a time with its unit: \"500ms\", \"90s\", \"5m\" or \"1h 30m\"";

/// A time within limits.
pub(crate) fn duration(
    key: &str,
    raw: &Value<Scalar>,
    allowed: RangeInclusive<Duration>,
    default: Duration,
) -> Check<Duration> {
    match raw {
        None => Ok(default),
        Some(raw) => duration_at(key, &raw.get_ref().0, raw.span(), allowed),
    }
}

/// A time within limits, from text with its position.
pub(crate) fn duration_at(
    key: &str,
    text: &str,
    span: Range<usize>,
    allowed: RangeInclusive<Duration>,
) -> Check<Duration> {
    let wrong = |what: String, label: &str| Problem::at(span.clone(), what, label, TIMES);
    let shown_text = brief(text);
    if text.trim().parse::<f64>().is_ok() {
        return Err(wrong(
            format!("`{key}` is {shown_text} without a unit"),
            "seconds? minutes?",
        ));
    }
    let parsed = text.parse::<SignedDuration>();
    let signed = parsed.map_err(|_| {
        wrong(
            format!("`{key}` is \"{shown_text}\", which is not a time"),
            "not a time",
        )
    })?;
    let Ok(time) = Duration::try_from(signed) else {
        return Err(wrong(
            format!("`{key}` is \"{shown_text}\": time runs forward"),
            "below zero",
        ));
    };
    let beyond = |limit: Duration, side: &str, label: &str| {
        let limit = shown(limit);
        let what = format!("`{key}` is \"{shown_text}\": it must be {side} {limit}");
        Err(Problem::at(
            span.clone(),
            what,
            label,
            format!("write {side} \"{limit}\""),
        ))
    };
    if time < *allowed.start() {
        return beyond(*allowed.start(), "at least", "too short");
    }
    if time > *allowed.end() {
        return beyond(*allowed.end(), "at most", "too long");
    }
    Ok(time)
}

/// A time in the notation of the file.
pub(crate) fn shown(time: Duration) -> String {
    SignedDuration::try_from(time).map_or_else(|_| format!("{time:?}"), |time| format!("{time:#}"))
}

pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}
