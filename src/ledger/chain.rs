//! The audit chain: each record's hash covers its text, its place, its time and the record before.
//!
//! Nothing here does I/O: records may come from a database, from an exported file or from a test. A chain shows that
//! what is there was not changed. It cannot show that its end was cut off; for that its head is kept in places that
//! whoever can write the database cannot write, and compared with [`Audit::finish`](super::Audit::finish).

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::Head;
use crate::promotion::event::{Event, Link, Record};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;

/// What the first record of a run has in the place of the hash before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Keeps these hashes apart from every other use of SHA-256.
const DOMAIN: &[u8] = b"tidegate event 1";

/// The most bytes of one event's text. A larger one is never written, so a larger one is never read either.
pub const MAX_TEXT: usize = 16 * 1024 * 1024;

/// A record as it is kept, its event not yet read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The run.
    pub run: DeploymentId,
    /// The place in the run, from 1.
    pub seq: u64,
    /// When it was recorded, to the millisecond.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub at: DateTime<Utc>,
    /// The hash of the record before.
    pub previous: String,
    /// The hash of this record.
    pub hash: String,
    /// The event as text, exactly as hashed.
    #[serde(rename = "event")]
    pub text: String,
}

fn write_time<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*at))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc()).map_err(serde::de::Error::custom)
}

/// A time as it is hashed and written: RFC 3339 in UTC, with milliseconds and `Z`.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Entry {
    /// Reads the event. Nothing is verified.
    ///
    /// # Errors
    /// [`Flaw::Unreadable`] when the text is no event.
    pub fn read(self) -> Result<Record, Break> {
        match serde_json::from_str(&self.text) {
            Ok(event) => Ok(Record {
                run: self.run,
                seq: self.seq,
                at: self.at,
                previous: self.previous,
                hash: self.hash,
                text: self.text,
                event,
            }),
            Err(error) => Err(Break { run: self.run, seq: self.seq, flaw: Flaw::Unreadable(error.to_string()) }),
        }
    }

    /// The hash that this entry must have.
    #[must_use]
    pub fn computed_hash(&self) -> String {
        hash(&self.run, self.seq, self.at, &self.previous, &self.text)
    }
}

impl From<&Record> for Entry {
    fn from(record: &Record) -> Self {
        Self {
            run: record.run.clone(),
            seq: record.seq,
            at: record.at,
            previous: record.previous.clone(),
            hash: record.hash.clone(),
            text: record.text.clone(),
        }
    }
}

/// The hash of a record: SHA-256 over a domain and the five fields, each with its length before it, so that no two
/// different records are the same bytes.
#[must_use]
pub fn hash(run: &DeploymentId, seq: u64, at: DateTime<Utc>, previous: &str, text: &str) -> String {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(DOMAIN);
    field(run.as_str().as_bytes());
    field(&seq.to_be_bytes());
    field(timestamp(at).as_bytes());
    field(previous.as_bytes());
    field(text.as_bytes());
    hex::encode(hasher.finalize())
}

/// An event that cannot be recorded: a defect of the program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event of kind {kind} cannot be recorded: {why}")]
pub struct Unrecordable {
    /// The event's kind.
    pub kind: &'static str,
    /// Why it cannot.
    pub why: String,
}

/// An event's canonical text: its JSON, with fields in the order of the type and maps by key.
///
/// # Errors
/// When the text would be too large, or would not be read back as the same event.
pub fn canonical_text(event: &Event) -> Result<String, Unrecordable> {
    let refuse = |why: String| Unrecordable { kind: event.kind(), why };
    let text = serde_json::to_string(event).map_err(|error| refuse(error.to_string()))?;
    if text.len() > MAX_TEXT {
        return Err(refuse(format!("it has {} bytes, and {MAX_TEXT} is the most", text.len())));
    }
    if *event == Event::Unknown {
        return Err(refuse("this version does not know it".to_owned()));
    }
    match serde_json::from_str::<Event>(&text) {
        Ok(read) if read == *event => Ok(text),
        Ok(_) => Err(refuse("it reads back as another event".to_owned())),
        Err(error) => Err(refuse(error.to_string())),
    }
}

/// Makes the record that follows `head`. The time is cut to the millisecond.
///
/// # Errors
/// See [`canonical_text`].
pub fn seal(head: &Head, at: DateTime<Utc>, event: &Event) -> Result<Record, Unrecordable> {
    let text = canonical_text(event)?;
    let at = to_millisecond(at);
    let seq = head.seq + 1;
    let hash = hash(&head.run, seq, at, &head.hash, &text);
    Ok(Record { run: head.run.clone(), seq, at, previous: head.hash.clone(), hash, text, event: event.clone() })
}

/// The head of a run that has no records yet.
#[must_use]
pub fn before_first(run: DeploymentId) -> Head {
    Head { run, seq: 0, hash: GENESIS.to_owned() }
}

/// A time without what is below the millisecond.
#[must_use]
pub fn to_millisecond(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}

/// Where a chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run {run}, event {seq}: {flaw}")]
pub struct Break {
    /// The run.
    pub run: DeploymentId,
    /// The place in it.
    pub seq: u64,
    /// What is wrong there.
    pub flaw: Flaw,
}

/// What is wrong with a record, a link or an anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It belongs to another run than the records before it.
    OtherRun(DeploymentId),
    /// Events are missing before it.
    Missing {
        /// The place that should have come.
        expected: u64,
    },
    /// It is out of order, or there twice.
    Reordered {
        /// The place that should have come.
        expected: u64,
    },
    /// It names another record as the one before.
    WrongPrevious {
        /// The hash of the record before.
        expected: String,
        /// What it names.
        found: String,
    },
    /// Its hash is not that of its content: text, time or place was edited.
    Edited {
        /// The hash of what is there.
        computed: String,
        /// The hash that is recorded.
        recorded: String,
    },
    /// It is older than the record before.
    BackInTime,
    /// Its text is no event.
    Unreadable(String),
    /// It cannot follow the events before it.
    Unfoldable(String),
    /// It names an event of another run that is not there.
    LinkMissing(Link),
    /// It names an event of another run that has another hash.
    LinkChanged {
        /// What it names.
        link: Link,
        /// The hash of the event there.
        found: String,
    },
    /// A sequence number was passed over before it.
    NumberMissing {
        /// The service.
        service: String,
        /// The number that nobody has.
        number: u64,
    },
    /// Its sequence number was taken before.
    NumberTwice {
        /// The service.
        service: String,
        /// The number.
        number: u64,
        /// Who has it too.
        other: DeploymentId,
    },
    /// An anchor tells of this event, and it is not there: the end of the run was cut off, or the run removed.
    CutOff {
        /// The place of the last event that is there; 0 when there is none.
        last: u64,
    },
    /// An anchor tells of this event with another hash: the run was rewritten.
    Rewritten {
        /// The hash that the anchor tells.
        anchored: String,
        /// The hash that is there.
        found: String,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherRun(run) => write!(f, "it follows an event of run {run}"),
            Self::Missing { expected } => write!(f, "event {expected} is missing before it"),
            Self::Reordered { expected } => write!(f, "it is out of order: event {expected} should be here"),
            Self::WrongPrevious { expected, found } => {
                write!(f, "it names {found} as the hash before it, which is {expected}")
            }
            Self::Edited { computed, recorded } => {
                write!(f, "it was edited: its hash is {recorded}, its content has {computed}")
            }
            Self::BackInTime => f.write_str("it is older than the event before it"),
            Self::Unreadable(why) => write!(f, "its text is no event: {why}"),
            Self::Unfoldable(why) => f.write_str(why),
            Self::LinkMissing(link) => {
                write!(f, "it names event {} of run {}, which is not there", link.seq, link.run)
            }
            Self::LinkChanged { link, found } => write!(
                f,
                "it names event {} of run {} with the hash {}, and that event has {found}",
                link.seq, link.run, link.hash
            ),
            Self::NumberMissing { service, number } => {
                write!(f, "sequence number {number} of {service} is missing before it")
            }
            Self::NumberTwice { service, number, other } => {
                write!(f, "sequence number {number} of {service} belongs to run {other} too")
            }
            Self::CutOff { last: 0 } => f.write_str("an anchor tells of it, and the run is not there"),
            Self::CutOff { last } => {
                write!(f, "an anchor tells of it, and the run ends at event {last}: its end was cut off")
            }
            Self::Rewritten { anchored, found } => {
                write!(f, "an anchor tells the hash {anchored}, and it has {found}: the run was rewritten")
            }
        }
    }
}

impl From<Break> for Fault {
    fn from(broken: Break) -> Self {
        Self::new(Code::AuditBroken, broken.to_string())
    }
}

/// Walks along a chain, one entry at a time.
struct Walk<'a> {
    run: &'a DeploymentId,
    seq: u64,
    hash: &'a str,
    at: Option<DateTime<Utc>>,
}

impl<'a> Walk<'a> {
    /// Takes the next entry; `rest` are those after it, to tell a missing entry from one that is elsewhere.
    fn step(&mut self, entry: &'a Entry, rest: &[Entry]) -> Result<(), Break> {
        let flaw = |flaw| Err(Break { run: entry.run.clone(), seq: entry.seq, flaw });
        let expected = self.seq + 1;
        if entry.run != *self.run {
            return flaw(Flaw::OtherRun(self.run.clone()));
        }
        if entry.seq != expected {
            let elsewhere = entry.seq < expected || rest.iter().any(|later| later.seq == expected);
            return flaw(if elsewhere { Flaw::Reordered { expected } } else { Flaw::Missing { expected } });
        }
        if entry.previous != self.hash {
            return flaw(Flaw::WrongPrevious { expected: self.hash.to_owned(), found: entry.previous.clone() });
        }
        let computed = entry.computed_hash();
        // A time is hashed to the millisecond, so anything below it was not there when it was.
        if computed != entry.hash || to_millisecond(entry.at) != entry.at {
            return flaw(Flaw::Edited { computed, recorded: entry.hash.clone() });
        }
        if self.at.is_some_and(|before| entry.at < before) {
            return flaw(Flaw::BackInTime);
        }
        self.seq = entry.seq;
        self.hash = &entry.hash;
        self.at = Some(entry.at);
        Ok(())
    }
}

/// Verifies that entries follow `head`, without folding them.
///
/// # Errors
/// The first break.
pub fn verify_after(head: &Head, entries: &[Entry]) -> Result<(), Break> {
    let mut walk = Walk { run: &head.run, seq: head.seq, hash: &head.hash, at: None };
    for (place, entry) in entries.iter().enumerate() {
        walk.step(entry, &entries[place + 1..])?;
    }
    Ok(())
}

/// Verifies all entries of one run: that they are whole, in order, unedited, and fold. An empty list has no head.
///
/// # Errors
/// The first break.
pub fn verify(entries: &[Entry]) -> Result<Option<Head>, Break> {
    let Some(first) = entries.first() else { return Ok(None) };
    verify_after(&before_first(first.run.clone()), entries)?;
    let records = entries.iter().cloned().map(Entry::read).collect::<Result<Vec<_>, _>>()?;
    let run = Run::fold(&records).map_err(|illegal| Break {
        run: first.run.clone(),
        seq: illegal.seq,
        flaw: Flaw::Unfoldable(illegal.to_string()),
    })?;
    Ok(Some(Head::of(&run)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::ledger::invented::{Environment, Move, forge};
    use crate::promotion::event::Decision;

    proptest! {
        #[test]
        fn what_was_recorded_verifies(environment in Environment::any(3)) {
            let runs = environment.entries();
            for (entries, (folded, _)) in runs.iter().zip(&environment.runs) {
                prop_assert_eq!(verify(entries), Ok(Some(Head::of(&folded.run))));
            }
        }

        #[test]
        fn any_edit_is_found(environment in Environment::any(1), at in any::<Index>(), field in 0..5, byte in any::<Index>()) {
            let mut entries = environment.entries().remove(0);
            let place = at.index(entries.len());
            let seq = entries[place].seq;
            let entry = &mut entries[place];
            let change = |text: &mut String| {
                let place = text.char_indices().map(|(place, _)| place).nth(byte.index(text.chars().count())).unwrap();
                let c = text.remove(place);
                text.insert(place, if c == '0' { '1' } else { '0' });
            };
            match field {
                0 => change(&mut entry.text),
                1 => change(&mut entry.hash),
                2 => change(&mut entry.previous),
                3 => entry.at += chrono::TimeDelta::microseconds(byte.index(1_000_000) as i64 + 1),
                _ => entry.seq += 1 + byte.index(3) as u64,
            }
            let broken = verify(&entries).unwrap_err();
            prop_assert!(broken.seq == seq || field == 4, "{broken}");
        }

        #[test]
        fn a_swap_is_found(environment in Environment::any(1), a in any::<Index>(), b in any::<Index>()) {
            let mut entries = environment.entries().remove(0);
            let (a, b) = (a.index(entries.len()), b.index(entries.len()));
            prop_assume!(a != b);
            entries.swap(a, b);
            let broken = verify(&entries).unwrap_err();
            let expected = a.min(b) as u64 + 1;
            prop_assert_eq!(broken.flaw, Flaw::Reordered { expected });
        }

        #[test]
        fn a_deletion_in_the_middle_is_found(environment in Environment::any(1), at in any::<Index>()) {
            let mut entries = environment.entries().remove(0);
            let place = at.index(entries.len() - 1);
            entries.remove(place);
            let broken = verify(&entries).unwrap_err();
            let expected = place as u64 + 1;
            prop_assert_eq!((broken.seq, broken.flaw), (expected + 1, Flaw::Missing { expected }));
        }

        #[test]
        fn texts_of_different_places_never_have_one_hash(a in any::<[u64; 2]>(), texts in any::<[String; 2]>()) {
            let run: DeploymentId = "1732185300-0123456789ab".parse().unwrap();
            let at = DateTime::UNIX_EPOCH;
            let one = hash(&run, a[0], at, &texts[0], &texts[1]);
            // The same bytes, cut elsewhere.
            let all = format!("{}{}", texts[0], texts[1]);
            for cut in all.char_indices().map(|(place, _)| place).chain([all.len()]) {
                let (left, right) = all.split_at(cut);
                prop_assert_eq!(hash(&run, a[0], at, left, right) == one, left == texts[0]);
            }
            prop_assert_eq!(hash(&run, a[1], at, &texts[0], &texts[1]) == one, a[0] == a[1]);
        }
    }

    #[test]
    fn the_hash_is_what_it_always_was() {
        // Whoever changes this cannot verify the past.
        let head = before_first("1732185300-0123456789ab".parse().unwrap());
        let at = "2026-11-21T14:23:00.1239Z".parse().unwrap();
        let record = seal(&head, at, &Event::VisitEnded { decision: Decision::Wait }).unwrap();
        assert_eq!(record.text, r#"{"kind":"visit-ended","decision":"wait"}"#);
        assert_eq!(timestamp(record.at), "2026-11-21T14:23:00.123Z");
        assert_eq!(record.hash, "29f671254b49b22a44bbb3e094d9fc1257bf690dbed2617f7efac1472725027d");
    }

    #[test]
    fn an_event_of_a_later_version_is_kept_and_verified_and_never_written() {
        let environment = Environment::with_runs(1);
        let mut entries = environment.entries().remove(0);
        let mut later = entries[0].clone();
        later.text = r#"{"kind":"from-the-future","more":[1,2]}"#.into();
        entries.push(later);
        forge(&mut entries);
        assert!(verify(&entries).is_ok());
        assert!(canonical_text(&Event::Unknown).is_err());
    }

    #[test]
    fn a_forger_still_has_to_tell_a_story_that_can_be() {
        let mut environment = Environment::with_runs(2);
        environment.play(0, &Move::Sequence(0));
        environment.play(1, &Move::Sequence(0));
        environment.play(0, &Move::Visit);
        let runs = environment.entries();

        let mut twice = runs[0].clone();
        twice.push(Entry { at: twice[2].at, ..twice[1].clone() });
        forge(&mut twice);
        assert!(matches!(verify(&twice).unwrap_err().flaw, Flaw::Unfoldable(_)));

        let mut unreadable = runs[0].clone();
        unreadable[2].text = r#"{"kind":"visit-ended"}"#.into();
        forge(&mut unreadable);
        assert!(matches!(verify(&unreadable).unwrap_err(), Break { seq: 3, flaw: Flaw::Unreadable(_), .. }));

        let mut older = runs[0].clone();
        older[2].at = older[0].at;
        forge(&mut older);
        assert!(matches!(verify(&older).unwrap_err(), Break { seq: 3, flaw: Flaw::BackInTime, .. }));

        let mut mixed = runs[0].clone();
        mixed.push(runs[1][1].clone());
        assert!(matches!(verify(&mixed).unwrap_err().flaw, Flaw::OtherRun(_)));
    }
}
