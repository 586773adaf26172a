//! Keys whose feature does not exist yet: the model has them all from the beginning, and a run that would need one is
//! refused. Nothing that somebody wrote is ever passed over in silence.

use super::environment::Environment;
use super::error::ConfigError;
use super::path::{Path, Segment};
use super::source::Problem;
use super::tree::Tree;
use crate::promotion::fault::Code;

/// A value that somebody wrote and that matters for an environment: a scalar, or a mapping or list with nothing in it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// The service whose override it is; none for the environment's own and what is at the top.
    service: Option<String>,
    /// Where it stands in the file.
    path: Path,
    /// How many steps of the path are the way to the environment or the override.
    root: usize,
    /// What it says, for keys that choose a word.
    word: Option<String>,
    /// Whether there is nothing in it. An empty section says something all the same: `monitor: {}` is a window with
    /// all defaults.
    empty: bool,
}

impl Written {
    /// Notes all that was written below `at`; its keys count from `root` on.
    pub(super) fn below(tree: &Tree, at: &Path, root: usize, service: Option<&str>, into: &mut Vec<Self>) {
        let Some(found) = tree.at(at) else { return };
        found.leaves(at, &mut |path, leaf| {
            let word = match leaf {
                Tree::Text(text) => Some(text.clone()),
                Tree::Bool(value) => Some(value.to_string()),
                _ => None,
            };
            let service = service.map(ToOwned::to_owned);
            into.push(Self { service, path: path.clone(), root, word, empty: leaf.is_container() });
        });
    }

    /// The keys, without places in lists.
    fn keys(&self) -> Vec<(usize, &str)> {
        let segments = self.path.segments().iter().enumerate().skip(self.root);
        segments
            .filter_map(|(depth, segment)| match segment {
                Segment::Key(key) => Some((depth + 1, key.as_str())),
                Segment::Index(_) => None,
            })
            .collect()
    }
}

/// A feature: the path of its key, and perhaps one word that the key may have.
struct Feature<'f> {
    keys: Vec<&'f str>,
    word: Option<&'f str>,
}

impl<'f> Feature<'f> {
    fn read(text: &'f str) -> Self {
        let (keys, word) = text.split_once('=').map_or((text, None), |(keys, word)| (keys, Some(word)));
        Self { keys: keys.split('.').collect(), word }
    }

    /// How many of the keys agree with the feature's, from the top.
    fn agreement(&self, keys: &[(usize, &str)]) -> usize {
        self.keys.iter().zip(keys).take_while(|(wanted, (_, key))| **wanted == "*" || wanted == &key).count()
    }

    /// Whether the feature is what was written, or around it. An empty section is also covered by what could be in it.
    fn covers(&self, written: &Written, keys: &[(usize, &str)]) -> bool {
        let agreement = self.agreement(keys);
        let around = agreement == self.keys.len();
        let word = self.word.is_none_or(|wanted| written.word.as_deref() == Some(wanted));
        (around && word) || (written.empty && agreement == keys.len())
    }
}

/// What an environment uses for the given services that is not among the features in `built`; one error for each,
/// naming the key at its place.
///
/// A feature is the path of a key, and stands for all below it: `gates.soak`, `deploy.http`, `health.probes.*.url`,
/// `notify.*.slack`. With a word behind it, it stands for that word alone: `validate.layers=headers`. Keys of an
/// environment and of a service's override begin at the environment; keys at the top of the file with their own name
/// (`retry`, `notify`, `services.*.image`). Only what somebody wrote is looked at; defaults are not.
#[must_use]
pub fn unbuilt(environment: &Environment, services: &[&str], built: &[&str]) -> Vec<ConfigError> {
    let built: Vec<Feature<'_>> = built.iter().map(|text| Feature::read(text)).collect();
    let mut named = Vec::new();
    for written in &environment.written {
        if written.service.as_deref().is_some_and(|service| !services.contains(&service)) {
            continue;
        }
        let keys = written.keys();
        if built.iter().any(|feature| feature.covers(written, &keys)) {
            continue;
        }
        // Where some of a section is built, the key below it is named, else the section.
        let agreement = built.iter().map(|feature| feature.agreement(&keys)).max().unwrap_or_default();
        let depth = keys.get(agreement).or(keys.last()).map_or(0, |(depth, _)| *depth);
        let path: Path = written.path.segments().iter().take(depth).cloned().collect();
        let word = written.word.as_ref().filter(|_| agreement == keys.len());
        let message = match word {
            Some(word) => format!("`{word}` is part of the configuration, and this version cannot do it yet"),
            None => "is part of the configuration, and this version cannot do it yet".to_owned(),
        };
        let problem = Problem {
            on_key: word.is_none(),
            code: Code::NotBuilt,
            ..Problem::new(path, message, Code::NotBuilt.fix())
        };
        if !named.contains(&problem) {
            named.push(problem);
        }
    }
    named.into_iter().map(|problem| environment.source.locate(problem)).collect()
}
