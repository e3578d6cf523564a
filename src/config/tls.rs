//! Checks of `[proxy.tls]` and of a service's `tls`.

use crate::config::acme::acme;
use crate::config::defaults;
use crate::config::file::proxy::RawTls;
use crate::config::file::{RawBackendTls, RawBackendTlsTable};
use crate::config::host::Host;
use crate::config::parse::address::{addresses, dns_name};
use crate::config::parse::certificate::{authorities, certificate, optional};
use crate::config::parse::duration::{SHORT, duration};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::value::{self, Check};
use crate::config::types::{BackendTls, PoolSpec, Service, Tls};
use rustls::pki_types::DnsName;
use std::path::Path;
use toml::Spanned;

/// TLS for clients, where it is on.
pub(crate) fn tls(raw: &Value<RawTls>, dir: &Path) -> Check<Option<Tls>> {
    let Some(table) = raw else { return Ok(None) };
    let raw = table.get_ref();
    let hsts = hsts(&raw.hsts)?;
    let certificates = raw
        .certificates
        .iter()
        .map(|table| certificate(table, dir))
        .collect::<Check<Vec<_>>>()?;
    let acme = acme(&raw.acme, dir)?;
    if certificates.is_empty() && acme.is_none() {
        return Err(Problem::at(
            table.span(),
            "[proxy.tls] has no `certificates`: no client could be served",
            "this table",
            "name one: certificates = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]",
        ));
    }
    let listen = match &raw.listen {
        None => vec![defaults::LISTEN_TLS],
        Some(many) => addresses("listen", many)?,
    };
    let usual = listen.first().map_or(443, std::net::SocketAddr::port);
    let port = value::number("redirect_port", &raw.redirect_port, 1..=65_535, usual)?;
    Ok(Some(Tls {
        listen,
        certificates,
        acme,
        client_ca: match &raw.client_ca {
            None => vec![],
            Some(file) => authorities("client_ca", file, dir)?,
        },
        handshake_timeout: duration(
            "handshake_timeout",
            &raw.handshake_timeout,
            SHORT,
            defaults::HANDSHAKE_TIMEOUT,
        )?,
        redirect: raw.redirect.unwrap_or(defaults::REDIRECT).then_some(port),
        hsts,
    }))
}

/// The value of `Strict-Transport-Security` (RFC 6797, 6.1).
fn hsts(raw: &Text) -> Check<Option<String>> {
    let Some(raw) = raw else { return Ok(None) };
    let mut ages = 0;
    let known = raw.get_ref().split(';').all(|part| {
        let part = part.trim().to_ascii_lowercase();
        match part.split_once('=') {
            Some(("max-age", age)) => {
                ages += 1;
                age.parse::<u32>().is_ok()
            }
            _ => matches!(part.as_str(), "includesubdomains" | "preload"),
        }
    });
    if known && ages == 1 {
        return Ok(Some(raw.get_ref().clone()));
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "`hsts` is \"{}\", which browsers do not understand",
            value::brief(raw.get_ref())
        ),
        "not a policy",
        "write \"max-age=31536000\", and \"; includeSubDomains\" after it when all names below are served by TLS too",
    ))
}

/// TLS to a service's members, where it is on.
pub(crate) fn backend(
    raw: &Value<RawBackendTls>,
    hosts: &[Host],
    dir: &Path,
) -> Check<Option<BackendTls>> {
    let Some(value) = raw else { return Ok(None) };
    let nothing = RawBackendTlsTable::default();
    let raw = match value.get_ref() {
        RawBackendTls::Switch(false) => return Ok(None),
        RawBackendTls::Switch(true) => &nothing,
        RawBackendTls::Table(table) => table,
    };
    let insecure = raw.insecure.unwrap_or(false);
    if let (true, Some(ca)) = (insecure, &raw.ca) {
        return Err(Problem::at(
            ca.span(),
            "`insecure` verifies nothing, and `ca` says by whom to verify",
            "not used",
            "leave `insecure` out: then the members must have a certificate of this authority",
        ));
    }
    let named = match &raw.server_name {
        Some(name) => Some(server_name(name)?),
        None => hosts.iter().find_map(|host| match host {
            Host::Exact(name) => DnsName::try_from(name.as_str()).ok().map(|_| name.clone()),
            _ => None,
        }),
    };
    Ok(Some(BackendTls {
        server_name: named,
        verify: !insecure,
        ca: match &raw.ca {
            None => vec![],
            Some(file) => authorities("ca", file, dir)?,
        },
        certificate: optional(&raw.cert, &raw.key, dir)?,
    }))
}

fn server_name(raw: &Spanned<String>) -> Check<String> {
    if let Some(name) = dns_name(raw.get_ref()) {
        return Ok(name);
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "`server_name` is \"{}\", which is no name",
            value::brief(raw.get_ref())
        ),
        "not a name",
        "write the name in the members' certificate, without scheme and port; leave it out where the certificate has their addresses",
    ))
}

/// Without a server name a certificate must contain the members' addresses; those of containers change.
pub(crate) fn fits_members(service: &Service, raw: &Value<RawBackendTls>) -> Check<()> {
    let (Some(tls), Some(raw)) = (&service.tls, raw) else {
        return Ok(());
    };
    let fixed = matches!(service.blue, PoolSpec::Addresses(_));
    if fixed || !tls.verify || tls.server_name.is_some() {
        return Ok(());
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "it is not known which name the certificates of `{}` have",
            service.name
        ),
        "no `server_name`",
        "write tls = { server_name = \"api.internal\" }: the addresses of containers change, and cannot stand in a certificate",
    ))
}
