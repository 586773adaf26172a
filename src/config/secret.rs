//! Secrets: the file names them, the environment of the step has them.
//!
//! A secret is written `${NAME}` and nothing else. A value that stands in a secret's place instead is forgotten as it
//! is read: no type of the model can hold it, no error can quote it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::check::{Check, Checker, replaced};
use super::error::ConfigError;
use super::path::{Path, Segment};
use super::source::{Problem, Source};
use crate::promotion::fault::Code;

/// How a secret is written.
pub(super) const PATTERN: &str = r"^\$\{[A-Z_][A-Z0-9_]*\}$";

#[expect(clippy::expect_used, reason = "a constant pattern, used by every test")]
static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(PATTERN).expect("a constant pattern"));

/// A secret of the configuration: the name of the environment variable that has it.
#[derive(Clone)]
pub struct Secret {
    name: String,
    source: Arc<Source>,
    path: Path,
}

impl Secret {
    pub(super) fn new(name: &str, source: &Arc<Source>, path: Path) -> Self {
        Self { name: name.to_owned(), source: Arc::clone(source), path }
    }

    /// The name of the environment variable.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The channel under `notify` that names it; none where it is named elsewhere.
    pub(super) fn channel(&self) -> Option<&str> {
        match self.path.segments() {
            [Segment::Key(notify), Segment::Key(name), ..] if notify == "notify" => Some(name),
            _ => None,
        }
    }

    /// Where it is named.
    pub(super) const fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the secret, given the environment's variables.
    ///
    /// # Errors
    /// The variable is not set, or empty; the error names it and the place in the configuration.
    pub fn resolve(&self, variables: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, ConfigError> {
        let unset = |is: &str| {
            self.source.locate(Problem {
                code: Code::SecretUnset,
                ..Problem::new(
                    self.path.clone(),
                    format!("the environment variable `{}` is {is}", self.name),
                    format!("pass it to the step under `env:`, e.g. `{0}: ${{{{ secrets.{0} }}}}`", self.name),
                )
            })
        };
        match variables(&self.name) {
            Some(value) if value.trim().is_empty() => Err(unset("empty")),
            Some(value) => Ok(SecretString::from(value)),
            None => Err(unset("not set")),
        }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Secret {}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{{}}}", self.name)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A secret's place.
#[derive(Debug, Clone)]
pub(super) enum SecretText {
    Named(String),
    /// `${{ … }}`: an expression of a workflow.
    Expression,
    /// `${…}` with something that is not a variable's name.
    Misnamed,
    /// `${NAME}` with something around it.
    Surrounded,
    /// Nothing.
    Empty,
    /// Anything else: perhaps the secret itself. It is not kept.
    Other,
}

impl SecretText {
    pub(super) fn read(text: &str) -> Self {
        let text = text.trim();
        if NAMED.is_match(text) {
            Self::Named(text[2..text.len() - 1].to_owned())
        } else if text.is_empty() {
            Self::Empty
        } else if text.contains("${{") {
            Self::Expression
        } else if text.starts_with("${") && text.find('}') == Some(text.len() - 1) {
            Self::Misnamed
        } else if text.contains("${") {
            Self::Surrounded
        } else {
            Self::Other
        }
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a secret, e.g. `${API_TOKEN}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretText, E> {
        Ok(SecretText::read(text))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretText, E> {
        Ok(SecretText::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretText, E> {
        Ok(SecretText::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretText, E> {
        Ok(SecretText::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretText, E> {
        Ok(SecretText::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<SecretText, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(SecretText::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<SecretText, A::Error> {
        while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(SecretText::Other)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN })
    }
}

impl Check for SecretText {
    type Checked = Secret;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Secret> {
        let variable = suggested_name(at);
        let pass = format!("write `${{{variable}}}`, and pass it to the step under `env:`");
        let (message, fix) = match self {
            Self::Named(name) => return Some(checker.secret(at, name)),
            Self::Expression => (
                "is a GitHub expression, and this file is not part of a workflow: nothing fills it in",
                format!("{pass} with the expression as its value"),
            ),
            Self::Misnamed => (
                "is not the name of a secret",
                "write `${NAME}`: upper-case letters, digits and `_`, without a digit first".to_owned(),
            ),
            Self::Surrounded => {
                ("has text around the secret's name", format!("{pass}; the secret has to hold the whole value"))
            }
            Self::Empty => ("is empty, and must name a secret", pass),
            Self::Other => (
                "holds a value where only the name of a secret may stand (the value is not shown)",
                format!("{pass}; if the value is a real secret, replace it: it is in the history of this repository"),
            ),
        };
        checker.problem(at, message, fix);
        None
    }
}

replaced!(SecretText);

/// A variable's name that would do for the secret at a place: its last key, in capitals.
fn suggested_name(at: &Path) -> String {
    let last = at.segments().iter().rev().find_map(|segment| match segment {
        Segment::Key(key) => Some(key.to_uppercase()),
        Segment::Index(_) => None,
    });
    let name: String = last
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .skip_while(char::is_ascii_digit)
        .collect();
    if name.is_empty() { "NAME".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_name_and_nothing_else() {
        for text in ["${A}", "${_A9}", "${DATABASE_URL}", " ${A} "] {
            assert!(matches!(SecretText::read(text), SecretText::Named(_)), "{text}");
        }
        for text in ["hunter2", "$A", "{A}", "$", "p$ss", "A"] {
            assert!(matches!(SecretText::read(text), SecretText::Other), "{text}");
        }
        assert!(matches!(SecretText::read("${{ secrets.A }}"), SecretText::Expression));
        for text in ["${a}", "${9A}", "${}", "${A-B}", "${A B}"] {
            assert!(matches!(SecretText::read(text), SecretText::Misnamed), "{text}");
        }
        for text in ["Bearer ${A}", "${A}${B}", "${A}x", "x${A}"] {
            assert!(matches!(SecretText::read(text), SecretText::Surrounded), "{text}");
        }
    }
}
