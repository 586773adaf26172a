//! What is run on a host.

use std::time::Duration;

use bytes::Bytes;

use crate::process::OUTPUT_LIMIT;

/// A command for a host: a program with its arguments. What a shell there would do with them it does not: each word
/// arrives as it is. A script is a word too: `sh -c script name arguments…`.
#[derive(Debug, Clone)]
pub struct Command {
    pub(super) words: Vec<String>,
    pub(super) input: Option<Bytes>,
    pub(super) timeout: Duration,
    pub(super) output_limit: usize,
}

impl Command {
    /// A program and its arguments. It gets no input, ten minutes, and [`OUTPUT_LIMIT`]. Others on the host can read
    /// the words: they must hold no secret; [`Command::input`] may.
    #[must_use]
    pub fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
            input: None,
            timeout: Duration::from_secs(600),
            output_limit: OUTPUT_LIMIT,
        }
    }

    /// The same, with this as its input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Bytes>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// The same, with so much time.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, with so much of its output kept: of each of the two, in bytes.
    #[must_use]
    pub const fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    /// The program, for people.
    pub(super) fn program(&self) -> String {
        self.words.first().cloned().unwrap_or_default()
    }

    /// The words as one line for the shell of the host, which is all that SSH carries (RFC 4254, section 6.5).
    pub(super) fn line(&self) -> String {
        self.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A word that a POSIX shell takes as it is (POSIX, Shell Command Language, 2.2.2).
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@%+,".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_word_arrives_as_it_is(words in prop::collection::vec("[^\0]{0,12}", 1..4)) {
            let mut line = "printf '%s\\0' ".to_owned();
            line.push_str(&Command::new(words.clone()).line());
            let printed = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
            let arrived: Vec<&[u8]> = printed.stdout.split(|byte| *byte == 0).collect();
            let sent: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            prop_assert_eq!(&arrived[..arrived.len() - 1], &sent[..]);
        }
    }
}
