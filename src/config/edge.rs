//! Checks of what is accepted from clients: `[proxy.limits]`, `trusted_proxies`, `proxy_protocol`.

use crate::config::defaults;
use crate::config::error::Problem;
use crate::config::file::{Many, RawLimits, RawProxy, Scalar, Value};
use crate::config::types::{Limits, Trust};
use crate::config::value::{self, Check, SHORT};
use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

const SIZES: &str = "write a size with its unit: \"500B\", \"64KiB\", \"10MiB\" or \"2GiB\"";

/// Names of units, and their size in bytes.
const UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

pub(crate) fn limits(raw: &RawLimits) -> Check<Limits> {
    let default = defaults::LIMITS;
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
        header_time: value::duration("header_time", &raw.header_time, SHORT, default.header_time)?,
        body_time: value::duration("body_time", &raw.body_time, SHORT, default.body_time)?,
        connections_per_address: most("connections_per_address", &raw.connections_per_address)?,
        requests_per_address: most("requests_per_address", &raw.requests_per_address)?,
    })
}

/// A number of bytes within limits.
fn size(key: &str, raw: &Value<Scalar>, allowed: RangeInclusive<u64>, default: u64) -> Check<u64> {
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

pub(crate) fn trust(raw: &RawProxy) -> Check<Trust> {
    let all = raw.trust_forwarded.as_ref().filter(|all| *all.get_ref());
    let trust = match (&raw.trusted_proxies, all) {
        (Some(_), Some(all)) => {
            return Err(Problem::at(
                all.span(),
                "`trust_forwarded` believes everybody, and `trusted_proxies` only some",
                "which one?",
                "leave `trust_forwarded` out: those of `trusted_proxies` are believed",
            ));
        }
        (Some(named), None) => Trust::Named(networks(named)?),
        (None, Some(_)) => Trust::Everybody,
        (None, None) => Trust::Nobody,
    };
    if let (Some(told), false) = (&raw.proxy_protocol, matches!(trust, Trust::Named(_)))
        && *told.get_ref()
    {
        return Err(Problem::at(
            told.span(),
            "`proxy_protocol` is on, and no peer is named that may speak it: every client could choose an address",
            "from whom?",
            "name the balancers in front: trusted_proxies = [\"10.0.0.0/8\"]",
        ));
    }
    Ok(trust)
}

fn networks(raw: &Many) -> Check<Vec<IpNet>> {
    let network = |text: &str| {
        let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(one)
    };
    let all = value::some("trusted_proxies", raw)?.iter().map(|item| {
        let text = item.get_ref().trim();
        network(text).ok_or_else(|| {
            Problem::at(
                item.span(),
                format!(
                    "`trusted_proxies` has \"{}\", which is neither an address nor a network",
                    value::brief(text)
                ),
                "not a network",
                "write it as \"10.0.0.7\", \"10.0.0.0/8\" or \"fd00::/8\"; names are not looked up",
            )
        })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Trust};
    use std::net::IpAddr;

    fn proxy(lines: &str) -> Result<crate::config::Proxy, String> {
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

    #[test]
    fn only_who_is_named_is_trusted() {
        let named = proxy("trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\", \"192.0.2.7\"]")
            .unwrap()
            .trust;
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (address, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
        ] {
            assert_eq!(named.trusts(ip(address)), trusted, "{address}");
        }
        assert!(!Trust::Nobody.trusts(ip("127.0.0.1")));
        assert!(Trust::Everybody.trusts(ip("203.0.113.1")));
    }
}
