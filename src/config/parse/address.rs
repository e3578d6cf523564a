//! Socket addresses, URLs, and names in DNS.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::parse::value::{self, Check, brief, non_empty};
use rustls::pki_types::DnsName;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use toml::Spanned;

/// An address with its port.
pub(crate) fn address(key: &str, raw: &Spanned<String>) -> Check<SocketAddr> {
    let text = raw.get_ref().trim();
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(Problem::at(
            raw.span(),
            format!("`{key}` has port 0: no client could find it"),
            "port 0",
            "write a port from 1 to 65535",
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(Problem::at(
            raw.span(),
            format!(
                "`{key}` has \"{}\", which is not an address with a port",
                brief(text)
            ),
            "not IP:PORT",
            address_help(text),
        )),
    }
}

fn address_help(text: &str) -> String {
    let port = text
        .rsplit(':')
        .next()
        .and_then(|p| p.parse::<u16>().ok())
        .filter(|p| *p > 0);
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if text.contains("://") {
        "leave the scheme and the path out: \"127.0.0.1:3001\"".into()
    } else if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        format!("add the port: \"{}\"", SocketAddr::new(ip, 8080))
    } else if let (Some(port), "localhost" | "" | "*") = (port, host) {
        format!("write the IP address: \"127.0.0.1:{port}\" (\"0.0.0.0:{port}\" to listen on all)")
    } else if port.is_some() {
        format!("names are not looked up: write the IP address of {host}, with the port")
    } else {
        "write it as IP:PORT: \"127.0.0.1:3001\" or \"[::1]:3001\"".into()
    }
}

/// A list of addresses, not empty, none twice.
pub(crate) fn addresses(key: &str, raw: &Many) -> Check<Vec<SocketAddr>> {
    let mut addresses = Vec::with_capacity(raw.items.len());
    for item in non_empty(key, raw)? {
        let address = address(key, item)?;
        if addresses.contains(&address) {
            let help = "leave the second one out";
            return Err(Problem::at(
                item.span(),
                format!("`{key}` has {address} twice"),
                "again",
                help,
            ));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

pub(crate) fn url(key: &str, raw: &Spanned<String>) -> Check<String> {
    let text = raw.get_ref();
    let good = text
        .parse::<http::Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some());
    if good {
        return Ok(text.clone());
    }
    Err(Problem::at(
        raw.span(),
        format!("`{key}` is \"{}\", which is no address", value::brief(text)),
        "not an address",
        "write \"http://127.0.0.1:9000/flush\"",
    ))
}

/// A DNS name as certificates have it, in lower case; `None` for an address and for anything else.
pub(crate) fn dns_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    (DnsName::try_from(name.as_str()).is_ok() && !is_address).then_some(name)
}

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
