//! Types of single values that may be written in more than one way.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;
use toml::Spanned;

/// A value that may be written in more than one way. Other forms are refused, with the accepted ones in the message.
pub(crate) trait Written<'de>: Sized {
    /// The accepted forms, as worded after "expected".
    const EXPECTED: &'static str;

    /// Text in quotes.
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        refuse::<Self, E>(Unexpected::Str(text))
    }

    /// A whole number.
    fn whole<E: Error>(number: i64) -> Result<Self, E> {
        refuse::<Self, E>(Unexpected::Signed(number))
    }

    /// A number with a point.
    fn fraction<E: Error>(number: f64) -> Result<Self, E> {
        refuse::<Self, E>(Unexpected::Float(number))
    }

    /// `true` or `false`.
    fn switch<E: Error>(on: bool) -> Result<Self, E> {
        refuse::<Self, E>(Unexpected::Bool(on))
    }

    /// A list.
    fn list<A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        refuse::<Self, A::Error>(Unexpected::Seq)
    }

    /// A table.
    fn table<A: MapAccess<'de>>(_: A) -> Result<Self, A::Error> {
        refuse::<Self, A::Error>(Unexpected::Map)
    }
}

fn refuse<'de, T: Written<'de>, E: Error>(given: Unexpected) -> Result<T, E> {
    Err(E::invalid_type(given, &T::EXPECTED))
}

/// Reads such a value.
pub(crate) fn read<'de, T: Written<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    struct Shape<T>(PhantomData<T>);
    impl<'de, T: Written<'de>> Visitor<'de> for Shape<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::text(text)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            T::whole(number)
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            T::fraction(number)
        }

        fn visit_bool<E: Error>(self, on: bool) -> Result<T, E> {
            T::switch(on)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
            T::list(list)
        }

        fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
            T::table(table)
        }
    }
    from.deserialize_any(Shape(PhantomData))
}

/// The texts of a list, each with its place.
pub(crate) fn texts<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<Spanned<String>>, A::Error> {
    let mut items = Vec::new();
    while let Some(item) = list.next_element()? {
        items.push(item);
    }
    Ok(items)
}

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
        read(deserializer)
    }
}

impl<'de> Written<'de> for OneOrMany {
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
        read(deserializer)
    }
}

impl Written<'_> for Scalar {
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
