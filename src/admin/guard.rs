//! Access rules for the two listeners of the admin API.
//!
//! The unix socket belongs to one system user, and every request on it is allowed. TCP can be
//! reached by every page in a browser on this host. So there the `Host` must be ours (else a page
//! could rebind its own name to this address and read), the `Origin` must be ours (else a page
//! could post), and whatever changes something needs the token.

use crate::admin::problem::Problem;
use crate::config::Secret;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The listener through which a request came.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// The unix socket: the file's mode decides about access.
    Socket,
    /// TCP.
    Tcp {
        /// Where it listens.
        listen: SocketAddr,
        /// The token that a change must carry; `None`: read only.
        token: Option<Arc<Secret>>,
        /// Further host names that are ours, in lower case.
        hosts: Arc<[String]>,
    },
}

/// Lets a request through, or answers with the reason for the refusal.
pub(crate) async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    match door.admits(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Door {
    fn admits(&self, request: &Request) -> Result<(), Problem> {
        let Door::Tcp {
            listen,
            token,
            hosts,
        } = self
        else {
            return Ok(());
        };
        let host = host(request)?;
        if !ours(&host, *listen) && !named(&host, hosts) && !is_scrape(request, *listen) {
            let detail = format!(
                "the host `{host}` is not this shifter's: ask for localhost or {listen}, or add it to `hosts` of [admin]. This keeps web pages from reading it under a name of their own"
            );
            return Err(Problem::forbidden("host", detail));
        }
        same_origin(request.headers(), &host)?;
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(());
        }
        match token {
            None => Err(Problem::forbidden(
                "read-only",
                "without a token TCP is for reading only: use the unix socket (as `shifter` does), or set `[admin] token`",
            )),
            Some(token) => bearer(request.headers(), token),
        }
    }
}

/// The one host that a request is for; a target in absolute form takes precedence (RFC 9112,
/// 3.2.2).
fn host(request: &Request) -> Result<String, Problem> {
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.as_str().to_ascii_lowercase());
    }
    match one(request.headers(), &HOST)? {
        Some(host) => Ok(host.to_ascii_lowercase()),
        None => Err(Problem::bad_request("the request has no `Host` header")),
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut given = headers.get_all(name).iter();
    let first = given.next();
    if given.next().is_some() {
        return Err(Problem::bad_request(format!(
            "the header `{name}` is there more than once"
        )));
    }
    let text = first.map(|value| value.to_str());
    text.transpose()
        .map_err(|_| Problem::bad_request(format!("the header `{name}` is not ASCII text")))
}

/// The host without its port.
fn bare(host: &str) -> Option<&str> {
    let (bare, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            host.split_at(end)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(digits)).then_some(bare)
}

/// Whether a host is one that no web page can have made its own.
///
/// These are the loopback names and the listener's own address. A listener that is open to other
/// hosts (which has a token) is also found by its addresses and, between containers, by names
/// without a dot; DNS rebinding needs a name that the page's owner can register.
fn ours(host: &str, listen: SocketAddr) -> bool {
    let Some(bare) = bare(host) else { return false };
    if bare == "localhost" {
        return true;
    }
    let literal = bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: Option<IpAddr> = literal.unwrap_or(bare).parse().ok();
    let loopback = ["127.0.0.1", "[::1]"].contains(&bare);
    if loopback || ip.is_some_and(|ip| ip == listen.ip()) {
        return true;
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let plain = !bare.is_empty() && bare.bytes().all(name);
    !listen.ip().is_loopback() && (ip.is_some() || plain)
}

/// Whether a host is one of the names that are configured as ours.
fn named(host: &str, hosts: &[String]) -> bool {
    bare(host).is_some_and(|bare| hosts.iter().any(|own| own == bare))
}

/// Whether it is a scrape from another machine: Prometheus there uses any name that it has for this
/// one. A page under a name of its own can read counters there and give no order. On loopback only
/// this machine asks, by its own names.
fn is_scrape(request: &Request, listen: SocketAddr) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    reads && !listen.ip().is_loopback() && request.uri().path() == "/metrics"
}

/// Refuses a request with the `Origin` of a page that is not our own; browsers send that header.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let Some(origin) = one(headers, &ORIGIN)? else {
        return Ok(());
    };
    let from = origin.to_ascii_lowercase();
    let site = from
        .strip_prefix("http://")
        .or_else(|| from.strip_prefix("https://"));
    if site == Some(host) {
        return Ok(());
    }
    let detail = format!("a page of `{origin}` may not ask this shifter for anything");
    Err(Problem::forbidden("origin", detail))
}

fn bearer(headers: &HeaderMap, token: &Secret) -> Result<(), Problem> {
    let given = one(headers, &AUTHORIZATION).map_err(|problem| Problem {
        status: StatusCode::UNAUTHORIZED.as_u16(),
        ..problem
    })?;
    let given = given.and_then(|value| value.split_once(' '));
    match given {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => {
            if token.matches(given.trim().as_bytes()) {
                return Ok(());
            }
            Err(Problem::unauthorized("the token is wrong"))
        }
        _ => Err(Problem::unauthorized(
            "send `Authorization: Bearer TOKEN`, or use the unix socket",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_file_are_ours_and_an_open_listener_gives_metrics_to_all() {
        let door = |listen: &str| Door::Tcp {
            listen: listen.parse().unwrap(),
            token: None,
            hosts: ["shifter.example.com".to_owned()].as_slice().into(),
        };
        let admits = |listen: &str, host: &str, path: &str| {
            let request = Request::get(path).header("host", host);
            let request = request.body(axum::body::Body::empty()).unwrap();
            door(listen).admits(&request).is_ok()
        };
        let (inside, open) = ("127.0.0.1:9600", "0.0.0.0:9600");
        for (listen, host, path, good) in [
            (inside, "shifter.example.com", "/v1/status", true),
            (inside, "Shifter.example.com:9600", "/v1/status", true),
            (inside, "evil.example", "/metrics", false),
            (open, "node1.example.internal:9600", "/metrics", true),
            (open, "node1.example.internal:9600", "/v1/status", false),
            (open, "node1.example.internal:9600", "/metrics/x", false),
        ] {
            assert_eq!(admits(listen, host, path), good, "{listen} {host} {path}");
        }
    }

    #[test]
    fn only_names_that_no_page_can_own_are_ours() {
        let inside: SocketAddr = "127.0.0.1:9600".parse().unwrap();
        for good in [
            "localhost",
            "localhost:1",
            "127.0.0.1:9600",
            "[::1]",
            "[::1]:80",
        ] {
            assert!(ours(good, inside), "{good}");
        }
        let bad = [
            "",
            "evil.example",
            "localhost.evil.example",
            "localhost:",
            "localhost:1x",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "shifter",
            "[::1",
            "[::1]x",
            "[::2]",
            "user@localhost",
            "localhost:80:80",
            "::1",
        ];
        for bad in bad {
            assert!(!ours(bad, inside), "{bad}");
        }
        let open: SocketAddr = "0.0.0.0:9600".parse().unwrap();
        for good in [
            "localhost",
            "192.168.1.5:9600",
            "[fe80::1]:9600",
            "shifter:9600",
            "0.0.0.0",
        ] {
            assert!(ours(good, open), "{good}");
        }
        for bad in [
            "evil.example:9600",
            "a.b",
            "",
            ":9600",
            "[shifter]",
            "user@shifter",
        ] {
            assert!(!ours(bad, open), "{bad}");
        }
    }
}
