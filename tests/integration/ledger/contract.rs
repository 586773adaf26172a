//! What every ledger does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use tidegate::ledger::chain::{self, Audit, Entry, Flaw};
use tidegate::ledger::{Acquired, Fence, Filter, Head, Ledger, LedgerError, Opened};
use tidegate::promotion::event::{Event, Record};
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::identity::DeploymentId;
use tidegate::promotion::state::State;

use super::place::Place;
use super::story::{COMMIT, ENVIRONMENT, SCOPE, Seen, digest, intent, opening, promote, visit};

/// Everything in the ledger verifies: chains, links, numbers.
async fn audit(ledger: &dyn Ledger) -> BTreeMap<DeploymentId, Head> {
    let mut audit = Audit::default();
    for run in ledger.recorded().await.unwrap() {
        audit.take(&ledger.entries(&run).await.unwrap());
    }
    let audited = audit.finish(true, &ledger.heads().await.unwrap());
    assert_eq!(audited.breaks, []);
    audited.heads
}

/// Does the same with many clients at once, each with its own connection.
async fn at_once<T: Send + 'static, F>(
    place: &Place,
    clients: usize,
    what: impl Fn(usize, Arc<dyn Ledger>) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..clients).map(|number| tokio::spawn(what(number, place.client()))).collect();
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

fn opened(records: &[Record]) -> &tidegate::promotion::event::Opening {
    let Event::RunOpened(opening) = &records[0].event else { panic!("{records:?} opens nothing") };
    opening
}

pub(crate) async fn a_run_is_opened_and_tied_to_the_one_before(place: Place) {
    let ledger = place.ready().await;
    let before = Utc::now();
    let Opened::New(first) = ledger.open(opening(None), COMMIT).await.unwrap() else { panic!("not new") };
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].seq, first[0].previous.as_str()), (1, chain::GENESIS));
    assert_eq!(opened(&first).predecessor, None);
    assert!(first[0].at >= before - TimeDelta::seconds(1) && first[0].at <= Utc::now() + TimeDelta::seconds(1));
    assert_eq!(first[0].run, DeploymentId::new(first[0].at, COMMIT));

    let mut seen = Seen { run: tidegate::promotion::run::Run::fold(&first).unwrap() };
    seen.append(&*ledger, &[visit(1)]).await;
    let Opened::New(second) = ledger.open(opening(None), COMMIT).await.unwrap() else { panic!("not new") };
    let link = opened(&second).predecessor.clone().unwrap();
    assert_eq!((&link.run, link.seq, &link.hash), (&seen.run.id, 2, &seen.run.head));
    assert_ne!(second[0].run, first[0].run);

    // Another environment has another past.
    let elsewhere = tidegate::promotion::event::Opening { environment: "staging".into(), ..opening(None) };
    let Opened::New(third) = ledger.open(elsewhere, COMMIT).await.unwrap() else { panic!("not new") };
    assert_eq!(opened(&third).predecessor, None);
    assert_eq!(ledger.load(&second[0].run).await.unwrap(), second);
    assert_eq!(audit(&*ledger).await.len(), 3);

    // Many who begin in the same second, in different environments, with the same commit.
    let ids: BTreeSet<_> = at_once(&place, 8, |number, ledger| async move {
        let opening = tidegate::promotion::event::Opening { environment: format!("preview-{number}"), ..opening(None) };
        match ledger.open(opening, COMMIT).await.unwrap() {
            Opened::New(records) => records[0].run.clone(),
            other => panic!("{other:?} is not new"),
        }
    })
    .await
    .into_iter()
    .collect();
    assert_eq!(ids.len(), 8);
    audit(&*ledger).await;
}

pub(crate) async fn one_key_has_one_run(place: Place) {
    let ledger = place.ready().await;
    let all =
        at_once(&place, 20, |_, ledger| async move { ledger.open(opening(Some("77")), COMMIT).await.unwrap() }).await;
    let new = all.iter().filter(|opened| matches!(opened, Opened::New(_))).count();
    let ids: BTreeSet<_> = all
        .iter()
        .map(|(Opened::New(records) | Opened::Resumed(records) | Opened::Finished(records))| records[0].run.clone())
        .collect();
    assert_eq!((new, ids.len()), (1, 1));
    assert_eq!(audit(&*ledger).await.len(), 1);
}

pub(crate) async fn a_key_is_taken_up_until_it_ends(place: Place) {
    let ledger = place.ready().await;
    let open = async |ledger: &dyn Ledger| ledger.open(opening(Some("1")), COMMIT).await.unwrap();
    let Opened::New(records) = open(&*ledger).await else { panic!("not new") };
    let first = records[0].run.clone();
    // The answer was lost: it still is new for whoever made it, and not for anybody else.
    assert!(matches!(open(&*ledger).await, Opened::New(records) if records[0].run == first));
    assert!(matches!(open(&*place.client()).await, Opened::Resumed(records) if records[0].run == first));
    let mut seen = Seen { run: tidegate::promotion::run::Run::fold(&records).unwrap() };
    seen.append(&*ledger, &[visit(1)]).await;
    assert!(matches!(open(&*ledger).await, Opened::Resumed(records) if records.len() == 2));

    // A run that failed is followed by a new one, one that succeeded is met again.
    seen.end(&*ledger, State::Failed).await;
    let Opened::New(records) = open(&*ledger).await else { panic!("not new") };
    assert_ne!(records[0].run, first);
    let mut seen = Seen { run: tidegate::promotion::run::Run::fold(&records).unwrap() };
    seen.end(&*ledger, State::CompletedSuccessfully).await;
    assert!(matches!(open(&*ledger).await, Opened::Finished(records) if records[0].run == seen.run.id));
    audit(&*ledger).await;
}

pub(crate) async fn sequence_numbers_have_no_gap_under_many_takers(place: Place) {
    let ledger = place.ready().await;
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 1);
    let mut numbers = at_once(&place, 20, |number, ledger| async move {
        let mut seen = Seen::new(&*ledger).await;
        if number % 3 == 0 {
            // One that is refused leaves no gap.
            let stale = Head { seq: 9, ..seen.head() };
            assert!(ledger.take_sequence(&stale, None, "api").await.is_err());
        }
        seen.sequence(&*ledger, "api").await
    })
    .await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 21);
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "web").await.unwrap(), 1);
    assert_eq!(ledger.peek_sequence(SCOPE, "staging", "api").await.unwrap(), 1);

    // The same again, after an answer that was lost, is the same number; for somebody else it is a conflict.
    let mut seen = Seen::new(&*ledger).await;
    let head = seen.head();
    assert_eq!(seen.sequence(&*ledger, "api").await, 21);
    let again = ledger.take_sequence(&head, None, "api").await.unwrap();
    assert_eq!(again.event, Event::SequenceTaken { service: "api".into(), number: 21 });
    assert!(matches!(ledger.take_sequence(&head, None, "web").await, Err(LedgerError::Conflict(_))));
    assert!(matches!(place.client().take_sequence(&head, None, "api").await, Err(LedgerError::Conflict(_))));
    // A service has one number in a run.
    assert!(matches!(ledger.take_sequence(&seen.head(), None, "api").await, Err(LedgerError::Corrupt(_))));
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 22);
    audit(&*ledger).await;
}

pub(crate) async fn many_clients_append_and_the_chain_holds(place: Place) {
    let ledger = place.ready().await;
    let shared = Seen::new(&*ledger).await.run.id;
    let own = at_once(&place, 20, |number, ledger| {
        let shared = shared.clone();
        async move {
            // Each writes a run of its own, and all of them one together.
            let mut seen = Seen::new(&*ledger).await;
            for _ in 0..3 {
                let fault = Fault::new(Code::GithubUntold, format!("client {number}"));
                seen.append(&*ledger, &[visit(1), Event::Faulted(Box::new(fault))]).await;
                loop {
                    let records = ledger.load(&shared).await.unwrap();
                    let last = records.last().unwrap();
                    let head = Head { run: shared.clone(), seq: last.seq, hash: last.hash.clone() };
                    let fault = Fault::new(Code::GithubUntold, format!("from client {number}"));
                    match ledger.append(&head, None, &[Event::Faulted(Box::new(fault))]).await {
                        Ok(_) => break,
                        Err(LedgerError::Conflict(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            seen.run.id
        }
    })
    .await;
    let heads = audit(&*ledger).await;
    assert_eq!(heads[&shared].seq, 61);
    for run in own {
        let records = ledger.load(&run).await.unwrap();
        // Nobody got somebody else's answer, and nobody's event went to somebody else's run.
        assert_eq!(records.len(), 7);
        let of: BTreeSet<_> = records
            .iter()
            .filter_map(|record| match &record.event {
                Event::Faulted(fault) => Some(fault.message.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(of.len(), 1, "{of:?}");
    }
}

pub(crate) async fn the_same_again_is_recognised_and_somebody_elses_is_not(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let head = seen.head();
    let events = [visit(1), Event::StateChanged { to: State::ValidatingConditions }];
    let records = ledger.append(&head, None, &events).await.unwrap();
    assert_eq!(ledger.append(&head, None, &events).await.unwrap(), records);
    assert_eq!(ledger.append(&head, None, &events[..1]).await.unwrap(), records[..1]);
    seen.take_in(&records);
    seen.append(&*ledger, &[intent()]).await;
    // Also when the run has gone on.
    assert_eq!(ledger.append(&head, None, &events).await.unwrap(), records);

    let other = [visit(2), events[1].clone()];
    let more = [visit(1), events[1].clone(), intent(), visit(2)];
    assert!(matches!(ledger.append(&head, None, &other).await, Err(LedgerError::Conflict(_))));
    assert!(matches!(ledger.append(&head, None, &more).await, Err(LedgerError::Conflict(_))));
    assert!(matches!(ledger.append(&head, None, &[]).await, Err(LedgerError::Conflict(_))));
    let wrong = Head { hash: chain::GENESIS.into(), ..head.clone() };
    assert!(matches!(ledger.append(&wrong, None, &events).await, Err(LedgerError::Conflict(_))));
    // Two jobs that say the same: only one of them said it.
    assert!(matches!(place.client().append(&head, None, &events).await, Err(LedgerError::Conflict(_))));
    assert_eq!(ledger.load(&seen.run.id).await.unwrap().len(), 4);
    audit(&*ledger).await;
}

pub(crate) async fn one_of_many_gets_the_lease(place: Place) {
    let ledger = place.ready().await;
    let all = at_once(&place, 20, |_, ledger| async move {
        let seen = Seen::new(&*ledger).await;
        (seen.run.id.clone(), ledger.acquire(&seen.head()).await.unwrap())
    })
    .await;
    let taken: Vec<_> = all.iter().filter(|(_, acquired)| matches!(acquired, Acquired::Taken(_))).collect();
    assert_eq!(taken.len(), 1);
    let (holder, _) = taken[0];
    for (_, acquired) in &all {
        if let Acquired::Held { by, until } = acquired {
            assert_eq!(by, holder);
            let left = *until - Utc::now();
            assert!(left > TimeDelta::seconds(30) && left <= TimeDelta::seconds(91), "{left}");
        }
    }
    // Who was refused has recorded nothing.
    assert_eq!(audit(&*ledger).await.values().filter(|head| head.seq == 1).count(), 19);
}

pub(crate) async fn a_lease_that_was_taken_over_is_fenced_off(place: Place) {
    let ledger = place.ready().await;
    let (mut one, mut two) = (Seen::new(&*ledger).await, Seen::new(&*ledger).await);
    let fence = one.acquire(&*ledger).await;
    one.append_with(&*ledger, &fence, &[visit(1)]).await.unwrap();
    let done = one.clone();
    assert!(matches!(ledger.acquire(&two.head()).await.unwrap(), Acquired::Held { by, .. } if by == one.run.id));

    place.expire_leases().await;
    let next = two.acquire(&*place.client()).await;
    assert_eq!((fence.token, next.token), (1, 2));
    let lost =
        |result: Result<(), LedgerError>| assert!(matches!(result, Err(LedgerError::LeaseLost(_))), "{result:?}");
    lost(one.append_with(&*ledger, &fence, &[intent()]).await);
    lost(ledger.renew(&fence).await);
    lost(ledger.release(&one.head(), &fence).await.map(drop));
    lost(ledger.take_sequence(&one.head(), Some(&fence), "api").await.map(drop));
    // Nor does somebody else's token help, or the right one in the wrong place.
    lost(one.append_with(&*ledger, &next, &[intent()]).await);
    let elsewhere = Fence { environment: "staging".into(), ..next.clone() };
    lost(two.append_with(&*ledger, &elsewhere, &[intent()]).await);
    assert_eq!(ledger.load(&one.run.id).await.unwrap().len(), done.run.seq as usize);
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 1);

    two.append_with(&*ledger, &next, &[intent()]).await.unwrap();
    // What needs no lease may still be said.
    one.append(&*ledger, &[Event::Interrupted { cause: "lease lost".into() }]).await;
    audit(&*ledger).await;
}

pub(crate) async fn a_run_takes_over_its_own_lease_at_once(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let first = seen.acquire(&*ledger).await;
    let head = seen.head();
    let mut again = seen.clone();
    let second = again.acquire(&*place.client()).await;
    assert_eq!((first.token, second.token), (1, 2));
    assert!(matches!(ledger.renew(&first).await, Err(LedgerError::LeaseLost(_))));
    assert!(matches!(seen.append_with(&*ledger, &first, &[intent()]).await, Err(LedgerError::Conflict(_))));
    let fenced = ledger.append(&again.head(), Some(&first), &[intent()]).await;
    assert!(matches!(fenced, Err(LedgerError::LeaseLost(_))));
    again.append_with(&*ledger, &second, &[intent()]).await.unwrap();

    // An acquisition whose answer was lost is recognised, by whoever made it and as long as it holds.
    let before = again.head();
    let client = place.client();
    let third = again.clone().acquire(&*client).await;
    assert!(matches!(client.acquire(&before).await.unwrap(), Acquired::Taken(record)
        if record.event == Event::LeaseTaken { token: third.token }));
    assert!(matches!(ledger.acquire(&before).await, Err(LedgerError::Conflict(_))));
    assert!(matches!(ledger.acquire(&head).await, Err(LedgerError::Conflict(_))));
    audit(&*ledger).await;
}

pub(crate) async fn a_lease_that_was_given_back_is_over(place: Place) {
    let ledger = place.ready().await;
    let (mut one, mut two) = (Seen::new(&*ledger).await, Seen::new(&*ledger).await);
    let fence = one.acquire(&*ledger).await;
    let head = one.head();
    one.release(&*ledger, &fence).await;
    assert_eq!(ledger.release(&head, &fence).await.unwrap().event, Event::LeaseReleased { token: 1 });
    assert!(matches!(one.append_with(&*ledger, &fence, &[visit(1)]).await, Err(LedgerError::LeaseLost(_))));
    assert!(matches!(ledger.renew(&fence).await, Err(LedgerError::LeaseLost(_))));
    assert!(matches!(ledger.release(&one.head(), &fence).await, Err(LedgerError::LeaseLost(_))));
    let row = place.rows("SELECT token, holder, expires_at FROM {}lease").await;
    assert_eq!(row, [[Some("1".to_owned()), None, None]]);
    assert_eq!(two.acquire(&*ledger).await.token, 2);
    // A release may come with other events in one go.
    let last = [Event::Interrupted { cause: "SIGTERM".into() }, Event::LeaseReleased { token: 2 }];
    two.append(&*ledger, &last).await;
    assert_eq!(one.acquire(&*ledger).await.token, 3);
    audit(&*ledger).await;
}

pub(crate) async fn an_expired_lease_that_nobody_took_still_counts(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let fence = seen.acquire(&*ledger).await;
    place.expire_leases().await;
    seen.append_with(&*ledger, &fence, &[intent()]).await.unwrap();
    ledger.renew(&fence).await.unwrap();
    let other = Seen::new(&*ledger).await;
    let Acquired::Held { until, .. } = ledger.acquire(&other.head()).await.unwrap() else { panic!("not held") };
    let left = until - Utc::now();
    assert!(left > TimeDelta::seconds(60) && left <= TimeDelta::seconds(91), "{left}");
    seen.release(&*ledger, &fence).await;
}

pub(crate) async fn nothing_is_done_when_something_is_wrong(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    seen.append(&*ledger, &[visit(1)]).await;
    let before = (ledger.load(&seen.run.id).await.unwrap(), place.derived().await);

    let unknown: DeploymentId = "1-0123456789ab".parse().unwrap();
    let nowhere = Head { run: unknown.clone(), ..seen.head() };
    assert!(matches!(ledger.load(&unknown).await, Err(LedgerError::RunUnknown(_))));
    assert!(matches!(ledger.append(&nowhere, None, &[visit(2)]).await, Err(LedgerError::RunUnknown(_))));
    assert!(matches!(ledger.acquire(&nowhere).await, Err(LedgerError::RunUnknown(_))));

    let head = seen.head();
    for events in [
        vec![visit(2), Event::StateChanged { to: State::PromotionSucceeded }],
        vec![visit(2), Event::Settled { intent: 1, outcome: tidegate::promotion::act::Outcome::PreviousKept }],
        vec![visit(2), Event::RunOpened(Box::new(opening(None)))],
        vec![visit(2), Event::SequenceTaken { service: "api".into(), number: 7 }],
        vec![visit(2), Event::LeaseTaken { token: 7 }],
        vec![visit(2), Event::LeaseReleased { token: 7 }],
        vec![visit(2), Event::Unknown],
    ] {
        let refused = ledger.append(&head, None, &events).await;
        assert!(matches!(refused, Err(LedgerError::Corrupt(_))), "{events:?}: {refused:?}");
    }
    assert!(matches!(ledger.take_sequence(&head, None, "nobody").await, Err(LedgerError::Corrupt(_))));
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "nobody").await.unwrap(), 1);
    assert_eq!((ledger.load(&seen.run.id).await.unwrap(), place.derived().await), before);
    // And it is in order still.
    assert_eq!(ledger.append(&head, None, &[]).await.unwrap(), []);
    seen.append(&*ledger, &[visit(2)]).await;
    audit(&*ledger).await;
}

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
    let settled = tidegate::promotion::act::Outcome::TagsMoved { found: false };
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

pub(crate) async fn time_never_goes_back_in_a_run(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    // The machine that wrote these has a clock that is a day fast.
    let tomorrow = chain::to_millisecond(Utc::now() + TimeDelta::days(1));
    let record = chain::seal(&seen.head(), tomorrow, &visit(1)).unwrap();
    ledger.import(&[record]).await.unwrap();
    seen.reload(&*ledger).await;
    seen.append(&*ledger, &[visit(2), visit(3)]).await;
    assert_eq!(seen.run.updated_at, tomorrow);
    // The next run has the time of its own.
    let next = Seen::new(&*ledger).await;
    assert!(next.run.opened_at < tomorrow);
    audit(&*ledger).await;
}

/// A ledger with every kind of row in it.
async fn full(place: &Place) -> Arc<dyn Ledger> {
    let ledger = place.ready().await;
    promote(&*ledger, State::CompletedSuccessfully).await;
    promote(&*ledger, State::Failed).await;
    let mut open = Seen::new(&*ledger).await;
    open.append(&*ledger, &[visit(1), intent()]).await;
    ledger
}

pub(crate) async fn dropped_tables_are_rebuilt_to_the_byte(place: Place) {
    let ledger = full(&place).await;
    let before = place.derived().await;
    assert!(before.values().all(|rows| !rows.is_empty()), "{before:?}");
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);

    place.drop_derived().await;
    let ledger = place.client();
    ledger.prepare().await.unwrap();
    assert!(ledger.runs(&Filter::default()).await.is_err());
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);

    // Rows that somebody has edited or added are put right too.
    place.run("UPDATE {}candidate SET status = 'SUCCESS', moved = (1 = 1)").await.unwrap();
    place.run("INSERT INTO {}counter VALUES ('acme/shop', 'production', 'ghost', 7)").await.unwrap();
    place.run("DELETE FROM {}fault").await.unwrap();
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 3);
    let mut next = Seen::new(&*ledger).await;
    assert_eq!(next.acquire(&*ledger).await.token, 3);
    audit(&*ledger).await;
}

pub(crate) async fn a_rebuild_keeps_a_live_lease(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let fence = seen.acquire(&*ledger).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    ledger.renew(&fence).await.unwrap();
    let before = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    seen.append_with(&*ledger, &fence, &[visit(1)]).await.unwrap();
}

pub(crate) async fn many_migrate_at_once(place: Place) {
    let all = at_once(&place, 5, |_, ledger| async move { ledger.prepare().await }).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let versions = place.rows("SELECT version, name FROM {}migration ORDER BY version").await;
    let names: Vec<_> = versions.iter().map(|row| row[1].clone().unwrap()).collect();
    assert_eq!(names, ["0001_event", "0002_derived"]);
    Seen::new(&*place.ready().await).await;
}

pub(crate) async fn a_newer_schema_is_refused(place: Place) {
    place.ready().await;
    place.run("INSERT INTO {}migration VALUES (99, 'from the future', '2030-01-01T00:00:00.000Z')").await.unwrap();
    let error = place.client().prepare().await.unwrap_err();
    assert!(matches!(error, LedgerError::TooNew { found: 99, known: 2 }), "{error}");
    let fault = Fault::from(error);
    assert!(fault.fix.contains("version"), "{fault:?}");
}

pub(crate) async fn events_are_only_ever_added(place: Place) {
    let ledger = full(&place).await;
    for sql in [
        "UPDATE {}event SET text = '{}' WHERE seq = 1",
        "UPDATE {}event SET at = '2001-01-01T00:00:00.000Z'",
        "DELETE FROM {}event WHERE seq = 2",
        "DELETE FROM {}event",
    ] {
        let error = place.run(&sql.replace("'{}'", "'x'")).await.unwrap_err().to_string();
        assert!(error.contains("only ever added to"), "{sql}: {error}");
    }
    if matches!(place, Place::Postgres { .. }) {
        let error = place.run("TRUNCATE {}event").await.unwrap_err().to_string();
        assert!(error.contains("only ever added to"), "{error}");
    }
    audit(&*ledger).await;
}

pub(crate) async fn any_text_is_kept(place: Place) {
    let ledger = place.ready().await;
    let nasty =
        "NUL \u{0}, quotes '\"\\, \\u0000, $1, {}, %s, line\nbreak, \u{202e}\u{1f980}\u{fffd}, ; DROP TABLE run --";
    let opening = tidegate::promotion::event::Opening {
        requestor: nasty.into(),
        reason: Some(nasty.into()),
        environment: nasty.into(),
        services: vec![nasty.into()],
        ..opening(None)
    };
    let Opened::New(records) = ledger.open(opening, nasty).await.unwrap() else { panic!("not new") };
    let mut seen = Seen { run: tidegate::promotion::run::Run::fold(&records).unwrap() };
    seen.sequence(&*ledger, nasty).await;
    seen.append(
        &*ledger,
        &[
            Event::Faulted(Box::new(Fault::new(Code::RegistryNonsense, nasty).about(nasty))),
            Event::NotificationQueued { topic: nasty.into(), channel: nasty.into() },
        ],
    )
    .await;
    let loaded = place.client().load(&seen.run.id).await.unwrap();
    assert_eq!(tidegate::promotion::run::Run::fold(&loaded).unwrap(), seen.run);
    assert_eq!(seen.run.opening.requestor, nasty);
    assert_eq!(ledger.peek_sequence(SCOPE, nasty, nasty).await.unwrap(), 2);
    let before = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    audit(&*ledger).await;
}

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
    place.run(&format!("DELETE FROM {{}}event WHERE run = '{run}' AND seq = 3")).await.unwrap();
    let mut audit = Audit::default();
    for run in ledger.recorded().await.unwrap() {
        audit.take(&ledger.entries(&run).await.unwrap());
    }
    let breaks = audit.finish(true, &ledger.heads().await.unwrap()).breaks;
    assert_eq!(breaks.iter().map(|broken| broken.flaw.clone()).collect::<Vec<_>>(), [Flaw::CutOff { last: 2 }]);
    // And nobody writes on in a run whose row and events disagree.
    let head = ledger.heads().await.unwrap().into_iter().find(|head| head.run == run).unwrap();
    let refused = place.client().append(&head, None, &[visit(9)]).await;
    assert!(matches!(refused, Err(LedgerError::Corrupt(_))), "{refused:?}");
}

pub(crate) async fn a_rebuild_waits_for_writers_and_they_for_it(place: Place) {
    let ledger = full(&place).await;
    at_once(&place, 8, |number, ledger| async move {
        if number % 4 == 0 {
            for _ in 0..3 {
                ledger.rebuild().await.unwrap();
            }
            return;
        }
        let mut seen = Seen::new(&*ledger).await;
        for _ in 0..5 {
            seen.append(&*ledger, &[visit(1)]).await;
        }
        seen.sequence(&*ledger, "api").await;
    })
    .await;
    let before = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 9);
    audit(&*ledger).await;
}
