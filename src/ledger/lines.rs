//! Records in a file: one JSON object a line, `{run, seq, at, previous, hash, event}`, where `event` is the event's
//! text as a string, exactly as hashed.
//!
//! An exported ledger and the file that stands in for a database that is away are both written so, and
//! [`chain`](super::chain) verifies what is read from either.

use std::io::{self, BufRead, Read as _, Write};

use super::LedgerError;
use super::chain::{Entry, MAX_TEXT};

/// The most bytes of a line. JSON at most doubles a text that is JSON already (each quote and backslash gets another).
pub const MAX_LINE: usize = 2 * MAX_TEXT + 1024;

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    #[source]
    pub why: Unreadable,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file could not be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is longer than any record.
    #[error("it is longer than {MAX_LINE} bytes")]
    TooLong,
    /// It is no record.
    #[error("it is no record: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The file ends in the middle of it.
    #[error("the file ends in the middle of it")]
    Torn,
}

impl From<LineError> for LedgerError {
    fn from(error: LineError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// Writes an entry as one line.
///
/// # Errors
/// What the writer says.
pub fn write(to: &mut impl Write, entry: &Entry) -> io::Result<()> {
    // One write a line, so that a file without buffer gets it in one piece.
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads entries, line by line, in constant memory. Empty lines are passed over. After an error there is nothing more.
#[derive(Debug)]
pub struct Entries<R> {
    from: R,
    line: u64,
    good: u64,
    over: bool,
}

impl<R: BufRead> Entries<R> {
    /// Reads from here on.
    pub fn new(from: R) -> Self {
        Self { from, line: 0, good: 0, over: false }
    }

    /// The bytes up to the end of the last line that was read whole.
    #[must_use]
    pub fn good_bytes(&self) -> u64 {
        self.good
    }

    fn read(&mut self) -> Result<Option<Entry>, Unreadable> {
        loop {
            self.line += 1;
            let mut line = Vec::new();
            let limit = u64::try_from(MAX_LINE + 1).unwrap_or(u64::MAX);
            let read = (&mut self.from).take(limit).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            if line.pop_if(|last| *last == b'\n').is_none() {
                return Err(if read > MAX_LINE { Unreadable::TooLong } else { Unreadable::Torn });
            }
            let entry = if line.trim_ascii().is_empty() { None } else { Some(serde_json::from_slice(&line)?) };
            self.good += read as u64;
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = Result<Entry, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let read = self.read();
        self.over = !matches!(read, Ok(Some(_)));
        read.map_err(|why| LineError { line: self.line, why }).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::chain::{before_first, seal};
    use crate::promotion::event::{Decision, Event};

    fn entry(seq: u64) -> Entry {
        let mut head = before_first("1732185300-0123456789ab".parse().unwrap());
        head.seq = seq - 1;
        let at = "2026-11-21T14:23:00Z".parse().unwrap();
        Entry::from(&seal(&head, at, &Event::VisitEnded { decision: Decision::Wait }).unwrap())
    }

    fn file(entries: &[Entry]) -> Vec<u8> {
        let mut file = Vec::new();
        for entry in entries {
            write(&mut file, entry).unwrap();
        }
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let entries = [entry(1), entry(2)];
        let mut bytes = file(&entries);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with(
            r#"{"run":"1732185300-0123456789ab","seq":1,"at":"2026-11-21T14:23:00.000Z","previous":"000000"#
        ));
        bytes.extend_from_slice(b"\n  \n");
        let read: Vec<_> = Entries::new(bytes.as_slice()).map(Result::unwrap).collect();
        assert_eq!(read, entries);
    }

    #[test]
    fn a_bad_line_is_named_and_ends_the_reading() {
        let mut bytes = file(&[entry(1)]);
        let good = bytes.len() as u64;
        for (what, says) in [
            ("nonsense\n", "line 2: it is no record"),
            ("{}\n", "line 2: it is no record: missing field"),
            (r#"{"run":"173"#, "line 2: the file ends in the middle of it"),
        ] {
            let mut all = bytes.clone();
            all.extend_from_slice(what.as_bytes());
            let mut entries = Entries::new(all.as_slice());
            assert!(entries.next().unwrap().is_ok());
            let error = entries.next().unwrap().unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
            assert!(entries.next().is_none());
            assert_eq!(entries.good_bytes(), good);
        }
        bytes.extend(std::iter::repeat_n(b'x', MAX_LINE + 5));
        let error = Entries::new(bytes.as_slice()).nth(1).unwrap().unwrap_err();
        assert!(matches!(error.why, Unreadable::TooLong), "{error}");
    }
}
