//! `rules`: requests that go elsewhere than the weights would send them.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::value::{self, Check, percent};
use crate::config::service::conditions::{ANY, Condition, Values, header_conditions, wanted_value};
use crate::core::table::Color;
use crate::core::weight::Weight;
use serde::Deserialize;
use toml::Spanned;

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

/// Highest number of rules of one service: each costs every request some time.
const RULES_MAX: usize = 32;

/// Highest number of conditions of one rule: more are a mistake.
const CONDITIONS_MAX: usize = 8;

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
