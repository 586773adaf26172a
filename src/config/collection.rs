//! Mappings and lists whose shape says more than that they are one.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::check::{Check, Checker, Merge};
use super::literal::{Lit, Literal, literal};
use super::path::Path;

/// A mapping whose keys have the syntax `K`, in the order of the file.
#[derive(Clone)]
pub(super) struct Map<K, T>(pub(super) IndexMap<String, T>, PhantomData<K>);

impl<K, T> Default for Map<K, T> {
    fn default() -> Self {
        Self(IndexMap::new(), PhantomData)
    }
}

impl<K, T: fmt::Debug> fmt::Debug for Map<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, K, T: Deserialize<'de>> Deserialize<'de> for Map<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IndexMap::deserialize(deserializer).map(|entries| Self(entries, PhantomData))
    }
}

impl<K: Literal, T: JsonSchema> JsonSchema for Map<K, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<IndexMap<String, T>>();
        let names = match (K::PATTERN, K::words()) {
            (Some(pattern), _) => serde_json::json!({ "pattern": pattern }),
            (None, words) if words.is_empty() => serde_json::json!({ "minLength": 1 }),
            (None, words) => serde_json::json!({ "enum": words }),
        };
        schema.insert("propertyNames".to_owned(), names);
        schema
    }
}

impl<K, T: Check> Check for Map<K, T>
where
    K: Literal,
    K::Value: Eq + std::hash::Hash,
{
    type Checked = IndexMap<K::Value, T::Checked>;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Self::Checked> {
        let entries: Vec<_> = self
            .0
            .iter()
            .map(|(name, value)| {
                let place = at.key(name.as_str());
                let key = literal::<K>(name, &place, checker);
                let value = value.check(&place, checker);
                key.zip(value)
            })
            .collect();
        entries.into_iter().collect()
    }
}

impl<K, T: Merge> Merge for Map<K, T> {
    fn merge(self, over: Self) -> Self {
        Self(self.0.merge(over.0), PhantomData)
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(super) struct OneOrMany<T>(Vec<T>);

impl<L> OneOrMany<Lit<L>> {
    /// The texts, as they were written.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|text| text.as_str())
    }
}

struct OneOrManyReader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> OneOrManyReader<T> {
    fn one<E: de::Error>(value: impl de::IntoDeserializer<'de, E>) -> Result<OneOrMany<T>, E> {
        T::deserialize(value.into_deserializer()).map(|one| OneOrMany(vec![one]))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyReader<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany<T>, E> {
        Self::one(text.to_owned())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<OneOrMany<T>, E> {
        Self::one(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<OneOrMany<T>, E> {
        Self::one(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<OneOrMany<T>, E> {
        Self::one(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<OneOrMany<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(OneOrMany(items))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyReader(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

impl<T: Check> Check for OneOrMany<T> {
    type Checked = Vec<T::Checked>;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Self::Checked> {
        match self.0.as_slice() {
            [] => {
                checker.problem(at, "is an empty list", "write at least one value, or delete the key");
                None
            }
            // A single value was perhaps written without the list: it has the place of the key.
            [one] => {
                let place = if checker.is_list(at) { at.index(0) } else { at.clone() };
                one.check(&place, checker).map(|one| vec![one])
            }
            _ => self.0.check(at, checker),
        }
    }
}

impl<T> Merge for OneOrMany<T> {
    fn merge(self, over: Self) -> Self {
        over
    }
}

/// A list that must not be empty.
#[derive(Debug, Clone)]
pub(super) struct NonEmpty<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for NonEmpty<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for NonEmpty<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("NonEmpty{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "type": "array", "items": one, "minItems": 1 })
    }
}

impl<T: Check> Check for NonEmpty<T> {
    type Checked = Vec<T::Checked>;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Self::Checked> {
        if self.0.is_empty() {
            checker.problem(at, "is an empty list", "write at least one item, or delete the key");
            return None;
        }
        self.0.check(at, checker)
    }
}

impl<T> Merge for NonEmpty<T> {
    fn merge(self, over: Self) -> Self {
        over
    }
}
