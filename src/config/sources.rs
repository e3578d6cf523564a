//! `sources`: what else than users' requests is asked about green.

use crate::config::checks::{address, words};
use crate::config::defaults;
use crate::config::error::Problem;
use crate::config::file::{RawSource, Scalar};
use crate::config::value::{self, Check, SHORT};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const EXAMPLE: &str = "for example: sources = [{ name = \"checkouts\", prometheus = \"http://127.0.0.1:9090\", query = 'rate(failed_total{version=\"$release\"}[1m])', max = 0.1 }]";

/// Something else than users' requests that knows how green is.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What people call it.
    pub name: String,
    /// Who is asked.
    pub asked: Asked,
    /// How often, and how soon after a share began.
    pub every: Duration,
    /// Bad answers in a row after which green goes; at least one.
    pub times: u32,
    /// The longest wait for an answer.
    pub timeout: Duration,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A Prometheus, for one number of each pool.
    Prometheus {
        /// Such as `http://127.0.0.1:9090`.
        base: String,
        /// PromQL; `$pool` (blue or green), `$release` and `$service` are put in.
        query: String,
        /// When green's number is bad.
        limit: Limit,
    },
    /// An address; 200 with `{"verdict": "good" | "bad" | "no_data", "why": "..."}`.
    Get(String),
    /// A program on this host with its arguments; at least one. 0 is good, 1 is bad, all else is no data.
    Exec(Vec<String>),
}

/// When a number of green's is bad; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Above this number.
    pub max: Option<f64>,
    /// Above blue's number by this share of it and this much on top.
    pub margin: Option<(f64, f64)>,
}

pub(crate) fn source(table: &Spanned<RawSource>) -> Check<Source> {
    let raw = table.get_ref();
    let wrong =
        |what: String, help: &str| Err(Problem::at(table.span(), what, "this source", help));
    let Some(name) = &raw.name else {
        return wrong("this source has no `name`".to_owned(), EXAMPLE);
    };
    let asked = match (&raw.prometheus, &raw.get, &raw.exec) {
        (Some(base), None, None) => prometheus(table, base)?,
        (None, Some(get), None) => Asked::Get(plain(address("get", get)?, get)?),
        (None, None, Some(exec)) => Asked::Exec(words("exec", exec)?),
        _ => {
            return wrong(
                "a source has one of `prometheus`, `get` and `exec`".to_owned(),
                EXAMPLE,
            );
        }
    };
    let limited = raw.query.is_some() || raw.max.is_some() || raw.margin.is_some();
    if limited && raw.prometheus.is_none() {
        return wrong(
            "`query`, `max` and `margin` are for `prometheus`".to_owned(),
            "a program says by its exit code how green is (0 well, 1 not), an address by {\"verdict\": \"good\"}",
        );
    }
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
        every: value::duration("every", &raw.every, EVERY, defaults::SOURCE_EVERY)?,
        times: value::number("times", &raw.times, 1..=100, defaults::SOURCE_TIMES)?,
        timeout: value::duration("timeout", &raw.timeout, SHORT, defaults::SOURCE_TIMEOUT)?,
    })
}

fn prometheus(table: &Spanned<RawSource>, base: &Spanned<String>) -> Check<Asked> {
    let raw = table.get_ref();
    let Some(query) = &raw.query else {
        return Err(Problem::at(
            table.span(),
            "this source has no `query`",
            "this source",
            EXAMPLE,
        ));
    };
    let limit = Limit {
        max: raw.max.as_ref().map(|max| *max.get_ref()),
        margin: raw.margin.as_ref().map(margin).transpose()?,
    };
    if limit.max.is_none() && limit.margin.is_none() {
        return Err(Problem::at(
            table.span(),
            "this source has neither `max` nor `margin`: nothing would be bad",
            "this source",
            "write max = 0.05 for a limit, margin = \"10% + 0.01\" for how much more than blue green may have, or both",
        ));
    }
    let text = query.get_ref();
    if limit.margin.is_some() && !text.contains("$pool") && !text.contains("$release") {
        return Err(Problem::at(
            query.span(),
            "`margin` compares green with blue, and `query` asks the same of both",
            "has neither $pool nor $release",
            "write {pool=\"$pool\"} or {version=\"$release\"} where the query chooses a version",
        ));
    }
    Ok(Asked::Prometheus {
        base: plain(address("prometheus", base)?, base)?,
        query: text.clone(),
        limit,
    })
}

/// Sources are asked without TLS: they stand beside shifter.
fn plain(text: String, raw: &Spanned<String>) -> Check<String> {
    let uri = text.parse::<http::Uri>().ok();
    let authority = uri.as_ref().and_then(http::Uri::authority);
    let password = authority.is_some_and(|authority| authority.as_str().contains('@'));
    if text.starts_with("http://") && !password {
        return Ok(text);
    }
    Err(Problem::at(
        raw.span(),
        if password {
            "this address has a user or a password, which would stand in logs".to_owned()
        } else {
            format!(
                "\"{}\" is not asked: sources are asked by http",
                value::brief(&text)
            )
        },
        "cannot be asked",
        "write \"http://127.0.0.1:9090\"; for another way in, or a password, write a program: exec = [\"./ask-metrics\"]",
    ))
}

/// `10%`, `10% + 0.01` or `0.01`: a share of blue's value and a number on top.
fn margin(raw: &Spanned<Scalar>) -> Check<(f64, f64)> {
    let text = &raw.get_ref().0;
    let mut found = (0.0, 0.0);
    let known = text.split('+').all(|part| {
        let part = part.trim();
        let (number, place) = match part.strip_suffix('%') {
            Some(percent) => (percent.trim(), &mut found.0),
            None => (part, &mut found.1),
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
        return Ok((found.0 / 100.0, found.1));
    }
    Err(Problem::at(
        raw.span(),
        format!("`margin` is \"{}\"", value::brief(text)),
        "not a margin",
        "write how much more than blue green may have: \"10%\", \"10% + 0.01\" or \"0.01\"",
    ))
}
