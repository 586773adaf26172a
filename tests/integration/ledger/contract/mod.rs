//! What every ledger does.

mod imports;
mod leases;
mod past;
mod runs;
mod schema;

pub(crate) use imports::*;
pub(crate) use leases::*;
pub(crate) use past::*;
pub(crate) use runs::*;
pub(crate) use schema::*;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tidegate::ledger::{Audit, Head, Ledger};
use tidegate::promotion::event::{Event, Opening, Record};
use tidegate::promotion::identity::DeploymentId;
use tidegate::promotion::state::State;

use super::place::Place;
use super::story::{Seen, intent, marked_bad, promote, visit};

/// Everything in the ledger verifies: chains, links, numbers.
pub(super) async fn audit(ledger: &dyn Ledger) -> BTreeMap<DeploymentId, Head> {
    let mut audit = Audit::default();
    for run in ledger.recorded().await.unwrap() {
        audit.take(&ledger.entries(&run).await.unwrap());
    }
    let audited = audit.finish(true, &ledger.heads().await.unwrap());
    assert_eq!(audited.breaks, []);
    audited.heads
}

/// Does the same with many clients at once, each with its own connection.
pub(super) async fn at_once<T: Send + 'static, F>(
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

pub(super) fn opened(records: &[Record]) -> &Opening {
    let Event::RunOpened(opening) = &records[0].event else { panic!("{records:?} opens nothing") };
    opening
}

/// A ledger with every kind of row in it.
pub(super) async fn full(place: &Place) -> Arc<dyn Ledger> {
    let ledger = place.ready().await;
    promote(&*ledger, State::CompletedSuccessfully).await;
    promote(&*ledger, State::Failed).await;
    let mut open = Seen::new(&*ledger).await;
    open.append(&*ledger, &[visit(1), intent(), marked_bad("api")]).await;
    ledger
}
