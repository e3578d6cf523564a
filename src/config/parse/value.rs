//! Single values: numbers, shares, known words, lists, paths, and names in HTTP.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Text, Value};
use crate::config::parse::suggest::{listed, nearest};
use crate::config::parse::value;
use crate::core::weight::Weight;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A checked value, or the first fault.
pub(crate) type Check<T> = Result<T, Problem>;

/// A whole number within limits.
pub(crate) fn number<T: TryFrom<i64>>(
    key: &str,
    raw: &Value<i64>,
    allowed: RangeInclusive<i64>,
    default: T,
) -> Check<T> {
    let Some(raw) = raw else { return Ok(default) };
    let value = *raw.get_ref();
    let fits = allowed
        .contains(&value)
        .then(|| T::try_from(value).ok())
        .flatten();
    fits.ok_or_else(|| {
        let (least, most) = (allowed.start(), allowed.end());
        Problem::at(
            raw.span(),
            format!("`{key}` is {value}: it must be {least} to {most}"),
            "out of range",
            format!("write a whole number from {least} to {most}"),
        )
    })
}

/// One of the known names.
pub(crate) fn choice<T: Copy>(key: &str, raw: &Text, known: &[(&str, T)], default: T) -> Check<T> {
    let Some(raw) = raw else { return Ok(default) };
    let text = raw.get_ref().as_str();
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names = || known.iter().map(|(name, _)| *name);
    let help = match nearest(text, names()) {
        Some(near) => format!("did you mean \"{near}\"? It can be {}", listed(names())),
        None => format!("it can be {}", listed(names())),
    };
    Err(Problem::at(
        raw.span(),
        format!("`{key}` is \"{}\", which is not known", brief(text)),
        "unknown",
        help,
    ))
}

/// A list that is not empty and not absurdly long.
pub(crate) fn non_empty<'a>(key: &str, raw: &'a Many) -> Check<&'a [Spanned<String>]> {
    const MOST: usize = 256;
    let fault =
        |what: String, help: String| Err(Problem::at(raw.span.clone(), what, "this list", help));
    match raw.items.len() {
        0 => fault(
            format!("`{key}` is an empty list"),
            format!("name at least one, or leave `{key}` out for its default"),
        ),
        n if n > MOST => fault(
            format!("`{key}` has {n} entries"),
            format!("at most {MOST} are taken"),
        ),
        _ => Ok(&raw.items),
    }
}

/// A path of a URL; `query` allows what follows a `?`.
pub(crate) fn path(key: &str, raw: &Spanned<String>, query: bool) -> Check<String> {
    const LONGEST: usize = 1024;
    let text = raw.get_ref();
    let wrong = |what: &str, help: String| {
        Problem::at(
            raw.span(),
            format!("`{key}` has \"{}\", {what}", brief(text)),
            "this path",
            help,
        )
    };
    if !text.starts_with('/') {
        let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| {
            rest.find('/').map_or("", |at| &rest[at..])
        });
        return Err(wrong(
            "which is not a path",
            format!(
                "begin with a slash: \"/{}\"",
                brief(rest.trim_start_matches('/'))
            ),
        ));
    }
    if let Some(bad) = text
        .chars()
        .find(|&c| !c.is_ascii_graphic() || c == '#' || (c == '?' && !query))
    {
        return Err(wrong(
            &format!("with {bad:?} in it"),
            "write the path alone; other characters percent-encoded: %20 for a space".into(),
        ));
    }
    if text.len() > LONGEST {
        return Err(wrong(
            "which is very long",
            format!("at most {LONGEST} bytes are taken"),
        ));
    }
    Ok(text.clone())
}

/// A name of a header or cookie, as HTTP allows it.
pub(crate) fn token(key: &str, raw: &Spanned<String>) -> Check<String> {
    let text = raw.get_ref();
    if http::HeaderName::from_bytes(text.as_bytes()).is_ok() && text.len() <= 128 {
        return Ok(text.clone());
    }
    Err(Problem::at(
        raw.span(),
        format!(
            "`{key}` has \"{}\", which HTTP does not allow as a name",
            brief(text)
        ),
        "not a name",
        "use letters, digits, `-` and `_`",
    ))
}

/// Text cut to what fits in a message, and without what would move a terminal's cursor.
pub(crate) fn brief(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short.replace(char::is_control, "\u{fffd}")
}

/// A share in percent, to two decimals.
pub(crate) fn percent(key: &str, raw: &Spanned<f64>) -> Check<Weight> {
    let percent = *raw.get_ref();
    let wrong = |what: String, label: &str| {
        Problem::at(
            raw.span(),
            what,
            label,
            "write percent from 0 to 100 with at most two decimals: 5 or 0.25",
        )
    };
    let weight = Weight::from_percent(percent).ok_or_else(|| {
        wrong(
            format!("`{key}` is {percent}, which is not a share"),
            "not 0 to 100",
        )
    })?;
    if (weight.ratio() * 100.0 - percent).abs() > 1e-9 {
        return Err(wrong(
            format!("`{key}` is {percent}, which is finer than 0.01"),
            "too fine",
        ));
    }
    Ok(weight)
}

/// A program and its arguments.
pub(crate) fn command(key: &str, many: &Many) -> Check<Vec<String>> {
    let items = value::non_empty(key, many)?;
    match items.iter().find(|item| item.get_ref().contains('\0')) {
        Some(bad) => Err(Problem::at(
            bad.span(),
            format!("`{key}` has a zero byte in it"),
            "here",
            "no program can be given one",
        )),
        None => Ok(items.iter().map(|item| item.get_ref().clone()).collect()),
    }
}

/// Refuses a header that HTTP itself uses.
pub(crate) fn own_header(raw: &Spanned<String>, name: String) -> Check<String> {
    const HTTP: [&str; 10] = [
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    if HTTP.contains(&name.as_str()) {
        return Err(Problem::at(
            raw.span(),
            format!("the header `{name}` has a meaning of its own in HTTP"),
            "taken",
            "name a header of your own, such as \"x-request-id\" or \"x-user-id\"",
        ));
    }
    Ok(name)
}

/// A path of the file system; a relative one is relative to the folder of the configuration file.
pub(crate) fn file_path(key: &str, raw: &Spanned<String>, dir: &Path) -> Check<PathBuf> {
    let text = raw.get_ref();
    if text.is_empty() || text.contains('\0') {
        let help = format!("write a path, or leave `{key}` out for its default");
        return Err(Problem::at(
            raw.span(),
            format!("`{key}` is not a path"),
            "this",
            help,
        ));
    }
    Ok(dir.join(text))
}
