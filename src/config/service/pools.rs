//! `blue` and `green`: the members of both pools.

use crate::config::parse::address::addresses;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::parse::untagged::{Untagged, texts, untagged};
use crate::config::parse::value::{self, Check};
use crate::config::service::containers::{Containers, Find, RawContainers, containers, find};
use crate::config::service::image::reference;
use crate::core::table::{Backend, Pool};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess};
use std::net::SocketAddr;
use std::ops::Range;
use toml::Spanned;

/// The members of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolSpec {
    /// At these addresses; at least one.
    Addresses(Vec<SocketAddr>),
    /// In containers that are started and stopped outside of shifter.
    Containers(Containers),
    /// In copies of blue's containers with this image, created by shifter: only green can have this.
    Image(String),
}

impl PoolSpec {
    /// The pool as far as the file alone gives it; a fixed address is its own id.
    pub fn pool(&self) -> Pool {
        match self {
            PoolSpec::Addresses(addresses) => Pool {
                release: self.to_string(),
                backends: addresses
                    .iter()
                    .map(|&addr| Backend {
                        id: addr.to_string(),
                        addr,
                    })
                    .collect(),
            },
            PoolSpec::Containers(_) | PoolSpec::Image(_) => Pool {
                release: self.to_string(),
                backends: vec![],
            },
        }
    }
}

impl std::fmt::Display for PoolSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PoolSpec::Addresses(addresses) => {
                let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
                f.write_str(&names.join(","))
            }
            PoolSpec::Containers(containers) => write!(f, "{}", containers.find),
            PoolSpec::Image(image) => f.write_str(image),
        }
    }
}

/// The members of a pool: addresses, or a table about containers.
#[derive(Debug)]
pub(crate) enum RawPool {
    Addresses(Many),
    Containers(Box<Spanned<RawContainers>>),
}

enum AnyPool {
    One(String),
    Many(Vec<Spanned<String>>),
    Containers(Box<RawContainers>),
}

impl<'de> Deserialize<'de> for RawPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawPool, D::Error> {
        let value = Spanned::<AnyPool>::deserialize(deserializer)?;
        let span = value.span();
        Ok(match value.into_inner() {
            AnyPool::One(text) => RawPool::Addresses(Many {
                items: vec![Spanned::new(span.clone(), text)],
                span,
            }),
            AnyPool::Many(items) => RawPool::Addresses(Many { span, items }),
            AnyPool::Containers(table) => RawPool::Containers(Box::new(Spanned::new(span, *table))),
        })
    }
}

impl<'de> Deserialize<'de> for AnyPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyPool, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for AnyPool {
    const EXPECTED: &'static str = "text in quotes, or a list of texts";

    fn text<E: Error>(text: &str) -> Result<AnyPool, E> {
        Ok(AnyPool::One(text.to_owned()))
    }

    fn list<A: SeqAccess<'de>>(list: A) -> Result<AnyPool, A::Error> {
        texts(list).map(AnyPool::Many)
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<AnyPool, A::Error> {
        let table = RawContainers::deserialize(MapAccessDeserializer::new(table))?;
        Ok(AnyPool::Containers(Box::new(table)))
    }
}

impl RawPool {
    /// The position in the file.
    pub(crate) fn span(&self) -> Range<usize> {
        match self {
            RawPool::Addresses(many) => many.span.clone(),
            RawPool::Containers(table) => table.span(),
        }
    }
}

/// A pool of either kind.
pub(crate) fn pool(key: &str, raw: &RawPool) -> Check<PoolSpec> {
    match raw {
        RawPool::Addresses(many) => addresses(key, many).map(PoolSpec::Addresses),
        RawPool::Containers(table) => of_table(key, table),
    }
}

/// An image, or containers that are there.
fn of_table(key: &str, table: &Spanned<RawContainers>) -> Check<PoolSpec> {
    let raw = table.get_ref();
    let wrong = |what: String, help: &str| Problem::at(table.span(), what, "this table", help);
    if let Some(image) = &raw.image {
        if key == "blue" {
            return Err(Problem::at(
                image.span(),
                "`blue` is an image: what runs now is a container",
                "not here",
                "name the container: blue = { container = \"api\", port = 3000 }",
            ));
        }
        if find(raw).is_some() {
            return Err(wrong(
                "`green` names an image and containers: either shifter makes them, or they are there"
                    .to_owned(),
                "keep one of the two",
            ));
        }
        return reference(image).map(PoolSpec::Image);
    }
    containers(key, table).map(PoolSpec::Containers)
}

/// Blue and green, without a common member.
pub(crate) fn pools(
    name: &Spanned<String>,
    blue: &Option<RawPool>,
    green: &Option<RawPool>,
) -> Check<(PoolSpec, Option<PoolSpec>)> {
    let Some(blue) = blue else {
        return Err(Problem::at(
            name.span(),
            format!(
                "the service `{}` has no `blue`: nothing would serve",
                value::brief(name.get_ref())
            ),
            "this service",
            "say where the version that runs now is: blue = [\"127.0.0.1:3001\"] or blue = { container = \"api\", port = 3000 }",
        ));
    };
    let blue_spec = pool("blue", blue)?;
    let Some(green) = green else {
        return Ok((blue_spec, None));
    };
    let green_spec = pool("green", green)?;
    apart(&blue_spec, green, &green_spec)?;
    Ok((blue_spec, Some(green_spec)))
}

/// Checks that no member is in both pools, and that both are of one kind.
fn apart(blue: &PoolSpec, raw: &RawPool, green: &PoolSpec) -> Check<()> {
    let help = "start the new version beside the old one, in a place of its own; to rehearse a rollback without a new version: `shifter drill`";
    let twice = |span, what: &str| {
        Err(Problem::at(
            span,
            format!("{what} is blue and green at once"),
            "also in `blue`",
            help,
        ))
    };
    match (blue, green, raw) {
        (PoolSpec::Addresses(blue), PoolSpec::Addresses(green), RawPool::Addresses(raw)) => {
            match raw
                .items
                .iter()
                .zip(green)
                .find(|(_, addr)| blue.contains(addr))
            {
                Some((item, address)) => twice(item.span(), &address.to_string()),
                None => Ok(()),
            }
        }
        (PoolSpec::Containers(blue), PoolSpec::Containers(green), raw) => {
            let shared = match (&blue.find, &green.find) {
                (Find::Names(blue), Find::Names(green)) => {
                    green.iter().find(|name| blue.contains(name)).cloned()
                }
                (blue, green) => (blue == green).then(|| green.to_string()),
            };
            shared.map_or(Ok(()), |what| twice(raw.span(), &what))
        }
        (PoolSpec::Containers(_), PoolSpec::Image(_), _) => Ok(()),
        (PoolSpec::Addresses(_), _, raw) => Err(Problem::at(
            raw.span(),
            "`blue` is addresses and `green` is containers",
            "another kind than `blue`",
            "write both as addresses, or name blue's container too: blue = { container = \"api\", port = 3000 }",
        )),
        (_, _, raw) => Err(Problem::at(
            raw.span(),
            "`blue` is containers and `green` is addresses",
            "another kind than `blue`",
            "name green's container, or its image: green = { image = \"api:1.1\" }",
        )),
    }
}
