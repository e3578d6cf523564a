//! `acme` in `[proxy.tls]`: certificates that shifter obtains and renews by itself.

use crate::config::parse::address::dns_name;
use crate::config::parse::certificate::authorities;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::value::{self, Check};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use std::path::Path;
use toml::Spanned;

/// Highest number of names in one certificate that authorities accept.
const NAMES_MAX: usize = 100;

/// A certificate obtained by ACME (RFC 8555), with HTTP-01 challenges (8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The contact address for the authority.
    pub email: Option<String>,
    /// The DNS names in the certificate; at least one.
    pub names: Vec<String>,
    /// The authority's directory (an `https` URL).
    pub directory: String,
    /// The authorities that verify the ACME server's own certificate; empty: the well-known ones.
    pub ca: Vec<CertificateDer<'static>>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { names = [\"app.example.com\"], email = \"ops@example.com\" }"
)]
pub(crate) struct RawAcme {
    #[serde(default)]
    pub(crate) names: Vec<Spanned<String>>,
    pub(crate) email: Text,
    pub(crate) directory: Text,
    pub(crate) ca: Text,
}

/// Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

pub(crate) fn acme(raw: &Value<RawAcme>, dir: &Path) -> Check<Option<Acme>> {
    let Some(table) = raw else { return Ok(None) };
    let raw = table.get_ref();
    if !cfg!(feature = "acme") {
        return Err(Problem::at(
            table.span(),
            "`acme` is not part of this build of shifter",
            "not used",
            "build it with cargo build --release --features acme, or name `certificates`",
        ));
    }
    let names = raw.names.iter().map(name).collect::<Check<Vec<_>>>()?;
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(Problem::at(
            table.span(),
            format!(
                "`acme` has {} names; a certificate has 1 to {NAMES_MAX}",
                names.len()
            ),
            "this table",
            "name the hosts that users ask for: names = [\"app.example.com\"]",
        ));
    }
    Ok(Some(Acme {
        email: match &raw.email {
            None => None,
            Some(email) => Some(address(email)?),
        },
        names,
        directory: match &raw.directory {
            None => DIRECTORY.to_owned(),
            Some(url) => directory(url)?,
        },
        ca: match &raw.ca {
            None => vec![],
            Some(file) => authorities("ca", file, dir)?,
        },
    }))
}

fn name(raw: &Spanned<String>) -> Check<String> {
    if let Some(name) = dns_name(raw.get_ref()) {
        return Ok(name);
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "\"{}\" is no name that a certificate can be had for by HTTP",
            value::brief(raw.get_ref())
        ),
        "not a host",
        "write whole names, such as \"app.example.com\"; those with * need another way to prove who one is: get them elsewhere and name `certificates`",
    ))
}

fn address(raw: &Spanned<String>) -> Check<String> {
    let text = raw.get_ref();
    let parts = text.split_once('@');
    let plain = text.chars().all(|c| c.is_ascii_graphic());
    if plain && parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()) {
        return Ok(text.clone());
    }
    Err(Problem::at(
        raw.span(),
        format!("`email` is \"{}\"", value::brief(text)),
        "not an address",
        "write where the authority reaches you: \"ops@example.com\", or leave it out",
    ))
}

fn directory(raw: &Spanned<String>) -> Check<String> {
    let url = raw.get_ref();
    let uri = url.parse::<http::Uri>().ok();
    let secure = uri.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some());
    if secure {
        return Ok(url.clone());
    }
    Err(Problem::at(
        raw.span(),
        format!("`directory` is \"{}\"", value::brief(url)),
        "not an https address",
        "write the authority's ACME directory, or leave it out for Let's Encrypt",
    ))
}
