//! `tls` of a service: TLS with its members.

use crate::config::parse::address::dns_name;
use crate::config::parse::certificate::{Certificate, authorities, optional};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::untagged::{Untagged, untagged};
use crate::config::parse::value::{self, Check};
use crate::config::service::hosts::Host;
use crate::config::service::pools::PoolSpec;
use rustls::pki_types::{CertificateDer, DnsName};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess};
use std::net::SocketAddr;
use std::path::Path;
use toml::Spanned;

/// TLS to a service's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The name that their certificate must have; `None`: their address.
    pub server_name: Option<String>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// The accepted authorities; empty: those that the system trusts.
    pub ca: Vec<CertificateDer<'static>>,
    /// The client certificate that shifter presents.
    pub certificate: Option<Certificate>,
}

impl BackendTls {
    /// The name that a member's certificate must have.
    pub fn name_of(&self, addr: SocketAddr) -> String {
        let name = self.server_name.clone();
        name.unwrap_or_else(|| addr.ip().to_canonical().to_string())
    }
}

/// TLS for connections to the members.
#[derive(Debug)]
pub(crate) enum RawBackendTls {
    /// Whether TLS is used.
    Switch(bool),
    /// TLS is used, with these settings.
    Table(RawBackendTlsTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "true, or a table: { ca = \"ca.pem\", server_name = \"api.internal\" }"
)]
pub(crate) struct RawBackendTlsTable {
    pub(crate) ca: Text,
    pub(crate) server_name: Text,
    pub(crate) cert: Text,
    pub(crate) key: Text,
    pub(crate) insecure: Option<bool>,
}

impl<'de> Deserialize<'de> for RawBackendTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawBackendTls, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for RawBackendTls {
    const EXPECTED: &'static str = "true or a table: { server_name = \"api.internal\" }";

    fn switch<E: Error>(on: bool) -> Result<RawBackendTls, E> {
        Ok(RawBackendTls::Switch(on))
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<RawBackendTls, A::Error> {
        RawBackendTlsTable::deserialize(MapAccessDeserializer::new(table)).map(RawBackendTls::Table)
    }
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
pub(crate) fn fits_members(
    name: &str,
    tls: &Option<BackendTls>,
    blue: &PoolSpec,
    raw: &Value<RawBackendTls>,
) -> Check<()> {
    let (Some(tls), Some(raw)) = (tls, raw) else {
        return Ok(());
    };
    let fixed = matches!(blue, PoolSpec::Addresses(_));
    if fixed || !tls.verify || tls.server_name.is_some() {
        return Ok(());
    }
    Err(Problem::at(
        raw.span(),
        format!("it is not known which name the certificates of `{name}` have"),
        "no `server_name`",
        "write tls = { server_name = \"api.internal\" }: the addresses of containers change, and cannot stand in a certificate",
    ))
}
