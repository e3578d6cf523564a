//! `[service.NAME.health]`: how the health of a pool's members is checked.

use crate::config::parse::duration::{OPTIONAL, SHORT, duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Text, Value};
use crate::config::parse::value::{self, Check};
use serde::Deserialize;
use std::time::Duration;

/// How the health of a pool's members is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The kind of check.
    pub ask: Ask,
    /// The `Host` of our own requests, see [`Service::own_host`](crate::config::Service::own_host).
    pub host: Option<String>,
    /// The port to check, when it is not the serving port.
    pub port: Option<u16>,
    /// The interval of the checks.
    pub interval: Duration,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// Successful checks in a row that make a member healthy.
    pub rise: u32,
    /// Failed checks in a row that make it unhealthy.
    pub fall: u32,
    /// How long all of green must be healthy without a break before it counts as ready.
    pub min_ready: Duration,
}

/// The kind of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A connection that is accepted is enough.
    Connect,
    /// A request to this path must be answered with 200 to 399.
    Path(String),
    /// This service of gRPC's health checking protocol must be SERVING; the empty name is the whole server.
    Grpc(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: { path = \"/health\" }")]
pub(crate) struct RawHealth {
    pub(crate) path: Text,
    pub(crate) host: Text,
    pub(crate) grpc: Text,
    pub(crate) port: Value<i64>,
    pub(crate) interval: Value<Scalar>,
    pub(crate) timeout: Value<Scalar>,
    pub(crate) rise: Value<i64>,
    pub(crate) fall: Value<i64>,
    pub(crate) min_ready: Value<Scalar>,
}

/// A connection is enough; two successes make a backend healthy, three failures unhealthy. A lost SYN is repeated after
/// 1 s, and the check waits for that.
const DEFAULT: Health = Health {
    ask: Ask::Connect,
    host: None,
    port: None,
    interval: seconds(1),
    timeout: Duration::from_millis(1_500),
    rise: 2,
    fall: 3,
    min_ready: seconds(0),
};

pub(crate) fn health(raw: &RawHealth) -> Check<Health> {
    let default = DEFAULT;
    let host = raw.host.as_ref().map(|host| {
        let good = |text: &str| !text.is_empty() && text.parse::<http::uri::Authority>().is_ok();
        match host.get_ref().as_str() {
            text if good(text) && !text.contains('@') => Ok(text.to_owned()),
            text => Err(Problem::at(
                host.span(),
                format!("`host` is \"{}\", which is no host", value::brief(text)),
                "not a host",
                "write the name that the app answers to, such as \"app.example.com\"",
            )),
        }
    });
    Ok(Health {
        ask: ask(raw)?,
        host: host.transpose()?,
        port: match &raw.port {
            None => default.port,
            given => Some(value::number("port", given, 1..=65_535, 0)?),
        },
        interval: duration("interval", &raw.interval, SHORT, default.interval)?,
        timeout: duration("timeout", &raw.timeout, SHORT, default.timeout)?,
        rise: value::number("rise", &raw.rise, 1..=100, default.rise)?,
        fall: value::number("fall", &raw.fall, 1..=100, default.fall)?,
        min_ready: duration("min_ready", &raw.min_ready, OPTIONAL, default.min_ready)?,
    })
}

fn ask(raw: &RawHealth) -> Check<Ask> {
    match (&raw.path, &raw.grpc) {
        (None, None) => Ok(Ask::Connect),
        (Some(path), None) => value::path("path", path, true).map(Ask::Path),
        (None, Some(name)) if name.get_ref().len() < 126 && name.get_ref().is_ascii() => {
            Ok(Ask::Grpc(name.get_ref().clone()))
        }
        (None, Some(name)) => Err(Problem::at(
            name.span(),
            "`grpc` is no name of a gRPC service",
            "not a name",
            "write grpc = \"\" for the whole server, or a name like \"my.package.Greeter\"",
        )),
        (Some(_), Some(grpc)) => Err(Problem::at(
            grpc.span(),
            "`health` has a `path` and a `grpc`",
            "and this",
            "write one of them",
        )),
    }
}
