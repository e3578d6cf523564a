//! References of images.

use crate::config::parse::error::Problem;
use crate::config::parse::value::{self, Check};
use toml::Spanned;

/// An image; the default tag is `latest`.
pub(crate) fn reference(raw: &Spanned<String>) -> Check<String> {
    image(raw.get_ref()).map_err(|why| {
        Problem::at(
            raw.span(),
            format!("`image` is \"{}\", {why}", value::brief(raw.get_ref())),
            "not an image",
            "write name:tag or name@sha256:…, such as \"myorg/api:1.1\"",
        )
    })
}

/// An image's reference with its tag (without one, an engine would fetch all tags), or its id unchanged.
///
/// # Errors
/// The text says what is wrong with it.
pub fn image(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    let Some(first) = text.chars().next() else {
        return Err("which is empty");
    };
    if !text.chars().all(plain) || !first.is_ascii_alphanumeric() {
        return Err("which has characters that no image's name has");
    }
    let last = text.rsplit('/').next().unwrap_or(text);
    if last.is_empty() || last.ends_with(':') || last.ends_with('@') {
        return Err("which ends too early");
    }
    // The form of an id in `docker images`; a name of 12 hexadecimal digits needs its tag.
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let id = (12..=64).contains(&text.len()) && text.bytes().all(hex);
    Ok(if last.contains(':') || last.contains('@') || id {
        text.to_owned()
    } else {
        format!("{text}:latest")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_always_has_a_tag() {
        let good = [
            ("api", "api:latest"),
            ("myorg/api:1.1", "myorg/api:1.1"),
            ("host:5000/api", "host:5000/api:latest"),
            ("api@sha256:0123", "api@sha256:0123"),
            // The form of an id in `docker images`.
            ("c3e92f39e5fa", "c3e92f39e5fa"),
            ("c3e92f39e5f", "c3e92f39e5f:latest"),
            ("myorg/c3e92f39e5fa", "myorg/c3e92f39e5fa:latest"),
        ];
        for (text, expected) in good {
            assert_eq!(image(text).as_deref(), Ok(expected));
        }
        for text in ["", "a b", "-api", "api:", "api/", "a\n", "ü"] {
            assert!(image(text).is_err(), "{text:?}");
        }
    }
}
