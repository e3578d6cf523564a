//! `hosts` and `paths`: which requests are a service's.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::parse::value::{self, Check};
use std::fmt;
use std::net::IpAddr;
use toml::Spanned;

/// One entry of `hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*`: every host, when no other service names it.
    Any,
    /// `*.example.com`: every name below it; the text is `.example.com`.
    Below(String),
    /// This host, in lower case, without a port.
    Exact(String),
}

impl Host {
    /// Reads an entry; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Host, &'static str> {
        let host = text.to_ascii_lowercase();
        if host == "*" {
            return Ok(Host::Any);
        }
        if let Some(rest) = host.strip_prefix("*.") {
            return name(rest).map(|()| Host::Below(format!(".{rest}")));
        }
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(&host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Host::Exact(match ip {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("[{v6}]"),
            }));
        }
        name(&host).map(|()| Host::Exact(host))
    }

    /// Whether the entry matches a request's host, in lower case and without a port.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Host::Any => true,
            Host::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Host::Exact(exact) => host == exact,
        }
    }

    /// The rank of the entry: of two entries that match, the more exact one has the larger rank.
    pub fn rank(&self) -> usize {
        match self {
            Host::Any => 0,
            Host::Below(suffix) => suffix.len(),
            Host::Exact(_) => usize::MAX,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Any => f.write_str("*"),
            Host::Below(suffix) => write!(f, "*{suffix}"),
            Host::Exact(exact) => f.write_str(exact),
        }
    }
}

/// The hosts, by default all.
pub(crate) fn hosts(raw: &Option<Many>) -> Check<Vec<Host>> {
    let Some(many) = raw else {
        return Ok(vec![Host::Any]);
    };
    let host = |item: &Spanned<String>| {
        Host::parse(item.get_ref()).map_err(|why| {
            Problem::at(
                item.span(),
                format!(
                    "`hosts` has \"{}\", which {why}",
                    value::brief(item.get_ref())
                ),
                "not a host",
                "write \"api.example.com\", \"*.example.com\" or \"*\"; every port is meant",
            )
        })
    };
    value::non_empty("hosts", many)?.iter().map(host).collect()
}

/// The path prefixes, by default all.
pub(crate) fn prefixes(raw: &Option<Many>) -> Check<Vec<String>> {
    let Some(many) = raw else {
        return Ok(vec!["/".to_owned()]);
    };
    let prefix = |item: &Spanned<String>| {
        let path = value::path("paths", item, false)?;
        let bare = path.trim_end_matches('/');
        Ok(if bare.is_empty() {
            "/".to_owned()
        } else {
            bare.to_owned()
        })
    };
    value::non_empty("paths", many)?
        .iter()
        .map(prefix)
        .collect()
}

fn name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("is empty");
    }
    if host.contains("://") {
        return Err("is a URL");
    }
    if host.contains('/') {
        return Err("has a path");
    }
    if host.contains(':') {
        return Err("has a port");
    }
    if host.contains('*') {
        return Err("has a `*` that is not the first label");
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("is not a host name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_host_wins() {
        let hosts = [
            "*",
            "*.Example.com",
            "*.eu.example.com",
            "api.eu.example.com",
        ];
        let hosts: Vec<Host> = hosts.iter().map(|h| Host::parse(h).unwrap()).collect();
        assert!(hosts.iter().all(|h| h.matches("api.eu.example.com")));
        assert!(hosts.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
        assert!(!hosts[1].matches("example.com"));
        assert!(!hosts[1].matches("badexample.com"));
        assert_eq!(Host::parse("::1"), Host::parse("[::1]"));
    }

    #[test]
    fn what_is_no_host_is_said() {
        for bad in [
            "", "a b", "http://x", "x:80", "x/y", "a.*.b", "-a.b", "a..b", "ü.de",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
    }
}
