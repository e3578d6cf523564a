//! `[service.NAME.eject]`: when one member is left out for a while.

use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{self, Check};
use serde::Deserialize;
use std::time::Duration;

/// When one member is ejected for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Failures in a row; 0 disables ejection.
    pub failures: u32,
    /// How long it is ejected.
    pub span: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { failures = 5, for = \"10s\" }"
)]
pub(crate) struct RawEject {
    pub(crate) failures: Value<i64>,
    #[serde(rename = "for")]
    pub(crate) span: Value<Scalar>,
}

/// Five failures in a row, for ten seconds.
const DEFAULT: Eject = Eject {
    failures: 5,
    span: seconds(10),
};

pub(crate) fn eject(raw: &RawEject) -> Check<Eject> {
    Ok(Eject {
        failures: value::number("failures", &raw.failures, 0..=1_000_000, DEFAULT.failures)?,
        span: duration("for", &raw.span, SHORT, DEFAULT.span)?,
    })
}
