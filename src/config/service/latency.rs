//! `latency`, which time of a request is compared, and margins of it.

use crate::config::parse::duration::duration_at;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Scalar;
use crate::config::parse::value::{self, Check};
use crate::core::stats::Margin;
use std::time::Duration;
use toml::Spanned;

/// Which time of a request is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timed {
    /// Until the first byte of the answer: independent of the client's own line.
    #[default]
    FirstByte,
    /// Until the last byte has gone to the client; for a stream without end until the first.
    Total,
}

/// The words of the file.
pub(crate) const TIMED: [(&str, Timed); 2] =
    [("first-byte", Timed::FirstByte), ("total", Timed::Total)];

/// What a small latency may have on top where the file names no time, in milliseconds.
pub(crate) const MILLIS: f64 = 1.0;

/// Percent, and a time on top: `10% + 1ms`.
pub(crate) fn margin(key: &str, raw: &Spanned<Scalar>) -> Check<Margin> {
    let text = &raw.get_ref().0;
    let (percent, plus) = match text.split_once('+') {
        Some((percent, plus)) => (percent.trim(), Some(plus.trim())),
        None => (text.trim(), None),
    };
    let percent = percent
        .strip_suffix('%')
        .and_then(|n| n.trim().parse::<f64>().ok());
    let Some(percent) = percent.filter(|percent| (0.0..=1000.0).contains(percent)) else {
        return Err(Problem::at(
            raw.span(),
            format!(
                "`{key}` is \"{}\": it must be 0% to 1000%, and a time if you like",
                value::brief(text)
            ),
            "not a margin",
            "write percent in quotes, and what small latencies get on top: \"10%\" or \"10% + 1ms\"",
        ));
    };
    let millis = match plus {
        None => MILLIS,
        Some(plus) => {
            let allowed = Duration::ZERO..=Duration::from_secs(60);
            duration_at(key, plus, raw.span(), allowed)?.as_secs_f64() * 1e3
        }
    };
    Ok(Margin {
        ratio: percent / 100.0,
        millis,
    })
}
