//! Conditions on requests, of `rules` and `unjudged`.

use crate::config::parse::error::Problem;
use crate::config::parse::value::{self, Check};
use http::HeaderName;
use http::header::COOKIE;
use std::collections::BTreeMap;
use toml::Spanned;

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

pub(crate) type Values = BTreeMap<Spanned<String>, Spanned<String>>;

/// The longest value of a condition, in bytes.
const VALUE_MAX: usize = 256;

/// The text for any value.
pub(crate) const ANY: &str = "*";

/// A condition for each named header.
pub(crate) fn header_conditions(raw: &Values) -> Check<Vec<Condition>> {
    let mut all = vec![];
    for (name, wanted) in raw {
        let wanted = wanted_value("header", wanted, &[])?;
        all.push(Condition::Header(header(name)?, wanted));
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
pub(crate) fn wanted_value(
    key: &str,
    raw: &Spanned<String>,
    never: &[char],
) -> Check<Option<String>> {
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
