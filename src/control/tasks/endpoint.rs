//! Queries an address by HTTP for JSON: with its TLS, headers and credentials.
//!
//! Redirects are not followed, so the request goes to the configured address only.

use crate::config::{Endpoint, Protocol};
use crate::visit::{Answer, Question, Way};
use http::header::{ACCEPT, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::Url;
use rustls::CertificateError as Bad;
use serde::de::DeserializeOwned;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Highest number of bytes read of an answer.
const ANSWER_MAX: usize = 1 << 20;

/// Characters quoted of an answer that cannot be parsed.
const TOLD_MAX: usize = 100;

/// The connection timeout, where the name has another address to try.
const CONNECT: Duration = Duration::from_secs(1);

/// The JSON answer of the address, with `below` and `query` added to it.
///
/// # Errors
/// Says what went wrong and what to do; it may quote the answer.
pub(in crate::control) async fn get<T: DeserializeOwned>(
    at: &Endpoint,
    below: &str,
    query: &[(&str, &str)],
) -> Result<T, String> {
    let address = at.address.trim_end_matches('/');
    let shown = format!("{address}{below}");
    let base = if below.is_empty() {
        &at.address
    } else {
        &shown
    };
    let url = Url::parse_with_params(base, query).map_err(|error| format!("{base}: {error}"))?;
    let answer = ask(at, &url).await;
    let mut answer = answer.map_err(|error| format!("{base}: {}", because(at, &url, &error)))?;
    let body = read(&mut answer).await;
    let body = body.map_err(|why| format!("{base} {why}"))?;
    if let Some(why) = refusal(at, &answer) {
        return Err(format!("{base} {why}{}", said(at, &body)));
    }
    // Prometheus describes an error in a query as JSON, with an error status.
    serde_json::from_slice(&body).map_err(|_| {
        let status = status(&answer);
        let said = said(at, &body);
        format!("{base} answers {status}, not the JSON that was expected{said}")
    })
}

async fn ask(at: &Endpoint, url: &Url) -> io::Result<Answer> {
    let way = Way::new(Protocol::Http1, at.tls.as_ref()).map_err(io::Error::other)?;
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    // Only URLs and `Host` have brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = lookup_host((bare, port)).await?.collect();
    let stream = connect(&addresses).await?;
    let named = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let question = Question {
        headers: headers(at)?,
        ..Question::get(&path, &named)
    };
    way.ask_on(stream, question).await
}

/// A connection to the first address that accepts one.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (i, address) in addresses.iter().enumerate() {
        let made = if i + 1 < addresses.len() {
            let made = timeout(CONNECT, TcpStream::connect(address)).await;
            made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            TcpStream::connect(address).await
        };
        match made {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn headers(at: &Endpoint) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let agent = concat!("shifter/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in &at.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(io::Error::other)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

async fn read(answer: &mut Answer) -> Result<Vec<u8>, String> {
    let mut body = vec![];
    while let Some(part) = answer.part().await.map_err(|error| error.to_string())? {
        body.extend_from_slice(&part);
        if body.len() > ANSWER_MAX {
            return Err(format!("answers more than {ANSWER_MAX} bytes"));
        }
    }
    Ok(body)
}

fn status(answer: &Answer) -> String {
    let status = StatusCode::from_u16(answer.status()).ok();
    status.map_or_else(|| answer.status().to_string(), |status| status.to_string())
}

/// The error text for a status without JSON to read.
fn refusal(at: &Endpoint, answer: &Answer) -> Option<String> {
    let status = status(answer);
    match answer.status() {
        300..=399 => {
            let to = answer.header(&LOCATION).unwrap_or("another address");
            Some(format!(
                "answers {status} to {to}: redirects are not followed, write the address itself"
            ))
        }
        401 | 403 => {
            let known = at.headers.iter().any(|(name, _)| name == "authorization");
            let help = if known {
                "who asks is not accepted, check the user, password or token (they are read at the start and at `shifter reload`)"
            } else {
                "it wants to know who asks, write `user` and `password`, `token`, or `headers`"
            };
            Some(format!("answers {status}: {help}"))
        }
        _ => None,
    }
}

/// The beginning of an answer that cannot be parsed.
fn said(at: &Endpoint, body: &[u8]) -> String {
    // Before the cut: a part of a secret would not be recognised.
    let text = at.without_secrets(&String::from_utf8_lossy(body));
    let text: String = text.trim().chars().take(TOLD_MAX).collect();
    if text.is_empty() {
        return text;
    }
    format!(": {text}")
}

/// Why there was no answer, and what to do about it.
fn because(at: &Endpoint, url: &Url, error: &io::Error) -> String {
    let inner = error.get_ref();
    let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let host = url.host_str().unwrap_or_default();
    let own = at.tls.as_ref().is_some_and(|tls| !tls.ca.is_empty());
    match tls {
        Some(rustls::Error::InvalidCertificate(bad)) => certificate(host, bad, own),
        Some(rustls::Error::InvalidMessage(_)) => {
            "what answers there does not speak TLS: is it http:// or another port?".to_owned()
        }
        _ => error.to_string(),
    }
}

fn certificate(host: &str, bad: &Bad, own: bool) -> String {
    match bad {
        // A bad signature: another authority with the same name.
        Bad::UnknownIssuer | Bad::BadSignature if own => {
            format!("the certificate of {host} is signed by another authority than `ca` has")
        }
        Bad::UnknownIssuer => format!(
            "the certificate of {host} is signed by an authority that this system does not know: name it, ca = \"FILE.pem\""
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => format!(
            "the certificate of {host} has expired: renew it there, or mend the clock of this machine"
        ),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            format!(
                "the certificate of {host} is not valid yet: is the clock of this machine right?"
            )
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => format!(
            "the certificate there is not for {host}: write the address by a name that it has"
        ),
        other => format!("the certificate of {host} is refused: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_with_a_remedy() {
        for (bad, own, words) in [
            (Bad::UnknownIssuer, false, "ca = \"FILE.pem\""),
            (Bad::UnknownIssuer, true, "another authority than `ca` has"),
            (Bad::BadSignature, true, "another authority than `ca` has"),
            (Bad::Expired, false, "has expired: renew it there"),
            (Bad::NotValidYet, false, "the clock"),
            (Bad::NotValidForName, false, "is not for a.test"),
            (Bad::Revoked, false, "is refused"),
        ] {
            let told = certificate("a.test", &bad, own);
            assert!(told.contains("a.test") && told.contains(words), "{told}");
        }
    }
}
