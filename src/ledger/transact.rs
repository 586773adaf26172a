//! How a transaction is run: bounded in time, again where another was in the way, and honest about what is in doubt.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::LedgerError;
use super::projection::Folded;
use super::session::{Access, Database, Trouble};
use super::store::Store;
use super::transaction::Transaction;
use crate::crashpoint;
use crate::promotion::event::Record;
use crate::promotion::retry::{RetryClass, RetryPolicy};

/// How patiently a transaction that met another is tried again.
const WHEN_MET: RetryPolicy =
    RetryPolicy { attempts: 12, initial: Duration::from_millis(20), factor: 1.7, max: Duration::from_millis(800) };

/// How often a transaction that finds something there that may be there only once is tried: the second time it should
/// see it before it adds it.
const CLASHES: u32 = 3;

/// How long the end of a transaction may take beyond its limit.
const ENDING: Duration = Duration::from_secs(10);

/// What a transaction that writes has done, once it is committed.
pub(super) struct Done<T> {
    /// What the caller is told.
    pub(super) answer: T,
    /// The records that it adds.
    pub(super) added: Vec<Record>,
    /// The run as it then is.
    pub(super) folded: Option<Folded>,
}

impl<T> Done<T> {
    /// No record was added.
    pub(super) const fn nothing(answer: T) -> Self {
        Self { answer, added: Vec::new(), folded: None }
    }

    /// The same with another answer.
    pub(super) fn map<U>(self, answer: impl FnOnce(T) -> U) -> Done<U> {
        Done { answer: answer(self.answer), added: self.added, folded: self.folded }
    }
}

/// Why a transaction is not known to be committed.
pub(super) enum Undone<T> {
    /// It is not.
    Known(LedgerError),
    /// It may be; if so, this is what it did.
    InDoubt(T, String),
}

/// Runs work in a transaction, again where another was in the way. The work is an expression in which the transaction
/// has the given name, and `?` and `return` end the attempt; it is a `Result<_, Trouble>`.
///
/// A macro, because a closure that borrows from its surroundings and from the transaction cannot be shown to be `Send`.
macro_rules! in_transaction {
    ($store:expr, $what:literal, $access:expr, |$transaction:ident| $work:expr) => {{
        let mut turn = $crate::ledger::transact::Turn::new($what, $access);
        loop {
            let ended = match turn.begin(&$store.database).await {
                Ok(mut begun) => {
                    let done: Result<_, $crate::ledger::session::Trouble> = async {
                        let $transaction = &mut begun;
                        $work
                    }
                    .await;
                    turn.end(begun, done).await
                }
                Err(trouble) => Err(trouble),
            };
            if let Some(ended) = turn.settle(ended).await {
                break ended;
            }
        }
    }};
}

/// Runs work that only reads: `Result<T, Trouble>` becomes `Result<T, LedgerError>`.
macro_rules! reading {
    ($store:expr, $what:literal, |$transaction:ident| $work:expr) => {
        $crate::ledger::transact::Undone::answer($crate::ledger::transact::in_transaction!(
            $store,
            $what,
            $crate::ledger::session::Access::Read,
            |$transaction| $work
        ))
    };
}

/// Runs work that writes: `Result<Done<T>, Trouble>` becomes `Result<T, LedgerError>`.
macro_rules! writing {
    ($store:expr, $what:literal, $access:ident, |$transaction:ident| $work:expr) => {
        $store.settle($crate::ledger::transact::in_transaction!(
            $store,
            $what,
            $crate::ledger::session::Access::$access,
            |$transaction| $work
        ))
    };
}

pub(super) use {in_transaction, reading, writing};

impl<T> Undone<T> {
    /// The answer of a transaction that has written nothing, so that nothing can be in doubt.
    pub(super) fn answer(ended: Result<T, Self>) -> Result<T, LedgerError> {
        ended.map_err(|undone| match undone {
            Self::Known(error) => error,
            Self::InDoubt(_, why) => LedgerError::Unreachable(why),
        })
    }
}

impl<D: Database> Store<D> {
    /// The answer of a transaction that writes. What may be in the ledger is told exactly.
    pub(super) fn settle<T>(&self, ended: Result<Done<T>, Undone<Done<T>>>) -> Result<T, LedgerError> {
        match ended {
            Ok(done) => {
                self.remember(done.folded);
                Ok(done.answer)
            }
            Err(Undone::Known(error)) => Err(error),
            Err(Undone::InDoubt(done, why)) if done.added.is_empty() => Err(LedgerError::Unreachable(why)),
            Err(Undone::InDoubt(done, why)) => Err(LedgerError::InDoubt { why, records: done.added }),
        }
    }
}

/// The attempts at one transaction.
pub(super) struct Turn {
    what: &'static str,
    access: Access,
    attempt: u32,
}

impl Turn {
    /// Before the first attempt at `what`.
    pub(super) const fn new(what: &'static str, access: Access) -> Self {
        Self { what, access, attempt: 1 }
    }

    /// Begins an attempt.
    pub(super) async fn begin(&self, database: &impl Database) -> Result<Transaction, Trouble> {
        crashpoint::pass(&format!("ledger begin {}", self.what));
        let deadline = Instant::now() + self.access.limit();
        match timeout_at(deadline, database.begin(self.access)).await {
            Ok(session) => Ok(Transaction::new(session?, database.statements(), deadline)),
            Err(_) => Err(silent()),
        }
    }

    /// Ends an attempt: commits what was done, or gives it up.
    pub(super) async fn end<T>(
        &self,
        transaction: Transaction,
        done: Result<T, Trouble>,
    ) -> Result<Result<T, Undone<T>>, Trouble> {
        let (session, deadline) = transaction.into_session();
        let value = match done {
            Ok(value) => value,
            Err(broken @ Trouble::Broken(_)) => return Err(broken),
            Err(trouble) => {
                // If this fails the connection is dropped, which ends the transaction too.
                let _ = timeout_at(Instant::now() + ENDING, session.rollback()).await;
                return Err(trouble);
            }
        };
        match timeout_at(deadline + ENDING, session.commit()).await.unwrap_or_else(|_| Err(silent())) {
            Ok(()) => {
                crashpoint::pass(&format!("ledger commit {}", self.what));
                Ok(Ok(value))
            }
            // What was read was read.
            Err(_) if self.access == Access::Read => Ok(Ok(value)),
            Err(Trouble::Broken(why)) => Ok(Err(Undone::InDoubt(value, why))),
            Err(trouble) => Err(trouble),
        }
    }

    /// Says how it ended, or nothing when it is to be tried again, after the wait before that.
    pub(super) async fn settle<T>(
        &mut self,
        ended: Result<Result<T, Undone<T>>, Trouble>,
    ) -> Option<Result<T, Undone<T>>> {
        let why = match ended {
            Ok(ended) => return Some(ended),
            Err(Trouble::Final(error)) => return Some(Err(Undone::Known(error))),
            Err(Trouble::Broken(why)) => return Some(Err(Undone::Known(LedgerError::Unreachable(why)))),
            Err(Trouble::Clash(why)) if self.attempt >= CLASHES => {
                return Some(Err(Undone::Known(LedgerError::Corrupt(why))));
            }
            Err(Trouble::Clash(why) | Trouble::Again(why)) => why,
        };
        let Some(wait) = WHEN_MET.wait(self.attempt, RetryClass::Passing { after: None }, rand::random()) else {
            let why = format!("others were in the way {} times: {why}", self.attempt);
            return Some(Err(Undone::Known(LedgerError::Unreachable(why))));
        };
        tokio::time::sleep(wait).await;
        self.attempt += 1;
        None
    }
}

/// The trouble with a database that does not answer in time.
pub(super) fn silent() -> Trouble {
    Trouble::Broken("it does not answer in time".to_owned())
}
