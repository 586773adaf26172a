//! Provenance that GitHub keeps: fetched from it, and believed only when it is proven.

use serde_json::{Value, json};
use testbed::fault::{Action, Answer, Rule};
use testbed::github::{Bundles, GitHub, NewWorkflow};
use testbed::image::{Content, Image};
use testbed::runner::Runner;
use testbed::sigstore::{Identity, Sigstore, statement};
use tidegate::promotion::check::Verdict;

use super::scene::{Scene, Told, told};

const SLSA: &str = "https://slsa.dev/provenance/v1";

const POLICY: &str = "{ provenance: { source: 'https://github.com/acme/api', ref: refs/heads/main, from: github, \
                      trust-root: root.json } }";

/// GitHub, and a scene whose job has a token for it.
struct Place {
    github: GitHub,
    scene: Scene,
    step: Runner,
}

impl Place {
    fn new(sigstore: &Sigstore, image: &Content, bundles: &[(&str, Value)]) -> Self {
        let github = GitHub::start();
        github.person("octocat");
        let api = github.repository("acme/api");
        let commit = api.commit("main", "Build faster", "octocat");
        api.workflow(&NewWorkflow::file("promote.yml"));
        let run = api.run("promote.yml", &commit, "octocat");
        for (digest, bundle) in bundles {
            api.attest(digest, bundle.clone());
        }
        let scene = Scene::new(POLICY);
        scene.file("root.json", sigstore.trusted_root().to_string());
        scene.candidate(image);
        let step = scene
            .step
            .clone()
            .input("github-token", &github.job_token())
            .env("GITHUB_API_URL", &github.url())
            .env("GITHUB_SHA", &commit)
            .env("GITHUB_RUN_ID", &run.to_string());
        Self { github, scene, step }
    }

    fn promote(&self) -> Told {
        told(&self.step)
    }
}

fn predicate() -> Value {
    json!({
        "buildDefinition": {"externalParameters": {"workflow": {
            "ref": "refs/heads/main", "repository": "https://github.com/acme/api", "path": ".github/workflows/release.yml"}}},
        "runDetails": {"builder": {"id": "https://github.com/acme/api/.github/workflows/release.yml@refs/heads/main"}},
    })
}

fn attested(sigstore: &Sigstore, by: &str, digest: &str) -> Value {
    let identity = Identity::workflow(by, "release.yml", "refs/heads/main");
    sigstore.bundle(&identity, &statement(SLSA, digest, &predicate()))
}

#[test]
fn what_github_keeps_counts_when_it_is_proven() {
    let sigstore = Sigstore::new();
    let image = Image::manifest("linux/amd64").layers(1, 200).build();
    let good = attested(&sigstore, "acme/api", image.digest());
    for place in [Bundles::Inline, Bundles::Elsewhere, Bundles::ElsewhereAndNull] {
        let scene = Place::new(&sigstore, &image, &[(image.digest(), good.clone())]);
        scene.github.configure(|settings| settings.bundles = place);
        let told = scene.promote();
        told.says("provenance", Verdict::Pass, &["built from https://github.com/acme/api at refs/heads/main"]);
        told.passes();
        let asked = scene.github.log().iter().filter(|entry| entry.line().contains("/attestations/")).count();
        assert_eq!(asked, 1, "once for the digest, whatever looks at it");
    }
}

#[test]
fn what_github_keeps_is_no_proof_by_itself() {
    let sigstore = Sigstore::new();
    let image = Image::manifest("linux/amd64").layers(1, 200).build();
    let digest = image.digest();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let mut forged = attested(&sigstore, "acme/api", digest);
    forged["dsseEnvelope"]["signatures"][0]["sig"] =
        attested(&sigstore, "acme/api", &zeros)["dsseEnvelope"]["signatures"][0]["sig"].clone();
    for (what, bundle, says) in [
        ("nothing", None, "nothing that could prove it"),
        ("another repository's", Some(attested(&sigstore, "evil/api", digest)), "another identity is wanted"),
        ("another authority's", Some(attested(&Sigstore::new(), "acme/api", digest)), "proves it"),
        ("about another digest", Some(attested(&sigstore, "acme/api", &zeros)), "does not match any subject"),
        ("forged", Some(forged), "proves it"),
        ("no bundle", Some(json!({"hello": 1})), "it is no bundle"),
    ] {
        let bundles: Vec<(&str, Value)> = bundle.into_iter().map(|bundle| (digest, bundle)).collect();
        let place = Place::new(&sigstore, &image, &bundles);
        let step = place.step.clone().input("force", "true").input("reason", "in a hurry");
        let told = told(&step);
        told.fails_by("provenance", &[says]);
        assert_eq!(place.scene.production(), None, "{what}");
    }
}

#[test]
fn a_github_that_does_not_answer_proves_nothing() {
    let sigstore = Sigstore::new();
    let image = Image::manifest("linux/amd64").layers(1, 200).build();
    let good = [(image.digest(), attested(&sigstore, "acme/api", image.digest()))];
    let down = || Rule::on("GET", "*").act(Action::Answer(Answer::html(502)));
    let place = Place::new(&sigstore, &image, &good);
    place.github.configure(|settings| settings.bundles = Bundles::Elsewhere);
    place.github.storage_fault(down());
    let told = place.promote();
    assert!(!told.finished.is_success() && place.scene.production().is_none(), "{}", told.finished);
    // A job without a token is told so.
    let place = Place::new(&sigstore, &image, &good);
    place.scene.promote().fails_by("provenance", &["GitHub is not asked, for there is no token"]);
}
