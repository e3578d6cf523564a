//! `trusted_proxies`, `trust_forwarded` and `proxy_protocol` in `[proxy]`: the sources of a client's address that are trusted.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Value};
use crate::config::parse::value::{self, Check};
use ipnet::IpNet;
use std::net::IpAddr;

/// Which connecting clients are trusted about the client address they forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// None: the connecting client is the user.
    Nobody,
    /// All: shifter cannot be reached in another way.
    Everybody,
    /// Proxies with an address in one of these networks; at least one.
    Named(Vec<IpNet>),
}

impl Trust {
    /// Whether a proxy at this address is trusted.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Trust::Nobody => false,
            Trust::Everybody => true,
            Trust::Named(networks) => networks.iter().any(|network| network.contains(&address)),
        }
    }
}

/// The trusted sources, from the keys `trust_forwarded`, `trusted_proxies` and `proxy_protocol`.
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
    let all = value::non_empty("trusted_proxies", raw)?
        .iter()
        .map(|item| {
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

    fn proxy(lines: &str) -> Result<crate::config::process::proxy::Proxy, String> {
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
