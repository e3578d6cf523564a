//! `unjudged`: requests that are routed as all others and are no evidence about green.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Text;
use crate::config::parse::value::{self, Check};
use crate::config::service::conditions::{Condition, Values, header_conditions};
use crate::core::monitors::Pattern;
use serde::Deserialize;
use toml::Spanned;

/// Highest number of entries of one service: each costs every request some time.
const ENTRIES_MAX: usize = 16;

/// An entry of `unjudged`: a request that matches it is no evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unjudged {
    /// Conditions that must all hold.
    pub when: Vec<Condition>,
    /// Pattern that the `User-Agent` must also match, where there is one.
    pub agent: Option<Pattern>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { path = \"/up\" }, { exact_path = \"/up\" } or { agent = \"UptimeRobot/*\" }"
)]
pub(crate) struct RawUnjudged {
    path: Text,
    exact_path: Text,
    agent: Text,
    #[serde(default)]
    header: Values,
}

/// The entries, in the order of the file.
pub(crate) fn unjudged(raw: &[Spanned<RawUnjudged>]) -> Check<Vec<Unjudged>> {
    if let Some(beyond) = raw.get(ENTRIES_MAX) {
        return Err(Problem::at(
            beyond.span(),
            format!(
                "`unjudged` has {} entries; at most {ENTRIES_MAX} are taken",
                raw.len()
            ),
            "one too many",
            "join some of them: a path holds all paths below it",
        ));
    }
    raw.iter().map(entry).collect()
}

fn entry(table: &Spanned<RawUnjudged>) -> Check<Unjudged> {
    let raw = table.get_ref();
    let mut when = header_conditions(&raw.header)?;
    if let Some(path) = &raw.path {
        let prefix = value::path("path", path, false)?;
        let prefix = prefix.trim_end_matches('/').to_owned();
        let alone = when.is_empty() && raw.agent.is_none() && raw.exact_path.is_none();
        if prefix.is_empty() && alone {
            return Err(Problem::at(
                path.span(),
                "`unjudged` has the path \"/\", which is every request: nothing would be judged",
                "every path",
                "name the paths of checks: { path = \"/up\" }; for the first page alone { exact_path = \"/\" }",
            ));
        }
        when.push(Condition::Below(prefix));
    }
    if let Some(path) = &raw.exact_path {
        when.push(Condition::Exactly(value::path("exact_path", path, false)?));
    }
    let agent = raw.agent.as_ref().map(agent).transpose()?;
    if when.is_empty() && agent.is_none() {
        return Err(Problem::at(
            table.span(),
            "this entry of `unjudged` has no condition: nothing would be judged",
            "this entry",
            "name what is not judged: { path = \"/up\" }, { exact_path = \"/up\" } or { agent = \"UptimeRobot/*\" }",
        ));
    }
    Ok(Unjudged { when, agent })
}

fn agent(raw: &Spanned<String>) -> Check<Pattern> {
    Pattern::new(raw.get_ref()).ok_or_else(|| {
        Problem::at(
            raw.span(),
            format!(
                "`agent` has \"{}\", which is no pattern of a User-Agent",
                value::brief(raw.get_ref())
            ),
            "not a pattern",
            "write the name as the monitor sends it, with at most one `*` for the rest: \"UptimeRobot/*\"",
        )
    })
}
