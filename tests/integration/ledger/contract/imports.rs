//! Taking in what was kept in a file.

use chrono::{TimeDelta, Utc};
use tidegate::ledger::chain::{self, Entry};
use tidegate::ledger::{Head, LedgerError};
use tidegate::promotion::act::Outcome;
use tidegate::promotion::event::{Event, Record};
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::identity::DeploymentId;
use tidegate::promotion::state::State;

use super::{at_once, audit};
use crate::ledger::place::Place;
use crate::ledger::story::{Seen, intent, opening, visit};

/// Records as a file would hold them, that follow a run.
fn spooled(seen: &Seen, events: &[Event]) -> Vec<Record> {
    let mut head = seen.head();
    events
        .iter()
        .map(|event| {
            let record = chain::seal(&head, seen.run.updated_at + TimeDelta::seconds(5), event).unwrap();
            head = Head { run: head.run.clone(), seq: record.seq, hash: record.hash.clone() };
            record
        })
        .collect()
}

pub(crate) async fn import_is_idempotent_and_says_so(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let fence = seen.acquire(&*ledger).await;
    seen.append(&*ledger, &[intent()]).await;
    let settled = Outcome::TagsMoved { found: false };
    let records = spooled(
        &seen,
        &[
            Event::Settled { intent: seen.run.seq, outcome: settled },
            Event::Faulted(Box::new(Fault::new(Code::LedgerUnreachable, "it was away"))),
            Event::LeaseReleased { token: fence.token },
        ],
    );
    // Some of them came through before the answer was lost.
    assert_eq!(ledger.import(&[]).await.unwrap(), 0);
    let all = at_once(&place, 6, |_, ledger| {
        let records = records.clone();
        async move { ledger.import(&records).await.unwrap() }
    })
    .await;
    assert_eq!(all.iter().sum::<u64>(), 3);
    assert_eq!(ledger.import(&records).await.unwrap(), 0);
    assert_eq!(ledger.import(&records[1..]).await.unwrap(), 0);

    seen.reload(&*ledger).await;
    assert_eq!((seen.run.seq, seen.run.imported, seen.run.lease), (7, 3, None));
    assert_eq!(ledger.load(&seen.run.id).await.unwrap()[3..6], records);
    let row = place.rows("SELECT token, holder FROM {}lease").await;
    assert_eq!(row, [[Some("1".to_owned()), None]]);
    let derived = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, derived);
    audit(&*ledger).await;
}

pub(crate) async fn import_refuses_what_does_not_fit(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let records = spooled(&seen, &[visit(1), visit(2), visit(3)]);

    let mut edited = records.clone();
    edited[1].text = edited[1].text.replace('2', "9");
    assert!(matches!(ledger.import(&edited).await, Err(LedgerError::Corrupt(why)) if why.contains("edited")));
    let missing = [records[0].clone(), records[2].clone()];
    assert!(matches!(ledger.import(&missing).await, Err(LedgerError::Corrupt(_))));
    assert!(matches!(ledger.import(&records[1..]).await, Err(LedgerError::Corrupt(why)) if why.contains("begins at")));
    let own = spooled(&seen, &[visit(1), Event::SequenceTaken { service: "api".into(), number: 1 }]);
    assert!(matches!(ledger.import(&own).await, Err(LedgerError::Corrupt(_))));
    let illegal = spooled(&seen, &[Event::StateChanged { to: State::Verifying }]);
    assert!(matches!(ledger.import(&illegal).await, Err(LedgerError::Corrupt(_))));
    let stranger: DeploymentId = "1-0123456789ab".parse().unwrap();
    let other = chain::seal(&chain::before_first(stranger), Utc::now(), &Event::RunOpened(Box::new(opening(None))));
    assert!(matches!(ledger.import(&[other.unwrap()]).await, Err(LedgerError::RunUnknown(_))));
    assert_eq!(ledger.load(&seen.run.id).await.unwrap().len(), 1);

    // Somebody else has gone on in the meantime.
    seen.append(&*ledger, &[visit(7)]).await;
    assert!(matches!(ledger.import(&records).await, Err(LedgerError::Conflict(_))));
    assert_eq!(ledger.load(&seen.run.id).await.unwrap().len(), 2);
    let forked = spooled(&seen, &[visit(8)]);
    let mut wrong = forked[0].clone();
    wrong.previous = chain::GENESIS.into();
    wrong.hash = Entry::from(&wrong).computed_hash();
    assert!(matches!(ledger.import(&[wrong]).await, Err(LedgerError::Conflict(_))));
    audit(&*ledger).await;
}
