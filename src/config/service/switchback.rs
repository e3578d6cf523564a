//! `switchback`: whether, and how, shifter searches for harm that green does to blue.

use crate::config::parse::duration::duration;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::untagged::{Untagged, untagged};
use crate::config::parse::value::{self, Check};
use crate::config::service::latency::margin;
use crate::core::switchback::Settings;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess};
use std::time::Duration;

/// `false`, or a table.
#[derive(Debug)]
pub(crate) enum RawSwitchback {
    Switch(bool),
    Table(RawTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTable {
    enabled: Option<bool>,
    window: Value<Scalar>,
    settle: Value<Scalar>,
    pairs: Value<i64>,
    least: Value<Scalar>,
}

impl<'de> Deserialize<'de> for RawSwitchback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawSwitchback, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for RawSwitchback {
    const EXPECTED: &'static str = "false or a table: { window = \"10s\", pairs = 16 }";

    fn switch<E: Error>(on: bool) -> Result<RawSwitchback, E> {
        Ok(RawSwitchback::Switch(on))
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<RawSwitchback, A::Error> {
        RawTable::deserialize(MapAccessDeserializer::new(table)).map(RawSwitchback::Table)
    }
}

/// The settings of switchbacks; `None` where they are off.
pub(crate) fn switchback(raw: &Value<RawSwitchback>) -> Check<Option<Settings>> {
    let default = Settings::default();
    let Some(spanned) = raw else {
        return Ok(Some(default));
    };
    let table = match spanned.get_ref() {
        RawSwitchback::Switch(on) => return Ok(on.then_some(default)),
        RawSwitchback::Table(table) => table,
    };
    let seconds = |key, raw: &Value<Scalar>, allowed: std::ops::RangeInclusive<u64>, default| {
        let (low, high) = allowed.into_inner();
        let allowed = Duration::from_secs(low)..=Duration::from_secs(high);
        duration(key, raw, allowed, Duration::from_secs(default)).map(|time| time.as_secs())
    };
    let window = seconds("window", &table.window, 1..=300, default.window)?;
    let settle = seconds(
        "settle",
        &table.settle,
        0..=299,
        default.settle.min(window / 3),
    )?;
    if settle >= window {
        return Err(Problem::at(
            spanned.span(),
            format!("`settle` is {settle}s, and a `window` is {window}s"),
            "nothing of a window is left",
            "leave most of a window to be counted: { window = \"10s\", settle = \"3s\" }",
        ));
    }
    let latency = table
        .least
        .as_ref()
        .map_or(Ok(default.latency), |raw| margin("least", raw))?;
    let settings = Settings {
        window,
        settle,
        pairs: value::number("pairs", &table.pairs, 8..=100, default.pairs)?,
        latency,
        ..default
    };
    Ok(table.enabled.unwrap_or(true).then_some(settings))
}
