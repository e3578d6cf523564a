//! Checks of the settings for containers: `[docker]`, and pools of containers.

use crate::config::file::{RawContainers, RawPool};
use crate::config::parse::address::addresses;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::parse::value::{self, Check};
use crate::config::process::docker::{Access, Need};
use crate::config::types::{Containers, Find, PoolSpec, Service, SmokeCheck};
use std::ops::Range;
use toml::Spanned;

/// Labels of Compose: a service, and its project when it is named too.
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

const COMPOSE_PROJECT: &str = "com.docker.compose.project";

impl RawPool {
    /// The position in the file.
    pub(crate) fn span(&self) -> Range<usize> {
        match self {
            RawPool::Addresses(many) => many.span.clone(),
            RawPool::Containers(table) => table.span(),
        }
    }
}

/// The access to the engine that a service needs.
pub(crate) fn need(service: &Service) -> Need<'_> {
    Need {
        service: &service.name,
        least: least(service),
        usual: usual(service),
    }
}

/// The least access that a service needs.
pub(crate) fn least(service: &Service) -> Access {
    if service.smoke.iter().any(SmokeCheck::is_in_docker) {
        return Access::Manage;
    }
    match (&service.blue, &service.green) {
        (_, Some(PoolSpec::Image(_))) => Access::Manage,
        (PoolSpec::Containers(_), _) => Access::Discover,
        _ => Access::RouteOnly,
    }
}

/// The default access of a service: with containers and no green, `run --image` creates one.
pub(crate) fn usual(service: &Service) -> Access {
    match (&service.blue, &service.green) {
        // Swarm creates the containers of its services itself.
        (PoolSpec::Containers(blue), None) if !blue.is_swarm() => Access::Manage,
        _ => least(service),
    }
}

/// A pool of either kind.
pub(crate) fn pool(key: &str, raw: &RawPool) -> Check<PoolSpec> {
    match raw {
        RawPool::Addresses(many) => addresses(key, many).map(PoolSpec::Addresses),
        RawPool::Containers(table) => containers(key, table),
    }
}

fn containers(key: &str, table: &Spanned<RawContainers>) -> Check<PoolSpec> {
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
    Ok(PoolSpec::Containers(Containers {
        find,
        port: value::number("port", &raw.port, 1..=65_535, 0)?,
        network: raw
            .network
            .as_ref()
            .map(|name| label(name, "network"))
            .transpose()?,
    }))
}

/// The selector by the one key that is set; `None` when there is none.
fn find(raw: &RawContainers) -> Option<Check<Find>> {
    let all = |key, many: &Many, check: fn(&Spanned<String>, &str) -> Check<String>| {
        let each = many.items.iter().map(|item| check(item, key));
        value::some(key, many).and_then(|_| each.collect::<Check<Vec<_>>>())
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

/// An image; the default tag is `latest`.
pub(crate) fn reference(raw: &Spanned<String>) -> Check<String> {
    image(raw.get_ref()).map_err(|why| {
        Problem::at(
            raw.span(),
            format!("`image` is \"{}\", {why}", value::brief(raw.get_ref())),
            "not an image",
            "write name:tag or name@sha256:…, such as \"myorg/api:1.1\"",
        )
    })
}

/// An image's reference with its tag (without one, an engine would fetch all tags), or its id unchanged.
///
/// # Errors
/// The text says what is wrong with it.
pub fn image(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    let Some(first) = text.chars().next() else {
        return Err("which is empty");
    };
    if !text.chars().all(plain) || !first.is_ascii_alphanumeric() {
        return Err("which has characters that no image's name has");
    }
    let last = text.rsplit('/').next().unwrap_or(text);
    if last.is_empty() || last.ends_with(':') || last.ends_with('@') {
        return Err("which ends too early");
    }
    // The form of an id in `docker images`; a name of 12 hexadecimal digits needs its tag.
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let id = (12..=64).contains(&text.len()) && text.bytes().all(hex);
    Ok(if last.contains(':') || last.contains('@') || id {
        text.to_owned()
    } else {
        format!("{text}:latest")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_always_has_a_tag() {
        let good = [
            ("api", "api:latest"),
            ("myorg/api:1.1", "myorg/api:1.1"),
            ("host:5000/api", "host:5000/api:latest"),
            ("api@sha256:0123", "api@sha256:0123"),
            // The form of an id in `docker images`.
            ("c3e92f39e5fa", "c3e92f39e5fa"),
            ("c3e92f39e5f", "c3e92f39e5f:latest"),
            ("myorg/c3e92f39e5fa", "myorg/c3e92f39e5fa:latest"),
        ];
        for (text, expected) in good {
            assert_eq!(image(text).as_deref(), Ok(expected));
        }
        for text in ["", "a b", "-api", "api:", "api/", "a\n", "ü"] {
            assert!(image(text).is_err(), "{text:?}");
        }
    }
}
