//! Values that may be written as more than one type of TOML (serde's "untagged").

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;
use toml::Spanned;

/// A value that may be written in more than one way. Other forms are refused, with the accepted ones in the message.
pub(crate) trait Untagged<'de>: Sized {
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

fn refuse<'de, T: Untagged<'de>, E: Error>(given: Unexpected) -> Result<T, E> {
    Err(E::invalid_type(given, &T::EXPECTED))
}

/// Reads such a value.
pub(crate) fn untagged<'de, T: Untagged<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    struct Shape<T>(PhantomData<T>);
    impl<'de, T: Untagged<'de>> Visitor<'de> for Shape<T> {
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
