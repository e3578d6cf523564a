//! One line of the access log for one request: its fields, how they are written, and what is left
//! out.
//!
//! Clients choose most of what stands here. So every line is plain ASCII without control characters
//! whatever they send, each part has a maximum length, and values of query keys that look secret
//! are hidden.

use crate::config::AccessFormat;
use crate::core::table::Color;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

/// The maximum length of a part of a line, in bytes before escaping.
const PART_MAX: usize = 2_048;

/// The initial capacity of a line, in bytes.
const LINE_USUAL: usize = 512;

/// Secret query keys: the value of a key that contains one of these is hidden in the log.
const SECRETS: [&str; 16] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "apikey",
    "api_key",
    "api-key",
    "auth",
    "credential",
    "session",
    "signature",
    "jwt",
    "otp",
    "cookie",
    "private",
];

/// Secret query keys that are too short to be looked for inside of others.
const SECRETS_ALONE: [&str; 8] = [
    "key",
    "sig",
    "code",
    "sid",
    "pass",
    "pin",
    "state",
    "access_key",
];

/// Replaces a secret value.
const HIDDEN: &[u8] = b"***";

/// What is known about a request at its end.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The client's address, as far as it can be trusted.
    pub client: IpAddr,
    /// The method; empty when no request could be read.
    pub method: &'a str,
    /// The request target, as received.
    pub target: &'a [u8],
    /// The HTTP version, such as `HTTP/1.1`; empty when no request could be read.
    pub version: &'static str,
    /// The requested host.
    pub host: &'a [u8],
    /// The status that the client got; 0 for none.
    pub status: u16,
    /// The service that the request was routed to.
    pub service: Option<&'a str>,
    /// The pool that the request was routed to.
    pub pool: Option<Color>,
    /// The name for people of the version in that pool.
    pub release: Option<&'a str>,
    /// The last backend that had the request.
    pub backend: Option<&'a str>,
    /// From the request's header to the end of the answer.
    pub total: Duration,
    /// From the request's header, or from the end of its body, to the answer's header.
    pub first_byte: Option<Duration>,
    /// Bytes of the request's body.
    pub received: usize,
    /// Bytes of the answer's body.
    pub sent: usize,
    /// The request's id.
    pub id: &'a [u8],
    /// The `Referer` header.
    pub referer: &'a [u8],
    /// The `User-Agent` header.
    pub agent: &'a [u8],
    /// Why the request was refused.
    pub refused: Option<&'a str>,
    /// Why the request ended early.
    pub reason: Option<&'a str>,
    /// The line is about a tunnel or a stream that begins.
    pub begins: bool,
    /// An entry of `unjudged` excludes the request from the judgement.
    pub unjudged: bool,
}

impl Entry<'_> {
    /// An entry with nothing but the client's address.
    pub fn of(client: IpAddr) -> Entry<'static> {
        Entry {
            client,
            method: "",
            target: b"",
            version: "",
            host: b"",
            status: 0,
            service: None,
            pool: None,
            release: None,
            backend: None,
            total: Duration::ZERO,
            first_byte: None,
            received: 0,
            sent: 0,
            id: b"",
            referer: b"",
            agent: b"",
            refused: None,
            reason: None,
            begins: false,
            unjudged: false,
        }
    }
}

/// The log line of an entry, with the time of now and the line end.
pub fn line(format: AccessFormat, entry: &Entry<'_>) -> String {
    let now = jiff::Zoned::now();
    match format {
        AccessFormat::Json => json(entry, &now),
        AccessFormat::Combined => combined(entry, &now),
    }
}

fn json(entry: &Entry<'_>, now: &jiff::Zoned) -> String {
    let mut line = String::with_capacity(LINE_USUAL);
    let _ = write!(line, "{{\"time\":\"{:.3}\"", now.timestamp());
    let mut text = |key: &str, value: &[u8]| {
        if !value.is_empty() {
            let _ = write!(line, ",\"{key}\":\"");
            json_text(&mut line, value);
            line.push('"');
        }
    };
    text("client", entry.client.to_string().as_bytes());
    text("method", entry.method.as_bytes());
    text("host", entry.host);
    text("target", &without_secrets(entry.target));
    text("version", entry.version.as_bytes());
    text("service", entry.service.unwrap_or_default().as_bytes());
    text("pool", entry.pool.map_or("", Color::name).as_bytes());
    text("release", entry.release.unwrap_or_default().as_bytes());
    text("backend", entry.backend.unwrap_or_default().as_bytes());
    text("request_id", entry.id);
    text("referer", &without_secrets(entry.referer));
    text("user_agent", entry.agent);
    text("refused", entry.refused.unwrap_or_default().as_bytes());
    text("reason", entry.reason.unwrap_or_default().as_bytes());
    text("event", if entry.begins { &b"begin"[..] } else { b"" });
    let _ = write!(
        line,
        ",\"status\":{},\"bytes_received\":{},\"bytes_sent\":{},\"seconds\":{:.6}",
        entry.status,
        entry.received,
        entry.sent,
        entry.total.as_secs_f64()
    );
    if let Some(first_byte) = entry.first_byte {
        let _ = write!(
            line,
            ",\"first_byte_seconds\":{:.6}",
            first_byte.as_secs_f64()
        );
    }
    if entry.unjudged {
        line.push_str(",\"judged\":false");
    }
    line.push_str("}\n");
    line
}

/// Apache's combined format, followed by `service/pool release backend id total first-byte`, and by
/// `unjudged`, `begin`, `reason=...` where they apply.
fn combined(entry: &Entry<'_>, now: &jiff::Zoned) -> String {
    let mut line = String::with_capacity(LINE_USUAL);
    let when = now.strftime("%d/%b/%Y:%H:%M:%S %z");
    let _ = write!(line, "{} - - [{when}] \"", entry.client);
    if entry.method.is_empty() {
        line.push('-');
    } else {
        plain(&mut line, entry.method.as_bytes());
        line.push(' ');
        plain(&mut line, &without_secrets(entry.target));
        line.push(' ');
        line.push_str(entry.version);
    }
    let _ = write!(line, "\" {} {} \"", entry.status, entry.sent);
    let or_dash =
        |line: &mut String, value: &[u8]| plain(line, if value.is_empty() { b"-" } else { value });
    or_dash(&mut line, &without_secrets(entry.referer));
    line.push_str("\" \"");
    or_dash(&mut line, entry.agent);
    line.push_str("\" \"");
    or_dash(&mut line, entry.service.unwrap_or_default().as_bytes());
    line.push('/');
    line.push_str(entry.pool.map_or("-", Color::name));
    for value in [
        entry.release.unwrap_or_default().as_bytes(),
        entry.backend.unwrap_or_default().as_bytes(),
        entry.id,
    ] {
        line.push_str("\" \"");
        or_dash(&mut line, value);
    }
    let _ = write!(line, "\" {:.6} ", entry.total.as_secs_f64());
    match entry.first_byte {
        Some(first_byte) => {
            let _ = write!(line, "{:.6}", first_byte.as_secs_f64());
        }
        None => line.push('-'),
    }
    if entry.unjudged {
        line.push_str(" unjudged");
    }
    if entry.begins {
        line.push_str(" begin");
    }
    if let Some(reason) = entry.reason {
        line.push_str(" reason=");
        line.push_str(reason);
    }
    line.push('\n');
    line
}

fn cut(value: &[u8]) -> (&[u8], &str) {
    match value.get(..PART_MAX) {
        Some(start) if value.len() > PART_MAX => (start, "..."),
        _ => (value, ""),
    }
}

/// Appends a value that needs no escaping, as most do; returns false, and appends nothing, when it
/// needs some.
fn push_plain(line: &mut String, value: &[u8], more: &str) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let text = value
        .iter()
        .all(is_plain)
        .then(|| std::str::from_utf8(value));
    let Some(Ok(text)) = text else { return false };
    line.extend([text, more]);
    true
}

/// Appends JSON text in ASCII: one line, and nothing that a terminal interprets.
fn json_text(line: &mut String, value: &[u8]) {
    let (value, more) = cut(value);
    if push_plain(line, value, more) {
        return;
    }
    for character in String::from_utf8_lossy(value).chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            ' '..='~' => line.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push_str(more);
}

/// Appends a value as nginx escapes it: `\x0A` for a byte that is not plain.
fn plain(line: &mut String, value: &[u8]) {
    let (value, more) = cut(value);
    if push_plain(line, value, more) {
        return;
    }
    for &byte in value {
        match byte {
            b'"' | b'\\' | 0..b' ' | 0x7f.. => {
                let _ = write!(line, "\\x{byte:02X}");
            }
            _ => line.push(char::from(byte)),
        }
    }
    line.push_str(more);
}

/// A request target or a URL without user, password, and the values of secret query keys.
fn without_secrets(target: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let target = target.get(..2 * PART_MAX).unwrap_or(target);
    let query = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let (path, query) = target.split_at(query.unwrap_or(target.len()));
    let user = user_of(path);
    if query.is_empty() && user.is_none() {
        return target.into();
    }
    let mut told = match user {
        Some((start, end)) => [&path[..start], HIDDEN, &path[end..]].concat(),
        None => path.to_vec(),
    };
    for pair in query.split_inclusive(|byte| b"&;?#".contains(byte)) {
        let (pair, end) = match pair.split_last() {
            Some((last, rest)) if b"&;?#".contains(last) => (rest, &pair[rest.len()..]),
            _ => (pair, &b""[..]),
        };
        match pair.iter().position(|&byte| byte == b'=') {
            Some(at) if is_secret(&pair[..at]) => {
                told.extend(&pair[..=at]);
                told.extend(HIDDEN);
            }
            _ => told.extend(pair),
        }
        told.extend(end);
    }
    told.into()
}

/// The range of user and password in `https://user:password@host/`.
fn user_of(path: &[u8]) -> Option<(usize, usize)> {
    let start = path.windows(3).position(|window| window == b"://")? + 3;
    let authority = path[start..].iter().position(|&byte| byte == b'/');
    let authority = &path[start..authority.map_or(path.len(), |end| start + end)];
    let at = authority.iter().rposition(|&byte| byte == b'@')?;
    Some((start, start + at))
}

fn is_secret(key: &[u8]) -> bool {
    let key = decoded(key);
    let key = key.trim();
    SECRETS_ALONE.contains(&key) || SECRETS.iter().any(|secret| key.contains(secret))
}

/// A query key as the application reads it, percent-decoded and in lower case.
fn decoded(key: &[u8]) -> String {
    let mut text = Vec::with_capacity(key.len());
    let mut rest = key;
    while let [first, more @ ..] = rest {
        let digit = |at: usize| char::from(*more.get(at)?).to_digit(16);
        let escaped = (*first == b'%')
            .then(|| Some(16 * digit(0)? + digit(1)?))
            .flatten();
        match escaped.and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => {
                text.push(byte);
                rest = &more[2..];
            }
            None => {
                text.push(if *first == b'+' { b' ' } else { *first });
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry<'a>(target: &'a [u8], agent: &'a [u8]) -> Entry<'a> {
        Entry {
            method: "GET",
            target,
            version: "HTTP/1.1",
            host: b"app.example",
            status: 200,
            service: Some("app"),
            pool: Some(Color::Green),
            release: Some("app:1.1"),
            backend: Some("10.0.0.1:80"),
            total: Duration::from_micros(1_500),
            first_byte: Some(Duration::from_micros(1_200)),
            sent: 7,
            id: b"abc",
            agent,
            ..Entry::of("192.0.2.1".parse().unwrap())
        }
    }

    #[test]
    fn lines_look_as_tools_expect_them() {
        let entry = entry(b"/a?b=c", b"curl/8");
        let json: serde_json::Value =
            serde_json::from_str(&line(AccessFormat::Json, &entry)).unwrap();
        for (key, value) in [
            ("service", "app"),
            ("pool", "green"),
            ("release", "app:1.1"),
            ("backend", "10.0.0.1:80"),
            ("target", "/a?b=c"),
            ("client", "192.0.2.1"),
            ("request_id", "abc"),
        ] {
            assert_eq!(json[key], value);
        }
        assert_eq!(
            (&json["status"], &json["bytes_sent"]),
            (&200.into(), &7.into())
        );
        assert_eq!(json["first_byte_seconds"], 0.0012);
        assert!(
            json["time"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
        let line = line(AccessFormat::Combined, &entry);
        let (start, rest) = line.split_once(" [").unwrap();
        let (when, rest) = rest.split_once("] ").unwrap();
        assert_eq!(start, "192.0.2.1 - -");
        assert_eq!(when.len(), "10/Oct/2000:13:55:36 -0700".len(), "{when}");
        assert_eq!(
            rest,
            "\"GET /a?b=c HTTP/1.1\" 200 7 \"-\" \"curl/8\" \"app/green\" \"app:1.1\" \"10.0.0.1:80\" \"abc\" 0.001500 0.001200\n"
        );
        let unjudged = Entry {
            unjudged: true,
            ..entry
        };
        let json = super::line(AccessFormat::Json, &unjudged);
        assert!(json.ends_with(",\"judged\":false}\n"), "{json}");
        let text = super::line(AccessFormat::Combined, &unjudged);
        assert!(text.ends_with(" 0.001200 unjudged\n"), "{text}");
        let unread = Entry {
            status: 400,
            ..Entry::of("::1".parse().unwrap())
        };
        assert!(
            combined(&unread, &jiff::Zoned::now())
                .contains("] \"-\" 400 0 \"-\" \"-\" \"-/-\" \"-\" \"-\" \"-\" 0.000000 -\n")
        );
    }

    #[test]
    fn what_a_query_calls_a_secret_is_left_out() {
        for (target, told) in [
            ("/a?token=abc&b=c", "/a?token=***&b=c"),
            ("/a?b=c&access_token=abc", "/a?b=c&access_token=***"),
            ("/a?API_KEY=abc;x=1", "/a?API_KEY=***;x=1"),
            ("/a?t%6fken=abc", "/a?t%6fken=***"),
            ("/a?user[password]=a=b&c", "/a?user[password]=***&c"),
            (
                "/a?key=abc&keyboard=qwertz&monkey=1",
                "/a?key=***&keyboard=qwertz&monkey=1",
            ),
            ("/a?b=c#token=abc", "/a?b=c#token=***"),
            (
                "/a?X-Amz-Signature=abc&X-Amz-Credential=d",
                "/a?X-Amz-Signature=***&X-Amz-Credential=***",
            ),
            ("/a?code=abc&state=d", "/a?code=***&state=***"),
            ("https://me:secret@host/a?b", "https://***@host/a?b"),
            ("https://host/@a", "https://host/@a"),
            ("/token=abc", "/token=abc"),
            ("/a?", "/a?"),
            ("", ""),
        ] {
            let got = without_secrets(target.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), told);
        }
    }

    #[test]
    fn a_line_is_a_line_whatever_is_sent() {
        let long = [b'a'; 100_000];
        for nasty in [
            &b"\r\nHTTP/1.1 200 OK"[..],
            b"\x1b[2J\x1b[31m",
            b"\" 200 0 \"-\" \"forged\"\n127.0.0.1 - - ",
            b"\xff\xfe\x00\x80",
            "\u{202e}\u{2028}\u{85}\u{1f600}".as_bytes(),
            b"\\\"\\",
            b"\x7f\x08",
            &long,
        ] {
            let entry = Entry {
                host: nasty,
                referer: nasty,
                id: nasty,
                release: std::str::from_utf8(nasty).ok(),
                ..entry(nasty, nasty)
            };
            for format in [AccessFormat::Json, AccessFormat::Combined] {
                let line = line(format, &entry);
                assert_one_line(&line);
                assert!(line.len() < 16 * PART_MAX, "{} bytes", line.len());
            }
            let json: serde_json::Value =
                serde_json::from_str(&line(AccessFormat::Json, &entry)).unwrap();
            let agent = json["user_agent"].as_str().unwrap();
            assert_eq!(
                agent.trim_end_matches("..."),
                String::from_utf8_lossy(cut(nasty).0)
            );
        }
    }

    fn assert_one_line(line: &str) {
        let (text, end) = line.split_at(line.len() - 1);
        assert_eq!(end, "\n");
        assert!(
            text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line:?}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_line(target in prop::collection::vec(any::<u8>(), 0..300), agent in prop::collection::vec(any::<u8>(), 0..300)) {
            let entry = Entry { host: &agent, referer: &target, id: &target, ..entry(&target, &agent) };
            let json = line(AccessFormat::Json, &entry);
            assert_one_line(&json);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
            let combined = line(AccessFormat::Combined, &entry);
            assert_one_line(&combined);
            // No part can end another one: the quotes are ours.
            prop_assert_eq!(combined.matches('"').count(), 14);
        }
    }
}
