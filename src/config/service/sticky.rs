//! `sticky`: what keeps a user on one version.

use crate::config::parse::duration::duration;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Text, Value};
use crate::config::parse::value::{self, Check, own_header};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

/// What keeps a user on one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// How a user is recognised.
    pub by: Mark,
    /// Whether a user also stays on one member of the pool while that lives.
    pub member: bool,
}

/// How a user is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A cookie that shifter sets.
    Cookie(Cookie),
    /// A header of this name (lower case), set by the client.
    Header(String),
}

/// A cookie's name and attributes (RFC 6265bis, 5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The name.
    pub name: String,
    /// The sites from which it is sent; `None` needs TLS, and is marked `Secure` whether or not shifter terminates TLS.
    pub same_site: SameSite,
    /// The domain with all hosts that get it; `None`: the one host alone.
    pub domain: Option<String>,
    /// The path below which it is sent.
    pub path: String,
    /// How long browsers keep it; `None`: until they are closed.
    pub max_age: Option<Duration>,
    /// Whether each top-level site has a cookie of its own in frames (CHIPS).
    pub partitioned: bool,
}

impl Cookie {
    /// A cookie of this name with the default attributes.
    pub fn named(name: String) -> Cookie {
        Cookie {
            name,
            same_site: SameSite::Lax,
            domain: None,
            path: "/".to_owned(),
            max_age: None,
            partitioned: false,
        }
    }
}

/// The sites from which a cookie is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// From its own site, and when a link on another one is followed.
    Lax,
    /// Only from its own site.
    Strict,
    /// From all sites, frames included.
    None,
}

impl SameSite {
    /// All, by the name that the file has.
    const NAMES: [(&'static str, SameSite); 3] = [
        ("lax", SameSite::Lax),
        ("strict", SameSite::Strict),
        ("none", SameSite::None),
    ];
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { cookie = \"shifter\" } or { header = \"x-user-id\" }"
)]
pub(crate) struct RawSticky {
    pub(crate) cookie: Text,
    pub(crate) header: Text,
    same_site: Text,
    domain: Text,
    path: Text,
    max_age: Value<Scalar>,
    partitioned: Value<bool>,
    member: Option<bool>,
}

impl RawSticky {
    /// The first cookie attribute that is set.
    fn attribute(&self) -> Option<&'static str> {
        [
            ("same_site", self.same_site.is_some()),
            ("domain", self.domain.is_some()),
            ("path", self.path.is_some()),
            ("max_age", self.max_age.is_some()),
            ("partitioned", self.partitioned.is_some()),
        ]
        .into_iter()
        .find_map(|(key, given)| given.then_some(key))
    }
}

/// The longest time that browsers keep a cookie (RFC 6265bis, 5.5: 400 days).
const AGES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(400 * 24 * 3600);

pub(crate) fn sticky(table: &Spanned<RawSticky>) -> Check<Sticky> {
    let wrong = |what: &str| {
        let how = "write sticky = { cookie = \"shifter\" } or { header = \"x-user-id\" }";
        Problem::at(table.span(), what, "this table", how)
    };
    let raw = table.get_ref();
    let by = match (&raw.cookie, &raw.header) {
        (Some(name), None) => cookie(name, raw).map(Mark::Cookie),
        (None, Some(name)) => {
            if let Some(key) = raw.attribute() {
                return Err(wrong(&format!(
                    "`sticky` has `{key}`, which is for a cookie, and names a header"
                )));
            }
            own_header(name, value::token("header", name)?.to_ascii_lowercase()).map(Mark::Header)
        }
        (Some(_), Some(_)) => Err(wrong(
            "`sticky` names a cookie and a header: only one can decide",
        )),
        (None, None) => Err(wrong("`sticky` names neither a cookie nor a header")),
    }?;
    Ok(Sticky {
        by,
        member: raw.member.unwrap_or(false),
    })
}

fn cookie(name: &Spanned<String>, raw: &RawSticky) -> Check<Cookie> {
    let default = Cookie::named(value::token("cookie", name)?);
    let same_site = value::choice("same_site", &raw.same_site, &SameSite::NAMES, SameSite::Lax)?;
    let partitioned = raw.partitioned.as_ref();
    if let Some(wanted) = partitioned.filter(|wanted| *wanted.get_ref())
        && same_site != SameSite::None
    {
        return Err(Problem::at(
            wanted.span(),
            "`partitioned` is for frames of other sites, which get no cookie without `same_site = \"none\"`",
            "this",
            "add same_site = \"none\", or leave `partitioned` out",
        ));
    }
    let max_age = match &raw.max_age {
        None => None,
        age => Some(duration("max_age", age, AGES, Duration::ZERO)?),
    };
    Ok(Cookie {
        same_site,
        domain: raw.domain.as_ref().map(domain).transpose()?,
        path: match &raw.path {
            None => default.path.clone(),
            Some(path) => value::path("path", path, false)?,
        },
        max_age,
        partitioned: partitioned.is_some_and(|wanted| *wanted.get_ref()),
        ..default
    })
}

fn domain(raw: &Spanned<String>) -> Check<String> {
    let text = raw.get_ref().trim_start_matches('.').to_ascii_lowercase();
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if text.contains('.') && text.bytes().all(good) && !text.ends_with('.') {
        return Ok(text);
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "`domain` is \"{}\", which browsers take for no domain of a cookie",
            value::brief(raw.get_ref())
        ),
        "not a domain",
        "write the domain that all hosts are below, such as \"example.com\", or leave it out",
    ))
}
