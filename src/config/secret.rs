//! A value that must not be shown.

use crate::config::file::Text;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// Text that comes from a file or the environment and is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Fewer bytes can be guessed.
    pub const LEN_MIN: usize = 32;
    /// More are a mistake: the wrong file.
    pub const LEN_MAX: usize = 4096;

    /// Keeps text from being shown.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret, in a time that does not tell how much of it is right.
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

/// Where a secret comes from.
#[derive(Debug)]
pub(crate) enum RawSecret {
    /// A table: a file or a variable.
    From(RawSource),
    /// The secret itself, which has no place here; the text is not kept.
    Literal,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { file = \"...\" } or { env = \"...\" }"
)]
pub(crate) struct RawSource {
    pub(crate) file: Text,
    pub(crate) env: Text,
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawSecret, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = RawSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table: { file = \"...\" } or { env = \"...\" }")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<RawSecret, E> {
                Ok(RawSecret::Literal)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<RawSecret, E> {
                Ok(RawSecret::Literal)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSecret, A::Error> {
                RawSource::deserialize(MapAccessDeserializer::new(map)).map(RawSecret::From)
            }
        }
        deserializer.deserialize_any(Shape)
    }
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
