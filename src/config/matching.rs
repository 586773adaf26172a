//! What is looked for in texts and in JSON: regular expressions, pointers, paths.

use regex::Regex;
use serde::{Serialize, Serializer};

use super::literal::{Literal, NotOne};

/// Patterns whose whole text counts as equality.
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Whether it is found in the text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn regex(text: &str, compiled: &str) -> Result<Pattern, NotOne> {
    regex::RegexBuilder::new(compiled).size_limit(1 << 20).build().map(Pattern).map_err(|error| {
        let said = error.to_string();
        let said = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        NotOne::because(format!("is not a pattern: {said}"))
            .with_fix(format!("write a regular expression; for the text itself: `{}`", regex::escape(text)))
    })
}

/// The syntax of patterns that may be found anywhere in a text.
pub(super) struct AnyPattern;

impl Literal for AnyPattern {
    type Value = Pattern;
    const WANTED: &'static str = "a regular expression";

    fn read(text: &str) -> Result<Pattern, NotOne> {
        regex(text, text)
    }
}

/// The syntax of patterns that a whole text has to match.
pub(super) struct WholePattern;

impl Literal for WholePattern {
    type Value = Pattern;
    const WANTED: &'static str = "a regular expression that the whole text has to match";

    fn read(text: &str) -> Result<Pattern, NotOne> {
        // Alone it has to be a pattern too: `a)|(b` would get out of the anchors.
        regex(text, text)?;
        regex(text, &format!("^(?:{text})$"))
    }
}

/// A place in a JSON answer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Pointer(String);

impl Pointer {
    /// The pointer, as `serde_json::Value::pointer` takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The syntax of JSON pointers.
pub(super) struct PointerSyntax;

impl Literal for PointerSyntax {
    type Value = Pointer;
    const WANTED: &'static str = "a JSON pointer, e.g. `/status`";
    const PATTERN: Option<&'static str> = Some("^(/([^~/]|~[01])*)+$");

    fn read(text: &str) -> Result<Pointer, NotOne> {
        if !text.starts_with('/') {
            let fix = format!("write `/{}`", text.trim_start_matches("$.").replace('.', "/"));
            return Err(NotOne::because("is not a JSON pointer: it does not begin with `/`").with_fix(fix));
        }
        let mut rest = text.split('~').skip(1);
        if !rest.all(|after| after.starts_with(['0', '1'])) {
            return Err(NotOne::because("is not a JSON pointer: `~` is written `~0`"));
        }
        Ok(Pointer(text.to_owned()))
    }
}

/// A query of JSON (RFC 9535).
#[derive(Debug, Clone)]
pub struct JsonPath {
    text: String,
    path: serde_json_path::JsonPath,
}

impl JsonPath {
    /// The query.
    #[must_use]
    pub const fn path(&self) -> &serde_json_path::JsonPath {
        &self.path
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for JsonPath {}

impl std::hash::Hash for JsonPath {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The syntax of JSON paths.
#[derive(Debug, Clone)]
pub(super) struct JsonPathSyntax;

impl Literal for JsonPathSyntax {
    type Value = JsonPath;
    const WANTED: &'static str = "a JSON path, e.g. `$.status`";
    const PATTERN: Option<&'static str> = Some(r"^\$");

    fn read(text: &str) -> Result<JsonPath, NotOne> {
        if !text.starts_with('$') {
            return Err(
                NotOne::because("is not a JSON path: it does not begin with `$`").with_fix(format!("write `$.{text}`"))
            );
        }
        let path = serde_json_path::JsonPath::parse(text)
            .map_err(|error| NotOne::because(format!("is not a JSON path: wrong at character {}", error.position())))?;
        Ok(JsonPath { text: text.to_owned(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_patterns_are_anchored() {
        let pattern = WholePattern::read("https://github.com/acme/.*|x").ok().unwrap();
        assert!(pattern.matches("https://github.com/acme/api") && pattern.matches("x"));
        assert!(!pattern.matches("https://evil.test/https://github.com/acme/api") && !pattern.matches("xx"));
        assert!(WholePattern::read("a)|(b").is_err());
    }
}
