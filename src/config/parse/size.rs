//! Sizes in bytes, with units.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{self, Check};
use std::ops::RangeInclusive;

const SIZES: &str = "write a size with its unit: \"500B\", \"64KiB\", \"10MiB\" or \"2GiB\"";

/// Names of units, and their size in bytes.
const UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

/// A number of bytes within limits.
pub(crate) fn size(
    key: &str,
    raw: &Value<Scalar>,
    allowed: RangeInclusive<u64>,
    default: u64,
) -> Check<u64> {
    let Some(raw) = raw else { return Ok(default) };
    let text = raw.get_ref().0.trim();
    let shown = value::brief(text);
    let wrong = |what: String, label: &str| Problem::at(raw.span(), what, label, SIZES);
    if text.parse::<f64>().is_ok() {
        return Err(wrong(
            format!("`{key}` is {shown} without a unit"),
            "bytes? KiB?",
        ));
    }
    let parsed = UNITS.iter().find_map(|(unit, bytes)| {
        let number = text.strip_suffix(unit)?.trim_end();
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| number.parse::<u64>().ok()?.checked_mul(*bytes))
    });
    let Some(bytes) = parsed else {
        return Err(wrong(
            format!("`{key}` is \"{shown}\", which is not a size"),
            "not a size",
        ));
    };
    match bytes {
        Some(bytes) if allowed.contains(&bytes) => Ok(bytes),
        _ => Err(wrong(
            format!(
                "`{key}` is \"{shown}\": it must be {} to {} bytes",
                allowed.start(),
                allowed.end()
            ),
            "out of range",
        )),
    }
}
