//! Numbers with bounds.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::check::{Check, Checker, Merge};
use super::path::Path;

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
