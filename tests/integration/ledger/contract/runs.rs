//! Opening runs, numbering them, appending to them.

use std::collections::BTreeSet;
use std::task::Poll;

use chrono::{TimeDelta, Utc};
use tidegate::ledger::chain;
use tidegate::ledger::{Head, LedgerError, Opened};
use tidegate::promotion::act::Outcome;
use tidegate::promotion::event::{Event, Opening};
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::identity::DeploymentId;
use tidegate::promotion::run::Run;
use tidegate::promotion::state::State;

use super::{at_once, audit, opened};
use crate::ledger::place::Place;
use crate::ledger::story::{COMMIT, ENVIRONMENT, SCOPE, Seen, intent, opening, visit};

pub(crate) async fn a_run_is_opened_and_tied_to_the_one_before(place: Place) {
    let ledger = place.ready().await;
    let before = Utc::now();
    let Opened::New(first) = ledger.open(opening(None), COMMIT).await.unwrap() else { panic!("not new") };
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].seq, first[0].previous.as_str()), (1, chain::GENESIS));
    assert_eq!(opened(&first).predecessor, None);
    assert!(first[0].at >= before - TimeDelta::seconds(1) && first[0].at <= Utc::now() + TimeDelta::seconds(1));
    assert_eq!(first[0].run, DeploymentId::new(first[0].at, COMMIT));

    let mut seen = Seen { run: Run::fold(&first).unwrap() };
    seen.append(&*ledger, &[visit(1)]).await;
    let Opened::New(second) = ledger.open(opening(None), COMMIT).await.unwrap() else { panic!("not new") };
    let link = opened(&second).predecessor.clone().unwrap();
    assert_eq!((&link.run, link.seq, &link.hash), (&seen.run.id, 2, &seen.run.head));
    assert_ne!(second[0].run, first[0].run);

    // Another environment has another past.
    let elsewhere = Opening { environment: "staging".into(), ..opening(None) };
    let Opened::New(third) = ledger.open(elsewhere, COMMIT).await.unwrap() else { panic!("not new") };
    assert_eq!(opened(&third).predecessor, None);
    assert_eq!(ledger.load(&second[0].run).await.unwrap(), second);
    assert_eq!(audit(&*ledger).await.len(), 3);

    // Many who begin in the same second, in different environments, with the same commit.
    let ids: BTreeSet<_> = at_once(&place, 8, |number, ledger| async move {
        let opening = Opening { environment: format!("preview-{number}"), ..opening(None) };
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
    let open = async |ledger: &dyn tidegate::ledger::Ledger| ledger.open(opening(Some("1")), COMMIT).await.unwrap();
    let Opened::New(records) = open(&*ledger).await else { panic!("not new") };
    let first = records[0].run.clone();
    // The answer was lost: it still is new for whoever made it, and not for anybody else.
    assert!(matches!(open(&*ledger).await, Opened::New(records) if records[0].run == first));
    assert!(matches!(open(&*place.client()).await, Opened::Resumed(records) if records[0].run == first));
    let mut seen = Seen { run: Run::fold(&records).unwrap() };
    seen.append(&*ledger, &[visit(1)]).await;
    assert!(matches!(open(&*ledger).await, Opened::Resumed(records) if records.len() == 2));

    // A run that failed is followed by a new one, one that succeeded is met again.
    seen.end(&*ledger, State::Failed).await;
    let Opened::New(records) = open(&*ledger).await else { panic!("not new") };
    assert_ne!(records[0].run, first);
    let mut seen = Seen { run: Run::fold(&records).unwrap() };
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
        vec![visit(2), Event::Settled { intent: 1, outcome: Outcome::PreviousKept }],
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

/// Goes on with a call as often as it has something to do, but not more than so many times; then drops it.
async fn polled<T>(call: impl Future<Output = T>, times: u64) -> Option<T> {
    let mut call = Box::pin(call);
    let mut left = times;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}

pub(crate) async fn a_call_that_is_dropped_harms_nobody(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let fence = seen.acquire(&*ledger).await;
    let mut dropped = 0;
    for number in 0..40 {
        let head = seen.head();
        let events = [visit(number), Event::StateChanged { to: State::Interrupted }];
        let back = Event::StateChanged { to: State::Initializing };
        let events = if seen.run.state == State::Interrupted { vec![back] } else { events.to_vec() };
        let call = ledger.append(&head, Some(&fence), &events);
        // A heartbeat goes on beside it, on the same connection.
        let (appended, renewed) = tokio::join!(polled(call, number), ledger.renew(&fence));
        renewed.unwrap();
        dropped += u32::from(appended.is_none());
        // The same again finds it done, or does it.
        let records = ledger.append(&head, Some(&fence), &events).await.unwrap();
        seen.take_in(&records);
    }
    assert!(dropped > 0);
    assert_eq!(ledger.load(&seen.run.id).await.unwrap().len() as u64, seen.run.seq);
    let derived = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, derived);
    audit(&*ledger).await;
}
