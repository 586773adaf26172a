//! From the tree to the raw sections, with errors that know their place and their alternatives.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::path::{Path, shortened};
use super::source::Problem;
use super::suggest;
use super::tree::Tree;

/// Reads a value of the raw model.
///
/// # Errors
/// The first thing that has the wrong shape.
pub(super) fn decode<'t, T: Deserialize<'t>>(tree: &'t Tree, path: &Path) -> Result<T, Problem> {
    T::deserialize(Decoder { tree, path: path.clone() }).map_err(Trouble::into_problem)
}

/// What serde says, kept in parts so that it can be said better.
#[derive(Debug)]
struct Trouble {
    place: Option<(Path, bool)>,
    message: String,
    fix: String,
}

impl Trouble {
    fn new(message: String, fix: String) -> Self {
        Self { place: None, message, fix }
    }

    /// The same, placed, unless it already is.
    fn at(mut self, path: &Path, on_key: bool) -> Self {
        self.place.get_or_insert_with(|| (path.clone(), on_key));
        self
    }

    fn into_problem(self) -> Problem {
        let (path, on_key) = self.place.unwrap_or_default();
        Problem { on_key, ..Problem::new(path, self.message, self.fix) }
    }
}

/// What a value is, without saying what is in it: it may be a secret in the wrong place.
fn kind(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "`true` or `false`",
        Unexpected::Unsigned(_) => "a number",
        Unexpected::Signed(_) => "a negative number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Unit | Unexpected::Option => "empty",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a mapping",
        _ => "something else",
    }
}

fn wanted(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "a boolean" => "`true` or `false`".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        text if text.starts_with("enum ") || text == "variant identifier" => "a word".to_owned(),
        text => text.to_owned(),
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}

impl de::Error for Trouble {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), "write it as the schema has it".to_owned())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = wanted(expected);
        match unexpected {
            Unexpected::Unit | Unexpected::Option => Self::new(
                "has no value".to_owned(),
                format!("write {wanted} behind it, or delete the key: an empty one does not mean \"none\""),
            ),
            unexpected => {
                Self::new(format!("is {}, and must be {wanted}", kind(unexpected)), format!("write {wanted}"))
            }
        }
    }

    /// Without the value, which serde's own text would quote.
    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = wanted(expected);
        Self::new(format!("must be {wanted}"), format!("write {wanted}"))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::new(
            format!("`{}` is not known here", shortened(word)),
            suggest::fix(word, known.iter().copied(), "words"),
        )
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new("there is no such key".to_owned(), suggest::fix(key, known.iter().copied(), "keys"))
    }
}

struct Decoder<'t> {
    tree: &'t Tree,
    path: Path,
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = Trouble;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match self.tree {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::Unsigned(value) => visitor.visit_u64(*value),
            Tree::Signed(value) => visitor.visit_i64(*value),
            Tree::Float(value) => visitor.visit_f64(*value),
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            Tree::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), path: &self.path }),
            Tree::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None, path: &self.path }),
        }
        .map_err(|trouble| trouble.at(&self.path, self.tree.is_container()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        match self.tree {
            Tree::Text(word) => visitor.visit_enum(StrDeserializer::new(word)),
            _ => return self.deserialize_any(visitor),
        }
        .map_err(|trouble: Trouble| trouble.at(&self.path, false))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        // A derived struct would take a list for its fields in order.
        if let Tree::List(_) = self.tree {
            return Err(<Trouble as de::Error>::invalid_type(Unexpected::Seq, &visitor).at(&self.path, true));
        }
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'t, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'t, Tree>>,
    path: &'p Path,
}

impl<'t> SeqAccess<'t> for Items<'t, '_> {
    type Error = Trouble;

    fn next_element_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Trouble> {
        self.items.next().map(|(at, tree)| seed.deserialize(Decoder { tree, path: self.path.index(at) })).transpose()
    }
}

struct Entries<'t, 'p> {
    entries: std::slice::Iter<'t, (String, Tree)>,
    value: Option<(&'t str, &'t Tree)>,
    path: &'p Path,
}

impl<'t> MapAccess<'t> for Entries<'t, '_> {
    type Error = Trouble;

    fn next_key_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Trouble> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, value));
        let read = seed.deserialize(key.as_str().into_deserializer());
        read.map(Some).map_err(|trouble: Trouble| trouble.at(&self.path.key(key.as_str()), true))
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Trouble> {
        match self.value.take() {
            Some((key, tree)) => seed.deserialize(Decoder { tree, path: self.path.key(key) }),
            None => Err(de::Error::custom("a value without its key")),
        }
    }
}
