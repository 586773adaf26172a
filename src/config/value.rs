//! Values that may be templates or secrets: headers, variables of programs, JSON bodies.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::check::{Check, Checker, Merge};
use super::collection::Map;
use super::error::ConfigError;
use super::literal::{Literal, NotOne};
use super::path::Path;
use super::secret::{Secret, SecretText};
use super::template::{RenderError, Template, check_text};

/// A text that is a template, or a secret as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A template.
    Template(Template),
    /// A secret, written `${NAME}`.
    Secret(Secret),
}

/// A value could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The template could not be rendered.
    #[error(transparent)]
    Template(#[from] RenderError),
    /// The secret is not set.
    #[error(transparent)]
    Secret(#[from] ConfigError),
}

impl Value {
    /// The text, given the values of the run and the environment's variables. It is treated as secret, because it may
    /// be.
    ///
    /// # Errors
    /// See [`Template::render`] and [`Secret::resolve`].
    pub fn fill<V: Serialize>(
        &self,
        values: V,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<SecretString, FillError> {
        match self {
            Self::Template(template) => Ok(template.render(values)?.into()),
            Self::Secret(secret) => Ok(secret.resolve(variables)?),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Template(template) => template.serialize(serializer),
            Self::Secret(secret) => secret.serialize(serializer),
        }
    }
}

/// Text that may be `${NAME}` as a whole.
#[derive(Clone)]
enum Text {
    Secret(SecretText),
    Other(String),
}

impl Text {
    fn read(text: &str) -> Self {
        match SecretText::read(text) {
            named @ SecretText::Named(_) => Self::Secret(named),
            _ => Self::Other(text.to_owned()),
        }
    }

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Value> {
        match self {
            Self::Secret(secret) => secret.check(at, checker).map(Value::Secret),
            Self::Other(text) if text.contains("${") && !text.contains("${{") => {
                checker.problem(
                    at,
                    "has text around a secret's name: a value is a template, or `${NAME}` and nothing else",
                    "let the secret hold the whole value; for `Bearer …` there is `bearer: \"${NAME}\"`",
                );
                None
            }
            Self::Other(text) => check_text(text, at, checker).map(Value::Template),
        }
    }
}

/// A [`Value`] as it was read.
pub(super) struct ValueText(Text);

impl Clone for ValueText {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for ValueText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = ValueText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, or the name of a secret, e.g. `${API_TOKEN}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ValueText, E> {
        Ok(ValueText(Text::read(text)))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<ValueText, E> {
        Ok(ValueText(Text::Other(value.to_string())))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<ValueText, E> {
        Ok(ValueText(Text::Other(value.to_string())))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<ValueText, E> {
        Ok(ValueText(Text::Other(value.to_string())))
    }
}

impl<'de> Deserialize<'de> for ValueText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for ValueText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "boolean"] })
    }
}

impl Check for ValueText {
    type Checked = Value;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Value> {
        self.0.check(at, checker)
    }
}

impl Merge for ValueText {
    fn merge(self, over: Self) -> Self {
        over
    }
}

/// A name of a variable of the environment.
#[derive(Debug, Clone)]
pub(super) struct VariableName;

impl Literal for VariableName {
    type Value = String;
    const WANTED: &'static str = "the name of an environment variable, e.g. `LOG_LEVEL`";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z_][A-Za-z0-9_]*$");

    fn read(text: &str) -> Result<String, NotOne> {
        let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !text.as_bytes()[0].is_ascii_digit();
        if good { Ok(text.to_owned()) } else { Err(NotOne::because("is not the name of an environment variable")) }
    }
}

/// Variables of a program's environment.
pub(super) type Variables = Map<VariableName, ValueText>;

/// A name of a header (RFC 9110, section 5.1).
#[derive(Debug, Clone)]
pub(super) struct HeaderName;

impl Literal for HeaderName {
    type Value = String;
    const WANTED: &'static str = "the name of a header, e.g. `x-image-digest`";
    const PATTERN: Option<&'static str> = Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$");

    fn read(text: &str) -> Result<String, NotOne> {
        http::HeaderName::try_from(text)
            .map(|name| name.as_str().to_owned())
            .map_err(|_| NotOne::because("is not the name of a header"))
    }
}

/// Headers of a request.
#[derive(Debug, Clone)]
pub(super) struct Headers(Map<HeaderName, ValueText>);

/// Headers that carry a secret wherever they are used.
const SECRET_HEADERS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "private-token",
    "x-vault-token",
];

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Headers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Map::<HeaderName, ValueText>::json_schema(generator)
    }
}

impl Check for Headers {
    type Checked = IndexMap<String, Value>;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Self::Checked> {
        let mut good = true;
        for (name, value) in &self.0.0 {
            let secret = SECRET_HEADERS.contains(&name.to_ascii_lowercase().as_str());
            if let (true, ValueText(Text::Other(text))) = (secret, value) {
                good &= SecretText::read(text).check(&at.key(name.as_str()), checker).is_some();
            }
        }
        if good { self.0.check(at, checker) } else { None }
    }
}

impl Merge for Headers {
    fn merge(self, over: Self) -> Self {
        Self(self.0.merge(over.0))
    }
}

/// JSON in which every text is a [`Value`].
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`, a number, `true` or `false`.
    Scalar(serde_json::Value),
    /// A text.
    Text(Value),
    /// A list.
    List(Vec<Self>),
    /// An object, in the order of the file.
    Object(IndexMap<String, Self>),
}

impl Json {
    /// The JSON with everything filled in. It may hold secrets: it belongs into a request and nowhere else.
    ///
    /// # Errors
    /// See [`Value::fill`].
    pub fn fill<V: Serialize>(
        &self,
        values: &V,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<serde_json::Value, FillError> {
        Ok(match self {
            Self::Scalar(scalar) => scalar.clone(),
            Self::Text(text) => text.fill(values, variables)?.expose_secret().into(),
            Self::List(items) => {
                items.iter().map(|item| item.fill(values, variables)).collect::<Result<Vec<_>, _>>()?.into()
            }
            Self::Object(entries) => {
                let filled = entries.iter().map(|(key, value)| Ok((key.clone(), value.fill(values, variables)?)));
                serde_json::Value::Object(filled.collect::<Result<_, FillError>>()?)
            }
        })
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(scalar) => scalar.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::List(items) => items.serialize(serializer),
            Self::Object(entries) => entries.serialize(serializer),
        }
    }
}

/// [`Json`] as it was read.
pub(super) enum JsonText {
    Scalar(serde_json::Value),
    Text(ValueText),
    List(Vec<Self>),
    Object(IndexMap<String, Self>),
}

impl Clone for JsonText {
    fn clone(&self) -> Self {
        match self {
            Self::Scalar(scalar) => Self::Scalar(scalar.clone()),
            Self::Text(text) => Self::Text(text.clone()),
            Self::List(items) => Self::List(items.clone()),
            Self::Object(entries) => Self::Object(entries.clone()),
        }
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

struct JsonReader;

impl<'de> Visitor<'de> for JsonReader {
    type Value = JsonText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<JsonText, E> {
        Ok(JsonText::Scalar(serde_json::Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<JsonText, E> {
        Ok(JsonText::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<JsonText, E> {
        Ok(JsonText::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<JsonText, E> {
        Ok(JsonText::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<JsonText, E> {
        Ok(JsonText::Scalar(value.into()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JsonText, E> {
        Ok(JsonText::Text(ValueText(Text::read(text))))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<JsonText, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(JsonText::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<JsonText, A::Error> {
        let mut entries = IndexMap::new();
        while let Some((key, value)) = access.next_entry()? {
            entries.insert(key, value);
        }
        Ok(JsonText::Object(entries))
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonReader)
    }
}

impl JsonSchema for JsonText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

impl Check for JsonText {
    type Checked = Json;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Json> {
        match self {
            Self::Scalar(scalar) => Some(Json::Scalar(scalar.clone())),
            Self::Text(text) => text.check(at, checker).map(Json::Text),
            Self::List(items) => items.check(at, checker).map(Json::List),
            Self::Object(entries) => {
                let checked: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| value.check(&at.key(key.as_str()), checker).map(|value| (key.clone(), value)))
                    .collect();
                checked.into_iter().collect::<Option<_>>().map(Json::Object)
            }
        }
    }
}

impl Merge for JsonText {
    fn merge(self, over: Self) -> Self {
        match (self, over) {
            (Self::Object(base), Self::Object(over)) => Self::Object(base.merge(over)),
            (_, over) => over,
        }
    }
}
