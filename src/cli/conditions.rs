//! Rules and entries of `unjudged` in one line each.

use crate::config::{Condition, Rule, Then, Unjudged};

/// A rule in one line.
pub(super) fn shown(rule: &Rule) -> String {
    let then = match rule.then {
        Then::Pool(color) => color.to_string(),
        Then::Weight(weight) => format!("{weight} to green"),
    };
    format!("{} → {then}", conditions(&rule.when).join(" and "))
}

/// An entry of `unjudged` in one line.
pub(super) fn of_unjudged(entry: &Unjudged) -> String {
    let mut all = conditions(&entry.when);
    all.extend(entry.agent.as_ref().map(|agent| format!("agent {agent}")));
    all.join(" and ")
}

fn conditions(when: &[Condition]) -> Vec<String> {
    let value = |value: &Option<String>| value.as_deref().unwrap_or("*").to_owned();
    when.iter()
        .map(|condition| match condition {
            Condition::Header(name, wanted) => format!("header {name}={}", value(wanted)),
            Condition::Cookie(name, wanted) => format!("cookie {name}={}", value(wanted)),
            Condition::Query(name, wanted) => format!("query {name}={}", value(wanted)),
            Condition::Below(path) if path.is_empty() => "path /".to_owned(),
            Condition::Below(path) => format!("path {path}"),
            Condition::Exactly(path) => format!("path {path} alone"),
        })
        .collect()
}
