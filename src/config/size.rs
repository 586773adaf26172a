//! Sizes, binary or decimal, and shares in percent. Both are exact: nothing is rounded.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::literal::{Literal, NotOne};

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// The units, the largest first; binary (IEC 80000-13) before decimal.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write a number with its unit, e.g. `512MiB` or `2GB`")]
pub struct InvalidSize(String);

impl Size {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The same for people: rounded to a tenth of a binary unit.
    #[must_use]
    pub fn rounded(self) -> String {
        let unit = UNITS.iter().take(4).find(|(_, factor)| self.0 >= *factor);
        match unit {
            Some((name, factor)) => {
                // In 128 bits, because ten times the largest size does not fit.
                let tenths = (u128::from(self.0) * 10 + u128::from(*factor) / 2) / u128::from(*factor);
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            }
            None => format!("{} B", self.0),
        }
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let factor =
            UNITS.iter().find(|(name, _)| *name == unit || (*name == "kB" && unit == "KB")).map(|(_, factor)| *factor);
        let bytes = factor.and_then(|factor| times(number, factor));
        bytes.map(Self).ok_or_else(|| InvalidSize(text.chars().take(80).collect()))
    }
}

/// A decimal number times a factor, where that is whole.
fn times(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let (whole, fraction): (u128, u128) = (u128::from(whole.parse::<u64>().ok()?), fraction.parse().ok()?);
    let product = (whole.checked_mul(scale)?.checked_add(fraction)?).checked_mul(u128::from(factor))?;
    (product % scale == 0).then(|| u64::try_from(product / scale).ok()).flatten()
}

impl fmt::Display for Size {
    /// The largest unit in which it is whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// The syntax of sizes.
pub(super) struct SizeSyntax;

impl Literal for SizeSyntax {
    type Value = Size;
    const WANTED: &'static str = "a size with its unit, e.g. `512MiB` or `2GB`";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]{1,9})? ?([KMGT]i|[kKMGT])?B$");

    fn read(text: &str) -> Result<Size, NotOne> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(
                NotOne::because("has no unit").with_fix(format!("write `{text}MiB`, or the unit that is meant"))
            );
        }
        text.parse().map_err(|_| NotOne::because("is not a size"))
    }
}

/// A share, from 0% to 100%, in hundredths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// So many whole percent.
    pub(super) const fn whole(percent: u32) -> Self {
        Self(percent * 100)
    }

    /// The share in hundredths of a percent: 95% is 9500.
    #[must_use]
    pub const fn basis_points(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl fmt::Debug for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The syntax of shares up to `MAX` percent.
pub(super) struct PercentSyntax<const MAX: u32>;

impl<const MAX: u32> Literal for PercentSyntax<MAX> {
    type Value = Percent;
    const WANTED: &'static str = "a share in percent, e.g. `95%`";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]{1,4}(\.[0-9]{1,2})? ?%$");

    fn read(text: &str) -> Result<Percent, NotOne> {
        let number = text.strip_suffix('%').map(|number| number.strip_suffix(' ').unwrap_or(number));
        let points = number.and_then(|number| times(number, 100)).and_then(|points| u32::try_from(points).ok());
        match points {
            Some(points) if points <= MAX * 100 => Ok(Percent(points)),
            Some(_) => Err(NotOne::because(format!("is more than {MAX}%"))),
            None => Err(NotOne::because("is not a share in percent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_binary_or_decimal_and_exact() {
        for (text, bytes) in [
            ("0B", 0),
            ("1MiB", 1 << 20),
            ("2GB", 2_000_000_000),
            ("1.5 GiB", 3 << 29),
            ("10kB", 10_000),
            ("10KB", 10_000),
            ("0.5KiB", 512),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in
            ["", "10", "MiB", "1.5B", "-1MiB", "1mib", "1 M", "1.MiB", ".5MiB", "1e3B", "99999999999TiB", "1..2MiB"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_bounded() {
        let read = |text| PercentSyntax::<100>::read(text).ok().map(Percent::basis_points);
        assert_eq!(
            [read("95%"), read("99.5%"), read("0 %"), read("100%")],
            [Some(9500), Some(9950), Some(0), Some(10_000)]
        );
        assert_eq!([read("95"), read("101%"), read("99.999%"), read("%"), read("-1%")], [None; 5]);
        assert_eq!(
            ["95%", "99.5%", "99.95%"].map(|text| PercentSyntax::<100>::read(text).ok().unwrap().to_string()),
            ["95%", "99.5%", "99.95%"]
        );
    }

    proptest! {
        #[test]
        fn a_size_reads_back_as_it_is_shown(bytes in any::<u64>()) {
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }

        #[test]
        fn whatever_is_accepted_fits_the_schema_and_round_trips(text in r"[0-9.]{1,8} {0,2}[kKMGTi]{0,2}B?") {
            if let Ok(size) = SizeSyntax::read(&text) {
                let pattern = regex::Regex::new(SizeSyntax::PATTERN.unwrap()).unwrap();
                prop_assert!(pattern.is_match(&text), "{text} does not fit the schema");
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
        }

        #[test]
        fn a_share_reads_back_as_it_is_shown(points in 0u32..=10_000) {
            prop_assert_eq!(PercentSyntax::<100>::read(&Percent(points).to_string()).ok(), Some(Percent(points)));
        }
    }
}
