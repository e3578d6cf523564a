//! `confirm` and `ramp`: how a share begins, and how its slowness is confirmed.

use crate::config::parse::duration::{duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{self, Check};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Time in an equal share to confirm slowness of a small one, its latency grace included.
const CONFIRM: Duration = seconds(120);

/// A share begins at once.
const RAMP: Duration = Duration::ZERO;

const CONFIRM_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

const RAMP_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// The shortest time in which an equal share can prove anything.
const SHOWN: Duration = Duration::from_secs(20);

/// Time in which slowness of a small share is confirmed.
pub(crate) fn confirm(raw: &Value<Scalar>) -> Check<Duration> {
    duration("confirm", raw, CONFIRM_RANGE, CONFIRM)
}

/// Time in which a raised share grows to its weight.
pub(crate) fn ramp(raw: &Value<Scalar>) -> Check<Duration> {
    duration("ramp", raw, RAMP_RANGE, RAMP)
}

/// The time to confirm, at least some more than the time before latency is judged: an equal share that ends before that
/// proves nothing.
///
/// `grace` is the time from the start of a share in which latency is not judged.
pub(crate) fn fits_grace(
    confirm: Duration,
    grace: Duration,
    raw: &Value<Scalar>,
) -> Check<Duration> {
    let least = grace + SHOWN;
    if confirm.is_zero() || confirm >= least {
        return Ok(confirm);
    }
    let Some(given) = raw else {
        return Ok(least);
    };
    Err(Problem::at(
        given.span(),
        format!(
            "`confirm` is {}, and latency is judged only {} after a share is raised (`latency_grace`, `ramp`)",
            value::brief(&given.get_ref().0),
            crate::core::time::shown(grace)
        ),
        "too short",
        format!(
            "write \"{}s\" or more; with \"0s\" slowness of a small share convicts at once",
            least.as_secs()
        ),
    ))
}
