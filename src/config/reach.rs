//! Checks of what a service answers for and where its pools are.

use crate::config::error::Problem;
use crate::config::file::{Many, RawService};
use crate::config::host::Host;
use crate::config::types::PoolSpec;
use crate::config::value::{self, Check};
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

/// Blue and green, which share no address.
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
            "say where the version that runs now listens: blue = [\"127.0.0.1:3001\"]",
        ));
    };
    let blue = value::addresses("blue", blue)?;
    let Some(green) = &raw.green else {
        return Ok((PoolSpec::Addresses(blue), None));
    };
    let addresses = value::addresses("green", green)?;
    for (item, address) in green.items.iter().zip(&addresses) {
        if blue.contains(address) {
            return Err(Problem::at(
                item.span(),
                format!("{address} is blue and green at once"),
                "also in `blue`",
                "start the new version beside the old one, on an address of its own; to rehearse a rollback without a new version: `shifter drill`",
            ));
        }
    }
    Ok((
        PoolSpec::Addresses(blue),
        Some(PoolSpec::Addresses(addresses)),
    ))
}
