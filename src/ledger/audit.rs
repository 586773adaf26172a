//! The audit of many runs: each one's chain, what ties them together, and anchors from outside.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::Head;
use super::chain::{Break, Entry, Flaw, verify};
use super::lines::{Entries, LineError};
use crate::promotion::event::{Event, Link};
use crate::promotion::identity::DeploymentId;

/// Verifies many runs, what ties them together, and anchors from outside.
///
/// Runs are given one after the other, in any order, so that a large ledger need not be in memory at once.
#[derive(Debug, Default)]
pub struct Audit {
    hashes: BTreeMap<DeploymentId, BTreeMap<u64, String>>,
    links: Vec<(DeploymentId, u64, Link)>,
    numbers: BTreeMap<(String, String, String), Vec<Number>>,
    heads: BTreeMap<DeploymentId, Head>,
    breaks: Vec<Break>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    number: u64,
    run: DeploymentId,
    seq: u64,
}

/// What an [`Audit`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The head of every run whose own chain holds.
    pub heads: BTreeMap<DeploymentId, Head>,
    /// Every break: at most one in each run, and all of those between runs and against anchors.
    pub breaks: Vec<Break>,
}

impl Audit {
    /// Takes in all entries of one run, as they are kept.
    pub fn take(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        match verify(entries) {
            Ok(Some(head)) => drop(self.heads.insert(first.run.clone(), head)),
            Ok(None) => {}
            Err(broken) => self.breaks.push(broken),
        }
        // What a broken run says of others is still looked at, so that one break does not hide another.
        let mut place = None;
        for entry in entries {
            self.hashes.entry(entry.run.clone()).or_default().insert(entry.seq, entry.hash.clone());
            match serde_json::from_str(&entry.text) {
                Ok(Event::RunOpened(opening)) => {
                    place = Some((opening.scope.clone(), opening.environment.clone()));
                    self.links.extend(opening.predecessor.map(|link| (entry.run.clone(), entry.seq, link)));
                }
                Ok(Event::SequenceTaken { service, number }) => {
                    if let Some((scope, environment)) = place.clone() {
                        self.numbers.entry((scope, environment, service)).or_default().push(Number {
                            number,
                            run: entry.run.clone(),
                            seq: entry.seq,
                        });
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Takes in all runs of a file. Each run's records are in their order; runs may be mixed.
    ///
    /// # Errors
    /// The first line that is no record; nothing was taken in then.
    pub fn take_lines(&mut self, file: impl BufRead) -> Result<(), LineError> {
        let mut runs: BTreeMap<DeploymentId, Vec<Entry>> = BTreeMap::new();
        for entry in Entries::new(file) {
            let entry = entry?;
            runs.entry(entry.run.clone()).or_default().push(entry);
        }
        runs.values().for_each(|entries| self.take(entries));
        Ok(())
    }

    /// Ends the audit. `whole` says that every run of the ledger was taken in: only then a link to a run that was not is
    /// a break, and only then sequence numbers must begin at 1 and have no gap. Anchors are heads that runs had
    /// at some time, from wherever they were kept.
    #[must_use]
    pub fn finish(mut self, whole: bool, anchors: &[Head]) -> Audited {
        self.check_links(whole);
        self.check_numbers(whole);
        for anchor in anchors {
            self.check_anchor(anchor);
        }
        Audited { heads: self.heads, breaks: self.breaks }
    }

    fn check_links(&mut self, whole: bool) {
        for (run, seq, link) in std::mem::take(&mut self.links) {
            let there = self.hashes.get(&link.run);
            let flaw = match there.map(|hashes| hashes.get(&link.seq)) {
                Some(Some(found)) if *found == link.hash => continue,
                Some(Some(found)) => Flaw::LinkChanged { found: found.clone(), link },
                Some(None) => Flaw::LinkMissing(link),
                None if whole => Flaw::LinkMissing(link),
                None => continue,
            };
            self.breaks.push(Break { run, seq, flaw });
        }
    }

    fn check_numbers(&mut self, whole: bool) {
        for ((_, _, service), mut numbers) in std::mem::take(&mut self.numbers) {
            numbers.sort_unstable();
            let mut before: Option<&Number> = None;
            for one in &numbers {
                let expected = before.map_or(1, |before| before.number + 1);
                let flaw = match before {
                    Some(before) if before.number == one.number => Some(Flaw::NumberTwice {
                        service: service.clone(),
                        number: one.number,
                        other: before.run.clone(),
                    }),
                    _ if whole && one.number != expected => {
                        Some(Flaw::NumberMissing { service: service.clone(), number: expected })
                    }
                    _ => None,
                };
                self.breaks.extend(flaw.map(|flaw| Break { run: one.run.clone(), seq: one.seq, flaw }));
                before = Some(one);
            }
        }
    }

    fn check_anchor(&mut self, anchor: &Head) {
        let there = self.hashes.get(&anchor.run);
        let flaw = match there.and_then(|hashes| hashes.get(&anchor.seq)) {
            Some(found) if *found == anchor.hash => return,
            Some(found) => Flaw::Rewritten { anchored: anchor.hash.clone(), found: found.clone() },
            None => Flaw::CutOff { last: there.and_then(BTreeMap::last_key_value).map_or(0, |(last, _)| *last) },
        };
        self.breaks.push(Break { run: anchor.run.clone(), seq: anchor.seq, flaw });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::ledger::invented::{Environment, Move, forge, head_of};
    use crate::ledger::lines;

    fn audit(runs: &[Vec<Entry>], anchors: &[Head]) -> Vec<Break> {
        let mut audit = Audit::default();
        runs.iter().for_each(|entries| audit.take(entries));
        audit.finish(true, anchors).breaks
    }

    proptest! {
        #[test]
        fn what_was_recorded_verifies_against_every_head_it_ever_had(environment in Environment::any(3)) {
            let runs = environment.entries();
            let anchors: Vec<_> = runs.iter().flatten().map(|entry| head_of(std::slice::from_ref(entry))).collect();
            prop_assert_eq!(audit(&runs, &anchors), vec![]);
        }

        #[test]
        fn a_file_is_audited_like_a_database(environment in Environment::any(3), at in any::<Index>()) {
            let runs = environment.entries();
            let longest = runs.iter().map(Vec::len).max().unwrap_or_default();
            let mut mixed: Vec<_> = (0..longest).flat_map(|seq| runs.iter().filter_map(move |run| run.get(seq))).collect();
            let breaks = |entries: &[&Entry]| {
                let mut file = Vec::new();
                entries.iter().for_each(|entry| lines::write(&mut file, entry).unwrap());
                let mut audit = Audit::default();
                audit.take_lines(file.as_slice()).unwrap();
                audit.finish(true, &[]).breaks
            };
            prop_assert_eq!(breaks(&mixed), vec![]);
            let gone = mixed.remove(at.index(mixed.len()));
            // The last of a run may leave no trace but in an anchor.
            let last = runs.iter().any(|run| run.last() == Some(gone));
            prop_assert!(last || !breaks(&mixed).is_empty());
        }

        #[test]
        fn a_cut_end_is_found_with_an_anchor_alone(environment in Environment::any(1), at in any::<Index>()) {
            let mut entries = environment.entries().remove(0);
            let anchor = head_of(&entries);
            let keep = 1 + at.index(entries.len() - 1);
            entries.truncate(keep);
            prop_assert!(verify(&entries).is_ok());
            let breaks = audit(&[entries], std::slice::from_ref(&anchor));
            let flaw = Flaw::CutOff { last: keep as u64 };
            prop_assert_eq!(breaks, vec![Break { run: anchor.run, seq: anchor.seq, flaw }]);
        }

        #[test]
        fn a_history_that_was_written_anew_is_found_with_an_anchor_alone(environment in Environment::any(1), at in any::<Index>()) {
            let mut entries = environment.entries().remove(0);
            let anchor = head_of(&entries);
            let place = at.index(entries.len());
            entries[place].at -= chrono::TimeDelta::milliseconds(1);
            forge(&mut entries);
            prop_assert!(verify(&entries).is_ok());
            let breaks = audit(&[entries], std::slice::from_ref(&anchor));
            let rewritten = matches!(breaks.as_slice(), [Break { flaw: Flaw::Rewritten { .. }, .. }]);
            prop_assert!(rewritten, "{breaks:?}");
        }

        #[test]
        fn a_run_that_vanished_between_two_others_is_found(environment in Environment::any(3)) {
            let mut runs = environment.entries();
            let gone = runs.remove(1);
            let breaks = audit(&runs, &[]);
            let missing = breaks.iter().any(|broken| {
                matches!(&broken.flaw, Flaw::LinkMissing(link) if link.run == gone[0].run && link.seq == 1)
            });
            prop_assert!(missing, "{breaks:?}");
            let cut = Flaw::CutOff { last: 0 };
            prop_assert!(audit(&runs, &[head_of(&gone)]).iter().any(|broken| broken.flaw == cut));
        }
    }

    #[test]
    fn numbers_that_are_missing_or_there_twice_are_found() {
        let mut environment = Environment::with_runs(2);
        environment.play(0, &Move::Sequence(0));
        environment.play(1, &Move::Sequence(0));
        let runs = environment.entries();
        // As if the second run had another number.
        let number = |entries: &[Entry], number: u64| {
            let mut entries = entries.to_vec();
            let text = format!(r#""number":{number}"#);
            entries[1].text = entries[1].text.replace(r#""number":1"#, &text).replace(r#""number":2"#, &text);
            forge(&mut entries);
            entries
        };
        let flaws = |breaks: Vec<Break>| breaks.into_iter().map(|broken| broken.flaw).collect::<Vec<_>>();
        assert_eq!(
            flaws(audit(&[runs[0].clone(), number(&runs[1], 3)], &[])),
            [Flaw::NumberMissing { service: "api".into(), number: 2 }]
        );
        assert_eq!(
            flaws(audit(&[runs[0].clone(), number(&runs[1], 1)], &[])),
            [Flaw::NumberTwice { service: "api".into(), number: 1, other: runs[0][0].run.clone() }]
        );
        let mut part = Audit::default();
        part.take(&runs[1]);
        assert_eq!(part.finish(false, &[]).breaks, []);
    }

    #[test]
    fn a_link_to_an_event_that_was_changed_is_found() {
        let environment = Environment::with_runs(2);
        let mut runs = environment.entries();
        runs[0][0].at -= chrono::TimeDelta::seconds(1);
        forge(&mut runs[0]);
        let breaks = audit(&runs, &[]);
        assert!(matches!(breaks.as_slice(), [Break { seq: 1, flaw: Flaw::LinkChanged { .. }, .. }]), "{breaks:?}");
    }
}
