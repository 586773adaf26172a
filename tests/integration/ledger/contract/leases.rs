//! Who may change an environment.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use tidegate::ledger::{Acquired, Fence, LedgerError};
use tidegate::promotion::event::Event;
use tokio::sync::Barrier;

use super::{at_once, audit};
use crate::ledger::place::Place;
use crate::ledger::story::{ENVIRONMENT, SCOPE, Seen, intent, visit};

pub(crate) async fn one_of_many_gets_the_lease(place: Place) {
    let ledger = place.ready().await;
    let ready = Arc::new(Barrier::new(20));
    let all = at_once(&place, 20, |_, ledger| {
        let ready = Arc::clone(&ready);
        async move {
            let seen = Seen::new(&*ledger).await;
            ready.wait().await;
            (seen.run.id.clone(), ledger.acquire(&seen.head()).await.unwrap())
        }
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
    // Nor does the right token help in the wrong place.
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
