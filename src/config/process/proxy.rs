//! `[proxy]`: the listener for users, and the settings for all services.

use crate::config::parse::address::{LOOPBACK, addresses};
use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::secret::{RawSecret, Secret, secret};
use crate::config::parse::value::{self, Check, own_header};
use crate::config::process::limits::{Limits, RawLimits, limits};
use crate::config::process::shutdown::{RawShutdown, Shutdown, shutdown};
use crate::config::process::tls::{RawTls, Tls, tls};
use crate::config::process::trust::{Trust, trust};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The listener for users, and the settings for all services.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// The addresses of the listener without TLS; at least one.
    pub listen: Vec<SocketAddr>,
    /// Worker threads for requests; 0 is one for each core.
    pub threads: usize,
    /// Open connections of clients; further ones wait.
    pub max_connections: usize,
    /// Requests on one connection before it is closed, so that load balancers in front redistribute.
    pub keepalive_requests: u32,
    /// How long a client's idle connection is kept.
    pub keepalive_idle: Duration,
    /// Number of retries of a request that a backend could not take, or that only reads and died with it.
    pub retries: u32,
    /// Whether requests and answers carry a `Via` header.
    pub via: bool,
    /// The header with the request id, which is generated when absent.
    pub request_id_header: String,
    /// The secret that signs sticky cookies; `None`: a key of this shifter's own.
    pub cookie_secret: Option<Secret>,
    /// The clients with trusted `X-Forwarded-*` headers: only proxies in front.
    pub trust: Trust,
    /// Whether trusted proxies begin each connection with the PROXY protocol.
    pub proxy_protocol: bool,
    /// The limits for one client.
    pub limits: Limits,
    /// TLS for clients; `None`: off.
    pub tls: Option<Tls>,
    /// How the process ends.
    pub shutdown: Shutdown,
}

impl Proxy {
    /// All addresses of the listeners for users, those without TLS first.
    pub fn all_listen(&self) -> Vec<SocketAddr> {
        let tls = self.tls.iter().flat_map(|tls| &tls.listen);
        self.listen.iter().chain(tls).copied().collect()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [proxy]")]
pub(crate) struct RawProxy {
    pub(crate) listen: Option<Many>,
    pub(crate) threads: Value<i64>,
    pub(crate) max_connections: Value<i64>,
    pub(crate) keepalive_requests: Value<i64>,
    pub(crate) keepalive_idle: Value<Scalar>,
    pub(crate) retries: Value<i64>,
    pub(crate) via: Option<bool>,
    pub(crate) request_id_header: Text,
    pub(crate) cookie_secret: Value<RawSecret>,
    pub(crate) trust_forwarded: Value<bool>,
    pub(crate) trusted_proxies: Option<Many>,
    pub(crate) proxy_protocol: Value<bool>,
    #[serde(default)]
    pub(crate) limits: RawLimits,
    pub(crate) tls: Value<RawTls>,
    #[serde(default)]
    pub(crate) shutdown: RawShutdown,
}

/// The listener for users: loopback, so that a first try exposes nothing to the network.
const LISTEN: SocketAddr = SocketAddr::new(LOOPBACK, 8080);

/// 0: one thread for each core.
const THREADS: usize = 0;

/// About 450 MB of idle connections at 45 KiB each.
const MAX_CONNECTIONS: usize = 10_000;

/// As many as nginx allows.
const KEEPALIVE_REQUESTS: u32 = 1_000;

/// How long a client's connection may be idle.
const KEEPALIVE_IDLE: Duration = seconds(60);

/// One retry, on blue.
const RETRIES: u32 = 1;

/// No `Via` header unless configured.
const VIA: bool = false;

/// The usual name.
const REQUEST_ID_HEADER: &str = "x-request-id";

pub(crate) fn proxy(raw: &RawProxy, dir: &Path) -> Check<Proxy> {
    let listen = match &raw.listen {
        None => vec![LISTEN],
        Some(many) if off(many) && raw.tls.is_some() => vec![],
        Some(many) => addresses("listen", many)?,
    };
    let tls = tls(&raw.tls, dir)?;
    can_be_proven(&tls, raw, &listen)?;
    Ok(Proxy {
        listen,
        threads: value::number("threads", &raw.threads, 0..=1024, THREADS)?,
        max_connections: value::number(
            "max_connections",
            &raw.max_connections,
            1..=10_000_000,
            MAX_CONNECTIONS,
        )?,
        keepalive_requests: value::number(
            "keepalive_requests",
            &raw.keepalive_requests,
            1..=1_000_000_000,
            KEEPALIVE_REQUESTS,
        )?,
        keepalive_idle: duration("keepalive_idle", &raw.keepalive_idle, SHORT, KEEPALIVE_IDLE)?,
        retries: value::number("retries", &raw.retries, 0..=3, RETRIES)?,
        via: raw.via.unwrap_or(VIA),
        request_id_header: request_id_header(&raw.request_id_header)?,
        cookie_secret: match &raw.cookie_secret {
            None => None,
            Some(raw) => Some(secret("cookie_secret", raw, dir)?),
        },
        trust: trust(
            &raw.trust_forwarded,
            &raw.trusted_proxies,
            &raw.proxy_protocol,
        )?,
        proxy_protocol: raw
            .proxy_protocol
            .as_ref()
            .is_some_and(|told| *told.get_ref()),
        limits: limits(&raw.limits)?,
        tls,
        shutdown: shutdown(&raw.shutdown)?,
    })
}

/// Checks that a listener without TLS can answer the authority's challenges.
fn can_be_proven(tls: &Option<Tls>, raw: &RawProxy, listen: &[SocketAddr]) -> Check<()> {
    let asked = tls.as_ref().is_some_and(|tls| tls.acme.is_some());
    let (true, true, Some(raw)) = (asked, listen.is_empty(), &raw.tls) else {
        return Ok(());
    };
    Err(Problem::at(
        raw.span(),
        "`acme` needs a listener without TLS, and `listen` of [proxy] is \"off\"",
        "cannot prove who it is",
        "write listen = \"0.0.0.0:80\" in [proxy]: authorities ask at port 80 (HTTP-01)",
    ))
}

/// Whether the listener without TLS is off.
fn off(many: &Many) -> bool {
    matches!(many.items.as_slice(), [one] if one.get_ref() == "off")
}

fn request_id_header(raw: &Text) -> Check<String> {
    let Some(raw) = raw else {
        return Ok(REQUEST_ID_HEADER.to_owned());
    };
    let name = value::token("request_id_header", raw)?.to_ascii_lowercase();
    own_header(raw, name)
}
