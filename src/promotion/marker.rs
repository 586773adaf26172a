//! The mark that we leave in an issue or a comment, to find it again: an HTML comment that readers do not see.

use std::collections::BTreeMap;
use std::fmt;

/// How every mark begins.
const OPENING: &str = "<!-- tidegate:";

/// How every mark ends.
const CLOSING: &str = " -->";

/// A mark: what the text is for, and the values that identify it.
///
/// It stands at the very beginning of a text that we wrote. A mark anywhere else is somebody else's: what we quote of
/// others comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// What the text is for, e.g. `approval`: lower-case letters and hyphens.
    pub kind: String,
    /// What identifies it.
    pub values: BTreeMap<String, String>,
}

impl Marker {
    /// A mark without values.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), values: BTreeMap::new() }
    }

    /// The same, with one more value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// A value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The mark at the beginning of a text, if there is one.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.trim_start().strip_prefix(OPENING)?;
        let (mark, _) = rest.split_once(CLOSING)?;
        let (kind, values) = mark.split_once(' ')?;
        let good = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let values = serde_json::from_str(values).ok()?;
        good.then(|| Self { kind: kind.to_owned(), values })
    }

    /// Whether a text carries this mark: of the same kind, and with at least these values.
    #[must_use]
    pub fn is_on(&self, text: &str) -> bool {
        Self::read(text).is_some_and(|found| {
            found.kind == self.kind && self.values.iter().all(|(name, value)| found.value(name) == Some(value))
        })
    }

    /// A text with this mark at its beginning.
    #[must_use]
    pub fn put_on(&self, text: &str) -> String {
        format!("{self}\n{text}")
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A map of texts always becomes JSON. Two hyphens or a bracket would end the comment.
        let values = serde_json::to_string(&self.values).unwrap_or_default();
        let values = values.replace('-', "\\u002d").replace('<', "\\u003c").replace('>', "\\u003e");
        write!(f, "{OPENING}{} {values}{CLOSING}", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_is_found_only_where_we_put_it() {
        let mark = Marker::new("approval").with("run", "1732185300-abc123def456").with("environment", "a / b");
        let text = mark.put_on("Please look.");
        assert_eq!(Marker::read(&text), Some(mark.clone()));
        assert!(Marker::new("approval").with("environment", "a / b").is_on(&text));
        assert!(!Marker::new("approval").with("environment", "a").is_on(&text));
        assert!(!Marker::new("failure").is_on(&text));
        assert_eq!(Marker::read(&format!("> quoted\n{text}")), None);
        for broken in ["", "<!-- tidegate:", "<!-- tidegate:x {} ", "<!-- tidegate:X {} -->", "<!-- tidegate:x [] -->"]
        {
            assert_eq!(Marker::read(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_value_ends_the_comment(value in any::<String>(), text in any::<String>()) {
            let mark = Marker::new("failure").with("value", value);
            let whole = mark.put_on(&text);
            prop_assert_eq!(Marker::read(&whole), Some(mark));
            let first = whole.lines().next().unwrap_or_default();
            prop_assert_eq!(first.matches("-->").count(), 1);
        }
    }
}
