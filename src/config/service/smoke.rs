//! `smoke`: checks of green before any user sees it.

use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::value::{self, Check, command};
use crate::config::service::image::reference;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Spanned;

/// One check of green, hidden from users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmokeCheck {
    /// A request to each member.
    Http(HttpCheck),
    /// A command in each of green's containers; exit status 0 is good.
    Exec {
        /// The program and its arguments; at least one.
        command: Vec<String>,
        /// The longest wait for its end.
        timeout: Duration,
    },
    /// A container of this image on green's network, for each member of green; exit status 0 is good.
    Container {
        /// The image.
        image: String,
        /// The command instead of the image's own; `{green}` is the member's address and port.
        command: Vec<String>,
        /// The longest wait for its end.
        timeout: Duration,
    },
}

impl SmokeCheck {
    /// Whether the check needs the Docker engine.
    pub fn is_in_docker(&self) -> bool {
        matches!(self, SmokeCheck::Exec { .. } | SmokeCheck::Container { .. })
    }
}

/// A request and its required answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// Headers to send, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// The required status.
    pub expect: u16,
    /// Text that the body must contain.
    pub contains: Option<String>,
    /// The longest wait for the answer.
    pub timeout: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a check: { path = \"/health\", expect = 200 }"
)]
pub(crate) struct RawSmoke {
    pub(crate) exec: Option<Many>,
    pub(crate) image: Text,
    pub(crate) command: Option<Many>,
    pub(crate) method: Text,
    pub(crate) path: Text,
    #[serde(default)]
    pub(crate) headers: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(crate) expect: Value<i64>,
    pub(crate) contains: Option<String>,
    pub(crate) timeout: Value<Scalar>,
}

/// The method of a smoke check.
const METHOD: &str = "GET";

/// The status that a smoke check expects.
const EXPECT: u16 = 200;

/// Timeout of a smoke check.
const TIMEOUT: Duration = seconds(5);

pub(crate) fn smoke(step: &Spanned<RawSmoke>) -> Check<SmokeCheck> {
    let raw = step.get_ref();
    let timeout = duration("timeout", &raw.timeout, SHORT, TIMEOUT)?;
    let kinds = [raw.path.is_some(), raw.exec.is_some(), raw.image.is_some()];
    if kinds.iter().filter(|given| **given).count() > 1 {
        return Err(Problem::at(
            step.span(),
            "this smoke check has more than one of `path`, `exec` and `image`",
            "this check",
            "write a check for each",
        ));
    }
    if let Some(exec) = &raw.exec {
        let command = command("exec", exec)?;
        return Ok(SmokeCheck::Exec { command, timeout });
    }
    if let Some(image) = &raw.image {
        let command = raw.command.as_ref().map(|many| command("command", many));
        return Ok(SmokeCheck::Container {
            image: reference(image)?,
            command: command.transpose()?.unwrap_or_default(),
            timeout,
        });
    }
    let Some(path) = &raw.path else {
        return Err(Problem::at(
            step.span(),
            "this smoke check has neither `path` nor `exec` nor `image`",
            "this check",
            "for example: smoke = [{ path = \"/health\", expect = 200 }]",
        ));
    };
    request(raw, path, timeout).map(SmokeCheck::Http)
}

fn request(raw: &RawSmoke, path: &Spanned<String>, timeout: Duration) -> Check<HttpCheck> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let method = value::choice("method", &raw.method, &METHODS.map(|m| (m, m)), METHOD)?;
    let mut headers = Vec::with_capacity(raw.headers.len());
    for (name, value) in &raw.headers {
        if http::HeaderValue::from_str(value.get_ref()).is_err() {
            return Err(Problem::at(
                value.span(),
                format!(
                    "the header `{}` has a value that HTTP cannot carry",
                    value::brief(name.get_ref())
                ),
                "this value",
                "use visible characters and spaces",
            ));
        }
        headers.push((
            value::token("headers", name)?.to_ascii_lowercase(),
            value.get_ref().clone(),
        ));
    }
    headers.sort();
    Ok(HttpCheck {
        method: method.to_owned(),
        path: value::path("path", path, true)?,
        headers,
        expect: value::number("expect", &raw.expect, 200..=599, EXPECT)?,
        contains: raw.contains.clone(),
        timeout,
    })
}
