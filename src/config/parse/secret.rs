//! A value that must not be shown.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Text;
use crate::config::parse::untagged::{Untagged, untagged};
use crate::config::parse::value::{self, Check, file_path};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess};
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;

/// Text that comes from a file or the environment and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Fewest bytes: shorter ones can be guessed.
    pub const LEN_MIN: usize = 32;
    /// Most bytes: a longer file is the wrong one.
    pub const LEN_MAX: usize = 4096;

    /// Wraps text that must not be shown.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret, compared in constant time.
    pub fn matches(&self, given: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let differ = secret
            .iter()
            .zip(given)
            .fold(0, |differ, (a, b)| differ | (a ^ b));
        std::hint::black_box(differ) == 0 && secret.len() == given.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// The source of a secret.
#[derive(Debug)]
pub(crate) enum RawSecret {
    /// A table: a file or a variable.
    From(RawSecretSource),
    /// The secret itself, which must not stand in the file; the text is not kept.
    Literal,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { file = \"...\" } or { env = \"...\" }"
)]
pub(crate) struct RawSecretSource {
    pub(crate) file: Text,
    pub(crate) env: Text,
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawSecret, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for RawSecret {
    const EXPECTED: &'static str = "a table: { file = \"...\" } or { env = \"...\" }";

    fn text<E: Error>(_: &str) -> Result<RawSecret, E> {
        Ok(RawSecret::Literal)
    }

    fn whole<E: Error>(_: i64) -> Result<RawSecret, E> {
        Ok(RawSecret::Literal)
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<RawSecret, A::Error> {
        RawSecretSource::deserialize(MapAccessDeserializer::new(table)).map(RawSecret::From)
    }
}

/// A header's value: plain, or the source of a secret one.
#[derive(Debug)]
pub(crate) enum RawHeader {
    /// The value, as written in the file.
    Plain(String),
    /// A table: a file or a variable.
    From(RawSecretSource),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawHeader, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for RawHeader {
    const EXPECTED: &'static str =
        "text in quotes, or a table: { env = \"...\" } or { file = \"...\" }";

    fn text<E: Error>(text: &str) -> Result<RawHeader, E> {
        Ok(RawHeader::Plain(text.to_owned()))
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<RawHeader, A::Error> {
        RawSecretSource::deserialize(MapAccessDeserializer::new(table)).map(RawHeader::From)
    }
}

/// The purpose of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Protects this shifter: long, and without spaces.
    Ours,
    /// Comes from another service and is sent in a header unchanged.
    Header,
    /// Comes from another service and is sent encoded.
    Password,
}

/// The secret of this shifter under `key`; it is never in the file itself.
pub(crate) fn secret(key: &str, raw: &Spanned<RawSecret>, dir: &Path) -> Check<Secret> {
    given(Kind::Ours, key, raw, dir)
}

/// A secret of this kind under `key`; it is never in the file itself.
pub(crate) fn given(kind: Kind, key: &str, raw: &Spanned<RawSecret>, dir: &Path) -> Check<Secret> {
    match raw.get_ref() {
        RawSecret::Literal => {
            let mut problem = wrong(
                key,
                raw.span(),
                "itself stands in this file, where it leaks with every copy",
                "a secret",
            );
            problem.hide = true;
            Err(problem)
        }
        RawSecret::From(source) => read(kind, key, raw.span(), source, dir),
    }
}

/// A secret of this kind from a file or a variable.
pub(crate) fn read(
    kind: Kind,
    key: &str,
    span: Range<usize>,
    source: &RawSecretSource,
    dir: &Path,
) -> Check<Secret> {
    match source {
        RawSecretSource {
            file: Some(file),
            env: None,
        } => from_file(kind, key, file, dir),
        RawSecretSource {
            file: None,
            env: Some(name),
        } => from_env(kind, key, name),
        RawSecretSource {
            file: None,
            env: None,
        } => Err(wrong(key, span, "comes from nowhere", "empty")),
        RawSecretSource {
            file: Some(_),
            env: Some(_),
        } => Err(wrong(
            key,
            span,
            "comes from a file and from the environment",
            "which one?",
        )),
    }
}

fn wrong(key: &str, span: Range<usize>, what: &str, label: &str) -> Problem {
    let name = key.to_ascii_lowercase().replace('-', "_");
    let variable = name.to_ascii_uppercase();
    Problem::at(
        span,
        format!("the {key} {what}"),
        label,
        format!(
            "name where it is: {key} = {{ file = \"/run/secrets/shifter_{name}\" }} or {key} = {{ env = \"SHIFTER_{variable}\" }}"
        ),
    )
}

fn from_file(kind: Kind, key: &str, raw: &Spanned<String>, dir: &Path) -> Check<Secret> {
    let path = file_path("file", raw, dir)?;
    let mut text = String::new();
    let most = u64::try_from(Secret::LEN_MAX).unwrap_or(u64::MAX) + 2;
    let read =
        std::fs::File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text));
    if let Err(error) = read {
        let help = match kind {
            Kind::Ours => {
                "make it with `openssl rand -hex 32 > FILE`, readable for the user who runs shifter"
            }
            Kind::Header | Kind::Password => {
                "write it into this file, and make the file readable for the user who runs shifter"
            }
        };
        return Err(Problem::at(
            raw.span(),
            format!(
                "the {key}'s file {} cannot be read: {error}",
                path.display()
            ),
            "this file",
            help,
        ));
    }
    checked(kind, key, &text, raw)
}

fn from_env(kind: Kind, key: &str, raw: &Spanned<String>) -> Check<Secret> {
    let name = raw.get_ref();
    let absent = name.is_empty() || name.contains(['=', '\0']);
    let Some(Ok(text)) = (!absent).then(|| std::env::var(name)) else {
        let value = match kind {
            Kind::Ours => "$(openssl rand -hex 32)",
            Kind::Header | Kind::Password => "...",
        };
        return Err(Problem::at(
            raw.span(),
            format!(
                "the {key}'s environment variable {} is not set to text",
                value::brief(name)
            ),
            "this variable",
            format!("set it before shifter starts: export NAME=\"{value}\""),
        ));
    };
    checked(kind, key, &text, raw)
}

fn checked(kind: Kind, key: &str, text: &str, raw: &Spanned<String>) -> Check<Secret> {
    let in_header = |c: char| c.is_ascii_graphic() || c == ' ';
    match kind {
        Kind::Ours => strong(key, text, raw),
        Kind::Header => sendable(key, text.trim(), raw, in_header),
        // Spaces belong to the password, the line end of the file does not.
        Kind::Password => {
            let password = text.trim_end_matches(['\r', '\n']);
            sendable(key, password, raw, |c| !c.is_control())
        }
    }
}

fn sendable(
    key: &str,
    text: &str,
    raw: &Spanned<String>,
    fits: impl Fn(char) -> bool,
) -> Check<Secret> {
    let what = if text.is_empty() {
        format!("the {key} is empty")
    } else if text.len() > Secret::LEN_MAX {
        too_long(key)
    } else if !text.chars().all(fits) {
        format!("the {key} has characters that no HTTP header can carry")
    } else {
        return Ok(Secret::new(text));
    };
    let help = "write it there as it was given to you, in one line";
    Err(Problem::at(raw.span(), what, "from here", help))
}

fn too_long(key: &str) -> String {
    let most = Secret::LEN_MAX;
    format!("the {key} has more than {most} bytes: is this the right place?")
}

fn strong(key: &str, text: &str, raw: &Spanned<String>) -> Check<Secret> {
    let text = text.trim();
    let what = if text.len() < Secret::LEN_MIN {
        format!("the {key} has {} bytes: it could be guessed", text.len())
    } else if text.len() > Secret::LEN_MAX {
        too_long(key)
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        format!("the {key} has characters that no HTTP header can carry")
    } else {
        return Ok(Secret::new(text));
    };
    let help = format!(
        "at least {} plain characters are needed: `openssl rand -hex 32`",
        Secret::LEN_MIN
    );
    Err(Problem::at(raw.span(), what, "from here", help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_not_shown() {
        let secret = Secret::new("correct horse");
        assert!(secret.matches(b"correct horse"));
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong:?}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }
}
