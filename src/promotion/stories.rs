//! Made-up runs for tests: the outcomes that people meet most, event by event as visits record them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};

use super::act::{Act, Outcome, TagMove};
use super::asking::{Approver, Asked, Place, Refusal};
use super::candidate::{ImageFacts, PlatformFacts};
use super::check::{Finding, Verdict};
use super::digest::Digest;
use super::event::{
    Conclusion, Consent, Decision, Delivery, Event, Opening, Operation, Record, Traffic, VisitOpening, WorkflowRun,
};
use super::fault::{Code, Exit, Fault};
use super::health::{Grade, Health, Phase, Sample};
use super::identity::DeploymentId;
use super::login::Login;
use super::plan::{Estimate, Plan, Planned, PlannedImage, PlannedTag};
use super::run::Run;
use super::stage::Stage;
use super::state::State;

/// A run and its records.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) run: Run,
    pub(crate) records: Vec<Record>,
}

fn digest(of: &str) -> Digest {
    Digest::sha256(of.as_bytes())
}

fn record(run: &DeploymentId, seq: u64, event: Event) -> Record {
    let at = DateTime::from_timestamp(1_732_185_300, 0).unwrap()
        + TimeDelta::milliseconds(i64::try_from(seq - 1).unwrap() * 1_700);
    let text = serde_json::to_string(&event).unwrap();
    let (previous, hash) = (format!("{:064x}", seq - 1), format!("{seq:064x}"));
    Record { run: run.clone(), seq, at, previous, hash, text, event }
}

impl Story {
    /// A run that was opened and is visited; `service` and `reason` may be anything.
    pub(crate) fn begin(service: &str, reason: Option<&str>) -> Self {
        Self::opened(Operation::Promote, service, reason)
    }

    fn opened(operation: Operation, service: &str, reason: Option<&str>) -> Self {
        let url = "https://github.com/acme/api/actions/runs/16000000001".to_owned();
        let opening = Opening {
            key: None,
            scope: "acme/api".to_owned(),
            operation,
            environment: "production".to_owned(),
            services: vec![service.to_owned()],
            requestor: "octocat".to_owned(),
            actor: Some("octocat".to_owned()),
            reason: reason.map(ToOwned::to_owned),
            mode: None,
            variables: BTreeMap::new(),
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            git_ref: Some("refs/heads/main".to_owned()),
            workflow: Some(WorkflowRun {
                run_id: "16000000001".to_owned(),
                workflow: Some("Promote".to_owned()),
                event: Some("workflow_dispatch".to_owned()),
                url: Some(url),
            }),
            configuration: Some(".github/tidegate.yml".to_owned()),
            predecessor: None,
            rolls_back: None,
            version: "0.1.0".to_owned(),
        };
        let id = DeploymentId::new(DateTime::from_timestamp(1_732_185_300, 0).unwrap(), "0123456789abcdef");
        let first = record(&id, 1, Event::RunOpened(Box::new(opening)));
        let run = Run::fold([&first]).unwrap();
        let mut story = Self { run, records: vec![first] };
        story.then(Event::VisitStarted(VisitOpening {
            number: 1,
            attempt: Some("1".to_owned()),
            job: Some("promote".to_owned()),
            ..VisitOpening::default()
        }));
        story
    }

    /// The next event.
    pub(crate) fn then(&mut self, event: Event) -> &mut Self {
        let record = record(&self.run.id, self.run.seq + 1, event);
        self.run.apply(&record).unwrap();
        self.records.push(record);
        self
    }

    fn service(&self) -> String {
        self.run.opening.services[0].clone()
    }

    fn start(&mut self, stage: Stage) -> &mut Self {
        let state = State::working(stage);
        let optional = matches!(stage, Stage::Approval | Stage::Migration | Stage::Deployment | Stage::Verification);
        if !optional && self.run.state != state {
            self.then(Event::StateChanged { to: state });
        }
        self.then(Event::StageStarted { stage })
    }

    fn end(&mut self, stage: Stage, conclusion: Conclusion, state: Option<State>) -> &mut Self {
        if let Some(to) = state {
            self.then(Event::StateChanged { to });
        }
        let mut traffic = Traffic::default();
        if conclusion != Conclusion::Skipped && stage <= Stage::Copy {
            traffic = Traffic { requests: BTreeMap::from([("inspect".to_owned(), 3)]), received: 4096, sent: 512 };
        }
        self.then(Event::StageEnded { stage, conclusion, note: None, traffic })
    }

    fn plan(&mut self, in_place: bool) -> &mut Self {
        let service = self.service();
        let (new, old) = (digest("new"), if in_place { digest("new") } else { digest("old") });
        let source = "ghcr.io/acme/api:staging".parse().unwrap();
        let target: super::image::Reference = "ghcr.io/acme/api:production".parse().unwrap();
        self.start(Stage::Conditions);
        self.then(Event::SequenceTaken { service: service.clone(), number: 7 });
        self.then(Event::Resolved { service: service.clone(), reference: source, digest: new.clone() });
        let facts = ImageFacts {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            platforms: vec![PlatformFacts {
                platform: "linux/amd64".parse().unwrap(),
                manifest: digest("manifest"),
                config: digest("config"),
                layers: Vec::new(),
                size: 52_428_800,
                created: Some("2024-11-21T10:00:00Z".to_owned()),
                labels: BTreeMap::from([("org.opencontainers.image.version".to_owned(), "1.7.0".to_owned())]),
                environment: Vec::new(),
                user: Some("1000".to_owned()),
                entrypoint: Vec::new(),
                command: Vec::new(),
            }],
            manifests: 1,
            blobs: 3,
            bytes: 52_430_000,
        };
        self.then(Event::Inspected { service: service.clone(), facts: Box::new(facts) });
        let image = PlannedImage {
            source: "ghcr.io/acme/api:staging".parse().unwrap(),
            digest: new,
            target: target.repository,
            tags: vec![PlannedTag { tag: "production".parse().unwrap(), immutable: false, previous: Some(old) }],
        };
        let stages = if in_place { Vec::new() } else { vec![Stage::Validation, Stage::Copy] };
        let plan = Plan {
            environment: "production".to_owned(),
            candidates: vec![Planned { service, image: Some(image), version: None }],
            stages,
            configuration: Some(digest("configuration")),
            inputs: BTreeMap::new(),
        };
        let hash = plan.hash();
        self.then(Event::Planned {
            plan: Box::new(plan),
            hash,
            estimate: Estimate { requests: 2, bytes: 0, ..Estimate::default() },
        });
        self.end(Stage::Conditions, Conclusion::Done, None)
    }

    fn approve(&mut self) -> &mut Self {
        self.start(Stage::Approval);
        let plan = self.run.plan.clone().unwrap().1;
        let because = "the configuration asks for no approval".to_owned();
        self.then(Event::Approved { plan, consent: Consent::Policy { because } });
        self.end(Stage::Approval, Conclusion::Done, Some(State::ApprovalGranted));
        self.then(Event::LeaseTaken { token: 3 })
    }

    /// People are asked in an issue.
    fn ask(&mut self) -> &mut Self {
        self.start(Stage::Approval);
        let plan = self.run.plan.clone().unwrap().1;
        self.then(Event::ApprovalAsked(Box::new(Asked {
            plan,
            places: vec![Place::Issue],
            code: "a1b2c3".to_owned(),
            approvers: vec!["bob".to_owned()],
            environment: None,
            minimum: 1,
            askers: vec![Login::new("octocat")],
        })));
        let (number, url) = (12, "https://github.com/acme/api/issues/12".to_owned());
        let at = self.run.updated_at;
        self.then(Event::ApprovalIssue { number, url, at, until: at + TimeDelta::hours(24) });
        self.then(Event::StateChanged { to: State::PendingApproval })
    }

    /// One of them says yes.
    fn answer(&mut self) -> &mut Self {
        let plan = self.run.plan.clone().unwrap().1;
        let approver = Approver {
            by: Login::new("bob"),
            place: Place::Issue,
            at: Some(self.run.updated_at),
            remark: "looks good".to_owned(),
            url: Some("https://github.com/acme/api/issues/12#issuecomment-1".to_owned()),
        };
        self.then(Event::ApprovalGiven { approver: approver.clone() });
        self.then(Event::Approved { plan, consent: Consent::People { approvers: vec![approver], bound: true } });
        self.end(Stage::Approval, Conclusion::Done, Some(State::ApprovalGranted));
        self.then(Event::LeaseTaken { token: 3 })
    }

    /// A probe is asked, and judged.
    fn probe(&mut self, health: Health, because: &str) -> &mut Self {
        let grade = match health {
            Health::Healthy => Grade::Pass,
            Health::Inconclusive => Grade::Error,
            Health::Unhealthy => Grade::Fail,
        };
        let note = (health != Health::Healthy).then(|| because.to_owned());
        let sample = |ms| Sample { probe: "api".to_owned(), grade, ms, attempts: 1, note: note.clone() };
        self.then(Event::Probed { phase: Phase::Check, samples: vec![sample(12)] });
        self.then(Event::Probed { phase: Phase::Tick(1), samples: vec![sample(14), sample(9)] });
        self.then(Event::HealthJudged { health, because: because.to_owned() })
    }

    /// It is looked whether the environment is as it should be.
    fn look(&mut self) -> &mut Self {
        let image = PlannedImage {
            source: "ghcr.io/acme/api:production".parse().unwrap(),
            digest: digest("new"),
            target: "ghcr.io/acme/api:production".parse::<super::image::Reference>().unwrap().repository,
            tags: vec![PlannedTag {
                tag: "production".parse().unwrap(),
                immutable: false,
                previous: Some(digest("new")),
            }],
        };
        self.start(Stage::Conditions);
        let plan = Plan {
            environment: "production".to_owned(),
            candidates: vec![Planned { service: self.service(), image: Some(image), version: None }],
            stages: vec![Stage::Verification],
            configuration: Some(digest("configuration")),
            inputs: BTreeMap::new(),
        };
        let hash = plan.hash();
        self.then(Event::Planned { plan: Box::new(plan), hash, estimate: Estimate::default() });
        self.end(Stage::Conditions, Conclusion::Done, None);
        for stage in [Stage::Approval, Stage::Validation, Stage::Copy, Stage::Migration, Stage::Deployment] {
            self.then(Event::StageStarted { stage });
            self.end(stage, Conclusion::Skipped, None);
        }
        self.then(Event::StageStarted { stage: Stage::Verification })
    }

    fn finding(&self, check: &str, verdict: Verdict, seen: &str, wanted: &str) -> Finding {
        Finding {
            check: check.to_owned(),
            service: self.service(),
            platform: Some("linux/amd64".parse().unwrap()),
            verdict,
            seen: seen.to_owned(),
            wanted: wanted.to_owned(),
            fix: (verdict >= Verdict::Warn).then(|| "rebuild the image".to_owned()),
            unforceable: false,
        }
    }

    fn validate(&mut self) -> &mut Self {
        self.start(Stage::Validation);
        let findings = vec![
            self.finding("exists", Verdict::Pass, "there", "there"),
            self.finding("size", Verdict::Pass, "50.0 MiB", "at most 2 GiB"),
            self.finding("age", Verdict::Warn, "40 days", "at most 30 days"),
        ];
        self.then(Event::Checked { findings });
        self.end(Stage::Validation, Conclusion::Done, Some(State::ValidationPassed))
    }

    fn copy(&mut self) -> &mut Self {
        self.move_tags();
        self.end(Stage::Copy, Conclusion::Done, Some(State::PromotionSucceeded));
        for stage in [Stage::Migration, Stage::Deployment, Stage::Verification] {
            self.start(stage).end(stage, Conclusion::Skipped, None);
        }
        self
    }

    fn move_tags(&mut self) -> &mut Self {
        let service = self.service();
        self.start(Stage::Copy);
        let repository: super::image::Reference = "ghcr.io/acme/api:production".parse().unwrap();
        let moves = vec![TagMove {
            service,
            repository: repository.repository,
            tag: "production".parse().unwrap(),
            from: Some(digest("old")),
            to: digest("new"),
            immutable: false,
        }];
        self.then(Event::Intent { stage: Stage::Copy, act: Act::MoveTags { moves } });
        let intent = self.run.seq;
        self.then(Event::Settled { intent, outcome: Outcome::TagsMoved { found: false } })
    }

    fn report(&mut self, told: &[(&str, &str, Delivery)]) -> &mut Self {
        self.start(Stage::Report);
        for (topic, channel, delivery) in told {
            let (topic, channel) = ((*topic).to_owned(), (*channel).to_owned());
            self.then(Event::NotificationQueued { topic: topic.clone(), channel: channel.clone() });
            let (delivery, attempts) = (*delivery, if *delivery == Delivery::Failed { 3 } else { 1 });
            self.then(Event::NotificationSettled { topic, channel, delivery, attempts, reference: None });
        }
        self.end(Stage::Report, Conclusion::Done, Some(State::NotificationsSent));
        if let Some(token) = self.run.lease {
            self.then(Event::LeaseReleased { token });
        }
        self
    }

    fn over(&mut self, state: State, exit: Exit, reason: Option<Code>) -> &mut Self {
        let decision = if exit == Exit::Done { Decision::Proceed } else { Decision::Stop };
        self.then(Event::RunEnded { state, exit, reason });
        self.then(Event::VisitEnded { decision })
    }

    fn fault(&mut self, stage: Stage, fault: Fault) -> &mut Self {
        self.then(Event::Faulted(Box::new(fault.in_stage(stage))))
    }
}

/// The outcomes, by name.
pub(crate) fn outcomes() -> Vec<(&'static str, Story)> {
    let planned = |in_place| {
        let mut story = Story::begin("api", Some("release 1.7"));
        story.plan(in_place);
        story
    };
    let copied = || {
        let mut story = planned(false);
        story.approve().validate().copy();
        story
    };
    let mut all = Vec::new();

    let mut succeeded = copied();
    succeeded.report(&[("succeeded", "team", Delivery::Sent), ("succeeded", "mail", Delivery::Accepted)]).over(
        State::CompletedSuccessfully,
        Exit::Done,
        None,
    );
    all.push(("succeeded", succeeded));

    let mut nothing = planned(true);
    nothing.report(&[]).over(State::CompletedSuccessfully, Exit::Done, None);
    all.push(("nothing to do", nothing));

    let mut invalid = planned(false);
    invalid.approve().start(Stage::Validation);
    let finding = invalid.finding("size", Verdict::Fail, "3.0 GiB", "at most 2 GiB");
    invalid.then(Event::Checked { findings: vec![finding] });
    invalid.fault(Stage::Validation, Fault::new(Code::CheckFailed, "1 check failed: size of api"));
    invalid.end(Stage::Validation, Conclusion::Failed, Some(State::ValidationFailed));
    invalid.report(&[("validation-failed", "team", Delivery::Failed)]);
    let failed =
        Fault::new(Code::NotificationFailed, "channel `team` was not told of `validation-failed`: it answers 500");
    invalid.then(Event::Faulted(Box::new(failed)));
    invalid.over(State::Failed, Exit::Failed, Some(Code::CheckFailed));
    all.push(("validation failed", invalid));

    let mut forced = planned(false);
    forced.approve().start(Stage::Validation);
    let finding = forced.finding("size", Verdict::Fail, "3.0 GiB", "at most 2 GiB");
    forced.then(Event::Checked { findings: vec![finding] });
    forced.then(Event::Forced {
        by: "octocat".to_owned(),
        reason: "the fix cannot wait".to_owned(),
        checks: vec!["size".to_owned()],
    });
    forced.fault(Stage::Validation, Fault::new(Code::Forced, "octocat overruled 1 failed check: size"));
    forced.end(Stage::Validation, Conclusion::Done, Some(State::ValidationPassed)).copy();
    forced.report(&[("succeeded", "team", Delivery::Sent)]).over(State::CompletedSuccessfully, Exit::Done, None);
    all.push(("forced", forced));

    let mut locked = planned(false);
    locked.start(Stage::Approval).end(Stage::Approval, Conclusion::Done, Some(State::ApprovalGranted));
    locked.start(Stage::Validation);
    locked.fault(Stage::Validation, Fault::new(Code::LockTaken, "run 1732185000-abc123def456 holds production"));
    locked.end(Stage::Validation, Conclusion::Errored, None);
    locked.report(&[]).over(State::Failed, Exit::Refused, Some(Code::LockTaken));
    all.push(("lock taken", locked));

    let mut absent = Story::begin("api", None);
    absent.start(Stage::Conditions);
    absent.fault(Stage::Conditions, Fault::new(Code::ImageAbsent, "ghcr.io/acme/api:staging does not exist"));
    absent.end(Stage::Conditions, Conclusion::Failed, None);
    absent.report(&[]).over(State::Failed, Exit::Failed, Some(Code::ImageAbsent));
    all.push(("image absent", absent));

    let mut unreachable = planned(false);
    unreachable.approve().validate().start(Stage::Copy);
    let fault = Fault::new(Code::RegistryUnreachable, "ghcr.io cannot be reached: connection refused");
    unreachable.then(Event::Retried {
        what: "PUT ghcr.io/acme/api:production".to_owned(),
        attempt: 1,
        wait_ms: 1000,
        because: "connection refused".to_owned(),
    });
    unreachable.fault(Stage::Copy, fault.after_trying("5 attempts in 31 s"));
    unreachable.end(Stage::Copy, Conclusion::Errored, Some(State::PromotionFailed));
    unreachable.report(&[]).over(State::Failed, Exit::Failed, Some(Code::RegistryUnreachable));
    all.push(("registry unreachable", unreachable));

    let mut rolled_back = planned(false);
    rolled_back.approve().validate().move_tags();
    rolled_back.end(Stage::Copy, Conclusion::Done, Some(State::PromotionSucceeded));
    rolled_back.start(Stage::Verification);
    rolled_back.then(Event::StateChanged { to: State::Verifying });
    rolled_back.probe(Health::Unhealthy, "api: 3 ticks in a row failed: it answers 503");
    let unhealthy = Fault::new(Code::Unhealthy, "api: 3 ticks in a row failed: it answers 503");
    rolled_back.fault(Stage::Verification, unhealthy.clone());
    rolled_back.end(Stage::Verification, Conclusion::Failed, None);
    rolled_back.then(Event::MarkedBad {
        service: "api".to_owned(),
        digest: digest("new"),
        because: unhealthy.message.clone(),
    });
    let other = DeploymentId::new(DateTime::from_timestamp(1_732_185_330, 0).unwrap(), "0123456789abcdef");
    rolled_back.then(Event::RollbackBegun { run: other.clone() });
    rolled_back.then(Event::StateChanged { to: State::RollingBack });
    let mut rollback_failed = rolled_back.clone();
    let to = BTreeMap::from([("api".to_owned(), digest("old"))]);
    rolled_back.then(Event::RollbackEnded { run: Some(other.clone()), good: true, to });
    rolled_back.then(Event::StateChanged { to: State::RolledBack });
    rolled_back.report(&[("rolled-back", "team", Delivery::Sent)]).over(
        State::RolledBack,
        Exit::RolledBack,
        Some(unhealthy.code),
    );
    all.push(("rolled back", rolled_back));

    let failed = Fault::new(Code::RollbackFailed, "production stays on a version that does not live");
    rollback_failed.fault(Stage::Verification, failed);
    rollback_failed.then(Event::RollbackEnded { run: Some(other), good: false, to: BTreeMap::new() });
    rollback_failed.then(Event::StateChanged { to: State::RollbackFailed });
    rollback_failed.report(&[("rollback-failed", "pager", Delivery::Sent)]).over(
        State::RollbackFailed,
        Exit::RollbackFailed,
        Some(Code::RollbackFailed),
    );
    all.push(("rollback failed", rollback_failed));

    let mut waiting = planned(false);
    waiting.start(Stage::Approval).then(Event::StateChanged { to: State::PendingApproval });
    waiting.then(Event::VisitEnded { decision: Decision::Wait });
    all.push(("waiting", waiting));

    let mut interrupted = planned(false);
    interrupted.approve().validate().start(Stage::Copy);
    interrupted.then(Event::Interrupted { cause: "SIGTERM".to_owned() }).then(Event::LeaseReleased { token: 3 });
    all.push(("interrupted", interrupted.clone()));

    let mut recovered = interrupted;
    recovered.then(Event::VisitStarted(VisitOpening { number: 2, ..VisitOpening::default() }));
    recovered.then(Event::LeaseTaken { token: 4 });
    recovered.then(Event::StateChanged { to: State::PromotionRunning }).copy();
    recovered.report(&[("recovered", "team", Delivery::Sent)]).over(State::CompletedSuccessfully, Exit::Done, None);
    all.push(("recovered", recovered));

    let verified = || {
        let mut story = planned(false);
        story.approve().validate().move_tags();
        story.end(Stage::Copy, Conclusion::Done, Some(State::PromotionSucceeded));
        for stage in [Stage::Migration, Stage::Deployment] {
            story.start(stage).end(stage, Conclusion::Skipped, None);
        }
        story.start(Stage::Verification);
        story.then(Event::StateChanged { to: State::Verifying });
        story
    };
    let mut degraded = verified();
    degraded.probe(Health::Healthy, "api: no failure in 2 samples");
    let warned = Fault::new(Code::ProbeWarned, "a probe that is not critical fails: queue: no answer within 5s");
    degraded.fault(Stage::Verification, warned);
    degraded.end(Stage::Verification, Conclusion::Done, None);
    degraded.report(&[("degraded", "team", Delivery::Sent)]).over(State::CompletedSuccessfully, Exit::Done, None);
    all.push(("degraded", degraded));

    let mut inconclusive = verified();
    inconclusive.probe(Health::Inconclusive, "api could not be asked: nobody resolves its name");
    let unknown = Fault::new(Code::HealthUnknown, "api could not be asked: nobody resolves its name");
    inconclusive.fault(Stage::Verification, unknown);
    inconclusive.end(Stage::Verification, Conclusion::Errored, None);
    inconclusive.report(&[("inconclusive", "team", Delivery::Sent)]).over(
        State::Inconclusive,
        Exit::Inconclusive,
        Some(Code::HealthUnknown),
    );
    all.push(("inconclusive", inconclusive));

    let asked = || {
        let mut story = planned(false);
        story.ask();
        story
    };
    let mut approved = asked();
    approved.answer();
    approved.validate().copy();
    approved.report(&[("succeeded", "team", Delivery::Sent)]).over(State::CompletedSuccessfully, Exit::Done, None);
    all.push(("approved", approved));

    let mut rejected = asked();
    let remark = "not before the weekend".to_owned();
    rejected.then(Event::ApprovalRefused(Refusal::Rejected { by: Login::new("bob"), remark }));
    rejected.fault(Stage::Approval, Fault::new(Code::ApprovalRejected, "bob rejected it: not before the weekend"));
    rejected.end(Stage::Approval, Conclusion::Failed, None);
    rejected.report(&[("rejected", "team", Delivery::Sent)]).over(
        State::Rejected,
        Exit::Refused,
        Some(Code::ApprovalRejected),
    );
    all.push(("rejected", rejected));

    let mut timed_out = asked();
    timed_out.then(Event::ApprovalReminded);
    timed_out.then(Event::ApprovalRefused(Refusal::TimedOut { missing: 1 }));
    timed_out.fault(Stage::Approval, Fault::new(Code::ApprovalTimedOut, "nobody approved in time: 1 missing"));
    timed_out.end(Stage::Approval, Conclusion::Failed, None);
    timed_out.report(&[("timed-out", "team", Delivery::Sent)]).over(
        State::Cancelled,
        Exit::Refused,
        Some(Code::ApprovalTimedOut),
    );
    all.push(("timed out", timed_out));

    let mut drifted = Story::opened(Operation::Verify, "api", None);
    drifted.look();
    let drift = Fault::new(
        Code::Drift,
        format!("ghcr.io/acme/api:production points to {}, and {} was verified there", digest("new"), digest("old")),
    );
    drifted.fault(Stage::Verification, drift);
    drifted.end(Stage::Verification, Conclusion::Failed, None);
    drifted.report(&[("drift", "team", Delivery::Sent)]).over(State::Failed, Exit::Failed, Some(Code::Drift));
    all.push(("drift", drifted));

    let mut looked = Story::opened(Operation::Verify, "api", None);
    looked.look();
    looked.end(Stage::Verification, Conclusion::Done, None);
    looked.report(&[]).over(State::CompletedSuccessfully, Exit::Done, None);
    all.push(("as it should be", looked));

    all
}

/// A run in which everything that others write is hostile.
pub(crate) fn hostile() -> Story {
    let text = format!(
        "<!channel> <@U123> @everyone @acme/team [x](https://evil.test) <b onload=\"x\">*b* _i_ `c` ~s~ {{{{DATE(2026-01-01T00:00:00Z,SHORT)}}}} ${{{{ x }}}}\r\n\
         ::set-output name=decision::proceed\n##[set-output name=decision]proceed\n\u{202e}gpj.exe \u{1b}[31mred | cell {}",
        "A".repeat(1 << 20)
    );
    let mut story = Story::begin(&text, Some(&text));
    story.run.opening.requestor.clone_from(&text);
    story.plan(false).approve().start(Stage::Validation);
    let finding = story.finding(&text, Verdict::Fail, &text, &text);
    story.then(Event::Checked { findings: vec![finding] });
    story.fault(
        Stage::Validation,
        Fault::new(Code::CheckFailed, text.clone()).with_fix(text.clone()).after_trying(text.clone()),
    );
    story.end(Stage::Validation, Conclusion::Failed, Some(State::ValidationFailed));
    story.report(&[(&text, &text, Delivery::Failed)]).over(State::Failed, Exit::Failed, Some(Code::CheckFailed));
    story
}
