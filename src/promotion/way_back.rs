//! Which digest an environment returns to: a pure choice, with a reason for each that is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::identity::DeploymentId;

/// A digest that an environment has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// The digest.
    pub digest: Digest,
    /// The run that put it there; none for one that was there before there were runs.
    pub run: Option<DeploymentId>,
    /// Whether it was found to live: its run ended well, or it answered well right before it was replaced.
    pub verified: bool,
    /// How long it was there after that; none where nobody knows.
    pub lived: Option<Duration>,
}

/// What a choice is made by.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What runs now.
    pub current: Option<Digest>,
    /// How long one must have lived.
    pub lived: Duration,
    /// How many different digests back it may go.
    pub depth: u32,
    /// Those that turned out bad, and why.
    pub bad: BTreeMap<Digest, String>,
    /// Those that cannot be had any more, and why.
    pub lost: BTreeMap<Digest, String>,
}

/// A digest that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PassedOver {
    /// The digest.
    pub digest: Digest,
    /// Why (may quote others: untrusted).
    pub because: String,
}

/// What an environment returns to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The digest; none where nothing will do.
    pub target: Option<Former>,
    /// Those that are newer and will not do.
    pub passed_over: Vec<PassedOver>,
}

/// A version that an environment has had, of a service without an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerVersion {
    /// The version.
    pub version: String,
    /// Whether the run that put it there ended well.
    pub verified: bool,
    /// Whether it was put there by a rollback: then what was there before it is not gone back to.
    pub by_rollback: bool,
}

/// The newest version that was verified, is another than the current one, and was not left by a rollback since.
/// `formers` are in the order of their time, the newest first.
#[must_use]
pub fn choose_version<'f>(formers: &'f [FormerVersion], current: Option<&str>) -> Option<&'f str> {
    let mut left: BTreeSet<&str> = BTreeSet::new();
    let mut newer: Option<&FormerVersion> = None;
    for former in formers {
        let version = former.version.as_str();
        if newer.is_some_and(|newer| newer.by_rollback && newer.verified && newer.version != version) {
            left.insert(version);
        }
        if former.verified && Some(version) != current && !left.contains(version) {
            return Some(version);
        }
        newer = Some(former);
    }
    None
}

/// The newest digest that was verified, has lived long enough, did not turn out bad, is another than the current one and
/// can still be had. `formers` are in the order of their time, the newest first; a digest that was there several times
/// may be taken for any of them. Nothing is ever guessed: where none will do, none is chosen.
#[must_use]
pub fn choose(formers: &[Former], rules: &Rules) -> Choice {
    let mut seen: BTreeSet<&Digest> = BTreeSet::new();
    let mut passed_over: Vec<PassedOver> = Vec::new();
    for former in formers {
        if Some(&former.digest) == rules.current.as_ref() {
            continue;
        }
        seen.insert(&former.digest);
        let Some(because) = objection(former, rules, seen.len()) else {
            // What was said against it at another time does not count any more.
            passed_over.retain(|one| one.digest != former.digest);
            return Choice { target: Some(former.clone()), passed_over };
        };
        if !passed_over.iter().any(|one| one.digest == former.digest) {
            passed_over.push(PassedOver { digest: former.digest.clone(), because });
        }
    }
    Choice { target: None, passed_over }
}

/// What is to be said against a digest; nothing where it will do.
fn objection(former: &Former, rules: &Rules, depth: usize) -> Option<String> {
    if let Some(why) = rules.bad.get(&former.digest) {
        return Some(format!("it turned out bad: {why}"));
    }
    if let Some(why) = rules.lost.get(&former.digest) {
        return Some(format!("it cannot be had any more: {why}"));
    }
    if !former.verified {
        return Some("it was never found to live".to_owned());
    }
    if depth > rules.depth as usize {
        return Some(format!("it is more than {} versions back", rules.depth));
    }
    match former.lived {
        Some(lived) if lived < rules.lived => {
            Some(format!("it lived for {} only, and {} are wanted", whole(lived), whole(rules.lived)))
        }
        _ => None,
    }
}

fn whole(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::sha256(&[number])
    }

    fn former(number: u8, verified: bool, lived: u64) -> Former {
        Former { digest: digest(number), run: None, verified, lived: Some(Duration::from_secs(lived)) }
    }

    fn rules() -> Rules {
        Rules { current: Some(digest(0)), lived: Duration::from_secs(600), depth: 3, ..Rules::default() }
    }

    #[test]
    fn the_newest_that_will_do_is_chosen_and_each_other_has_its_reason() {
        let bad = BTreeMap::from([(digest(1), "it fell over".to_owned())]);
        let lost = BTreeMap::from([(digest(4), "the registry does not have it".to_owned())]);
        let rules = Rules { bad, lost, depth: 9, ..rules() };
        let formers = [
            former(0, true, 900),
            former(1, true, 900),
            former(2, false, 900),
            former(3, true, 60),
            former(4, true, 900),
            former(5, true, 900),
            former(6, true, 900),
        ];
        let choice = choose(&formers, &rules);
        assert_eq!(choice.target.unwrap().digest, digest(5));
        let reasons: Vec<&str> = choice.passed_over.iter().map(|one| one.because.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "it turned out bad: it fell over",
                "it was never found to live",
                "it lived for 1m only, and 10m are wanted",
                "it cannot be had any more: the registry does not have it",
            ]
        );
    }

    #[test]
    fn a_version_is_chosen_that_no_rollback_has_left() {
        // Newest first: the version, and `+` for a run that ended well, `-` for another, `<` for a rollback.
        let formers = |text: &str| -> Vec<FormerVersion> {
            let one = |word: &str| FormerVersion {
                version: word[..1].to_owned(),
                verified: !word.contains('-'),
                by_rollback: word.contains('<'),
            };
            text.split_whitespace().map(one).collect()
        };
        for (past, current, wanted) in [
            ("", None, None),
            ("1+", Some("1"), None),
            ("2+ 1+", Some("2"), Some("1")),
            // Taken back by itself from 3 to 2: by hand it goes on to 1, and then nowhere.
            ("2< 3- 2+ 1+", Some("2"), Some("1")),
            ("1< 2< 3- 2+ 1+", Some("1"), None),
            // A rollback that failed has left nothing.
            ("1<- 2+ 1+", Some("1"), Some("2")),
            // It lived afterwards.
            ("3+ 2+ 1< 2+ 1+", Some("3"), Some("2")),
        ] {
            assert_eq!(choose_version(&formers(past), current), wanted, "{past}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        assert_eq!(choose(&[], &rules()).target, None);
        assert_eq!(choose(&[former(0, true, 900)], &rules()), Choice { target: None, passed_over: Vec::new() });
        let choice = choose(&[former(1, false, 900), former(2, false, 1)], &rules());
        assert_eq!((choice.target, choice.passed_over.len()), (None, 2));
        // Too far back.
        let formers: Vec<Former> =
            (1..=3).map(|number| former(number, false, 0)).chain([former(4, true, 900)]).collect();
        assert_eq!(choose(&formers, &rules()).target, None);
        assert!(choose(&formers, &Rules { depth: 4, ..rules() }).target.is_some());
    }

    #[test]
    fn a_digest_that_lived_long_at_another_time_will_do() {
        let choice = choose(&[former(1, true, 5), former(2, false, 5), former(1, true, 900)], &rules());
        assert_eq!(choice.target.unwrap().digest, digest(1));
        assert_eq!(choice.passed_over.len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_is_chosen_is_allowed(
            formers in proptest::collection::vec((0..6u8, any::<bool>(), 0..1_200u64), 0..12),
            bad in proptest::collection::btree_set(0..6u8, 0..3), lost in proptest::collection::btree_set(0..6u8, 0..3),
            depth in 1..6u32,
        ) {
            let formers: Vec<Former> =
                formers.into_iter().map(|(number, verified, lived)| former(number, verified, lived)).collect();
            let named = |set: &BTreeSet<u8>| set.iter().map(|number| (digest(*number), "x".to_owned())).collect();
            let rules = Rules { bad: named(&bad), lost: named(&lost), depth, ..rules() };
            let choice = choose(&formers, &rules);
            if let Some(target) = &choice.target {
                prop_assert!(target.verified && target.lived.unwrap() >= rules.lived);
                prop_assert!(Some(&target.digest) != rules.current.as_ref());
                prop_assert!(!rules.bad.contains_key(&target.digest) && !rules.lost.contains_key(&target.digest));
                prop_assert!(!choice.passed_over.iter().any(|one| one.digest == target.digest));
            } else {
                let others: BTreeSet<&Digest> =
                    formers.iter().map(|one| &one.digest).filter(|one| Some(*one) != rules.current.as_ref()).collect();
                prop_assert_eq!(choice.passed_over.len(), others.len());
            }
        }
    }
}
