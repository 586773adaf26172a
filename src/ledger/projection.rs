//! From a run's events to its rows in the derived tables. Pure.
//!
//! Appending writes the rows that an event changes, rebuilding writes all of them, and both ask this; so both give the
//! same rows. What is not a function of events (a renewed lease's end) is in no row that is at rest.

use chrono::{DateTime, Utc};

use super::LEASE_TTL;
use super::session::Value;
use super::statements::Statements;
use crate::promotion::event::{Event, Record};
use crate::promotion::run::{Candidate, IllegalEvent, Run};
use crate::promotion::state::State;

/// A run, folded, with what its rows need beyond that.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    /// The run.
    pub(super) run: Run,
    leased: Option<Leased>,
}

/// The last lease that a run took.
#[derive(Debug, Clone, Copy)]
struct Leased {
    token: u64,
    at: DateTime<Utc>,
    released: bool,
}

impl Folded {
    /// Folds a run's records.
    pub(super) fn fold(records: &[Record]) -> Result<Self, IllegalEvent> {
        let run = Run::fold(records)?;
        let leased = records.iter().fold(None, Leased::after);
        Ok(Self { run, leased })
    }

    /// Takes in the next record.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), IllegalEvent> {
        self.run.apply(record)?;
        self.leased = Leased::after(self.leased, record);
        Ok(())
    }

    /// All rows of the run, in the order of the tables and, within one, of the events.
    pub(super) fn rows(&self) -> Vec<Derived> {
        let mut rows = vec![self.run_row(), self.lease_row()];
        for (place, candidate) in self.run.candidates.iter().enumerate() {
            rows.push(self.candidate_row(place, candidate));
            rows.extend(self.counter_row(candidate));
        }
        rows.extend(self.fault_rows());
        rows.extend(self.bad_digest_rows());
        rows.extend(self.outbox_rows());
        rows
    }

    /// The rows that are not as they were.
    pub(super) fn changed_rows(&self, before: &Self) -> Vec<Derived> {
        let known = before.rows();
        self.rows().into_iter().filter(|row| !known.contains(row)).collect()
    }

    fn run_row(&self) -> Derived {
        let run = &self.run;
        let opening = &run.opening;
        Derived {
            table: Table::Run,
            values: vec![
                Value::text(run.id.as_str()),
                Value::maybe(opening.key.as_ref().map(|key| key.as_str())),
                Value::text(&opening.scope),
                Value::text(&opening.environment),
                Value::text(opening.operation.name()),
                Value::text(&opening.requestor),
                Value::maybe(opening.actor.as_deref()),
                Value::maybe(opening.reason.as_deref()),
                Value::maybe(opening.commit.as_deref()),
                Value::maybe(opening.git_ref.as_deref()),
                Value::maybe(opening.workflow.as_ref().map(|workflow| workflow.run_id.as_str())),
                Value::maybe(opening.rolls_back.as_ref().map(|id| id.as_str())),
                Value::text(run.state.name()),
                Value::number(run.seq),
                Value::text(&run.head),
                Value::Flag(run.changed_the_world()),
                Value::number(run.unsettled().count() as u64),
                Value::time(run.opened_at),
                Value::time(run.updated_at),
                Value::Time(run.ended.as_ref().map(|ended| ended.at)),
                Value::Number(run.ended.as_ref().map(|ended| i64::from(ended.exit.code()))),
                Value::maybe(run.ended.as_ref().and_then(|ended| ended.reason).map(|code| code.name())),
                Value::text(&self.comments()),
            ],
        }
    }

    /// What a person wants to know at a glance: why it was asked for, what was overruled, what the other side said to its
    /// deployment, what went wrong.
    fn comments(&self) -> String {
        let run = &self.run;
        let forced = run.forced.as_ref().map(|forced| format!("forced by {}: {}", forced.by, forced.reason));
        let fault = run.ended.as_ref().filter(|ended| ended.state != State::CompletedSuccessfully);
        let fault = fault.and_then(|_| run.decisive_fault()).map(|fault| fault.to_string());
        let said = run.candidates.iter().filter_map(|candidate| candidate.deployed.as_ref()?.message.clone());
        let told = [run.opening.reason.clone(), forced].into_iter().flatten().chain(said).chain(fault);
        told.collect::<Vec<_>>().join("; ")
    }

    fn candidate_row(&self, place: usize, candidate: &Candidate) -> Derived {
        let run = &self.run;
        let planned = run.plan.as_ref().and_then(|(plan, _)| plan.candidate(&candidate.service));
        let previous = planned.and_then(|planned| planned.image.as_ref()).and_then(|image| image.previous());
        let digest = candidate.digest.as_ref().map(|digest| digest.as_str());
        let version = run.version(&candidate.service).or(digest);
        let status = match &run.ended {
            None => "",
            Some(ended) if ended.state == State::CompletedSuccessfully => "SUCCESS",
            Some(_) => "FAILURE",
        };
        Derived {
            table: Table::Candidate,
            values: vec![
                Value::text(run.id.as_str()),
                Value::text(&candidate.service),
                Value::number(place as u64),
                Value::text(&run.opening.scope),
                Value::text(&run.opening.environment),
                candidate.sequence.map_or(Value::Number(None), Value::number),
                Value::text(version.unwrap_or_default()),
                Value::maybe(digest),
                Value::maybe(previous.map(|digest| digest.as_str())),
                Value::Flag(candidate.moved),
                Value::text(status),
            ],
        }
    }

    fn counter_row(&self, candidate: &Candidate) -> Option<Derived> {
        let opening = &self.run.opening;
        candidate.sequence.map(|number| Derived {
            table: Table::Counter,
            values: vec![
                Value::text(&opening.scope),
                Value::text(&opening.environment),
                Value::text(&candidate.service),
                Value::number(number),
            ],
        })
    }

    /// What the run says of its environment's lease. Of all runs that speak of one, the greatest token is right.
    fn lease_row(&self) -> Derived {
        let opening = &self.run.opening;
        let held = self.leased.filter(|leased| !leased.released);
        Derived {
            table: Table::Lease,
            values: vec![
                Value::text(&opening.scope),
                Value::text(&opening.environment),
                Value::number(self.leased.map_or(0, |leased| leased.token)),
                Value::maybe(held.map(|_| self.run.id.as_str())),
                Value::Time(held.map(|leased| leased.at + LEASE_TTL)),
            ],
        }
    }

    fn fault_rows(&self) -> impl Iterator<Item = Derived> {
        let run = self.run.id.as_str();
        self.run.faults.iter().map(move |faulted| {
            let fault = &faulted.fault;
            Derived {
                table: Table::Fault,
                values: vec![
                    Value::text(run),
                    Value::number(faulted.seq),
                    Value::time(faulted.at),
                    Value::maybe(fault.stage.map(|stage| stage.name())),
                    Value::maybe(fault.service.as_deref()),
                    Value::text(fault.code.name()),
                    Value::text(fault.category.name()),
                    Value::text(fault.severity.name()),
                    Value::text(&fault.message),
                    Value::text(&fault.fix),
                ],
            }
        })
    }

    fn bad_digest_rows(&self) -> impl Iterator<Item = Derived> {
        let run = &self.run;
        run.bad_digests.iter().map(move |bad| Derived {
            table: Table::BadDigest,
            values: vec![
                Value::text(run.id.as_str()),
                Value::number(bad.seq),
                Value::time(bad.at),
                Value::text(&run.opening.scope),
                Value::text(&run.opening.environment),
                Value::text(&bad.service),
                Value::text(bad.digest.as_str()),
                Value::text(&bad.because),
            ],
        })
    }

    fn outbox_rows(&self) -> impl Iterator<Item = Derived> {
        let run = self.run.id.as_str();
        self.run.notifications.iter().map(move |notification| Derived {
            table: Table::Outbox,
            values: vec![
                Value::text(run),
                Value::text(&notification.topic),
                Value::text(&notification.channel),
                Value::number(notification.seq),
                Value::maybe(notification.delivery.map(|(delivery, _)| delivery.name())),
                Value::number(notification.delivery.map_or(0, |(_, attempts)| u64::from(attempts))),
            ],
        })
    }
}

impl Leased {
    fn after(leased: Option<Self>, record: &Record) -> Option<Self> {
        match record.event {
            Event::LeaseTaken { token } => Some(Self { token, at: record.at, released: false }),
            Event::LeaseReleased { token } => {
                leased.map(|leased| Self { released: leased.released || leased.token == token, ..leased })
            }
            _ => leased,
        }
    }
}

/// A derived table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Run,
    Candidate,
    Fault,
    BadDigest,
    Lease,
    Counter,
    Outbox,
}

impl Table {
    /// The statement that puts a row into it, with the row's values as arguments.
    pub(super) const fn put(self, sql: &Statements) -> &'static str {
        match self {
            Self::Run => sql.put_run,
            Self::Candidate => sql.put_candidate,
            Self::Fault => sql.put_fault,
            Self::BadDigest => sql.put_bad_digest,
            Self::Lease => sql.put_lease,
            Self::Counter => sql.put_counter,
            Self::Outbox => sql.put_outbox,
        }
    }
}

/// A row of a derived table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Derived {
    /// The table.
    pub(super) table: Table,
    /// The values, in the order of the table's statement.
    pub(super) values: Vec<Value>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ledger::invented::{Environment, moves};

    /// Tables without a database: rows by table and key, put as the statements put them.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Tables(BTreeMap<String, Vec<Value>>);

    impl Tables {
        fn put(&mut self, row: Derived) {
            let key = match row.table {
                Table::Run => 1,
                Table::Candidate | Table::Fault | Table::BadDigest | Table::Lease => 2,
                Table::Counter | Table::Outbox => 3,
            };
            let key = format!("{:?} {:?}", row.table, &row.values[..key]);
            let number = |values: &[Value], place: usize| match values[place] {
                Value::Number(Some(number)) => number,
                _ => panic!("no number"),
            };
            let stays = self.0.get(&key).is_some_and(|there| match row.table {
                Table::Lease => number(there, 2) > number(&row.values, 2),
                Table::Counter => number(there, 3) >= number(&row.values, 3),
                _ => false,
            });
            if !stays {
                self.0.insert(key, row.values);
            }
        }
    }

    proptest! {
        #[test]
        fn rows_written_one_event_after_the_other_are_those_of_a_rebuild(
            steps in prop::collection::vec((0..3usize, moves()), 0..120),
            order in Just(vec![0usize, 1, 2]).prop_shuffle(),
        ) {
            let mut environment = Environment::with_runs(3);
            let mut tables = Tables::default();
            for (folded, _) in &environment.runs {
                folded.rows().into_iter().for_each(|row| tables.put(row));
            }
            for (run, step) in &steps {
                if let Some(before) = environment.play(*run, step) {
                    environment.runs[*run].0.changed_rows(&before).into_iter().for_each(|row| tables.put(row));
                }
            }
            let mut rebuilt = Tables::default();
            for run in order {
                let folded = Folded::fold(&environment.runs[run].1).unwrap();
                folded.rows().into_iter().for_each(|row| rebuilt.put(row));
            }
            prop_assert_eq!(tables, rebuilt);
        }
    }

    #[test]
    fn no_row_holds_what_postgresql_cannot() {
        let environment = Environment::with_runs(1);
        for row in environment.runs[0].0.rows() {
            for value in row.values {
                assert!(!matches!(&value, Value::Text(Some(text)) if text.contains('\0')), "{value:?}");
            }
        }
    }
}
