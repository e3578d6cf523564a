//! Checks of `[proxy.tls]` and of a service's `tls`.

use crate::config::file::{RawBackendTls, RawBackendTlsTable};
use crate::config::host::Host;
use crate::config::parse::address::dns_name;
use crate::config::parse::certificate::{authorities, optional};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Value;
use crate::config::parse::value::{self, Check};
use crate::config::types::{BackendTls, PoolSpec, Service};
use rustls::pki_types::DnsName;
use std::path::Path;
use toml::Spanned;

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
