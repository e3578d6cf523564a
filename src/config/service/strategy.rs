//! `strategy`, and what stays on blue or goes back to it: `monitor`, `holdback`, `challenge`.

use crate::config::parse::duration::{LONG, duration, minutes};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{Check, percent};
use crate::core::plan::{Step, Strategy};
use crate::core::weight::Weight;
use std::time::Duration;

pub(crate) const STRATEGIES: [(&str, Strategy); 2] = [
    (Strategy::Canary.name(), Strategy::Canary),
    (Strategy::BlueGreen.name(), Strategy::BlueGreen),
];

/// The watch after a blue-green switch.
const MONITOR: Duration = minutes(10);

/// Blue's share while a green with the whole share is under suspicion.
const CHALLENGE: Weight = match Weight::percent(25) {
    Some(share) => share,
    None => Weight::NONE,
};

/// The watch after a blue-green swap.
pub(crate) fn monitor(raw: &Value<Scalar>) -> Check<Duration> {
    duration("monitor", raw, LONG, MONITOR)
}

/// The share that stays on blue.
pub(crate) fn holdback(raw: &Value<f64>) -> Check<Option<Weight>> {
    let share = |raw| percent("holdback", raw);
    raw.as_ref().map(share).transpose()
}

/// The share that blue gets back under suspicion: at most a half.
pub(crate) fn challenge(raw: &Value<f64>) -> Check<Weight> {
    let Some(raw) = raw else {
        return Ok(CHALLENGE);
    };
    let share = percent("challenge", raw)?;
    if share.as_basis_points() <= 5_000 {
        return Ok(share);
    }
    Err(Problem::at(
        raw.span(),
        format!("`challenge` is {share}: it must be 0 to 50"),
        "too much",
        "write the percentage that blue gets back for a while, such as 25; with 0 blue's past alone decides",
    ))
}

/// Checks that the held-back share leaves the last share larger than the one before it.
pub(crate) fn fits_holdback(
    holdback: Option<Weight>,
    steps: &[Step],
    raw: &Value<f64>,
) -> Check<()> {
    let (Some(raw), Some(holdback)) = (raw, holdback) else {
        return Ok(());
    };
    let most = steps.iter().filter_map(|step| match step {
        Step::Shift { weight, .. } if *weight < Weight::ALL => Some(weight.rest()),
        _ => None,
    });
    let most = most.min().unwrap_or(Weight::ALL);
    if holdback < most {
        return Ok(());
    }
    Err(Problem::at(
        raw.span(),
        format!("`holdback` {holdback} leaves the last share nothing more than the one before"),
        "too much",
        format!(
            "write less than {}: 5 is enough for a comparison",
            f64::from(most.as_basis_points()) / 100.0
        ),
    ))
}
