//! Certificates and keys from files, checked so that a handshake with them can succeed.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Text;
use crate::config::parse::value::{Check, file_path};
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Highest size in bytes: a larger file is the wrong one.
const FILE_BYTES_MAX: u64 = 1 << 20;

const DAY: i64 = 24 * 3600;

/// Days before its end from which an unrenewed certificate is reported.
const WORRY_DAYS: i64 = 14;

/// Divisor of the lifetime: a certificate with a short one is reported only in its last quarter.
const WORRY_PART: i64 = 4;

/// A certificate with its issuers, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file that it was read from.
    pub file: PathBuf,
    /// The DNS names of the certificate, in lower case; `*.` stands for one label.
    pub names: Vec<String>,
    /// Start of its validity, in seconds of Unix time.
    pub begins: i64,
    /// End of its validity, in seconds of Unix time.
    pub ends: i64,
    /// The certificate first, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl Certificate {
    /// Certificate and key in the form of a handshake.
    ///
    /// # Errors
    /// When the key is of an unknown kind, or another certificate's.
    pub fn signer(&self) -> Result<CertifiedKey, rustls::Error> {
        let certified = CertifiedKey::new(self.chain.clone(), any_supported_type(&self.key)?);
        match certified.keys_match() {
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) | Ok(()) => {
                Ok(certified)
            }
            Err(error) => Err(error),
        }
    }

    /// The name for messages.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether it has expired at this second of Unix time.
    pub fn expired(&self, now: i64) -> bool {
        self.ends < now
    }

    /// A problem with its validity at this second of Unix time, or soon after.
    pub fn worry(&self, now: i64) -> Option<String> {
        let days = |seconds: i64| match seconds / DAY {
            1 => "1 day".to_owned(),
            n => format!("{n} days"),
        };
        let left = self.ends.saturating_sub(now);
        let life = self.ends.saturating_sub(self.begins);
        let what = if self.expired(now) {
            let (ago, day) = (days(-left), date(self.ends));
            format!(
                "expired {ago} ago, on {day}: users' programs refuse it. Renew it, then `shifter reload`"
            )
        } else if self.begins > now {
            let day = date(self.begins);
            format!("is valid only from {day} on: is the clock of this machine right?")
        } else if left < (WORRY_DAYS * DAY).min(life / WORRY_PART) {
            let (in_, day) = (days(left), date(self.ends));
            format!("expires in {in_}, on {day}: renew it, then `shifter reload`")
        } else {
            return None;
        };
        Some(format!("the certificate {self} {what}"))
    }
}

impl std::fmt::Display for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.file.display(), self.names.join(", "))
    }
}

/// The day of a second of Unix time, in UTC.
fn date(second: i64) -> String {
    let moment = Timestamp::from_second(second);
    moment.map_or_else(
        |_| "?".to_owned(),
        |moment| moment.strftime("%Y-%m-%d").to_string(),
    )
}

/// A certificate and its key, from the names of their files.
pub(crate) fn certificate(table: &Spanned<RawCertificate>, dir: &Path) -> Check<Certificate> {
    let raw = table.get_ref();
    match (&raw.cert, &raw.key) {
        (Some(cert), Some(key)) => pair(cert, key, dir),
        (cert, _) => {
            let absent = if cert.is_none() { "cert" } else { "key" };
            Err(Problem::at(
                table.span(),
                format!("a certificate has no `{absent}`"),
                "this table",
                "name both files: { cert = \"fullchain.pem\", key = \"privkey.pem\" }",
            ))
        }
    }
}

/// A certificate and its key where both may be left out.
pub(crate) fn optional(cert: &Text, key: &Text, dir: &Path) -> Check<Option<Certificate>> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let certificate = pair(cert, key, dir)?;
            // Pingora takes the key as bare bytes, and guesses its kind.
            match PrivateKeyDer::try_from(certificate.key.secret_der()) {
                Ok(_) => Ok(Some(certificate)),
                Err(_) => Err(Problem::at(
                    key.span(),
                    "`key` names a key in an unusual form",
                    "this key",
                    "rewrite it as PKCS #8: openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW",
                )),
            }
        }
        (Some(one), None) | (None, Some(one)) => Err(Problem::at(
            one.span(),
            "a certificate needs its key, and a key its certificate",
            "alone",
            "name both files: cert = \"client.pem\", key = \"client.key\"",
        )),
    }
}

fn pair(cert: &Spanned<String>, key: &Spanned<String>, dir: &Path) -> Check<Certificate> {
    let chain = chain("cert", cert, dir)?;
    let leaf = chain.first().and_then(|leaf| parsed(leaf));
    let Some(leaf) = leaf else {
        return Err(Problem::at(
            cert.span(),
            "the first certificate of this file cannot be read",
            "this file",
            "it must be X.509; the server's own certificate comes first, its issuers after it",
        ));
    };
    let certificate = Certificate {
        file: file_path("cert", cert, dir)?,
        names: names(&leaf),
        begins: leaf.validity().not_before.timestamp(),
        ends: leaf.validity().not_after.timestamp(),
        key: Arc::new(private_key(key, dir)?),
        chain: chain.clone(),
    };
    match certificate.signer() {
        Ok(_) => Ok(certificate),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Problem::at(
            key.span(),
            format!("this key is not the key of the certificate {certificate}"),
            "another certificate's key",
            "name the key that was made with the certificate; the server's own certificate comes first in its file",
        )),
        Err(error) => Err(Problem::at(
            key.span(),
            format!("the key cannot be used: {error}"),
            "this key",
            "RSA (2048 bits or more), ECDSA (P-256, P-384) and Ed25519 keys can",
        )),
    }
}

/// The certificates of a file; at least one.
fn chain(key: &str, raw: &Spanned<String>, dir: &Path) -> Check<Vec<CertificateDer<'static>>> {
    let bytes = bytes(key, raw, dir)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        found => {
            let why = found.err().map(|error| format!(": {error}"));
            Err(Problem::at(
                raw.span(),
                format!(
                    "`{key}` names a file without a certificate{}",
                    why.unwrap_or_default()
                ),
                "this file",
                "it must be PEM text: -----BEGIN CERTIFICATE-----",
            ))
        }
    }
}

/// The authorities of a file, each usable as a trust anchor of a handshake.
pub(crate) fn authorities(
    key: &str,
    raw: &Spanned<String>,
    dir: &Path,
) -> Check<Vec<CertificateDer<'static>>> {
    let authorities = chain(key, raw, dir)?;
    let bad = authorities.iter().find_map(|authority| {
        let added = RootCertStore::empty().add(authority.clone());
        let read = parsed(authority).ok_or("not X.509".to_owned());
        added
            .map_err(|error| error.to_string())
            .and(read.map(|_| ()))
            .err()
    });
    match bad {
        None => Ok(authorities),
        Some(why) => Err(Problem::at(
            raw.span(),
            format!("`{key}` has a certificate that cannot be trusted: {why}"),
            "this file",
            "name the certificate of the authority that signs, as PEM text",
        )),
    }
}

fn private_key(raw: &Spanned<String>, dir: &Path) -> Check<PrivateKeyDer<'static>> {
    let bytes = bytes("key", raw, dir)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let encrypted = bytes.windows(9).any(|word| word == b"ENCRYPTED");
        let (what, help) = if encrypted {
            (
                "`key` names a file whose key has a password, which cannot be typed here".to_owned(),
                "take the password off: openssl pkey -in KEY -out NEW; keep the file readable for shifter alone",
            )
        } else {
            (
                format!("`key` names a file without a private key: {error}"),
                "it must be PEM text: -----BEGIN PRIVATE KEY-----",
            )
        };
        Problem::at(raw.span(), what, "this file", help)
    })
}

fn bytes(key: &str, raw: &Spanned<String>, dir: &Path) -> Check<Vec<u8>> {
    let path = file_path(key, raw, dir)?;
    let mut bytes = vec![];
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Problem::at(
            raw.span(),
            format!(
                "`{key}` names {}, which cannot be read: {error}",
                path.display()
            ),
            "this file",
            "name a file that is there, readable for the user who runs shifter",
        )),
    }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der)
        .ok()
        .map(|(_, certificate)| certificate)
}

/// The DNS names of a certificate; old ones have them only in the subject.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        let subject = certificate.subject().iter_common_name();
        names.extend(
            subject
                .filter_map(|name| name.as_str().ok())
                .map(str::to_ascii_lowercase),
        );
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(begins: i64, ends: i64) -> Certificate {
        Certificate {
            file: PathBuf::from("a.pem"),
            names: vec!["a.test".to_owned()],
            begins,
            ends,
            chain: vec![],
            key: Arc::new(PrivateKeyDer::Pkcs8(vec![].into())),
        }
    }

    #[test]
    fn its_dates_worry_when_they_should() {
        let year = certificate(0, 365 * DAY);
        let short = certificate(0, 6 * DAY);
        let cases = [
            (&year, 0, None),
            (&year, 351 * DAY, None),
            (
                &year,
                351 * DAY + 1,
                Some("expires in 13 days, on 1971-01-01"),
            ),
            (&year, 364 * DAY, Some("expires in 1 day, on")),
            (&year, 365 * DAY, Some("expires in 0 days")),
            (
                &year,
                366 * DAY + 1,
                Some("expired 1 day ago, on 1971-01-01"),
            ),
            (&year, -1, Some("is valid only from 1970-01-01 on")),
            (&short, 4 * DAY, None),
            (&short, 5 * DAY, Some("expires in 1 day")),
        ];
        for (certificate, now, expected) in cases {
            let told = certificate.worry(now);
            match (&told, expected) {
                (None, None) => {}
                (Some(told), Some(expected)) => {
                    assert!(
                        told.starts_with("the certificate a.pem (a.test) "),
                        "{told}"
                    );
                    assert!(told.contains(expected), "{told}");
                }
                _ => panic!("{now}: {told:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let mut certificate = certificate(0, 1);
        certificate.key = Arc::new(PrivateKeyDer::Pkcs8(b"hunter2".to_vec().into()));
        let shown = format!("{certificate:?}");
        assert!(
            !shown.contains("104, 117") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { cert = \"fullchain.pem\", key = \"privkey.pem\" }"
)]
pub(crate) struct RawCertificate {
    pub(crate) cert: Text,
    pub(crate) key: Text,
}
