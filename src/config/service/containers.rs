//! A pool of containers: `{ container = "api", port = 3000 }`.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Text, Value};
use crate::config::parse::value::{self, Check};
use crate::core::table::Color;
use serde::Deserialize;
use toml::Spanned;

/// Containers that exist already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// How they are found.
    pub find: Find,
    /// The serving port inside the container.
    pub port: u16,
    /// The network by which they are reached; `None`: their only network.
    pub network: Option<String>,
}

impl Containers {
    /// Whether Swarm starts and stops them.
    pub fn is_swarm(&self) -> bool {
        matches!(self.find, Find::Swarm(_))
    }
}

/// How containers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// By name; at least one.
    Names(Vec<String>),
    /// By all of these labels, `name=value` or `name`; at least one.
    Labels(Vec<String>),
    /// The tasks of this Swarm service.
    Swarm(String),
    /// By labels of their own that name this service and this pool.
    Pool(String, Color),
}

impl std::fmt::Display for Find {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Find::Names(all) | Find::Labels(all) => f.write_str(&all.join(",")),
            Find::Swarm(service) => f.write_str(service),
            Find::Pool(service, color) => write!(f, "{service}'s {color} by label"),
        }
    }
}

/// The containers of a pool, or the image of containers to be created.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { container = \"api\", port = 3000 } or { image = \"api:1.1\" }"
)]
pub(crate) struct RawContainers {
    pub(crate) container: Option<Many>,
    pub(crate) label: Option<Many>,
    pub(crate) compose: Text,
    pub(crate) swarm: Text,
    pub(crate) port: Value<i64>,
    pub(crate) network: Text,
    pub(crate) image: Text,
}

/// Labels of Compose: a service, and its project when it is named too.
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

const COMPOSE_PROJECT: &str = "com.docker.compose.project";

/// Containers that exist already.
pub(crate) fn containers(key: &str, table: &Spanned<RawContainers>) -> Check<Containers> {
    let raw = table.get_ref();
    let wrong = |what: String, help: &str| Problem::at(table.span(), what, "this table", help);
    let find = find(raw).unwrap_or_else(|| {
        Err(wrong(
            format!("`{key}` names no container"),
            "name it: { container = \"api\", port = 3000 }, or { label = \"app=api\", port = 3000 }, or { compose = \"api\", port = 3000 }",
        ))
    })?;
    if matches!(find, Find::Swarm(_)) && raw.network.is_none() {
        return Err(wrong(
            format!("`{key}` does not say on which network the tasks of {find} are"),
            "add the overlay network that they share with shifter: network = \"proxy\"",
        ));
    }
    if raw.port.is_none() {
        return Err(wrong(
            format!("`{key}` does not say which port of the container serves"),
            "add it: port = 3000",
        ));
    }
    Ok(Containers {
        find,
        port: value::number("port", &raw.port, 1..=65_535, 0)?,
        network: raw
            .network
            .as_ref()
            .map(|name| label(name, "network"))
            .transpose()?,
    })
}

/// The selector by the one key that is set; `None` when there is none.
pub(crate) fn find(raw: &RawContainers) -> Option<Check<Find>> {
    let all = |key, many: &Many, check: fn(&Spanned<String>, &str) -> Check<String>| {
        let each = many.items.iter().map(|item| check(item, key));
        value::non_empty(key, many).and_then(|_| each.collect::<Check<Vec<_>>>())
    };
    if let Some(many) = &raw.container {
        return Some(all("container", many, name).map(Find::Names));
    }
    if let Some(many) = &raw.label {
        return Some(all("label", many, label).map(Find::Labels));
    }
    if let Some(service) = &raw.swarm {
        return Some(name(service, "swarm").map(Find::Swarm));
    }
    let compose = raw.compose.as_ref()?;
    Some(
        label(compose, "compose").map(|text| match text.split_once('/') {
            Some((project, service)) => Find::Labels(vec![
                format!("{COMPOSE_PROJECT}={project}"),
                format!("{COMPOSE_SERVICE}={service}"),
            ]),
            None => Find::Labels(vec![format!("{COMPOSE_SERVICE}={text}")]),
        }),
    )
}

/// Docker's own rule for names.
fn name(raw: &Spanned<String>, key: &str) -> Check<String> {
    let text = raw.get_ref();
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if first && text.len() >= 2 && text.bytes().all(rest) {
        return Ok(text.clone());
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "`{key}` has \"{}\", which no {key} can be called",
            value::brief(text)
        ),
        "not a name",
        "write the name as Docker shows it: letters, digits, `_`, `.` and `-`",
    ))
}

pub(crate) fn label(raw: &Spanned<String>, key: &str) -> Check<String> {
    let text = raw.get_ref();
    if !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control()) {
        return Ok(text.clone());
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "`{key}` has \"{}\", with nothing or a space in it",
            value::brief(text)
        ),
        "this",
        "write it without spaces; a label is \"name=value\", a Compose service \"api\" or \"project/api\"",
    ))
}
