//! Values with a syntax of their own: read as text, checked into what the text means.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

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

/// The most characters of a text whose syntax has no bound of its own.
const LONGEST: usize = 4096;

/// A syntax.
pub(super) trait Literal {
    /// What a text of this syntax means.
    type Value;

    /// What a person has to write: `a duration with its unit, e.g. …`.
    const WANTED: &'static str;

    /// The pattern of the schema, where the syntax is regular. It accepts everything that `read` accepts.
    const PATTERN: Option<&'static str> = None;

    /// The most characters that it may have.
    const LONGEST: usize = LONGEST;

    /// Whether a whole number, `true` or `false` may stand there without quotes.
    const UNQUOTED: bool = false;

    /// Whether the text may be quoted in an error: not where people could have put a password into it.
    const QUOTABLE: bool = true;

    /// All texts of this syntax, where they are few.
    fn words() -> Vec<&'static str> {
        Vec::new()
    }

    /// Reads a text; it is never empty.
    fn read(text: &str) -> Result<Self::Value, NotOne>;
}

/// A text that has to be of the syntax `L`.
pub(super) struct Lit<L>(String, PhantomData<L>);

impl<L> Lit<L> {
    /// The text, as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

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
        if L::LONGEST < LONGEST {
            schema.insert("maxLength".to_owned(), L::LONGEST.into());
        }
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
