//! `[service.NAME.copy]`: how green's containers are created from blue's.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Text, Value};
use crate::config::parse::value::{self, Check};
use crate::config::service::containers::{Containers, Find, label};
use crate::config::service::pools::PoolSpec;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// How green's containers are created from blue's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copying {
    /// When the image is fetched.
    pub pull: Pull,
    /// Variables that are replaced or added.
    pub env: BTreeMap<String, String>,
    /// Names that green has on its networks from its start.
    pub aliases: Vec<String>,
    /// Number of green's containers; `None`: as many as blue has.
    pub replicas: Option<u32>,
    /// The name of the container of a promoted version.
    pub naming: Naming,
    /// Whether containers of a Compose project may be copied.
    pub compose: bool,
    /// Whether green has blue's host name; engines make a container reachable by its host name on its networks.
    pub hostname: bool,
    /// Whether green answers to blue's names on its networks from its promotion on.
    pub names: bool,
}

impl Copying {
    /// The name that the serving container must have beside this blue, if any.
    pub(crate) fn fixed_name<'a>(&self, blue: &'a PoolSpec) -> Option<&'a str> {
        match blue {
            PoolSpec::Containers(Containers {
                find: Find::Names(names),
                ..
            }) if self.naming == Naming::Fixed && names.len() == 1 => {
                names.first().map(String::as_str)
            }
            _ => None,
        }
    }
}

/// The name of the container of a promoted version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The name it was created with: the service and the number of its rollout.
    Release,
    /// The name of blue in the file; the old blue is renamed.
    Fixed,
}

/// When the image is fetched from its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// When it is not on the host.
    Missing,
    /// Before each rollout: a tag may have moved.
    Always,
    /// Never.
    Never,
}

/// How green is created from blue.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { pull = \"missing\", env = { KEY = \"value\" } }"
)]
pub(crate) struct RawCopy {
    pub(crate) pull: Text,
    #[serde(default)]
    pub(crate) env: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(crate) aliases: Option<Many>,
    pub(crate) replicas: Value<i64>,
    pub(crate) naming: Text,
    pub(crate) compose: Option<bool>,
    pub(crate) hostname: Option<bool>,
    pub(crate) names: Option<bool>,
}

const NAMING: [(&str, Naming); 2] = [("release", Naming::Release), ("fixed", Naming::Fixed)];

const PULL: [(&str, Pull); 3] = [
    ("missing", Pull::Missing),
    ("always", Pull::Always),
    ("never", Pull::Never),
];

/// `[service.NAME.copy]`.
pub(crate) fn copying(raw: &RawCopy) -> Check<Copying> {
    let mut env = BTreeMap::new();
    for (name, value) in &raw.env {
        if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) {
            return Err(Problem::at(
                name.span(),
                format!(
                    "`env` has the variable \"{}\"",
                    value::brief(name.get_ref())
                ),
                "not a variable",
                "write env = { NAME = \"value\" }",
            ));
        }
        env.insert(name.get_ref().clone(), value.get_ref().clone());
    }
    let aliases = raw.aliases.as_ref().map_or(Ok(vec![]), |many| {
        many.items
            .iter()
            .map(|item| label(item, "aliases"))
            .collect()
    })?;
    Ok(Copying {
        pull: value::choice("pull", &raw.pull, &PULL, Pull::Missing)?,
        env,
        aliases,
        replicas: match &raw.replicas {
            None => None,
            given => Some(value::number("replicas", given, 1..=64, 1)?),
        },
        naming: value::choice("naming", &raw.naming, &NAMING, Naming::Release)?,
        compose: raw.compose.unwrap_or(false),
        hostname: raw.hostname.unwrap_or(false),
        names: raw.names.unwrap_or(true),
    })
}

/// Checks that a fixed name is used for a single container only.
pub(crate) fn fits_naming(copying: &Copying, blue: &PoolSpec, raw: &RawCopy) -> Check<()> {
    let several = copying.replicas.is_some_and(|count| count > 1);
    match &raw.naming {
        Some(naming) if copying.naming == Naming::Fixed => {
            if copying.fixed_name(blue).is_some() && !several {
                return Ok(());
            }
            Err(Problem::at(
                naming.span(),
                "`naming` is \"fixed\", and blue is not one container with a name",
                "no one name",
                "name one container, blue = { container = \"api\", port = 3000 }, with one replica; or write \"release\"",
            ))
        }
        _ => Ok(()),
    }
}
