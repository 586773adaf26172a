//! What is told of past runs.

use tidegate::ledger::chain::Flaw;
use tidegate::ledger::{Audit, Filter, LedgerError};
use tidegate::promotion::state::State;

use super::full;
use crate::ledger::place::Place;
use crate::ledger::story::{ENVIRONMENT, SCOPE, Seen, digest, marked_bad, visit};

pub(crate) async fn the_past_is_told(place: Place) {
    let ledger = full(&place).await;
    let good = Filter { environment: Some(ENVIRONMENT.into()), service: Some("api".into()), ..Filter::default() };
    let past = ledger.past(&good).await.unwrap();
    assert_eq!(past.len(), 3);
    let [open, failed, promoted] = &past[..] else { panic!("{past:?}") };
    assert!(open.opened_at > failed.opened_at && failed.opened_at > promoted.opened_at);
    assert_eq!((open.ended, open.changed_the_world, open.moved, open.sequence), (false, true, false, None));
    assert_eq!((failed.state, failed.ended, failed.sequence), (State::Failed, true, Some(2)));
    assert_eq!(promoted.state, State::CompletedSuccessfully);
    assert_eq!((promoted.sequence, promoted.moved, promoted.changed_the_world), (Some(1), true, true));
    assert_eq!((promoted.digest.clone(), promoted.previous.clone()), (Some(digest("new")), Some(digest("old"))));
    assert_eq!((promoted.operation.as_str(), promoted.version.as_deref()), ("promote", None));
    assert_eq!(promoted.ended_at, Some(promoted.updated_at));

    let web = Filter { service: Some("web".into()), limit: Some(2), ..Filter::default() };
    let web = ledger.past(&web).await.unwrap();
    assert_eq!(web.iter().map(|past| past.version.as_deref()).collect::<Vec<_>>(), [None, Some("1.2.3")]);

    assert_eq!(ledger.past(&Filter::default()).await.unwrap().len(), 6);
    let count = async |filter: Filter| ledger.runs(&filter).await.unwrap().len();
    assert_eq!(count(Filter::default()).await, 3);
    assert_eq!(count(Filter { unfinished: true, ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { limit: Some(2), ..Filter::default() }).await, 2);
    assert_eq!(count(Filter { scope: Some("local".into()), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { environment: Some("staging".into()), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { service: Some("web".into()), scope: Some(SCOPE.into()), ..Filter::default() }).await, 3);
    assert_eq!(ledger.runs(&Filter::default()).await.unwrap()[0], open.run);

    let log = place
        .rows("SELECT sequence_number, service, operation, version, status, comments FROM {}deployment_log WHERE service = 'api' ORDER BY started_at")
        .await;
    let log: Vec<Vec<_>> =
        log.iter().map(|row| row.iter().map(|value| value.as_deref().unwrap_or("-")).collect()).collect();
    let new = digest("new");
    assert_eq!(
        log,
        [
            ["1", "api", "promote", new.as_str(), "SUCCESS", "it is time"],
            ["2", "api", "promote", new.as_str(), "FAILURE", "it is time; it is not there [read-back-failed]"],
            ["-", "api", "promote", "", "", "it is time"],
        ]
    );
}

pub(crate) async fn bad_digests_are_told(place: Place) {
    let ledger = full(&place).await;
    let mut again = Seen::new(&*ledger).await;
    again.append(&*ledger, &[visit(1), marked_bad("web")]).await;
    let marks = ledger.bad_digests(SCOPE, ENVIRONMENT, "api").await.unwrap();
    assert_eq!(marks.len(), 1);
    assert_eq!((&marks[0].digest, marks[0].because.as_str()), (&digest("bad"), "it did not live"));
    ledger.rebuild().await.unwrap();
    assert_eq!(ledger.bad_digests(SCOPE, ENVIRONMENT, "api").await.unwrap(), marks);
    assert_eq!(ledger.bad_digests(SCOPE, "staging", "api").await.unwrap(), []);
    assert_eq!(ledger.bad_digests("local", ENVIRONMENT, "api").await.unwrap(), []);
}

pub(crate) async fn runs_with_open_intents_are_told(place: Place) {
    let ledger = full(&place).await;
    let mut parked = Seen::new(&*ledger).await;
    parked.append(&*ledger, &[visit(1)]).await;
    let unsettled = ledger.unsettled(SCOPE, ENVIRONMENT).await.unwrap();
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].unsettled().count(), 1);
    assert!(unsettled[0].changed_the_world());
    assert_eq!(ledger.unsettled(SCOPE, "staging").await.unwrap(), []);
}

pub(crate) async fn a_cut_end_shows_against_the_heads(place: Place) {
    let ledger = full(&place).await;
    let drop = match &place {
        Place::Sqlite(_) => "DROP TRIGGER event_is_not_removed",
        Place::Postgres { .. } => "ALTER TABLE tidegate.event DISABLE TRIGGER ALL",
    };
    place.run(drop).await.unwrap();
    let run = ledger.runs(&Filter::default()).await.unwrap()[0].clone();
    place.run(&format!("DELETE FROM {{}}event WHERE run = '{run}' AND seq = 4")).await.unwrap();
    let mut audit = Audit::default();
    for run in ledger.recorded().await.unwrap() {
        audit.take(&ledger.entries(&run).await.unwrap());
    }
    let breaks = audit.finish(true, &ledger.heads().await.unwrap()).breaks;
    assert_eq!(breaks.iter().map(|broken| broken.flaw.clone()).collect::<Vec<_>>(), [Flaw::CutOff { last: 3 }]);
    // And nobody writes on in a run whose row and events disagree.
    let head = ledger.heads().await.unwrap().into_iter().find(|head| head.run == run).unwrap();
    let refused = place.client().append(&head, None, &[visit(9)]).await;
    assert!(matches!(refused, Err(LedgerError::Corrupt(_))), "{refused:?}");
}
