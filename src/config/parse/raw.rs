//! Raw values as the file has them, with their places.

use crate::config::parse::untagged::{Untagged, texts, untagged};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess};
use toml::Spanned;

/// A key's value with its place, when the key is there.
pub(crate) type Value<T> = Option<Spanned<T>>;

/// Text with its place, when the key is there.
pub(crate) type Text = Value<String>;

/// One text or a list of texts.
#[derive(Debug)]
pub(crate) struct Many {
    pub(crate) span: std::ops::Range<usize>,
    pub(crate) items: Vec<Spanned<String>>,
}

enum OneOrMany {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Many, D::Error> {
        let value = Spanned::<OneOrMany>::deserialize(deserializer)?;
        let span = value.span();
        let items = match value.into_inner() {
            OneOrMany::One(text) => vec![Spanned::new(span.clone(), text)],
            OneOrMany::Many(items) => items,
        };
        Ok(Many { span, items })
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for OneOrMany {
    const EXPECTED: &'static str = "text in quotes, or a list of texts";

    fn text<E: Error>(text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(text.to_owned()))
    }

    fn list<A: SeqAccess<'de>>(list: A) -> Result<OneOrMany, A::Error> {
        texts(list).map(OneOrMany::Many)
    }
}

/// Text, or a bare number as text: the checks report a missing unit better than a type error.
#[derive(Debug)]
pub(crate) struct Scalar(pub(crate) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        untagged(deserializer)
    }
}

impl Untagged<'_> for Scalar {
    const EXPECTED: &'static str = "text in quotes, with a unit";

    fn text<E: Error>(text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn whole<E: Error>(number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn fraction<E: Error>(number: f64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }
}
