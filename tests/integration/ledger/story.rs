//! Runs to test with.

use std::collections::BTreeMap;

use tidegate::ledger::{Acquired, Fence, Head, Ledger, LedgerError, Opened};
use tidegate::promotion::act::{Act, Outcome, TagMove};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::event::{Conclusion, Delivery, Event, Opening, Operation, Record, Traffic, VisitOpening};
use tidegate::promotion::fault::{Code, Exit, Fault};
use tidegate::promotion::identity::RunKey;
use tidegate::promotion::plan::{Estimate, Plan, Planned, PlannedImage, PlannedTag};
use tidegate::promotion::run::Run;
use tidegate::promotion::stage::Stage;
use tidegate::promotion::state::State;

pub(crate) const SCOPE: &str = "acme/shop";
pub(crate) const ENVIRONMENT: &str = "production";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// An opening as a job of workflow run `workflow` would write it; none on a command line.
pub(crate) fn opening(workflow: Option<&str>) -> Opening {
    let services = vec!["api".to_owned(), "web".to_owned()];
    let key = |workflow| RunKey::new(SCOPE, workflow, "promote", ENVIRONMENT, services.iter().map(String::as_str));
    Opening {
        key: workflow.map(key),
        scope: SCOPE.into(),
        operation: Operation::Promote,
        environment: ENVIRONMENT.into(),
        services: services.clone(),
        requestor: "octocat".into(),
        actor: Some("octocat".into()),
        reason: Some("it is time".into()),
        mode: None,
        variables: BTreeMap::new(),
        commit: Some(COMMIT.into()),
        git_ref: Some("refs/heads/main".into()),
        workflow: None,
        configuration: None,
        predecessor: None,
        rolls_back: None,
        version: "0.1.0".into(),
    }
}

/// A run as one client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) run: Run,
}

impl Seen {
    /// Opens a new run.
    pub(crate) async fn new(ledger: &dyn Ledger) -> Self {
        match ledger.open(opening(None), COMMIT).await.unwrap() {
            Opened::New(records) => Self { run: Run::fold(&records).unwrap() },
            other => panic!("{other:?} is not new"),
        }
    }

    pub(crate) fn head(&self) -> Head {
        Head::of(&self.run)
    }

    pub(crate) fn take_in(&mut self, records: &[Record]) {
        for record in records {
            self.run.apply(record).unwrap();
        }
    }

    pub(crate) async fn append(&mut self, ledger: &dyn Ledger, events: &[Event]) {
        let records = ledger.append(&self.head(), None, events).await.unwrap();
        self.take_in(&records);
    }

    pub(crate) async fn append_with(
        &mut self,
        ledger: &dyn Ledger,
        fence: &Fence,
        events: &[Event],
    ) -> Result<(), LedgerError> {
        let records = ledger.append(&self.head(), Some(fence), events).await?;
        self.take_in(&records);
        Ok(())
    }

    pub(crate) async fn sequence(&mut self, ledger: &dyn Ledger, service: &str) -> u64 {
        let record = ledger.take_sequence(&self.head(), None, service).await.unwrap();
        self.take_in(std::slice::from_ref(&record));
        let Event::SequenceTaken { number, .. } = record.event else { panic!("{record:?} takes no number") };
        number
    }

    /// Acquires the lease, which must be free.
    pub(crate) async fn acquire(&mut self, ledger: &dyn Ledger) -> Fence {
        match ledger.acquire(&self.head()).await.unwrap() {
            Acquired::Taken(record) => {
                self.take_in(std::slice::from_ref(&record));
                let Event::LeaseTaken { token } = record.event else { panic!("{record:?} takes no lease") };
                Fence { scope: SCOPE.into(), environment: ENVIRONMENT.into(), token }
            }
            held @ Acquired::Held { .. } => panic!("{held:?}"),
        }
    }

    pub(crate) async fn release(&mut self, ledger: &dyn Ledger, fence: &Fence) {
        let record = ledger.release(&self.head(), fence).await.unwrap();
        self.take_in(std::slice::from_ref(&record));
    }

    pub(crate) async fn end(&mut self, ledger: &dyn Ledger, state: State) {
        let exit = if state == State::CompletedSuccessfully { Exit::Done } else { Exit::Failed };
        self.append(
            ledger,
            &[Event::StateChanged { to: State::GeneratingReports }, Event::RunEnded { state, exit, reason: None }],
        )
        .await;
    }

    pub(crate) async fn reload(&mut self, ledger: &dyn Ledger) {
        self.run = Run::fold(&ledger.load(&self.run.id).await.unwrap()).unwrap();
    }
}

pub(crate) fn visit(number: u64) -> Event {
    Event::VisitStarted(VisitOpening { number, ..VisitOpening::default() })
}

pub(crate) fn digest(of: &str) -> Digest {
    Digest::sha256(of.as_bytes())
}

/// The intent to move the tags of `api`.
pub(crate) fn intent() -> Event {
    let moves = vec![TagMove {
        service: "api".into(),
        repository: "ghcr.io/acme/api".parse().unwrap(),
        tag: "production".parse().unwrap(),
        from: Some(digest("old")),
        to: digest("new"),
        immutable: false,
    }];
    Event::Intent { stage: Stage::Copy, act: Act::MoveTags { moves } }
}

fn planned() -> Event {
    let image = PlannedImage {
        source: "ghcr.io/acme/api:staging".parse().unwrap(),
        digest: digest("new"),
        target: "ghcr.io/acme/api".parse().unwrap(),
        tags: vec![PlannedTag { tag: "production".parse().unwrap(), immutable: false, previous: Some(digest("old")) }],
    };
    let plan = Plan {
        environment: ENVIRONMENT.into(),
        candidates: vec![
            Planned { service: "api".into(), image: Some(image), version: None },
            Planned { service: "web".into(), image: None, version: Some("1.2.3".into()) },
        ],
        stages: vec![Stage::Copy],
        configuration: None,
        inputs: BTreeMap::new(),
    };
    Event::Planned { hash: plan.hash(), plan: Box::new(plan), estimate: Estimate::default() }
}

/// A whole promotion, told in one breath; ends in `state`.
pub(crate) async fn promote(ledger: &dyn Ledger, state: State) -> Seen {
    let mut seen = Seen::new(ledger).await;
    seen.append(ledger, &[visit(1), Event::StateChanged { to: State::ValidatingConditions }]).await;
    seen.sequence(ledger, "api").await;
    seen.sequence(ledger, "web").await;
    let resolved = Event::Resolved {
        service: "api".into(),
        reference: "ghcr.io/acme/api:staging".parse().unwrap(),
        digest: digest("new"),
    };
    let ended =
        |stage| Event::StageEnded { stage, conclusion: Conclusion::Done, note: None, traffic: Traffic::default() };
    seen.append(
        ledger,
        &[resolved, planned(), Event::StageStarted { stage: Stage::Conditions }, ended(Stage::Conditions)],
    )
    .await;
    let fence = seen.acquire(ledger).await;
    seen.append_with(ledger, &fence, &[Event::StateChanged { to: State::ApprovalGranted }]).await.unwrap();
    seen.append_with(ledger, &fence, &[Event::StateChanged { to: State::ValidationRunning }]).await.unwrap();
    seen.append_with(ledger, &fence, &[Event::StateChanged { to: State::ValidationPassed }]).await.unwrap();
    seen.append_with(ledger, &fence, &[Event::StateChanged { to: State::PromotionRunning }, intent()]).await.unwrap();
    let intent = seen.run.seq;
    let mut told = vec![Event::Settled { intent, outcome: Outcome::TagsMoved { found: false } }];
    told.push(Event::NotificationQueued { topic: "succeeded".into(), channel: "team".into() });
    told.push(Event::NotificationQueued { topic: "succeeded".into(), channel: "mail".into() });
    if state != State::CompletedSuccessfully {
        told.push(Event::Faulted(Box::new(Fault::new(Code::ReadBackFailed, "it is not there").in_stage(Stage::Copy))));
    }
    seen.append_with(ledger, &fence, &told).await.unwrap();
    let sent = Event::NotificationSettled {
        topic: "succeeded".into(),
        channel: "team".into(),
        delivery: Delivery::Sent,
        attempts: 2,
        reference: None,
    };
    seen.append_with(ledger, &fence, &[sent]).await.unwrap();
    seen.release(ledger, &fence).await;
    seen.end(ledger, state).await;
    seen
}

/// A digest that a run found bad.
pub(crate) fn marked_bad(service: &str) -> Event {
    Event::MarkedBad { service: service.to_owned(), digest: digest("bad"), because: "it did not live".to_owned() }
}
