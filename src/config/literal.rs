//! Values with a syntax of their own: read as text, checked into what the text means.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::check::{Check, Checker, Merge};
use super::path::{Path, shortened};

/// Why a text is not what it has to be.
pub(super) struct NotOne {
    /// What is wrong, without quoting the text.
    pub(super) why: String,
    /// What to write; none where the syntax says it all.
    pub(super) fix: Option<String>,
}

impl NotOne {
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), fix: None }
    }

    pub(super) fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// A syntax.
pub(super) trait Literal {
    /// What a text of this syntax means.
    type Value;

    /// What a person has to write: `a duration with its unit, e.g. …`.
    const WANTED: &'static str;

    /// The pattern of the schema, where the syntax is regular. It accepts everything that `read` accepts.
    const PATTERN: Option<&'static str> = None;

    /// The most characters that it may have.
    const LONGEST: usize = 4096;

    /// Whether a whole number, `true` or `false` may stand there without quotes.
    const UNQUOTED: bool = false;

    /// Whether the text may be quoted in an error: not where people could have put a password into it.
    const QUOTABLE: bool = true;

    /// Reads a text; it is never empty.
    fn read(text: &str) -> Result<Self::Value, NotOne>;
}

/// A text that has to be of the syntax `L`.
pub(super) struct Lit<L>(String, PhantomData<L>);

impl<L> Clone for Lit<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<L: Literal> fmt::Debug for Lit<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if L::QUOTABLE { &self.0 } else { "…" })
    }
}

struct Reader<L>(PhantomData<L>);

impl<L: Literal> Reader<L> {
    fn unquoted<E: de::Error>(&self, value: impl fmt::Display, is: de::Unexpected<'_>) -> Result<Lit<L>, E> {
        if L::UNQUOTED { Ok(Lit(value.to_string(), PhantomData)) } else { Err(E::invalid_type(is, self)) }
    }
}

impl<L: Literal> Visitor<'_> for Reader<L> {
    type Value = Lit<L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(L::WANTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Lit<L>, E> {
        Ok(Lit(text.to_owned(), PhantomData))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Lit<L>, E> {
        self.unquoted(value, de::Unexpected::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Lit<L>, E> {
        self.unquoted(value, de::Unexpected::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Lit<L>, E> {
        self.unquoted(value, de::Unexpected::Signed(value))
    }
}

impl<'de, L: Literal> Deserialize<'de> for Lit<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

impl<L: Literal> JsonSchema for Lit<L> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<L>().rsplit("::").next().unwrap_or_default().to_owned().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = if L::UNQUOTED {
            json_schema!({ "type": ["string", "integer", "boolean"] })
        } else {
            json_schema!({ "type": "string" })
        };
        if let Some(pattern) = L::PATTERN {
            schema.insert("pattern".to_owned(), pattern.into());
        } else if !L::UNQUOTED {
            schema.insert("minLength".to_owned(), 1.into());
        }
        schema.insert("maxLength".to_owned(), L::LONGEST.into());
        schema
    }
}

impl<L: Literal> Check for Lit<L> {
    type Checked = L::Value;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<L::Value> {
        literal::<L>(&self.0, at, checker)
    }
}

impl<L> Merge for Lit<L> {
    fn merge(self, over: Self) -> Self {
        over
    }
}

/// Reads a text of the syntax `L` that stands at `at`.
pub(super) fn literal<L: Literal>(text: &str, at: &Path, checker: &mut Checker<'_>) -> Option<L::Value> {
    if text.trim().is_empty() {
        checker.problem(at, "is empty", format!("write {}, or delete the key", L::WANTED));
        return None;
    }
    if !no_secret(text, at, checker) {
        return None;
    }
    if text.chars().count() > L::LONGEST {
        checker.problem(at, format!("is longer than {} characters", L::LONGEST), "write it shorter");
        return None;
    }
    match L::read(text) {
        Ok(value) => Some(value),
        Err(NotOne { why, fix }) => {
            let message = if L::QUOTABLE { format!("`{}` {why}", shortened(text)) } else { format!("this {why}") };
            checker.problem(at, message, fix.unwrap_or_else(|| format!("write {}", L::WANTED)));
            None
        }
    }
}

/// Refuses `${…}` where no secret belongs: nothing is filled in there.
pub(super) fn no_secret(text: &str, at: &Path, checker: &mut Checker<'_>) -> bool {
    if text.contains("${{") {
        checker.problem(
            at,
            "holds a GitHub expression, and this file is not part of a workflow: nothing fills it in",
            "write the value itself, or `{{ vars.name }}` with the input `variables` where a template may stand",
        );
        return false;
    }
    if text.contains("${") {
        checker.problem(
            at,
            "holds `${…}`, and this is no place for a secret: nothing is filled in",
            "write the value itself, or `{{ vars.name }}` with the input `variables` where a template may stand",
        );
        return false;
    }
    true
}

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
        if let Some(pattern) = K::PATTERN {
            schema.insert("propertyNames".to_owned(), serde_json::json!({ "pattern": pattern }));
        }
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
        self.0.iter().map(|text| text.0.as_str())
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

/// A whole number between two bounds, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<const MIN: u32, const MAX: u32>(u64);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
                Ok(value)
            }
        }
        deserializer.deserialize_any(Reader).map(Self)
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Whole{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl<const MIN: u32, const MAX: u32> Check for Whole<MIN, MAX> {
    type Checked = u32;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<u32> {
        let value = u32::try_from(self.0).ok().filter(|value| (MIN..=MAX).contains(value));
        if value.is_none() {
            let fix = format!("write a whole number from {MIN} to {MAX}");
            checker.problem(at, format!("{} is out of range", self.0), fix);
        }
        value
    }
}

impl<const MIN: u32, const MAX: u32> Merge for Whole<MIN, MAX> {
    fn merge(self, over: Self) -> Self {
        over
    }
}

/// A port of TCP.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(super) struct Port(Whole<1, 65535>);

impl Check for Port {
    type Checked = u16;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<u16> {
        self.0.check(at, checker).and_then(|port| u16::try_from(port).ok())
    }
}

super::check::replaced!(Port);

/// A factor: at least 1, at most 100.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factor(f64);

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
                // What is too large for the bounds may lose digits.
                #[expect(clippy::cast_precision_loss, reason = "far out of the bounds where it does")]
                Ok(value as f64)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }
        }
        deserializer.deserialize_any(Reader).map(Self)
    }
}

impl JsonSchema for Factor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Factor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 1, "maximum": 100 })
    }
}

impl Check for Factor {
    type Checked = f64;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<f64> {
        if (1.0..=100.0).contains(&self.0) {
            return Some(self.0);
        }
        checker.problem(at, format!("{} is out of range", self.0), "write a number from 1 to 100");
        None
    }
}

super::check::replaced!(Factor);
