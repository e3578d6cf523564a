//! Checks of what is accepted from clients: `[proxy.limits]`, `trusted_proxies`, `proxy_protocol`.

use crate::config::defaults;
use crate::config::file::proxy::RawLimits;
use crate::config::parse::duration::{SHORT, duration};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Value};
use crate::config::parse::size::size;
use crate::config::parse::value::{self, Check};
use crate::config::types::{Limits, Trust};
use ipnet::IpNet;
use std::net::IpAddr;

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
        header_time: duration("header_time", &raw.header_time, SHORT, default.header_time)?,
        body_time: duration("body_time", &raw.body_time, SHORT, default.body_time)?,
        connections_per_address: most("connections_per_address", &raw.connections_per_address)?,
        requests_per_address: most("requests_per_address", &raw.requests_per_address)?,
    })
}

/// Who is trusted, from the keys `trust_forwarded`, `trusted_proxies` and `proxy_protocol`.
pub(crate) fn trust(
    forwarded: &Value<bool>,
    proxies: &Option<Many>,
    proxy_protocol: &Value<bool>,
) -> Check<Trust> {
    let all = forwarded.as_ref().filter(|all| *all.get_ref());
    let trust = match (proxies, all) {
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
    if let (Some(told), false) = (proxy_protocol, matches!(trust, Trust::Named(_)))
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
mod tests_limits {
    use crate::config::Config;

    fn proxy(lines: &str) -> Result<crate::config::types::Proxy, String> {
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

#[cfg(test)]
mod tests_trust {
    use crate::config::{Config, Trust};
    use std::net::IpAddr;

    fn proxy(lines: &str) -> Result<crate::config::types::Proxy, String> {
        let text = format!("[proxy]\n{lines}\n[service.app]\nblue = \"127.0.0.1:1\"\n");
        match Config::parse("t.toml", &text) {
            Ok(config) => Ok(config.proxy),
            Err(error) => Err(error.one_line()),
        }
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
