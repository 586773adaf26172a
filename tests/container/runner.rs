//! As GitHub's own runner does it.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testbed::authority::Authority;
use testbed::fault::{Action, Rule};
use testbed::image::{Content, Image as TestImage};
use testbed::registry::{Auth, Registry};
use testbed::runner::{Finished, Runner, Running, Signal};

use super::{Case, Image};

pub(crate) const CASES: &[Case] = &[
    ("an_image_is_promoted_and_the_workspace_stays_its_owners", promotion),
    ("docker_stop_during_a_slow_copy_is_recorded_and_the_lease_is_free", docker_stop),
    ("a_cancelled_job_is_recorded", cancellation),
    ("the_post_step_marks_what_was_killed", post_step),
    ("a_read_only_root_is_enough", read_only_root),
    ("help_needs_no_network", help_without_network),
    ("names_in_the_hosts_file_are_found", hosts_file),
    ("another_authority_can_be_trusted", another_authority),
];

/// The runner's user on GitHub's own machines.
const OWNER: u32 = 1001;

fn release() -> Content {
    TestImage::index(&["linux/amd64", "linux/arm64"]).layers(3, 10_000).build()
}

fn registry_with(release: &Content) -> Registry {
    let registry = Registry::start();
    release.place(registry.contents(), "acme/api", &["staging"]);
    registry
}

/// A promotion into another repository.
fn promoting(image: &Image, from: &str, to: &str) -> Runner {
    let step = image.step().absent_inputs(&["config", "environment", "services", "until", "database-url"]);
    step.input("image", &format!("{from}/acme/api:staging")).input("to", &format!("{to}/acme-prod/api:production"))
}

fn promotion(image: &Image) {
    let registry = Registry::builder().auth(Auth::Token).user("ann", "a password").start();
    let release = release();
    release.place(registry.contents(), "acme/api", &["staging"]);
    let step = promoting(image, &registry.host(), &registry.host())
        .input("registry-username", "ann")
        .input("registry-password", "a password");
    // Root alone can give the workspace to somebody else; other users' tests have a workspace of their own.
    if chown(step.workspace(), Some(OWNER), Some(OWNER)).is_err() {
        assert_ne!(owner(&step.workspace()), 0);
    }
    let finished = step.run();
    assert!(finished.is_success(), "{finished}");
    let outputs = finished.outputs().expect("well-formed outputs");
    assert_eq!((outputs["state"].as_str(), outputs["status"].as_str()), ("completed-successfully", "SUCCESS"));
    assert_eq!(outputs["digest"], release.digest());
    assert_eq!(registry.contents().digest("acme-prod/api", "production").as_deref(), Some(release.digest()));
    assert!(finished.summary().contains(release.digest()), "{finished}");
    assert_eq!(finished.places_with("a password"), Vec::<String>::new());
    let files = files_below(&step.workspace());
    assert!(files.iter().any(|file| file.ends_with(&outputs["record-path"])), "{files:?}");
    for file in files {
        assert_eq!(owner(&file), owner(&step.workspace()), "{}", file.display());
    }
}

/// Starts a promotion whose copy never ends, and waits until it copies: its lease is taken then.
fn slow_promotion(step: &Runner, source: &Registry, release: &Content) -> Running {
    let manifest = release.child("linux/arm64").expect("a manifest of the platform").digest;
    let manifest = release.document(&manifest).expect("it is part of the image").json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("a layer").to_owned();
    let stalled = source.fault(Rule::on("GET", &format!("/v2/acme/api/blobs/{layer}")).act(Action::Stall(100)));
    let running = step.start();
    let begun = Instant::now();
    while stalled.hits() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}\n{}", running.stdout(), running.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    running
}

fn assert_interrupted(finished: &Finished, step: &Runner, code: i32, signal: &str) {
    assert_eq!(finished.code, Some(code), "{finished}");
    let outputs = finished.outputs().expect("well-formed outputs");
    assert_eq!(outputs["state"], "interrupted", "{finished}");
    let trail = std::fs::read_to_string(step.workspace().join(&outputs["audit-path"])).expect("the trail");
    assert!(trail.contains("interrupted") && trail.contains(signal), "{trail}");
}

/// Somebody else's run on the same environment is not kept waiting.
fn assert_free(step: &Runner, source: &Registry) {
    source.clear_faults();
    let begun = Instant::now();
    let finished = step.clone().env("GITHUB_RUN_ID", "16000000002").run();
    assert!(finished.is_success(), "{finished}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{finished}");
}

fn docker_stop(image: &Image) {
    let release = release();
    let (source, target) = (registry_with(&release), Registry::start());
    let step = promoting(image, &source.host(), &target.host());
    let running = slow_promotion(&step, &source, &release);
    let begun = Instant::now();
    image.docker(&["stop", "--time", "30", running.container()]);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_interrupted(&running.wait(), &step, 143, "SIGTERM");
    assert_free(&step, &source);
}

fn cancellation(image: &Image) {
    let release = release();
    let (source, target) = (registry_with(&release), Registry::start());
    let step = promoting(image, &source.host(), &target.host());
    let running = slow_promotion(&step, &source, &release);
    let begun = Instant::now();
    // The runner sends it to the client, which hands it on.
    running.signal(Signal::INT);
    let finished = running.wait();
    assert!(begun.elapsed() < Duration::from_secs(7), "{finished}");
    assert_interrupted(&finished, &step, 130, "SIGINT");
    assert_free(&step, &source);
}

fn post_step(image: &Image) {
    let release = release();
    let (source, target) = (registry_with(&release), Registry::start());
    let step = promoting(image, &source.host(), &target.host());
    let running = slow_promotion(&step, &source, &release);
    image.docker(&["kill", running.container()]);
    let killed = running.wait();
    assert_eq!(killed.code, Some(137), "{killed}");
    let state = killed.state().expect("a well-formed state");
    let post = state.iter().fold(step.clone(), |post, (name, value)| post.env(&format!("STATE_{name}"), value));
    let finished = post.option("--entrypoint").option(&entrypoint("post-entrypoint")).run();
    assert!(finished.is_success(), "{finished}");
    // A lease that was left would still be valid.
    assert_free(&step, &source);
}

fn read_only_root(image: &Image) {
    let registry = registry_with(&release());
    let finished = promoting(image, &registry.host(), &registry.host()).option("--read-only").run();
    assert!(finished.is_success(), "{finished}");
}

fn help_without_network(image: &Image) {
    let help = image.docker(&["run", "--rm", "--network", "none", "--read-only", &image.name, "--help"]);
    assert!(help.contains("--registry-password"), "{help}");
}

fn hosts_file(image: &Image) {
    let registry = registry_with(&release());
    let host = format!("registry.localhost:{}", port(&registry));
    let step = promoting(image, &host, &host).option("--add-host").option("registry.localhost:127.0.0.1");
    let finished = step.run();
    assert!(finished.is_success(), "{finished}");
}

fn another_authority(image: &Image) {
    let authority = Authority::new();
    let registry = Registry::builder().tls(&authority).start();
    release().place(registry.contents(), "acme/api", &["staging"]);
    // On the loopback interface anything would be trusted.
    let host = format!("registry.test:{}", port(&registry));
    let step = promoting(image, &host, &host).option("--add-host").option("registry.test:127.0.0.1");
    let refused = step.run();
    assert_ne!(refused.code, Some(0), "{refused}");
    let mount = format!("{}:/authority.pem:ro", authority.file().display());
    let trusted = step.option("-v").option(&mount).env("SSL_CERT_FILE", "/authority.pem").run();
    assert!(trusted.is_success(), "{trusted}");
}

fn port(registry: &Registry) -> String {
    registry.host().rsplit(':').next().expect("a host with a port").to_owned()
}

/// One of the programs that `action.yml` names.
fn entrypoint(key: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml");
    let action = std::fs::read_to_string(path).expect("action.yml");
    let line = action.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("action.yml has no {key}")).to_owned()
}

fn owner(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).uid()
}

/// Everything below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory of the workspace") {
            let path = entry.expect("an entry of the workspace").path();
            if path.is_dir() {
                directories.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}
