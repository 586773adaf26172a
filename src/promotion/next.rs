//! What a run does next: pure decisions over the fold.

use super::asking::Refusal;
use super::event::{Conclusion, Decision, Operation};
use super::fault::{Code, Exit};
use super::health::Health;
use super::run::Run;
use super::stage::Stage;
use super::state::State;

/// What a visit does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Begin a stage, or take it up again.
    Begin(Stage),
    /// Take back what was deployed, or go on with that.
    RollBack,
    /// Let the run go; a later visit goes on.
    Leave(Decision),
    /// End the run.
    End(Ending),
    /// The run is over already.
    Over,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// In which state.
    pub state: State,
    /// With which exit code.
    pub exit: Exit,
    /// What decided it.
    pub reason: Option<Code>,
}

/// What comes next in a run, when the visit is to end after `until`.
///
/// Stages come in their order, each once, and again only where a visit was cut off in it, or where the plan was made
/// anew after it. A stage that failed or errored leads to the report at once. A plan with nothing to do does too.
#[must_use]
pub fn next(run: &Run, until: Option<Stage>) -> Next {
    if run.ended.is_some() {
        return Next::Over;
    }
    let report =
        || if run.conclusion(Stage::Report).is_some() { Next::End(ending(run)) } else { Next::Begin(Stage::Report) };
    for stage in Stage::ALL {
        if stage == Stage::Report {
            return report();
        }
        match standing(run, stage) {
            None => return Next::Begin(stage),
            Some(Conclusion::Failed | Conclusion::Errored) if is_rollback_due(run, stage) => return Next::RollBack,
            Some(Conclusion::Failed | Conclusion::Errored) => return report(),
            Some(Conclusion::Done | Conclusion::Skipped) => {}
        }
        if stage == Stage::Conditions && run.plan.as_ref().is_some_and(|(plan, _)| plan.stages.is_empty()) {
            return report();
        }
        if until == Some(stage) {
            return Next::Leave(Decision::Proceed);
        }
    }
    report()
}

/// How a stage ended, as far as that still counts: what came before the plan was last begun was about another plan.
fn standing(run: &Run, stage: Stage) -> Option<Conclusion> {
    let begun = |stage: Stage| run.stages.iter().rposition(|one| one.stage == stage);
    if begun(stage)? < begun(Stage::Conditions)? { None } else { run.conclusion(stage) }
}

/// Whether what was deployed has to be taken back: it was found not to live, or was not found to live in time. What could
/// not be told, such as for a secret that a later job lacks, is no reason, and a rollback is never rolled back.
fn is_rollback_due(run: &Run, failed: Stage) -> bool {
    let dead = || run.health.verdict.as_ref().is_some_and(|(health, _)| *health == Health::Unhealthy);
    let late =
        || run.faults.iter().any(|one| one.fault.code == Code::DeadlinePassed && one.fault.stage == Some(failed));
    run.opening.operation == Operation::Promote
        && failed == Stage::Verification
        && run.rollback.good.is_none()
        && run.changed_the_world()
        && (dead() || late())
}

/// How a run ends, by how its stages ended and what went wrong.
#[must_use]
pub fn ending(run: &Run) -> Ending {
    let failed =
        Stage::ALL.into_iter().any(|stage| run.conclusion(stage).is_some_and(|conclusion| !conclusion.lets_go_on()));
    if !failed {
        return Ending { state: State::CompletedSuccessfully, exit: Exit::Done, reason: None };
    }
    if let Some(refusal) = run.asking.as_ref().and_then(|asking| asking.refusal.as_ref()) {
        let (state, reason) = match refusal {
            Refusal::Rejected { .. } => (State::Rejected, Code::ApprovalRejected),
            Refusal::TimedOut { .. } => (State::Cancelled, Code::ApprovalTimedOut),
        };
        return Ending { state, exit: Exit::Refused, reason: Some(reason) };
    }
    let reason = run.decisive_fault().map(|fault| fault.code);
    match run.rollback.good {
        Some(true) => return Ending { state: State::RolledBack, exit: Exit::RolledBack, reason },
        Some(false) => {
            let reason = Some(Code::RollbackFailed);
            return Ending { state: State::RollbackFailed, exit: Exit::RollbackFailed, reason };
        }
        None => {}
    }
    if run.opening.operation == Operation::Rollback && run.changed_the_world() {
        return Ending { state: State::RollbackFailed, exit: Exit::RollbackFailed, reason };
    }
    match run.took_back() {
        Some(true) => return Ending { state: State::RolledBack, exit: Exit::RolledBack, reason },
        Some(false) => return Ending { state: State::RollbackFailed, exit: Exit::RollbackFailed, reason },
        None => {}
    }
    // What was deployed, and neither found to live nor taken back.
    let unknown = run.opening.operation == Operation::Promote
        && run.changed_the_world()
        && run.conclusion(Stage::Verification).is_some_and(|conclusion| !conclusion.lets_go_on());
    let untold =
        unknown || reason.is_some_and(|code| code == Code::DeploymentUncertain || code.exit() == Exit::Inconclusive);
    if untold {
        return Ending { state: State::Inconclusive, exit: Exit::Inconclusive, reason };
    }
    let exit = match reason {
        Some(code) if !run.changed_the_world() => code.exit(),
        _ => Exit::Failed,
    };
    Ending { state: State::Failed, exit, reason }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::*;
    use crate::promotion::act::{Act, Outcome};
    use crate::promotion::digest::Digest;
    use crate::promotion::event::{Event, Opening, Record, Traffic, VisitOpening};
    use crate::promotion::fault::Fault;
    use crate::promotion::identity::DeploymentId;
    use crate::promotion::plan::{Estimate, Plan};

    /// A run whose events are written straight into the fold.
    struct Journal {
        run: Run,
        records: Vec<Record>,
    }

    impl Journal {
        fn new() -> Self {
            let at = DateTime::from_timestamp(1_732_185_300, 0).unwrap();
            let record = record(&DeploymentId::new(at, "abc"), 1, at, Event::RunOpened(Box::new(Opening::invented())));
            let run = Run::fold([&record]).unwrap();
            Self { run, records: vec![record] }
        }

        fn write(&mut self, event: Event) {
            let record =
                record(&self.run.id, self.run.seq + 1, self.run.updated_at + TimeDelta::milliseconds(5), event);
            self.run.apply(&record).unwrap_or_else(|error| panic!("{error}; the state is {}", self.run.state));
            self.records.push(record);
        }

        fn enter(&mut self, to: State) {
            if self.run.state != to {
                self.write(Event::StateChanged { to });
            }
        }
    }

    fn record(run: &DeploymentId, seq: u64, at: DateTime<Utc>, event: Event) -> Record {
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "an event must be read as it was written");
        Record { run: run.clone(), seq, at, previous: String::new(), hash: format!("{seq:064}"), text, event }
    }

    /// What a stage may come to.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Good,
        Bad,
        CutOff,
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![6 => Just(Fate::Good), 1 => Just(Fate::Bad), 2 => Just(Fate::CutOff)]
    }

    fn until() -> impl Strategy<Value = Option<Stage>> {
        proptest::option::of(proptest::sample::select(&Stage::ALL[..7]))
    }

    /// Plays one stage as a visit would.
    fn play(journal: &mut Journal, stage: Stage, fate: Fate, plan: &Plan) {
        journal.enter(State::working(stage));
        journal.write(Event::StageStarted { stage });
        let mut open = None;
        if stage == Stage::Conditions {
            journal.write(Event::Planned {
                plan: Box::new(plan.clone()),
                hash: plan.hash(),
                estimate: Estimate::default(),
            });
        }
        if stage == Stage::Copy {
            journal.write(Event::Intent { stage, act: Act::MoveTags { moves: Vec::new() } });
            open = Some(journal.run.seq);
        }
        let conclusion = match fate {
            Fate::CutOff => {
                journal.write(Event::Interrupted { cause: "crash".to_owned() });
                return;
            }
            Fate::Good => Conclusion::Done,
            Fate::Bad => Conclusion::Failed,
        };
        if let Some(intent) = open.filter(|_| conclusion == Conclusion::Done) {
            journal.write(Event::Settled { intent, outcome: Outcome::TagsMoved { found: false } });
        }
        let after = match (stage, conclusion) {
            (Stage::Approval, Conclusion::Done) => Some(State::ApprovalGranted),
            (Stage::Validation, Conclusion::Done) => Some(State::ValidationPassed),
            (Stage::Validation, _) => Some(State::ValidationFailed),
            (Stage::Copy, Conclusion::Done) => Some(State::PromotionSucceeded),
            (Stage::Copy, _) => Some(State::PromotionFailed),
            (Stage::Report, _) => Some(State::NotificationsSent),
            _ => None,
        };
        if let Some(to) = after {
            journal.enter(to);
        }
        if conclusion == Conclusion::Failed {
            journal.write(Event::Faulted(Box::new(Fault::new(Code::CheckFailed, "x").in_stage(stage))));
        }
        journal.write(Event::StageEnded { stage, conclusion, note: None, traffic: Traffic::default() });
    }

    proptest! {
        /// Whatever happens in the stages, wherever visits end, and however often the plan is made anew: no illegal event
        /// is ever needed, the run ends, it ends once, nothing is changed that the last plan was not validated for, and
        /// the fold of its records is what was folded on the way.
        #[test]
        fn every_run_ends_and_no_illegal_event_is_needed(
            fates in proptest::collection::vec(fate(), 60), untils in proptest::collection::vec(until(), 30), nothing_to_do: bool,
            anew in proptest::collection::vec(proptest::bool::weighted(0.2), 20),
        ) {
            let plan = Plan {
                environment: "production".to_owned(),
                candidates: Vec::new(),
                stages: if nothing_to_do { Vec::new() } else { Stage::ALL.to_vec() },
                configuration: Some(Digest::sha256(b"")),
                inputs: std::collections::BTreeMap::new(),
            };
            let mut journal = Journal::new();
            let mut fates = fates.into_iter();
            let mut untils = untils.into_iter().chain(std::iter::repeat(None));
            let mut anew = anew.into_iter();
            let mut visits = 0;
            'run: loop {
                visits += 1;
                prop_assert!(visits < 200, "the run does not end");
                let until = untils.next().flatten();
                journal.write(Event::VisitStarted(VisitOpening { number: visits, until, ..VisitOpening::default() }));
                loop {
                    match next(&journal.run, until) {
                        Next::Begin(stage) => {
                            // Before the first change, whoever takes the lease may find that the plan must be made anew.
                            let may = stage > Stage::Approval && stage < Stage::Report && !journal.run.changed_the_world();
                            let stage = if may && anew.next() == Some(true) { Stage::Conditions } else { stage };
                            if stage == Stage::Copy {
                                let begun = |stage| journal.run.stages.iter().rposition(|one| one.stage == stage);
                                prop_assert!(begun(Stage::Conditions) < begun(Stage::Approval));
                                prop_assert!(begun(Stage::Approval) < begun(Stage::Validation));
                            }
                            // When the fates run out everything goes well.
                            let fate = fates.next().unwrap_or(Fate::Good);
                            play(&mut journal, stage, fate, &plan);
                            if matches!(fate, Fate::CutOff) {
                                break;
                            }
                        }
                        Next::RollBack => {
                            journal.enter(State::RollingBack);
                            journal.write(Event::RollbackBegun { run: journal.run.id.next_second() });
                            if matches!(fates.next(), Some(Fate::CutOff)) {
                                journal.write(Event::Interrupted { cause: "crash".to_owned() });
                                break;
                            }
                            let good = !matches!(fates.next(), Some(Fate::Bad));
                            journal.enter(State::RollingBack);
                            let run = journal.run.rollback.run.clone();
                            journal.write(Event::RollbackEnded { run, good, to: std::collections::BTreeMap::new() });
                            journal.enter(if good { State::RolledBack } else { State::RollbackFailed });
                        }
                        Next::Leave(decision) => {
                            journal.write(Event::VisitEnded { decision });
                            break;
                        }
                        Next::End(ending) => {
                            journal.write(Event::RunEnded { state: ending.state, exit: ending.exit, reason: ending.reason });
                            break 'run;
                        }
                        Next::Over => prop_assert!(false, "over without an end"),
                    }
                }
            }
            prop_assert_eq!(next(&journal.run, None), Next::Over);
            let ended = journal.run.ended.clone().unwrap();
            let good = ended.state == State::CompletedSuccessfully;
            prop_assert_eq!(good, ended.exit == Exit::Done);
            if nothing_to_do {
                prop_assert!(!journal.run.changed_the_world());
            }
            prop_assert_eq!(Run::fold(&journal.records).unwrap(), journal.run);
        }

        /// Any event whatever either follows or is refused, and a refused one changes nothing.
        #[test]
        fn a_refused_event_changes_nothing(states in proptest::collection::vec(proptest::sample::select(&State::ALL[..]), 1..40)) {
            let mut journal = Journal::new();
            for to in states {
                let event = if State::FINAL.contains(&to) {
                    Event::RunEnded { state: to, exit: Exit::Failed, reason: None }
                } else {
                    Event::StateChanged { to }
                };
                let before = journal.run.clone();
                let next = record(&before.id, before.seq + 1, before.updated_at, event);
                if journal.run.apply(&next).is_err() {
                    prop_assert_eq!(&journal.run, &before);
                } else {
                    prop_assert!(before.state.may_become(to) && before.ended.is_none());
                }
            }
        }
    }
}
