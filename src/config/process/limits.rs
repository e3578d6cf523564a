//! `[proxy.limits]`: how much one client may ask for.

use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::size::size;
use crate::config::parse::value::{self, Check};
use serde::Deserialize;
use std::time::Duration;

/// The limits for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's header; a larger one is answered with 431.
    pub header: usize,
    /// Fields of a header; more are answered with 431.
    pub headers: usize,
    /// Bytes of a request's target; a longer one is answered with 414.
    pub uri: usize,
    /// Bytes of a request's body; a larger one is answered with 413. `None`: no limit.
    pub body: Option<u64>,
    /// Timeout from the first byte of a header to its last.
    pub header_time: Duration,
    /// Total wait for a body, beyond one second for each KiB of it; a slower one is answered with 408.
    pub body_time: Duration,
    /// Concurrent connections of one address; more are answered with 429. `None`: no limit.
    pub connections_per_address: Option<u32>,
    /// Requests of one address per second; more are answered with 429. `None`: no limit.
    pub requests_per_address: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { header = \"64KiB\", body = \"10MiB\" }"
)]
pub(crate) struct RawLimits {
    pub(crate) header: Value<Scalar>,
    pub(crate) headers: Value<i64>,
    pub(crate) uri: Value<Scalar>,
    pub(crate) body: Value<Scalar>,
    pub(crate) header_time: Value<Scalar>,
    pub(crate) body_time: Value<Scalar>,
    pub(crate) connections_per_address: Value<i64>,
    pub(crate) requests_per_address: Value<i64>,
}

/// As much as most servers accept; no limit per address, since many users may share one.
const DEFAULT: Limits = Limits {
    header: 64 * 1024,
    headers: 100,
    uri: 8 * 1024,
    body: None,
    header_time: seconds(10),
    body_time: seconds(10),
    connections_per_address: None,
    requests_per_address: None,
};

pub(crate) fn limits(raw: &RawLimits) -> Check<Limits> {
    let default = DEFAULT;
    let most = |key, raw: &Value<i64>| match raw {
        None => Ok(None),
        Some(_) => value::number(key, raw, 1..=1_000_000, 1_u32).map(Some),
    };
    Ok(Limits {
        header: size(
            "header",
            &raw.header,
            1_024..=1_000_000,
            default.header as u64,
        )? as usize,
        headers: value::number("headers", &raw.headers, 8..=256, default.headers)?,
        uri: size("uri", &raw.uri, 64..=60_000, default.uri as u64)? as usize,
        body: match &raw.body {
            None => None,
            Some(_) => Some(size("body", &raw.body, 1..=1 << 50, 0)?),
        },
        header_time: duration("header_time", &raw.header_time, SHORT, default.header_time)?,
        body_time: duration("body_time", &raw.body_time, SHORT, default.body_time)?,
        connections_per_address: most("connections_per_address", &raw.connections_per_address)?,
        requests_per_address: most("requests_per_address", &raw.requests_per_address)?,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::file::Config;

    fn proxy(lines: &str) -> Result<crate::config::process::proxy::Proxy, String> {
        let text = format!("[proxy]\n{lines}\n[service.app]\nblue = \"127.0.0.1:1\"\n");
        match Config::parse("t.toml", &text) {
            Ok(config) => Ok(config.proxy),
            Err(error) => Err(error.one_line()),
        }
    }

    #[test]
    fn sizes_have_units_and_limits() {
        let header =
            |text: &str| proxy(&format!("limits = {{ header = {text} }}")).map(|p| p.limits.header);
        assert_eq!(header("\"64KiB\""), Ok(65_536));
        assert_eq!(header("\"2000 B\""), Ok(2_000));
        for wrong in [
            "65536",
            "\"64K\"",
            "\"64 kib\"",
            "\"-1KiB\"",
            "\"1.5KiB\"",
            "\"KiB\"",
            "\"1000B\"",
            "\"99999999999GiB\"",
            "\"99999999999999999999B\"",
        ] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
        let body =
            |text: &str| proxy(&format!("limits = {{ body = {text} }}")).map(|p| p.limits.body);
        assert_eq!(body("\"2GiB\""), Ok(Some(2 << 30)));
    }
}
