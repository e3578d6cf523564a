//! `sources`: further evidence about green, beside users' requests.

use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::secret::{RawHeader, RawSecret};
use crate::config::parse::value::{self, Check, command};
use crate::config::service::endpoint::{Endpoint, RawEndpoint, endpoint};
use crate::core::limit::{Limit, Margin};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// A source of evidence about green other than users' requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The name in messages.
    pub name: String,
    /// The kind of source.
    pub asked: Asked,
    /// The interval between queries, and the delay of the first one after the start of a share.
    pub every: Duration,
    /// Bad readings in a row after which green is rolled back; at least one.
    pub times: u32,
    /// The longest wait for an answer.
    pub timeout: Duration,
}

/// The kind of a source, with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A Prometheus server, for one number of each pool.
    Prometheus {
        /// The API's address without `/api/v1`.
        at: Endpoint,
        /// PromQL; `$pool` (blue or green), `$release` and `$service` are replaced.
        query: String,
        /// When green's number is bad.
        limit: Limit,
    },
    /// An address; it answers 200 with `{"verdict": "good" | "bad" | "no_data", "why": "..."}`.
    Get(Endpoint),
    /// A program on this host with its arguments; at least one. Exit status 0 is good, 1 is bad, any other is no data.
    Exec(Vec<String>),
}

impl Source {
    /// The address that is queried, where there is one.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match &self.asked {
            Asked::Prometheus { at, .. } | Asked::Get(at) => Some(at),
            Asked::Exec(_) => None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a source: { name = \"checkouts\", exec = [\"./check\"] }"
)]
pub(crate) struct RawSource {
    pub(crate) name: Text,
    pub(crate) prometheus: Text,
    pub(crate) query: Text,
    pub(crate) max: Value<f64>,
    pub(crate) min: Value<f64>,
    pub(crate) margin: Value<Scalar>,
    pub(crate) margin_below: Value<Scalar>,
    pub(crate) get: Text,
    pub(crate) ca: Text,
    #[serde(default)]
    pub(crate) headers: BTreeMap<Spanned<String>, Spanned<RawHeader>>,
    pub(crate) user: Text,
    pub(crate) password: Value<RawSecret>,
    pub(crate) token: Value<RawSecret>,
    pub(crate) exec: Option<Many>,
    pub(crate) every: Value<Scalar>,
    pub(crate) times: Value<i64>,
    pub(crate) timeout: Value<Scalar>,
}

/// Most metrics are scraped every ten or fifteen seconds.
const EVERY: Duration = seconds(10);

/// One bad reading may be a glitch.
const TIMES: u32 = 3;

/// Timeout of a source's answer.
const TIMEOUT: Duration = seconds(5);

const EVERY_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

const EXAMPLE: &str = "for example: sources = [{ name = \"checkouts\", prometheus = \"http://127.0.0.1:9090\", query = 'rate(failed_total{version=\"$release\"}[1m])', max = 0.1 }]";

const DIRECTIONS: &str = "`margin = \"10%\"` is how much more than blue green may have, `margin_below = \"10%\"` how much less; a plain number may come on top: \"10% + 0.01\"";

pub(crate) fn sources(all: &[Spanned<RawSource>], dir: &Path) -> Check<Vec<Source>> {
    all.iter().map(|table| source(table, dir)).collect()
}

fn source(table: &Spanned<RawSource>, dir: &Path) -> Check<Source> {
    let raw = table.get_ref();
    let wrong =
        |what: String, help: &str| Err(Problem::at(table.span(), what, "this source", help));
    let Some(name) = &raw.name else {
        return wrong("this source has no `name`".to_owned(), EXAMPLE);
    };
    belongs(table)?;
    let asked = match (&raw.prometheus, &raw.get, &raw.exec) {
        (Some(base), None, None) => prometheus(table, base, dir)?,
        (None, Some(get), None) => Asked::Get(endpoint("get", get, &address_keys(table), dir)?),
        (None, None, Some(exec)) => Asked::Exec(command("exec", exec)?),
        _ => {
            return wrong(
                "a source has one of `prometheus`, `get` and `exec`".to_owned(),
                EXAMPLE,
            );
        }
    };
    let name = name.get_ref().trim();
    if name.is_empty() || name.chars().count() > 60 || name.contains(char::is_control) {
        return wrong(
            "`name` of a source has 1 to 60 visible characters".to_owned(),
            EXAMPLE,
        );
    }
    Ok(Source {
        name: name.to_owned(),
        asked,
        every: duration("every", &raw.every, EVERY_RANGE, EVERY)?,
        times: value::number("times", &raw.times, 1..=100, TIMES)?,
        timeout: duration("timeout", &raw.timeout, SHORT, TIMEOUT)?,
    })
}

fn address_keys(table: &Spanned<RawSource>) -> RawEndpoint<'_> {
    let raw = table.get_ref();
    RawEndpoint {
        span: table.span(),
        ca: &raw.ca,
        headers: &raw.headers,
        user: &raw.user,
        password: &raw.password,
        token: &raw.token,
    }
}

/// Refuses keys that do not apply to this kind of source.
fn belongs(table: &Spanned<RawSource>) -> Check<()> {
    let raw = table.get_ref();
    let numbers = [&raw.max, &raw.min].map(Option::is_some);
    let margins = [&raw.margin, &raw.margin_below].map(Option::is_some);
    let limited = raw.query.is_some() || numbers.contains(&true) || margins.contains(&true);
    if limited && raw.prometheus.is_none() {
        return Err(Problem::at(
            table.span(),
            "`query`, `max`, `min`, `margin` and `margin_below` are for `prometheus`",
            "this source",
            "a program says by its exit code how green is (0 well, 1 not), an address by {\"verdict\": \"good\"}",
        ));
    }
    let secrets = [&raw.password, &raw.token].map(Option::is_some);
    let texts = [&raw.ca, &raw.user].map(Option::is_some);
    let sent = !raw.headers.is_empty() || secrets.contains(&true) || texts.contains(&true);
    if sent && raw.exec.is_some() {
        return Err(Problem::at(
            table.span(),
            "`ca`, `headers`, `user`, `password` and `token` are for `prometheus` and `get`",
            "this source",
            "a program has shifter's environment: set a variable there",
        ));
    }
    Ok(())
}

fn prometheus(table: &Spanned<RawSource>, base: &Spanned<String>, dir: &Path) -> Check<Asked> {
    let Some(query) = &table.get_ref().query else {
        return Err(Problem::at(
            table.span(),
            "this source has no `query`",
            "this source",
            EXAMPLE,
        ));
    };
    let limit = limit(table)?;
    let text = query.get_ref();
    if limit.compares() && !text.contains("$pool") && !text.contains("$release") {
        return Err(Problem::at(
            query.span(),
            "a margin compares green with blue, and `query` asks the same of both",
            "has neither $pool nor $release",
            "write {pool=\"$pool\"} or {version=\"$release\"} where the query chooses a version",
        ));
    }
    Ok(Asked::Prometheus {
        at: endpoint("prometheus", base, &address_keys(table), dir)?,
        query: text.clone(),
        limit,
    })
}

fn limit(table: &Spanned<RawSource>) -> Check<Limit> {
    let raw = table.get_ref();
    let limit = Limit {
        max: finite("max", &raw.max)?,
        min: finite("min", &raw.min)?,
        above: raw.margin.as_ref().map(margin).transpose()?,
        below: raw.margin_below.as_ref().map(margin_below).transpose()?,
    };
    if limit.is_empty() {
        return Err(Problem::at(
            table.span(),
            "this source has no limit: nothing would be bad",
            "this source",
            "write `max = 0.05` for a number that must not rise above it, `min = 0.99` for one that must not fall below it; or compare with blue: `margin = \"10%\"` is how much more green may have, `margin_below = \"10%\"` how much less",
        ));
    }
    if let (Some(min), Some(max), Some(raw)) = (limit.min, limit.max, &raw.min)
        && min > max
    {
        return Err(Problem::at(
            raw.span(),
            format!("`min` is {min} and `max` is {max}: nothing would be good"),
            "above `max`",
            "`min` is the lowest number that is good, `max` the highest",
        ));
    }
    Ok(limit)
}

fn finite(key: &str, raw: &Value<f64>) -> Check<Option<f64>> {
    let Some(raw) = raw else { return Ok(None) };
    let number = *raw.get_ref();
    if number.is_finite() {
        return Ok(Some(number));
    }
    Err(Problem::at(
        raw.span(),
        format!("`{key}` is {number}, which is no limit"),
        "not a number",
        format!("write a number, such as {key} = 0.5"),
    ))
}

/// How far green's number may lie below blue's.
fn margin_below(raw: &Spanned<Scalar>) -> Check<Margin> {
    let found = parsed("margin_below", raw)?;
    if found.share < 1.0 {
        return Ok(found);
    }
    let text = value::brief(&raw.get_ref().0);
    Err(Problem::at(
        raw.span(),
        format!("`margin_below` is \"{text}\": no number would be so far below blue's"),
        "too much",
        "write less than 100%, such as \"10%\": then green needs 90 % of blue's number",
    ))
}

/// How far green's number may lie above blue's.
fn margin(raw: &Spanned<Scalar>) -> Check<Margin> {
    parsed("margin", raw)
}

/// `10%`, `10% + 0.01` or `0.01`: a share of blue's value and a number on top.
fn parsed(key: &str, raw: &Spanned<Scalar>) -> Check<Margin> {
    let text = &raw.get_ref().0;
    let mut found = Margin::default();
    let known = text.split('+').all(|part| {
        let part = part.trim();
        let (number, place) = match part.strip_suffix('%') {
            Some(percent) => (percent.trim(), &mut found.share),
            None => (part, &mut found.plus),
        };
        match number.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => {
                *place = number;
                true
            }
            _ => false,
        }
    });
    if known {
        found.share /= 100.0;
        return Ok(found);
    }
    let (what, label) = if text.contains('-') {
        (
            ": the key says the direction, and the number has no sign",
            "a sign",
        )
    } else {
        ("", "not a margin")
    };
    let text = value::brief(text);
    Err(Problem::at(
        raw.span(),
        format!("`{key}` is \"{text}\"{what}"),
        label,
        DIRECTIONS,
    ))
}
