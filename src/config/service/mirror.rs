//! `mirror`: copies of requests for a green that has no users yet.

use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Scalar, Value};
use crate::config::parse::value::{self, Check, percent};
use crate::core::weight::Weight;
use http::HeaderName;
use serde::Deserialize;
use std::time::Duration;

/// Which of blue's requests are copied to green; green's answers are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The copied share of the requests that only read.
    pub share: Weight,
    /// Headers that are not copied.
    pub strip: Vec<HeaderName>,
    /// Copies in flight; further ones are dropped.
    pub concurrency: u32,
    /// The longest wait for a whole answer.
    pub timeout: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: { percent = 10 }")]
pub(crate) struct RawMirror {
    percent: Value<f64>,
    strip: Option<Many>,
    concurrency: Value<i64>,
    timeout: Value<Scalar>,
}

/// Mirrored requests to green in flight.
const CONCURRENCY: u32 = 8;

/// Timeout of each mirrored request.
const TIMEOUT: Duration = seconds(10);

pub(crate) fn mirror(raw: &Value<RawMirror>) -> Check<Option<Mirror>> {
    let Some(table) = raw else { return Ok(None) };
    let raw = table.get_ref();
    let Some(share) = &raw.percent else {
        return Err(Problem::at(
            table.span(),
            "`mirror` has no `percent`: nothing would be copied",
            "this table",
            "write mirror = { percent = 10 } for a tenth of what only reads",
        ));
    };
    let mut strip = vec![];
    for name in raw.strip.iter().flat_map(|many| &many.items) {
        let text = value::token("strip", name)?;
        strip.extend(text.parse::<HeaderName>().ok());
    }
    Ok(Some(Mirror {
        share: percent("percent", share)?,
        strip,
        concurrency: value::number("concurrency", &raw.concurrency, 1..=1_000, CONCURRENCY)?,
        timeout: duration("timeout", &raw.timeout, SHORT, TIMEOUT)?,
    }))
}
