//! Numbered places at which a debug build can be made to abort, to prove that a killed run is resumed.
//!
//! Every HTTP request has two (before it is sent, after its answer) and every ledger transaction has two (before it
//! begins, after it was committed). In a release build there are none.

/// Passes the next crash point. With `TIDEGATE_CRASH_AT=k` in the environment of a debug build the k-th one aborts the
/// process; with `TIDEGATE_CRASH_LOG=file` each one appends a line with its number and name.
#[cfg(debug_assertions)]
pub(crate) fn pass(name: &str) {
    use std::io::Write as _;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PASSED: AtomicU64 = AtomicU64::new(0);
    static CRASH_AT: LazyLock<Option<u64>> = LazyLock::new(|| std::env::var("TIDEGATE_CRASH_AT").ok()?.parse().ok());
    static LOG: LazyLock<Option<std::ffi::OsString>> = LazyLock::new(|| std::env::var_os("TIDEGATE_CRASH_LOG"));

    let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(path) = &*LOG
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{number} {name}");
    }
    if *CRASH_AT == Some(number) {
        std::process::abort();
    }
}

/// Nothing: a release build has no crash points.
#[cfg(not(debug_assertions))]
pub(crate) fn pass(_name: &str) {}
