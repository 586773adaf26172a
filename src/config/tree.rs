//! The file as it was written, before it means anything: mappings, lists and scalars.
//!
//! YAML and JSON come together here. What neither a person nor a program could read twice in the same way is refused
//! already: a key written twice, a tag, a merge key, a number that is none.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::{Path, Segment, shortened};

/// The most values that one file may hold, aliases counted as often as they are used.
const MAX_VALUES: usize = 100_000;

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Self>),
    /// In the order of the file; no key twice.
    Map(Vec<(String, Self)>),
}

impl Tree {
    /// The value one step below.
    pub(super) fn child(&self, segment: &Segment) -> Option<&Self> {
        self.position(segment).and_then(|at| match self {
            Self::Map(entries) => entries.get(at).map(|(_, value)| value),
            Self::List(items) => items.get(at),
            _ => None,
        })
    }

    /// Which of the values below it is, counted in the order of the file.
    fn position(&self, segment: &Segment) -> Option<usize> {
        match (self, segment) {
            (Self::Map(entries), Segment::Key(key)) => entries.iter().position(|(name, _)| name == key),
            (Self::List(items), Segment::Index(index)) => (*index < items.len()).then_some(*index),
            _ => None,
        }
    }

    /// The value at a path.
    pub(super) fn at(&self, path: &Path) -> Option<&Self> {
        path.segments().iter().try_fold(self, |tree, segment| tree.child(segment))
    }

    /// How many steps of `path`, from the top, lead to something that was written.
    pub(super) fn depth(&self, path: &Path) -> usize {
        let mut tree = self;
        for (depth, segment) in path.segments().iter().enumerate() {
            match tree.child(segment) {
                Some(child) => tree = child,
                None => return depth,
            }
        }
        path.segments().len()
    }

    /// Where a path stands in the order of the file: comparing two of these compares their places.
    pub(super) fn order(&self, path: &Path) -> Vec<usize> {
        let mut order = Vec::with_capacity(path.segments().len());
        let mut tree = self;
        for segment in path.segments() {
            let Some(at) = tree.position(segment) else { break };
            order.push(at);
            match tree.child(segment) {
                Some(child) => tree = child,
                None => break,
            }
        }
        order
    }

    /// Whether it holds other values.
    pub(super) fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }
}

/// Why a file cannot be taken in.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) fix: String,
}

/// How far reading has come: where it is, and why it stopped.
#[derive(Debug, Default)]
pub(super) struct Progress {
    path: RefCell<Path>,
    values: Cell<usize>,
    refusal: RefCell<Option<Refusal>>,
}

impl Progress {
    /// Where reading stopped.
    pub(super) fn path(&self) -> Path {
        self.path.borrow().clone()
    }

    /// Why, where it was not the syntax.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.borrow().clone()
    }

    fn refuse<E: de::Error>(&self, message: impl Into<String>, fix: impl Into<String>) -> E {
        *self.refusal.borrow_mut() = Some(Refusal { message: message.into(), fix: fix.into() });
        E::custom("refused")
    }

    /// Reads a value that is one step below; the path stays where it is when that fails.
    fn descend<T, E>(&self, segment: Segment, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let here = self.path();
        *self.path.borrow_mut() = here.down(segment);
        let value = read()?;
        *self.path.borrow_mut() = here;
        Ok(value)
    }
}

/// Reads a whole document.
pub(super) fn read<'de, D: Deserializer<'de>>(document: D, progress: &Progress) -> Result<Tree, D::Error> {
    document.deserialize_any(Reader(progress))
}

struct Reader<'p>(&'p Progress);

impl<'de> de::DeserializeSeed<'de> for Reader<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Reader<'_> {
    fn scalar<E: de::Error>(&self, tree: Tree) -> Result<Tree, E> {
        self.count()?;
        Ok(tree)
    }

    fn count<E: de::Error>(&self) -> Result<(), E> {
        self.0.values.set(self.0.values.get() + 1);
        if self.0.values.get() > MAX_VALUES {
            return Err(self.0.refuse(
                format!("the file holds more than {MAX_VALUES} values"),
                "write a smaller configuration, with fewer aliases",
            ));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list or a scalar")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        self.scalar(Tree::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Tree, E> {
        self.scalar(Tree::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
        self.scalar(Tree::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
        self.scalar(Tree::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
        self.scalar(u64::try_from(value).map_or(Tree::Signed(value), Tree::Unsigned))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Tree, E> {
        Err(self.0.refuse("the number is too large", "write a number below 2^64, or put it in quotes"))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Tree, E> {
        self.visit_u128(0)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        if value.is_finite() {
            return self.scalar(Tree::Float(value));
        }
        Err(self.0.refuse("infinity and not-a-number cannot be used", "write a number"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Tree, E> {
        self.scalar(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        self.count()?;
        let mut items = Vec::new();
        while let Some(item) =
            self.0.descend(Segment::Index(items.len()), || access.next_element_seed(Reader(self.0)))?
        {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        self.count()?;
        let mut entries: Vec<(String, Tree)> = Vec::new();
        let mut known = std::collections::HashSet::new();
        while let Some(key) = access.next_key_seed(KeyReader(self.0, &known))? {
            let value = self.0.descend(Segment::Key(key.clone()), || access.next_value_seed(Reader(self.0)))?;
            known.insert(key.clone());
            entries.push((key, value));
        }
        Ok(Tree::Map(entries))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<Tree, A::Error> {
        let (tag, _) = access.variant::<String>()?;
        Err(self.0.refuse(
            format!("the YAML tag `!{}` means nothing here", shortened(&tag)),
            "delete the tag; put text that begins with `!` in quotes",
        ))
    }
}

/// What a parser says it expected where a key is a mapping or a list: most often a template without quotes.
pub(super) const TEXT_KEY: &str = "a key that is text";

struct KeyReader<'p>(&'p Progress, &'p std::collections::HashSet<String>);

impl<'de> de::DeserializeSeed<'de> for KeyReader<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyReader<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TEXT_KEY)
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        if key == "<<" {
            return Err(self.0.refuse(
                "merge keys are not supported",
                "use an anchor and an alias for the whole value, or write the keys out",
            ));
        }
        if self.1.contains(key) {
            let shown = shortened(key);
            return Err(self.0.refuse(format!("`{shown}` is written twice"), "keep one of the two"));
        }
        Ok(key.to_owned())
    }
}

/// Walks down a path and fails where it ends, so that the parser tells where that is.
pub(super) struct Finder<'p> {
    pub(super) path: &'p [Segment],
    /// Whether the last key is looked for, or what stands behind it.
    pub(super) key: bool,
    /// Set when the place was reached.
    pub(super) found: &'p Cell<bool>,
}

impl Finder<'_> {
    fn here<E: de::Error>(&self) -> E {
        self.found.set(true);
        E::custom("here")
    }

    fn scalar<E: de::Error>(self) -> Result<(), E> {
        if self.path.is_empty() { Err(self.here()) } else { Ok(()) }
    }
}

impl<'de> de::DeserializeSeed<'de> for Finder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Some((Segment::Index(index), rest)) = self.path.split_first() else {
            return self.scalar();
        };
        for _ in 0..*index {
            access.next_element::<IgnoredAny>()?;
        }
        access.next_element_seed(Finder { path: rest, ..self })?;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Some((Segment::Key(key), rest)) = self.path.split_first() else {
            return self.scalar();
        };
        let wanted = KeyFinder { key, stop: rest.is_empty() && self.key, finder: &self };
        while let Some(hit) = access.next_key_seed(KeyFinder { ..wanted })? {
            if hit {
                return access.next_value_seed(Finder { path: rest, ..self });
            }
            access.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct KeyFinder<'f, 'p> {
    key: &'f str,
    /// Whether the key itself is what is looked for.
    stop: bool,
    finder: &'f Finder<'p>,
}

impl<'de> de::DeserializeSeed<'de> for KeyFinder<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyFinder<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.key {
            true if self.stop => Err(self.finder.here()),
            hit => Ok(hit),
        }
    }
}
