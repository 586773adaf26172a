//! How a section of the configuration is written down here: once, for the file and for the program.
//!
//! [`section!`] makes two types of one list of keys. The *raw* one mirrors the file: every key may be absent, unknown
//! keys are errors, the doc comments become the schema's descriptions, and a service's override can be merged into it.
//! The *checked* one is what the rest of the program reads.
//!
//! A key is declared as `mode key: how it is written => what it means`, or with one type for both. The modes are:
//!
//! | mode | when the key is absent |
//! |---|---|
//! | `required` | that is an error |
//! | `optional` | the checked value is `None` |
//! | `default(…)` | the checked value is this |
//! | `always` | the checked value is a section in which every key is absent |
//!
//! `one_of ["a", "b"]` and `at_most_one_of ["a", "b"]` name keys that are a choice. `finish` names a function that
//! looks at the section as a whole and may turn it into another type, which is then the checked one.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::check::{Check, Checker, Choice, Merge, merge};
use super::path::Path;

/// A key that may be absent. One that is there and empty is an error: it is not the same.
#[derive(Debug, Clone)]
pub(super) struct Key<T>(pub(super) Option<T>);

impl<T> Default for Key<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Key<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

impl<T: JsonSchema> JsonSchema for Key<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: Merge> Merge for Key<T> {
    fn merge(self, over: Self) -> Self {
        Self(merge(self.0, over.0))
    }
}

impl<T: Check> Key<T> {
    pub(super) fn required(&self, at: &Path, key: &str, checker: &mut Checker<'_>) -> Option<T::Checked> {
        if self.0.is_none() {
            checker.missing(at, key);
        }
        self.0.as_ref()?.check(&at.key(key), checker)
    }

    pub(super) fn optional(&self, at: &Path, key: &str, checker: &mut Checker<'_>) -> Option<Option<T::Checked>> {
        match &self.0 {
            Some(raw) => raw.check(&at.key(key), checker).map(Some),
            None => Some(None),
        }
    }

    pub(super) fn or(
        &self,
        at: &Path,
        key: &str,
        checker: &mut Checker<'_>,
        default: impl FnOnce() -> T::Checked,
    ) -> Option<T::Checked> {
        self.optional(at, key, checker).map(|checked| checked.unwrap_or_else(default))
    }
}

impl<T: Check + Default> Key<T> {
    pub(super) fn always(&self, at: &Path, key: &str, checker: &mut Checker<'_>) -> Option<T::Checked> {
        match &self.0 {
            Some(raw) => raw.check(&at.key(key), checker),
            None => T::default().check(&at.key(key), checker),
        }
    }
}

/// The key that a field stands for.
pub(super) fn key(field: &str) -> String {
    field.trim_start_matches("r#").replace('_', "-")
}

/// What an override does to the choices of a section.
pub(super) enum Switch {
    /// It chooses as before, or not at all.
    Nothing,
    /// What the section is about is another thing now: nothing of the base holds.
    Everything,
    /// These keys of the base no longer hold.
    Keys(Vec<&'static str>),
}

/// Compares what was chosen in the base with what the override chooses.
pub(super) fn switch(choices: &[Choice], base: &[String], over: &[String]) -> Switch {
    let mut dropped = Vec::new();
    for choice in choices {
        let chosen = |written: &[String]| choice.keys.iter().copied().find(|key| written.iter().any(|one| one == key));
        match (chosen(base), chosen(over)) {
            (Some(before), Some(now)) if before != now && choice.required => return Switch::Everything,
            (Some(before), Some(now)) if before != now => dropped.push(before),
            _ => {}
        }
    }
    if dropped.is_empty() { Switch::Nothing } else { Switch::Keys(dropped) }
}

/// Writes the required keys and the choices into a section's schema.
pub(super) fn shape(schema: &mut Schema, required: &[String], choices: &[Choice]) {
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    let mut all: Vec<Value> = Vec::new();
    for choice in choices {
        if choice.required {
            let one: Vec<Value> = choice.keys.iter().map(|key| json!({ "required": [key] })).collect();
            schema.insert("oneOf".to_owned(), json!(one));
        } else {
            all.push(at_most_one(choice.keys));
        }
    }
    if !all.is_empty() {
        schema.insert("allOf".to_owned(), json!(all));
    }
}

/// "At most one of the keys".
pub(super) fn at_most_one<S: AsRef<str>>(keys: &[S]) -> Value {
    let each: Vec<Value> = keys.iter().map(|key| json!({ "required": [key.as_ref()] })).collect();
    let none = json!({ "not": { "anyOf": each } });
    json!({ "oneOf": each.into_iter().chain([none]).collect::<Vec<_>>() })
}

/// See the module.
macro_rules! section {
    (@type optional $ty:ty, $is:ty) => { Option<$is> };
    (@type optional $ty:ty) => { Option<$ty> };
    (@type $mode:ident $ty:ty, $is:ty) => { $is };
    (@type $mode:ident $ty:ty) => { $ty };

    (@read required () $key:expr, $at:ident, $name:expr, $checker:ident) => { $key.required($at, &$name, $checker) };
    (@read optional () $key:expr, $at:ident, $name:expr, $checker:ident) => { $key.optional($at, &$name, $checker) };
    (@read always () $key:expr, $at:ident, $name:expr, $checker:ident) => { $key.always($at, &$name, $checker) };
    (@read default ($default:expr) $key:expr, $at:ident, $name:expr, $checker:ident) => {
        $key.or($at, &$name, $checker, || $default)
    };

    (@must required $field:ident) => { Some($crate::config::section::key(stringify!($field))) };
    (@must $mode:ident $field:ident) => { None::<String> };

    (@final $name:ident) => { $name };
    (@final $name:ident $final:ty) => { $final };
    (@finish $checked:ident, $written:ident, $at:ident, $checker:ident) => { Some($checked) };
    (@finish $checked:ident, $written:ident, $at:ident, $checker:ident, $finish:path) => {
        $finish($checked, &$written, $at, $checker)
    };

    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident from $raw:ident
        $(, one_of [$($kind:literal),+ $(,)?])?
        $(, at_most_one_of [$($other:literal),+ $(,)?])*
        $(, finish $finish:path => $final:ty)?
        {
            $(
                $(#[doc = $field_doc:literal])*
                $mode:ident $(($default:expr))? $field:ident : $ty:ty $(=> $is:ty)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        $vis struct $name {
            $( $(#[doc = $field_doc])* $vis $field: $crate::config::section::section!(@type $mode $ty $(, $is)?), )*
        }

        $(#[doc = $doc])*
        #[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a mapping")]
        #[schemars(transform = $raw::shape)]
        pub(in $crate::config) struct $raw {
            $(
                $(#[doc = $field_doc])*
                #[serde(default)]
                pub(in $crate::config) $field: $crate::config::section::Key<$ty>,
            )*
        }

        impl $raw {
            const CHOICES: &'static [$crate::config::check::Choice] = &[
                $( $crate::config::check::Choice { keys: &[$($kind),+], required: true }, )?
                $( $crate::config::check::Choice { keys: &[$($other),+], required: false }, )*
            ];

            /// The keys that were written.
            fn written(&self) -> Vec<String> {
                let keys: Vec<Option<String>> =
                    vec![$( self.$field.0.as_ref().map(|_| $crate::config::section::key(stringify!($field))), )*];
                keys.into_iter().flatten().collect()
            }

            fn shape(schema: &mut schemars::Schema) {
                let required: Vec<Option<String>> = vec![$( $crate::config::section::section!(@must $mode $field), )*];
                let required: Vec<String> = required.into_iter().flatten().collect();
                $crate::config::section::shape(schema, &required, Self::CHOICES);
            }
        }

        impl $crate::config::check::Check for $raw {
            type Checked = $crate::config::section::section!(@final $name $($final)?);

            fn check(
                &self,
                at: &$crate::config::path::Path,
                checker: &mut $crate::config::check::Checker<'_>,
            ) -> Option<Self::Checked> {
                let written = self.written();
                let chosen = checker.choices(at, Self::CHOICES, &written);
                let checked = {
                    // Every key is looked at before the first wrong one ends it.
                    $( let $field = $crate::config::section::section!(
                        @read $mode ($($default)?)
                        self.$field, at, $crate::config::section::key(stringify!($field)), checker
                    ); )*
                    $name { $( $field: $field?, )* }
                };
                if !chosen {
                    return None;
                }
                $crate::config::section::section!(@finish checked, written, at, checker $(, $finish)?)
            }
        }

        impl $crate::config::check::Merge for $raw {
            fn merge(mut self, over: Self) -> Self {
                match $crate::config::section::switch(Self::CHOICES, &self.written(), &over.written()) {
                    $crate::config::section::Switch::Nothing => {}
                    $crate::config::section::Switch::Everything => return over,
                    $crate::config::section::Switch::Keys(keys) => {
                        $( if keys.contains(&$crate::config::section::key(stringify!($field)).as_str()) {
                            self.$field = $crate::config::section::Key(None);
                        } )*
                    }
                }
                Self { $( $field: self.$field.merge(over.$field), )* }
            }
        }
    };
}
pub(super) use section;

/// A choice of words, the same in the file and in the program.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[doc = $doc:literal])* $word:ident = $text:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
            schemars::JsonSchema,
        )]
        pub enum $name { $( $(#[doc = $doc])* #[serde(rename = $text)] $word, )+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// The word in the file.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl $crate::config::literal::Literal for $name {
            type Value = Self;
            const WANTED: &'static str = "a word that is known here";

            fn words() -> Vec<&'static str> {
                Self::ALL.iter().map(|word| word.name()).collect()
            }

            fn read(text: &str) -> Result<Self, $crate::config::literal::NotOne> {
                Self::ALL.iter().copied().find(|word| word.name() == text).ok_or_else(|| {
                    $crate::config::literal::NotOne::because("is not known here")
                        .with_fix($crate::config::suggest::fix(text, Self::words(), "words"))
                })
            }
        }

        $crate::config::check::as_read!($name);
        $crate::config::check::replaced!($name);
    };
}
pub(super) use words;
