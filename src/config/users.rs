//! Routing of users: sticky users, the preview of green, and the rules in the file.

use crate::config::defaults;
use crate::config::parse::duration::duration;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Text, Value};
use crate::config::parse::secret::{RawSecret, Secret, secret};
use crate::config::parse::value::{self, Check, percent, unmeaning};
use crate::config::types::Service;
use crate::core::table::Color;
use crate::core::weight::Weight;
use http::HeaderName;
use http::header::COOKIE;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// Highest number of rules of one service: each costs every request some time.
const RULES_MAX: usize = 32;

/// Highest number of conditions of one rule: more are a mistake.
const CONDITIONS_MAX: usize = 8;

/// The longest time that browsers keep a cookie (RFC 6265bis, 5.5: 400 days).
const AGES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(400 * 24 * 3600);

/// The longest value of a condition, in bytes.
const VALUE_MAX: usize = 256;

/// The text for any value.
const ANY: &str = "*";

/// The preview: green answers requests with this header and value, whatever its share, and they are not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The header's name, in lower case; it is not passed on.
    pub header: String,
    /// Its value.
    pub token: Secret,
}

/// What keeps a user on one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// How a user is recognised.
    pub by: Mark,
    /// Whether a user also stays on one member of the pool while that lives.
    pub member: bool,
}

impl Service {
    /// Whether its users get a cookie.
    pub fn sets_cookies(&self) -> bool {
        let sticky = self.sticky.as_ref();
        sticky.is_some_and(|sticky| matches!(sticky.by, Mark::Cookie(_)))
    }
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

/// Sends the requests that match it to another pool than the weights would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Conditions that must all hold; at least one.
    pub when: Vec<Condition>,
    /// Where a matching request goes.
    pub then: Then,
    /// Whether it also leads to a green without a share.
    pub early: bool,
    /// Whether the request fails when that pool has no usable member, instead of going to the other pool.
    pub strict: bool,
}

/// A condition of a rule on a request; a value of `None` matches any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A line of this header has this value, byte by byte.
    Header(HeaderName, Option<String>),
    /// A cookie of this name has this value.
    Cookie(String, Option<String>),
    /// A parameter of the query has this value; both as they are written, not decoded.
    Query(String, Option<String>),
    /// The path is this one or below it, by whole segments.
    Below(String),
    /// The path is this one.
    Exactly(String),
}

/// The target of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// To a pool.
    Pool(Color),
    /// To green with this share instead of the rollout's.
    Weight(Weight),
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

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { token = { env = \"SHIFTER_PREVIEW\" } }"
)]
pub(crate) struct RawPreview {
    pub(crate) header: Text,
    pub(crate) token: Value<RawSecret>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a rule: { header = { \"x-beta\" = \"1\" }, to = \"green\" }"
)]
pub(crate) struct RawRule {
    #[serde(default)]
    header: Values,
    #[serde(default)]
    cookie: Values,
    #[serde(default)]
    query: Values,
    path: Text,
    exact_path: Text,
    to: Text,
    weight: Value<f64>,
    early: Option<bool>,
    strict: Option<bool>,
}

pub(crate) type Values = BTreeMap<Spanned<String>, Spanned<String>>;

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
            unmeaning(name, value::token("header", name)?.to_ascii_lowercase()).map(Mark::Header)
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

pub(crate) fn preview(raw: &Value<RawPreview>, dir: &Path) -> Check<Option<Preview>> {
    let Some(table) = raw else { return Ok(None) };
    let Some(token) = &table.get_ref().token else {
        return Err(Problem::at(
            table.span(),
            "`preview` has no `token`: everybody would see green",
            "this table",
            "write preview = { token = { env = \"SHIFTER_PREVIEW\" } }, 32 bytes or more",
        ));
    };
    let header = match &table.get_ref().header {
        None => defaults::PREVIEW_HEADER.to_owned(),
        Some(name) => unmeaning(name, value::token("header", name)?.to_ascii_lowercase())?,
    };
    Ok(Some(Preview {
        header,
        token: secret("token", token, dir)?,
    }))
}

/// The rules, in the order of the file: the first that matches decides.
pub(crate) fn rules(raw: &[Spanned<RawRule>]) -> Check<Vec<Rule>> {
    if let Some(beyond) = raw.get(RULES_MAX) {
        return Err(Problem::at(
            beyond.span(),
            format!(
                "`rules` has {} entries; at most {RULES_MAX} are taken",
                raw.len()
            ),
            "one too many",
            "join some of them: every request is held against each",
        ));
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(raw.len());
    for table in raw {
        let rule = rule(table)?;
        if let Some(same) = rules.iter().position(|known| known.when == rule.when) {
            return Err(Problem::at(
                table.span(),
                format!(
                    "this rule fits what rule {} fits: it would never be reached",
                    same + 1
                ),
                "the second one",
                "leave it out; the first rule that fits decides",
            ));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(table: &Spanned<RawRule>) -> Check<Rule> {
    let raw = table.get_ref();
    let wrong = |what: &str, help: &str| Err(Problem::at(table.span(), what, "this rule", help));
    let pools = Color::BOTH.map(|color| (color.name(), Then::Pool(color)));
    let then = match (&raw.to, &raw.weight) {
        (Some(_), None) => value::choice("to", &raw.to, &pools, Then::Pool(Color::Blue))?,
        (None, Some(weight)) => Then::Weight(percent("weight", weight)?),
        (Some(_), Some(_)) => {
            return wrong(
                "a rule has a `to` or a `weight`, not both",
                "write to = \"green\" for all of them, or weight = 20 for a fifth",
            );
        }
        (None, None) => {
            return wrong(
                "this rule leads nowhere",
                "write to = \"green\", to = \"blue\" or weight = 20",
            );
        }
    };
    let when = conditions(raw)?;
    if when.is_empty() {
        return wrong(
            "this rule has no condition: it would take every request from the rollout",
            "name who is meant: header = { \"x-beta\" = \"1\" }, or cookie, query, path",
        );
    }
    if when.len() > CONDITIONS_MAX {
        return wrong(
            "this rule has more than 8 conditions",
            "all conditions of a rule must hold together: is it meant to be several rules?",
        );
    }
    Ok(Rule {
        when,
        then,
        early: raw.early.unwrap_or(false),
        strict: raw.strict.unwrap_or(false),
    })
}

/// A condition for each named header.
pub(crate) fn header_conditions(raw: &Values) -> Check<Vec<Condition>> {
    let mut all = vec![];
    for (name, wanted) in raw {
        let wanted = wanted_value("header", wanted, &[])?;
        all.push(Condition::Header(header(name)?, wanted));
    }
    Ok(all)
}

fn conditions(raw: &RawRule) -> Check<Vec<Condition>> {
    let mut all = header_conditions(&raw.header)?;
    for (name, wanted) in &raw.cookie {
        let text = value::token("cookie", name)?;
        all.push(Condition::Cookie(
            text,
            wanted_value("cookie", wanted, &[';', ' '])?,
        ));
    }
    for (name, wanted) in &raw.query {
        let text = wanted_value("query", name, &['&', '=', '#', ' '])?.unwrap_or(ANY.to_owned());
        let wanted = wanted_value("query", wanted, &['&', '#', ' '])?;
        all.push(Condition::Query(text, wanted));
    }
    if let Some(path) = &raw.path {
        let path = value::path("path", path, false)?;
        all.push(Condition::Below(path.trim_end_matches('/').to_owned()));
    }
    if let Some(path) = &raw.exact_path {
        all.push(Condition::Exactly(value::path("exact_path", path, false)?));
    }
    Ok(all)
}

fn header(name: &Spanned<String>) -> Check<HeaderName> {
    let text = value::token("header", name)?;
    let parsed = text.parse::<HeaderName>().ok();
    // HTTP/2 clients may split it into several fields.
    parsed.filter(|header| header != COOKIE).ok_or_else(|| {
        Problem::at(
            name.span(),
            "the header `cookie` has many values in one",
            "not as a header",
            "write cookie = { name = \"value\" }",
        )
    })
}

/// The value that a condition requires; `None` for `*`, which is any.
fn wanted_value(key: &str, raw: &Spanned<String>, never: &[char]) -> Check<Option<String>> {
    let text = raw.get_ref();
    if text == ANY {
        return Ok(None);
    }
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !never.contains(&c);
    if !text.is_empty() && text.len() <= VALUE_MAX && text.trim() == text && text.chars().all(plain)
    {
        return Ok(Some(text.clone()));
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "`{key}` has \"{}\", which no request has there",
            value::brief(text)
        ),
        "never",
        "write the text as requests carry it, up to 256 plain characters, or \"*\" for any value",
    ))
}
