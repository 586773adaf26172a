//! From the raw model to the checked one: what every section and every value does, and where problems go.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use indexmap::IndexMap;

use super::error::{ConfigError, ConfigErrors};
use super::path::{Path, Segment};
use super::secret::Secret;
use super::source::{Problem, Source};
use super::suggest::listed;
use super::template::RUN;
use super::tree::Tree;

/// The most errors that are shown of one file.
const MAX_SHOWN: usize = 50;

/// A value of the raw model that becomes one of the checked model.
pub(super) trait Check {
    /// What it becomes.
    type Checked;

    /// Checks it. `None` when it is wrong; the problem is then with the checker.
    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Self::Checked>;
}

/// A value of the raw model that a service may override.
///
/// Mappings are merged key by key; lists and scalars are replaced. A mapping in which one key is a choice is replaced
/// as a whole when the override chooses another.
pub(super) trait Merge {
    /// This, overridden by `over`.
    #[must_use]
    fn merge(self, over: Self) -> Self;
}

/// Merges two values that may both be absent.
pub(super) fn merge<T: Merge>(base: Option<T>, over: Option<T>) -> Option<T> {
    match (base, over) {
        (Some(base), Some(over)) => Some(base.merge(over)),
        (base, over) => over.or(base),
    }
}

/// Implements [`Merge`] as "the override replaces it".
macro_rules! replaced {
    ($($raw:ty),+ $(,)?) => {
        $(impl $crate::config::check::Merge for $raw {
            fn merge(self, over: Self) -> Self {
                over
            }
        })+
    };
}
pub(super) use replaced;

/// Implements [`Check`] for values that are right as they were read.
macro_rules! as_read {
    ($($raw:ty),+ $(,)?) => {
        $(impl $crate::config::check::Check for $raw {
            type Checked = Self;

            fn check(
                &self,
                _: &$crate::config::path::Path,
                _: &mut $crate::config::check::Checker<'_>,
            ) -> Option<Self> {
                Some(self.clone())
            }
        })+
    };
}
pub(super) use as_read;

as_read!(bool, crate::promotion::fault::Severity);
replaced!(bool, crate::promotion::fault::Severity);

impl<T: Check> Check for Vec<T> {
    type Checked = Vec<T::Checked>;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Self::Checked> {
        // Every item is looked at before the first wrong one ends it.
        let items: Vec<_> =
            self.iter().enumerate().map(|(place, item)| item.check(&at.index(place), checker)).collect();
        items.into_iter().collect()
    }
}

impl<T> Merge for Vec<T> {
    fn merge(self, over: Self) -> Self {
        over
    }
}

impl<K: Eq + Hash, T: Merge> Merge for IndexMap<K, T> {
    fn merge(self, mut over: Self) -> Self {
        let mut merged: Self = self
            .into_iter()
            .map(|(key, base)| match over.shift_remove(&key) {
                Some(value) => (key, base.merge(value)),
                None => (key, base),
            })
            .collect();
        merged.extend(over);
        merged
    }
}

/// Keys of a section of which only one may be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// The keys.
    pub(super) keys: &'static [&'static str],
    /// Whether one must be written.
    pub(super) required: bool,
}

/// Collects problems and secrets on the way through a configuration.
pub(super) struct Checker<'s> {
    source: &'s Arc<Source>,
    tree: &'s Tree,
    overlay: Option<Overlay>,
    problems: Vec<Problem>,
    secrets: Vec<Secret>,
    scope: Vec<String>,
}

/// What is checked was merged: from what stands below `base`, and from what stands below `over`.
struct Overlay {
    base: Path,
    over: Path,
}

impl<'s> Checker<'s> {
    pub(super) fn new(source: &'s Arc<Source>, tree: &'s Tree) -> Self {
        Self {
            source,
            tree,
            overlay: None,
            problems: Vec::new(),
            secrets: Vec::new(),
            scope: RUN.iter().map(ToString::to_string).collect(),
        }
    }

    /// Checks something whose values below `base` were overridden by those below `over`.
    pub(super) fn overlaid<T>(&mut self, base: Path, over: Path, check: impl FnOnce(&mut Self) -> T) -> T {
        self.overlay = Some(Overlay { base, over });
        let checked = check(self);
        self.overlay = None;
        checked
    }

    /// Checks something whose templates may use other names.
    pub(super) fn in_scope<T>(&mut self, names: Vec<String>, check: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.scope, names);
        let checked = check(self);
        self.scope = outer;
        checked
    }

    /// The names that a template may use here.
    pub(super) fn scope(&self) -> &[String] {
        &self.scope
    }

    /// Checks something, and gives the secrets that it names.
    pub(super) fn noting_secrets<T>(&mut self, check: impl FnOnce(&mut Self) -> T) -> (T, Vec<Secret>) {
        let before = std::mem::take(&mut self.secrets);
        let checked = check(self);
        (checked, std::mem::replace(&mut self.secrets, before))
    }

    /// Notes that the value at `at` is wrong.
    pub(super) fn problem(&mut self, at: &Path, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Problem::new(self.written(at), message, fix));
    }

    /// Notes a problem that is of a kind of its own.
    pub(super) fn problem_of(
        &mut self,
        code: crate::promotion::fault::Code,
        at: &Path,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(Problem { code, ..Problem::new(self.written(at), message, fix) });
    }

    /// Notes that the key at `at` is wrong.
    pub(super) fn key_problem(&mut self, at: &Path, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Problem { on_key: true, ..Problem::new(self.written(at), message, fix) });
    }

    /// Notes that `key` is missing at `at`.
    pub(super) fn missing(&mut self, at: &Path, key: &str) {
        self.key_problem(at, format!("`{key}` is missing"), format!("add `{key}`"));
    }

    pub(super) fn push(&mut self, mut problem: Problem) {
        problem.on_key |= self.tree.at(&problem.path).is_some_and(Tree::is_container);
        self.problems.push(problem);
    }

    /// Checks that at most one of the keys of each choice was written, and one where one must be.
    pub(super) fn choices(&mut self, at: &Path, choices: &[Choice], written: &[String]) -> bool {
        let mut good = true;
        for choice in choices {
            let chosen: Vec<&str> =
                choice.keys.iter().copied().filter(|key| written.iter().any(|one| one == key)).collect();
            match chosen.as_slice() {
                [] if choice.required => {
                    let fix = format!("add one of {}", listed(choice.keys));
                    self.key_problem(at, format!("none of {} is given", listed(choice.keys)), fix);
                    good = false;
                }
                [] | [_] => {}
                [first, second, ..] => {
                    self.key_problem(
                        &at.key(*second),
                        format!("{} exclude each other", listed(&chosen)),
                        format!("keep one of them, e.g. `{first}`"),
                    );
                    good = false;
                }
            }
        }
        good
    }

    /// Checks that none of `keys` was written, because they mean something only beside others.
    pub(super) fn belongs(&mut self, at: &Path, written: &[String], keys: &[&str], beside: &[&str]) -> bool {
        let mut good = true;
        for key in keys.iter().filter(|key| written.iter().any(|one| one == *key)) {
            self.key_problem(
                &at.key(*key),
                format!("`{key}` means nothing here: it belongs to {}", listed(beside)),
                "delete it, or choose the other",
            );
            good = false;
        }
        good
    }

    /// Whether a list was written at `at`.
    pub(super) fn is_list(&self, at: &Path) -> bool {
        matches!(self.tree.at(&self.written(at)), Some(Tree::List(_)))
    }

    /// Takes in the name of a secret.
    pub(super) fn secret(&mut self, at: &Path, name: &str) -> Secret {
        let secret = Secret::new(name, self.source, self.written(at));
        self.secrets.push(secret.clone());
        secret
    }

    /// Where in the file the value at `at` was written, or would have been.
    fn written(&self, at: &Path) -> Path {
        let Some((overlay, below)) =
            self.overlay.as_ref().and_then(|overlay| Some((overlay, at.below(&overlay.base)?)))
        else {
            return at.clone();
        };
        let over: Path =
            overlay.over.segments().iter().chain(below).cloned().collect::<Vec<Segment>>().into_iter().collect();
        let depth = |path: &Path, root: &Path| self.tree.depth(path).saturating_sub(root.segments().len());
        let (in_base, in_over) = (depth(at, &overlay.base), depth(&over, &overlay.over));
        if in_over > 0 && in_over >= in_base { over } else { at.clone() }
    }

    /// The end: all problems, in the order of the file.
    pub(super) fn finish(self) -> Result<(), ConfigErrors> {
        let Self { source, tree, problems, .. } = self;
        // One mistake in an environment is met again in each service that overrides something there.
        let mut met = HashSet::new();
        let mut problems: Vec<_> = problems
            .into_iter()
            .filter(|problem| met.insert((problem.path.clone(), problem.message.clone())))
            .map(|problem| (tree.order(&problem.path), problem))
            .collect();
        problems.sort_by(|a, b| a.0.cmp(&b.0));
        let unshown = problems.len().saturating_sub(MAX_SHOWN);
        let shown: Vec<ConfigError> =
            problems.into_iter().take(MAX_SHOWN).map(|(_, problem)| source.locate(problem)).collect();
        ConfigErrors::gather(shown, unshown)
    }
}
