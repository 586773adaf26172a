//! A scene: a registry, a workspace, and the program that validates on the way from staging to production.

use std::time::Duration;

use testbed::image::Content;
use testbed::registry::Registry;
use testbed::runner::{Finished, Runner};
use tidegate::action::inputs::INPUTS;
use tidegate::promotion::check::{Finding, Verdict};

/// The repository of the service.
pub(crate) const REPOSITORY: &str = "acme/api";

/// A registry, a workspace, a policy.
pub(crate) struct Scene {
    pub(crate) registry: Registry,
    pub(crate) step: Runner,
}

/// What a promotion said.
pub(crate) struct Told {
    pub(crate) finished: Finished,
    /// What the stage `validation` found.
    pub(crate) findings: Vec<Finding>,
    /// The output `reason-code`.
    pub(crate) reason: String,
}

impl Scene {
    /// A scene with this policy: what stands below `validate:`, in one line or with lines indented by six.
    pub(crate) fn new(validate: &str) -> Self {
        let scene = Self { step: step(), registry: Registry::start() };
        scene.policy(validate);
        scene
    }

    /// Another policy.
    pub(crate) fn policy(&self, validate: &str) {
        self.file(".github/tidegate.yml", configuration(&self.registry.host(), validate));
    }

    /// Puts a file into the workspace.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let _ = self.step.clone().file(path, content);
    }

    /// Puts the candidate into the registry.
    pub(crate) fn candidate(&self, image: &Content) {
        image.place(self.registry.contents(), REPOSITORY, &["staging"]);
    }

    /// Promotes.
    pub(crate) fn promote(&self) -> Told {
        told(&self.step)
    }

    /// What the tag `production` points to.
    pub(crate) fn production(&self) -> Option<String> {
        self.registry.contents().digest(REPOSITORY, "production")
    }
}

/// The step that promotes to `production`, without a configuration yet.
pub(crate) fn step() -> Runner {
    let mut step = Runner::new(env!("CARGO_BIN_EXE_tidegate")).timeout(Duration::from_secs(120));
    for input in INPUTS {
        step = step.input(input.name, if input.default.contains("${{") { "" } else { input.default });
    }
    step.input("environment", "production")
}

/// A configuration with this policy, for images of this registry.
pub(crate) fn configuration(host: &str, validate: &str) -> String {
    format!(
        "version: 1\nservices:\n  api: {{ image: {host}/{REPOSITORY} }}\nenvironments:\n  staging: {{ tag: staging }}\n  \
         production:\n    from: staging\n    tag: production\n    validate: {validate}\n\
         retry: {{ attempts: 3, initial: 5ms, max: 10ms }}\n"
    )
}

/// Runs a step; tells what it said.
pub(crate) fn told(step: &Runner) -> Told {
    let finished = step.run();
    let outputs = finished.outputs().unwrap();
    let read = |name: &str| outputs.get(name).cloned().unwrap_or_default();
    let path = read("record-path");
    let findings = if path.is_empty() {
        Vec::new()
    } else {
        let record = std::fs::read(step.workspace().join(path)).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        serde_json::from_value(record["validation"].clone()).unwrap()
    };
    Told { findings, reason: read("reason-code"), finished }
}

impl Told {
    /// What a check found.
    pub(crate) fn of(&self, check: &str) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.check == check).collect()
    }

    /// The only finding of a check.
    #[track_caller]
    pub(crate) fn one(&self, check: &str) -> &Finding {
        let found = self.of(check);
        assert_eq!(found.len(), 1, "{check}: {found:#?}\n{}", self.finished);
        found[0]
    }

    /// A check has this verdict alone, and says each of these texts somewhere.
    #[track_caller]
    pub(crate) fn says(&self, check: &str, verdict: Verdict, texts: &[&str]) {
        let found = self.of(check);
        let worst = found.iter().map(|finding| finding.verdict).max();
        assert_eq!(worst, Some(verdict), "{check}: {found:#?}\n{}", self.finished);
        for text in texts {
            let said = found.iter().filter(|finding| finding.verdict == verdict);
            let said: Vec<String> = said
                .map(|one| format!("{} | {} | {}", one.seen, one.wanted, one.fix.as_deref().unwrap_or("")))
                .collect();
            assert!(said.iter().any(|said| said.contains(text)), "no {text:?} in {said:#?}");
        }
        if verdict == Verdict::Fail {
            assert_eq!((self.finished.code, self.reason.as_str()), (Some(1), "check-failed"), "{}", self.finished);
        }
    }

    /// Nothing but this check fails.
    #[track_caller]
    pub(crate) fn fails_by(&self, check: &str, texts: &[&str]) {
        self.says(check, Verdict::Fail, texts);
        let failing: Vec<_> =
            self.findings.iter().filter(|finding| finding.verdict == Verdict::Fail && finding.check != check).collect();
        assert!(failing.is_empty(), "{failing:#?}");
    }

    /// It was promoted.
    #[track_caller]
    pub(crate) fn passes(&self) {
        assert!(self.finished.is_success(), "{}", self.finished);
    }
}
