//! Checks of what runs beside a rollout: smoke checks and hooks.

use crate::config::defaults;
use crate::config::docker::reference;
use crate::config::file::{RawHook, RawSmoke};
use crate::config::parse::address::url;
use crate::config::parse::duration::{LONG, SHORT, duration};
use crate::config::parse::error::Problem;
use crate::config::parse::value::{self, Check, words};
use crate::config::types::{Hook, HookCall, HttpCheck, SmokeCheck};
use crate::core::plan::Moment;
use std::time::Duration;
use toml::Spanned;

pub(crate) fn smoke(step: &Spanned<RawSmoke>) -> Check<SmokeCheck> {
    let raw = step.get_ref();
    let timeout = duration("timeout", &raw.timeout, SHORT, defaults::SMOKE_TIMEOUT)?;
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
        let command = words("exec", exec)?;
        return Ok(SmokeCheck::Exec { command, timeout });
    }
    if let Some(image) = &raw.image {
        let command = raw.command.as_ref().map(|many| words("command", many));
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
    let method = value::choice(
        "method",
        &raw.method,
        &METHODS.map(|m| (m, m)),
        defaults::SMOKE_METHOD,
    )?;
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
        expect: value::number("expect", &raw.expect, 200..=599, defaults::SMOKE_EXPECT)?,
        contains: raw.contains.clone(),
        timeout,
    })
}

pub(crate) fn hook(table: &Spanned<RawHook>) -> Check<Hook> {
    let raw = table.get_ref();
    let wrong = |what: &str, help: &str| Problem::at(table.span(), what, "this hook", help);
    let example = "for example: hooks = [{ at = \"before-start\", exec = [\"./migrate\"] }]";
    if raw.at.is_none() {
        return Err(wrong(
            "this hook does not say when it runs: it has no `at`",
            example,
        ));
    }
    let known = Moment::ALL.map(|moment| (moment.name(), moment));
    let at = value::choice("at", &raw.at, &known, Moment::BeforeStart)?;
    let what = match (&raw.exec, &raw.post) {
        (Some(exec), None) => HookCall::Exec(words("exec", exec)?),
        (None, Some(post)) => HookCall::Post(url("post", post)?),
        (Some(_), Some(_)) => {
            return Err(wrong(
                "this hook has an `exec` and a `post`",
                "write two hooks",
            ));
        }
        (None, None) => {
            return Err(wrong(
                "this hook does nothing: it has neither `exec` nor `post`",
                example,
            ));
        }
    };
    Ok(Hook {
        at,
        what,
        timeout: duration("timeout", &raw.timeout, LONG, defaults::HOOK_TIMEOUT)?,
        optional: raw.optional.unwrap_or(false),
    })
}
