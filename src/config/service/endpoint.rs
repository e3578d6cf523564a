//! An address that is queried by HTTP: with TLS, headers and credentials where needed.

use crate::config::parse::address::{dns_name, url};
use crate::config::parse::certificate::authorities;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::secret::{self, Kind, RawHeader, RawSecret, Secret};
use crate::config::parse::value::{self, Check};
use crate::config::service::tls::BackendTls;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;

/// Highest number of headers; more are a mistake.
const HEADERS_MAX: usize = 32;

/// Shortest secret (in bytes) that is hidden: a shorter text occurs where it has nothing to do with it.
const HIDDEN_MIN: usize = 4;

/// An address that is queried by HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The URL, such as `https://prometheus.example.com/base`.
    pub address: String,
    /// The headers of every request: names in lower case, values that may be secret.
    pub headers: Vec<(String, Secret)>,
    /// TLS settings; `None` for `http`.
    pub tls: Option<BackendTls>,
    /// The secret parts of the headers.
    secrets: Vec<Secret>,
}

impl Endpoint {
    /// The text with stars in place of secrets: an answer may repeat what it was sent.
    pub fn without_secrets(&self, text: &str) -> String {
        let hidden = |text: String, secret: &Secret| {
            let plain = text.replace(secret.expose(), "***");
            let escaped = serde_json::to_string(secret.expose()).unwrap_or_default();
            plain.replace(escaped.trim_matches('"'), "***")
        };
        self.secrets.iter().fold(text.to_owned(), hidden)
    }

    /// Whether secrets are sent to another machine without TLS.
    pub fn is_overheard(&self) -> bool {
        let uri = self.address.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>();
        let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        self.tls.is_none() && !self.secrets.is_empty() && !here
    }
}

/// The keys of a source that are for its address, as written.
pub(crate) struct RawEndpoint<'a> {
    /// The place of the whole source.
    pub(crate) span: Range<usize>,
    pub(crate) ca: &'a Text,
    pub(crate) headers: &'a BTreeMap<Spanned<String>, Spanned<RawHeader>>,
    pub(crate) user: &'a Text,
    pub(crate) password: &'a Value<RawSecret>,
    pub(crate) token: &'a Value<RawSecret>,
}

/// The address under this key, with the other settings for it.
pub(crate) fn endpoint(
    key: &str,
    at: &Spanned<String>,
    keys: &RawEndpoint<'_>,
    dir: &Path,
) -> Check<Endpoint> {
    let address = url(key, at)?;
    let uri = address.parse::<http::Uri>().unwrap_or_default();
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if authority.contains('@') {
        return Err(Problem::at(
            at.span(),
            "this address has a user or a password, which would stand in logs",
            "in the open",
            "leave it out, and write user = \"NAME\", password = { file = \"/run/secrets/prometheus\" } beside it",
        ));
    }
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => {
            return Err(Problem::at(
                at.span(),
                format!(
                    "\"{}\" is not asked: sources are asked by http or https",
                    value::brief(&address)
                ),
                "another scheme",
                "write \"http://127.0.0.1:9090\" or \"https://prometheus.example.com\"; for another way in write a program: exec = [\"./ask-metrics\"]",
            ));
        }
    };
    let ca = match keys.ca {
        Some(ca) if !secure => {
            return Err(Problem::at(
                ca.span(),
                "`ca` says by whom a certificate is verified, and this address is asked without TLS",
                "not used",
                "write https:// in the address, or leave `ca` out",
            ));
        }
        Some(ca) => authorities("ca", ca, dir)?,
        None => vec![],
    };
    let (headers, secrets) = headers(keys, dir)?;
    Ok(Endpoint {
        tls: secure.then(|| BackendTls {
            server_name: uri.host().and_then(dns_name),
            verify: true,
            ca,
            certificate: None,
        }),
        address,
        headers,
        secrets,
    })
}

type Headers = Vec<(String, Secret)>;

/// All headers, and their secret parts.
fn headers(keys: &RawEndpoint<'_>, dir: &Path) -> Check<(Headers, Vec<Secret>)> {
    let (mut all, mut secrets): (Headers, _) = (vec![], vec![]);
    if keys.headers.len() > HEADERS_MAX {
        return Err(Problem::at(
            keys.span.clone(),
            format!("`headers` has {} headers", keys.headers.len()),
            "this source",
            format!("at most {HEADERS_MAX} are sent"),
        ));
    }
    for (name, value) in keys.headers {
        let name_text = header_name(name)?;
        if all.iter().any(|(known, _)| *known == name_text) {
            return Err(Problem::at(
                name.span(),
                format!("`headers` has `{name_text}` twice"),
                "the second one",
                "keep one of them",
            ));
        }
        let value = match value.get_ref() {
            RawHeader::Plain(text) => plain(&name_text, text, value)?,
            RawHeader::From(from) => {
                let secret = secret::read(Kind::Header, name.get_ref(), value.span(), from, dir)?;
                secrets.push(secret.clone());
                secret
            }
        };
        all.push((name_text, value));
    }
    if let Some(value) = credentials(keys, dir, &mut secrets)? {
        if all.iter().any(|(name, _)| name == "authorization") {
            return Err(two_ways(keys));
        }
        all.push(("authorization".to_owned(), value));
    }
    secrets.retain(|secret| secret.expose().len() >= HIDDEN_MIN);
    // A secret that is a part of another one must not leave the rest of that one visible.
    secrets.sort_by_key(|secret: &Secret| std::cmp::Reverse(secret.expose().len()));
    Ok((all, secrets))
}

/// The `Authorization` header made of `token`, or of `user` and `password` (RFC 6750, 2.1; RFC 7617, 2).
fn credentials(
    keys: &RawEndpoint<'_>,
    dir: &Path,
    secrets: &mut Vec<Secret>,
) -> Check<Option<Secret>> {
    match (keys.token, keys.user, keys.password) {
        (None, None, None) => Ok(None),
        (Some(token), None, None) => {
            let token = secret::given(Kind::Header, "token", token, dir)?;
            let value = Secret::new(format!("Bearer {}", token.expose()));
            secrets.push(token);
            Ok(Some(value))
        }
        (None, Some(user), Some(password)) => {
            let name = user.get_ref();
            if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
                return Err(Problem::at(
                    user.span(),
                    "`user` is empty, or has a colon or a control character in it",
                    "not a user's name",
                    "write the name alone, and the password as password = { file = \"/run/secrets/prometheus\" }",
                ));
            }
            let password = secret::given(Kind::Password, "password", password, dir)?;
            let both = BASE64_STANDARD.encode(format!("{name}:{}", password.expose()));
            let value = Secret::new(format!("Basic {both}"));
            secrets.extend([password, Secret::new(both)]);
            Ok(Some(value))
        }
        (None, user, _) => Err(Problem::at(
            keys.span.clone(),
            if user.is_some() {
                "this source has a `user` and no `password`"
            } else {
                "this source has a `password` and no `user`"
            },
            "this source",
            "write both: user = \"NAME\", password = { file = \"/run/secrets/prometheus\" }",
        )),
        _ => Err(two_ways(keys)),
    }
}

fn two_ways(keys: &RawEndpoint<'_>) -> Problem {
    Problem::at(
        keys.span.clone(),
        "this source says in two ways who is asking",
        "this source",
        "keep one of `token`, `user` with `password`, and an `Authorization` in `headers`",
    )
}

/// A header's name in lower case; refuses those that frame a request or route it.
fn header_name(raw: &Spanned<String>) -> Check<String> {
    const OURS: [&str; 8] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = value::token("headers", raw)?.to_ascii_lowercase();
    if OURS.contains(&name.as_str()) {
        return Err(Problem::at(
            raw.span(),
            format!("the header `{name}` is written by shifter itself"),
            "taken",
            "leave it out",
        ));
    }
    Ok(name)
}

/// A header's value in plain text in the file.
fn plain(name: &str, text: &str, raw: &Spanned<RawHeader>) -> Check<Secret> {
    const SECRET: [&str; 7] = [
        "authorization",
        "cookie",
        "token",
        "secret",
        "password",
        "api-key",
        "apikey",
    ];
    if SECRET.iter().any(|part| name.contains(part)) {
        let mut problem = Problem::at(
            raw.span(),
            format!(
                "the header `{name}` itself stands in this file, where it leaks with every copy"
            ),
            "a secret",
            format!(
                "name where it is: {name} = {{ env = \"NAME\" }} or {name} = {{ file = \"/run/secrets/NAME\" }}"
            ),
        );
        problem.hide = true;
        return Err(problem);
    }
    if http::HeaderValue::from_str(text).is_err() || text.trim() != text {
        return Err(Problem::at(
            raw.span(),
            format!("the header `{name}` has a value that HTTP cannot carry"),
            "this value",
            "use visible characters, and spaces only between them",
        ));
    }
    Ok(Secret::new(text))
}
