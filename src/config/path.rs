//! Places inside a configuration: `environments.production.gates.freeze[0].weekly`.

use std::fmt;

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// The way from the top of the file to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Path(Vec<Segment>);

impl Path {
    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn key(&self, key: impl Into<String>) -> Self {
        self.down(Segment::Key(key.into()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.down(Segment::Index(index))
    }

    /// Down by several keys.
    pub(super) fn keys<const N: usize>(&self, keys: [&str; N]) -> Self {
        keys.into_iter().fold(self.clone(), |path, key| path.key(key))
    }

    pub(super) fn down(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The path to what this is in; the top is in itself.
    pub(super) fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// What follows after `base`, where this is below it.
    pub(super) fn below(&self, base: &Self) -> Option<&[Segment]> {
        self.0.strip_prefix(base.segments())
    }
}

impl FromIterator<Segment> for Path {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if place > 0 {
                        f.write_str(".")?;
                    }
                    // A key with a dot or a space in it would make the path ambiguous.
                    if key.is_empty() || key.contains(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))) {
                        write!(f, "{:?}", shortened(key))?;
                    } else {
                        f.write_str(&shortened(key))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Text of the file as a message quotes it: cut where it is long.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_people_write_it() {
        let path = Path::default().keys(["environments", "my env"]).key("freeze").index(0).key("weekly");
        assert_eq!(path.to_string(), "environments.\"my env\".freeze[0].weekly");
        assert_eq!(path.parent().parent().to_string(), "environments.\"my env\".freeze");
        assert_eq!(Path::default().parent(), Path::default());
    }
}
