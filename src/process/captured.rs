//! What a program printed, as much of it as is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;

/// How long the last line may be, in characters.
const LINE: usize = 400;

/// What a program printed: all of it, or its beginning and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// How many bytes between the two were thrown away.
    lost: u64,
}

impl Captured {
    /// Whether something between its beginning and its end was thrown away.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.lost > 0
    }

    /// The text, with a note where something was thrown away (untrusted).
    #[must_use]
    pub fn text(&self) -> String {
        let (first, second) = self.tail.as_slices();
        let mut bytes = self.head.clone();
        if self.is_cut() {
            bytes.extend_from_slice(format!("\n[{} bytes left out]\n", self.lost).as_bytes());
        }
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last line that is not empty (untrusted).
    #[must_use]
    pub fn last_line(&self) -> Option<String> {
        let text = self.text();
        let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(last.chars().take(LINE).collect())
    }

    /// Takes in more, of which at most `limit` bytes are kept together with what is there.
    fn take(&mut self, bytes: &[u8], limit: usize) {
        let room = (limit / 2).saturating_sub(self.head.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(limit - limit / 2);
        self.tail.drain(..over);
        self.lost += over as u64;
    }
}

/// Reads what a program prints, as long as it does.
pub(super) struct Capture {
    captured: Arc<Mutex<Captured>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    /// Begins to read; `limit` bytes are kept.
    pub(super) fn of(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, limit: usize) -> Self {
        let captured = Arc::<Mutex<Captured>>::default();
        let sink = Arc::clone(&captured);
        let reader = pipe.map(|mut pipe| {
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
                    sink.lock().unwrap_or_else(PoisonError::into_inner).take(&buffer[..length], limit);
                }
            })
        });
        Self { captured, reader }
    }

    /// What was printed until now.
    pub(super) fn so_far(&self) -> Captured {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was printed, once everybody has closed the pipe, or the patience is over.
    pub(super) async fn finish(&mut self, patience: Duration) -> Captured {
        if let Some(mut reader) = self.reader.take()
            && tokio::time::timeout(patience, &mut reader).await.is_err()
        {
            reader.abort();
        }
        self.so_far()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn beginning_and_end_are_kept(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20), limit in 0usize..200) {
            let mut captured = Captured::default();
            for part in &parts {
                captured.take(part, limit);
            }
            let whole: Vec<u8> = parts.concat();
            let kept = captured.head.len() + captured.tail.len();
            prop_assert!(kept <= limit);
            prop_assert_eq!(kept as u64 + captured.lost, whole.len() as u64);
            prop_assert!(whole.starts_with(&captured.head));
            prop_assert!(whole.ends_with(captured.tail.make_contiguous()));
            prop_assert_eq!(captured.is_cut(), whole.len() > limit);
        }
    }
}
