//! `[docker]`: the Docker engine, and what shifter may do there.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::value::{self, Check};
use serde::Deserialize;
use toml::Spanned;

/// The Docker engine, and what shifter may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// `unix://` or `tcp://`; `None`: as the Docker command line: `DOCKER_HOST`, `DOCKER_CONTEXT`, the context in use,
    /// the local engine.
    pub host: Option<String>,
    /// The highest access that shifter uses.
    pub access: Access,
    /// Whether containers with the label `shifter.service` are services too.
    pub discovery: bool,
    /// Number of images that are kept of those that shifter fetched for a service, beside those in use.
    pub keep_images: usize,
}

/// What shifter may do at the Docker engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// No access: the engine is never queried.
    RouteOnly,
    /// Read only: the engine is queried, and nothing is changed there.
    Discover,
    /// Containers are created, started and stopped.
    Manage,
}

impl Access {
    /// An explanation for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Access::RouteOnly => "Docker is not asked (route-only)",
            Access::Discover => "Docker is asked, nothing is changed there (discover)",
            Access::Manage => "containers are made, started and stopped in Docker (manage)",
        }
    }

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Access::RouteOnly => "route-only",
            Access::Discover => "discover",
            Access::Manage => "manage",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [docker]")]
pub(crate) struct RawDocker {
    pub(crate) host: Text,
    pub(crate) access: Text,
    pub(crate) discovery: Option<bool>,
    pub(crate) keep_images: Value<i64>,
}

const ACCESS: [(&str, Access); 3] = [
    (Access::RouteOnly.name(), Access::RouteOnly),
    (Access::Discover.name(), Access::Discover),
    (Access::Manage.name(), Access::Manage),
];

/// The access to the engine that one service needs.
pub(crate) struct Need<'a> {
    /// The service's name.
    pub(crate) service: &'a str,
    /// Below it the service cannot work.
    pub(crate) least: Access,
    /// What it has where `access` is not in the file.
    pub(crate) usual: Access,
}

/// The settings of the engine: without `access`, no more than the services need.
pub(crate) fn docker(raw: &RawDocker, needs: &[Need<'_>]) -> Check<Docker> {
    let host = raw.host.as_ref().map(host).transpose()?;
    let discovery = raw.discovery.unwrap_or(false);
    let least_of_all = if discovery {
        Access::Discover
    } else {
        Access::RouteOnly
    };
    let usual = needs
        .iter()
        .map(|need| need.usual)
        .fold(least_of_all, std::cmp::Ord::max);
    let access = value::choice("access", &raw.access, &ACCESS, usual)?;
    let needed = needs.iter().find(|need| need.least > access);
    match (&raw.access, needed) {
        (Some(text), Some(need)) => Err(Problem::at(
            text.span(),
            format!(
                "`access` is \"{}\", and `{}` needs more",
                access.name(),
                need.service
            ),
            "too little",
            format!(
                "write \"{}\", or leave it out; addresses need no Docker: blue = [\"127.0.0.1:3001\"]",
                need.least.name()
            ),
        )),
        (Some(text), None) if access < least_of_all => Err(Problem::at(
            text.span(),
            "`access` is \"route-only\", and `discovery` looks at the labels of containers",
            "too little",
            "write \"discover\", or leave it out",
        )),
        _ => Ok(Docker {
            host,
            access,
            discovery,
            keep_images: value::number("keep_images", &raw.keep_images, 1..=10_000, 3)?,
        }),
    }
}

fn host(raw: &Spanned<String>) -> Check<String> {
    let text = raw.get_ref();
    let known = ["unix:///", "tcp://", "http://", "https://"];
    if known.iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(text.clone());
    }
    let help = if text.starts_with('/') {
        format!("write \"unix://{}\"", value::brief(text))
    } else {
        "write \"unix:///var/run/docker.sock\" or \"tcp://127.0.0.1:2375\"".to_owned()
    };
    Err(Problem::at(
        raw.span(),
        format!(
            "`host` is \"{}\", which names no engine",
            value::brief(text)
        ),
        "not a host of Docker",
        help,
    ))
}
