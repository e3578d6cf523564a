//! `hooks`: the user's own commands at moments of a rollout.

use crate::config::parse::address::url;
use crate::config::parse::duration::{LONG, duration, minutes};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::value::{self, Check, command};
use crate::core::plan::Moment;
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

/// A command of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub at: Moment,
    /// The command.
    pub what: HookCall,
    /// The longest wait for its end.
    pub timeout: Duration,
    /// Whether the rollout goes on when it fails.
    pub optional: bool,
}

/// The kind of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookCall {
    /// A program on this host with its arguments; at least one. Exit status 0 is good.
    Exec(Vec<String>),
    /// A POST to this address; 200 to 299 is good.
    Post(String),
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a hook: { at = \"before-start\", exec = [\"./migrate\"] }"
)]
pub(crate) struct RawHook {
    pub(crate) at: Text,
    pub(crate) exec: Option<Many>,
    pub(crate) post: Text,
    pub(crate) timeout: Value<Scalar>,
    pub(crate) optional: Option<bool>,
}

/// Timeout of a hook: a migration takes its time.
const TIMEOUT: Duration = minutes(1);

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
        (Some(exec), None) => HookCall::Exec(command("exec", exec)?),
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
        timeout: duration("timeout", &raw.timeout, LONG, TIMEOUT)?,
        optional: raw.optional.unwrap_or(false),
    })
}
