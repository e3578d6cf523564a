//! How a share begins: over a ramp, and with slowness to be confirmed in an equal share.

use crate::config::defaults;
use crate::config::file::RawService;
use crate::config::parse::duration::duration;
use crate::config::parse::error::Problem;
use crate::config::parse::value::{self, Check};
use crate::config::types::Service;
use std::ops::RangeInclusive;
use std::time::Duration;

const CONFIRM: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

const RAMP: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// The shortest time in which an equal share can prove anything.
const SHOWN: Duration = Duration::from_secs(20);

pub(crate) fn confirm(raw: &RawService) -> Check<Duration> {
    duration("confirm", &raw.confirm, CONFIRM, defaults::CONFIRM)
}

pub(crate) fn ramp(raw: &RawService) -> Check<Duration> {
    duration("ramp", &raw.ramp, RAMP, defaults::RAMP)
}

/// Latency is judged after its grace: an equal share that ends before it proves nothing.
pub(crate) fn fits_grace(service: &mut Service, raw: &RawService) -> Check<()> {
    let grace = service.judgement.latency_grace + service.ramp;
    let least = grace + SHOWN;
    if service.confirm.is_zero() || service.confirm >= least {
        return Ok(());
    }
    let Some(given) = &raw.confirm else {
        service.confirm = least;
        return Ok(());
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
