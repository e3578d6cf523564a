//! Checks of a service's hosts and paths, and of its pools.

use crate::config::docker;
use crate::config::file::{RawPool, RawService};
use crate::config::host::Host;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::parse::value::{self, Check};
use crate::config::types::{Find, PoolSpec};
use toml::Spanned;

/// The hosts, by default all.
pub(crate) fn hosts(raw: &Option<Many>) -> Check<Vec<Host>> {
    let Some(many) = raw else {
        return Ok(vec![Host::Any]);
    };
    let host = |item: &Spanned<String>| {
        Host::parse(item.get_ref()).map_err(|why| {
            Problem::at(
                item.span(),
                format!(
                    "`hosts` has \"{}\", which {why}",
                    value::brief(item.get_ref())
                ),
                "not a host",
                "write \"api.example.com\", \"*.example.com\" or \"*\"; every port is meant",
            )
        })
    };
    value::some("hosts", many)?.iter().map(host).collect()
}

/// The path prefixes, by default all.
pub(crate) fn prefixes(raw: &Option<Many>) -> Check<Vec<String>> {
    let Some(many) = raw else {
        return Ok(vec!["/".to_owned()]);
    };
    let prefix = |item: &Spanned<String>| {
        let path = value::path("paths", item, false)?;
        let bare = path.trim_end_matches('/');
        Ok(if bare.is_empty() {
            "/".to_owned()
        } else {
            bare.to_owned()
        })
    };
    value::some("paths", many)?.iter().map(prefix).collect()
}

/// Blue and green, without a common member.
pub(crate) fn pools(
    name: &Spanned<String>,
    raw: &RawService,
) -> Check<(PoolSpec, Option<PoolSpec>)> {
    let Some(blue) = &raw.blue else {
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
    let blue_spec = docker::pool("blue", blue)?;
    let Some(green) = &raw.green else {
        return Ok((blue_spec, None));
    };
    let green_spec = docker::pool("green", green)?;
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
