//! Checks of single values.

use crate::config::error::Problem;
use crate::config::file::{Many, Scalar, Text, Value};
use crate::config::read::{listed, nearest};
use jiff::SignedDuration;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;

/// A checked value, or the first fault.
pub(crate) type Check<T> = Result<T, Problem>;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Limits of the time of one request, one check or one connection.
pub(crate) const SHORT: RangeInclusive<Duration> = MILLISECOND..=HOUR;
/// Limits of the time of one step or one rollout.
pub(crate) const LONG: RangeInclusive<Duration> = MILLISECOND..=Duration::from_secs(7 * 24 * 3600);
/// Limits of a wait that may be zero.
pub(crate) const OPTIONAL: RangeInclusive<Duration> = Duration::ZERO..=DAY;

const TIMES: &str = "write a time with its unit: \"500ms\", \"90s\", \"5m\" or \"1h 30m\"";

/// A time within limits.
pub(crate) fn duration(
    key: &str,
    raw: &Value<Scalar>,
    allowed: RangeInclusive<Duration>,
    default: Duration,
) -> Check<Duration> {
    match raw {
        None => Ok(default),
        Some(raw) => duration_at(key, &raw.get_ref().0, raw.span(), allowed),
    }
}

/// A time within limits, from text with its position.
pub(crate) fn duration_at(
    key: &str,
    text: &str,
    span: Range<usize>,
    allowed: RangeInclusive<Duration>,
) -> Check<Duration> {
    let wrong = |what: String, label: &str| Problem::at(span.clone(), what, label, TIMES);
    let shown_text = brief(text);
    if text.trim().parse::<f64>().is_ok() {
        return Err(wrong(
            format!("`{key}` is {shown_text} without a unit"),
            "seconds? minutes?",
        ));
    }
    let parsed = text.parse::<SignedDuration>();
    let signed = parsed.map_err(|_| {
        wrong(
            format!("`{key}` is \"{shown_text}\", which is not a time"),
            "not a time",
        )
    })?;
    let Ok(time) = Duration::try_from(signed) else {
        return Err(wrong(
            format!("`{key}` is \"{shown_text}\": time runs forward"),
            "below zero",
        ));
    };
    let beyond = |limit: Duration, side: &str, label: &str| {
        let limit = shown(limit);
        let what = format!("`{key}` is \"{shown_text}\": it must be {side} {limit}");
        Err(Problem::at(
            span.clone(),
            what,
            label,
            format!("write {side} \"{limit}\""),
        ))
    };
    if time < *allowed.start() {
        return beyond(*allowed.start(), "at least", "too short");
    }
    if time > *allowed.end() {
        return beyond(*allowed.end(), "at most", "too long");
    }
    Ok(time)
}

/// A time in the notation of the file.
pub(crate) fn shown(time: Duration) -> String {
    SignedDuration::try_from(time).map_or_else(|_| format!("{time:?}"), |time| format!("{time:#}"))
}

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

/// An address with its port.
pub(crate) fn address(key: &str, raw: &Spanned<String>) -> Check<SocketAddr> {
    let text = raw.get_ref().trim();
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(Problem::at(
            raw.span(),
            format!("`{key}` has port 0: no client could find it"),
            "port 0",
            "write a port from 1 to 65535",
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(Problem::at(
            raw.span(),
            format!(
                "`{key}` has \"{}\", which is not an address with a port",
                brief(text)
            ),
            "not IP:PORT",
            address_help(text),
        )),
    }
}

fn address_help(text: &str) -> String {
    let port = text
        .rsplit(':')
        .next()
        .and_then(|p| p.parse::<u16>().ok())
        .filter(|p| *p > 0);
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    if text.contains("://") {
        "leave the scheme and the path out: \"127.0.0.1:3001\"".into()
    } else if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        format!("add the port: \"{}\"", SocketAddr::new(ip, 8080))
    } else if let (Some(port), "localhost" | "" | "*") = (port, host) {
        format!("write the IP address: \"127.0.0.1:{port}\" (\"0.0.0.0:{port}\" to listen on all)")
    } else if port.is_some() {
        format!("names are not looked up: write the IP address of {host}, with the port")
    } else {
        "write it as IP:PORT: \"127.0.0.1:3001\" or \"[::1]:3001\"".into()
    }
}

/// A list of addresses, not empty, none twice.
pub(crate) fn addresses(key: &str, raw: &Many) -> Check<Vec<SocketAddr>> {
    let mut addresses = Vec::with_capacity(raw.items.len());
    for item in some(key, raw)? {
        let address = address(key, item)?;
        if addresses.contains(&address) {
            let help = "leave the second one out";
            return Err(Problem::at(
                item.span(),
                format!("`{key}` has {address} twice"),
                "again",
                help,
            ));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// A list that is not empty and not absurdly long.
pub(crate) fn some<'a>(key: &str, raw: &'a Many) -> Check<&'a [Spanned<String>]> {
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
