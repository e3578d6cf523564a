//! Reads TOML into raw shapes, and words serde's errors for people.

use crate::config::parse::error::Problem;
use crate::config::parse::suggest::{listed, nearest};
use crate::config::parse::value::brief;
use serde::de::DeserializeOwned;
use std::ops::Range;

/// Reads the text; the error is the first fault.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    toml::from_str(text).map_err(|error| told(error.span(), error.message()))
}

fn told(span: Option<Range<usize>>, message: &str) -> Problem {
    let first = message.lines().next().unwrap_or_default();
    let (what, label, help) = if let Some(rest) = first.strip_prefix("unknown field ") {
        unknown_key(rest)
    } else if let Some((found, expected, help)) = mismatch(first) {
        (
            format!("{found} stands where {expected} belongs"),
            "wrong type".into(),
            help,
        )
    } else if first.starts_with("duplicate key") || first.starts_with("duplicate field") {
        let help = "keep one of the two, or join them".into();
        (
            "this key is given twice".into(),
            "the second one".into(),
            help,
        )
    } else {
        not_toml(first)
    };
    Problem {
        span,
        what,
        label,
        help,
        hide: false,
    }
}

/// The key, and the known ones: serde names both in backticks.
fn unknown_key(rest: &str) -> (String, String, String) {
    let mut names = rest.split('`').skip(1).step_by(2);
    let key = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let help = match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", listed(known)),
    };
    (
        format!("`{key}` is not a key here"),
        "unknown key".into(),
        help,
    )
}

/// What was found, what was expected, and how to write that.
fn mismatch(message: &str) -> Option<(String, &str, String)> {
    let rest = message
        .strip_prefix("invalid type: ")
        .or(message.strip_prefix("invalid value: "))
        .or(message.strip_prefix("invalid length "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let found = match found {
        // Serde reads a list as the fields of a table, and some are missing.
        length if length.parse::<usize>().is_ok() => "a list".to_owned(),
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other => {
            let plain = other
                .replacen("floating point", "number", 1)
                .replacen("integer", "number", 1);
            brief(
                &plain
                    .replacen("boolean ", "", 1)
                    .replacen("string ", "text ", 1),
            )
        }
    };
    let (expected, help) = match expected {
        "a string" => ("text", "write it in \"quotes\"".to_owned()),
        "a sequence" => ("a list", "write it in brackets: [ ]".to_owned()),
        "a boolean" => (
            "true or false",
            "write true or false, without quotes".to_owned(),
        ),
        "a map" => (
            "a table",
            "write it in braces: { key = \"value\" }".to_owned(),
        ),
        "i64" => ("a whole number", "write digits, without quotes".to_owned()),
        "f64" => ("a number", "write digits, without quotes".to_owned()),
        other => match other.split_once(": ") {
            Some((kind, example)) => (kind, format!("write it as {example}")),
            None => (other, format!("write {other}")),
        },
    };
    Some((found, expected, help))
}

/// The part that the TOML reader could not read.
fn not_toml(message: &str) -> (String, String, String) {
    const UNQUOTED: [&str; 4] = [
        "invalid float",
        "invalid integer",
        "invalid datetime",
        "string values must be quoted",
    ];
    if UNQUOTED.iter().any(|start| message.starts_with(start)) {
        let what = "this value is neither a number nor text in quotes".into();
        return (what, "here".into(), "put it in \"quotes\"".into());
    }
    let help = "text goes in \"quotes\", lists in [ ], small tables in { } on one line".into();
    (
        format!(
            "this is not TOML: {}",
            message.trim_end_matches(", expected nothing")
        ),
        "here".into(),
        help,
    )
}
