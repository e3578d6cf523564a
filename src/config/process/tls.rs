//! `[proxy.tls]`: TLS with clients.

use crate::config::parse::address::{LOOPBACK, addresses};
use crate::config::parse::certificate::{Certificate, RawCertificate, authorities, certificate};
use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::value::{self, Check};
use crate::config::process::acme::{Acme, RawAcme, acme};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// TLS for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The addresses of the TLS listener; at least one.
    pub listen: Vec<SocketAddr>,
    /// Chosen by the server name (SNI) of the client, the first where none matches; at least one, or `acme`.
    pub certificates: Vec<Certificate>,
    /// How one more certificate is obtained, for names that no other certificate covers.
    pub acme: Option<Acme>,
    /// Clients must present a certificate of one of these authorities; empty: none is required.
    pub client_ca: Vec<CertificateDer<'static>>,
    /// The longest time for a handshake.
    pub handshake_timeout: Duration,
    /// The `https` port that clients without TLS are redirected to; `None`: they are not.
    pub redirect: Option<u16>,
    /// The `Strict-Transport-Security` of answers.
    pub hsts: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [proxy.tls]")]
pub(crate) struct RawTls {
    pub(crate) listen: Option<Many>,
    #[serde(default)]
    pub(crate) certificates: Vec<Spanned<RawCertificate>>,
    pub(crate) acme: Value<RawAcme>,
    pub(crate) client_ca: Text,
    pub(crate) handshake_timeout: Value<Scalar>,
    pub(crate) redirect: Option<bool>,
    pub(crate) redirect_port: Value<i64>,
    pub(crate) hsts: Text,
}

/// The TLS listener for users.
const LISTEN: SocketAddr = SocketAddr::new(LOOPBACK, 8443);

/// One or two round trips, and the computing time of a slow phone.
const HANDSHAKE_TIMEOUT: Duration = seconds(10);

/// Clients without TLS are served without TLS.
const REDIRECT: bool = false;

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
        None => vec![LISTEN],
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
            HANDSHAKE_TIMEOUT,
        )?,
        redirect: raw.redirect.unwrap_or(REDIRECT).then_some(port),
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
