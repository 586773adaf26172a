//! See it work: real promotions, with no account, no installation and no network.
//!
//! A registry runs in this process, the ledger is a file, and the program runs as a child, so that what is shown is what
//! a user sees. `cargo run --example quickstart`

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a demonstration: it prints, and stops where it cannot go on"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testbed::fault::{Action, Rule};
use testbed::image::{Content, CosignKind, Defect, Image, cosign};
use testbed::registry::Registry;
use testbed::service::{Behaviour, Service};

/// Set in the child, which is this same file: it is then the program itself.
const CHILD: &str = "QUICKSTART_CHILD";

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return tidegate::action::main();
    }
    let registry = Registry::start();
    // What production runs: whatever its tag points to, from one request to the next.
    let service = Service::following(registry.contents(), "acme-prod/api", "production");
    let workspace = workspace(&registry.host(), &service.url("/health"));
    let mut good = true;
    let mut show = |title: &str, wanted: i32, program: &mut Command| {
        println!("\n\u{1b}[1m=== {title}\u{1b}[0m");
        let status = program.status().expect("the program starts");
        let exit = status.code();
        if exit != Some(wanted) {
            println!("!!! this ended with {status}, and {wanted} was expected");
            good = false;
        }
    };

    let first = release("1.0.0").with_signature();
    first.place(registry.contents(), "acme/api", &["staging"]);
    show("What would a promotion do?", 0, &mut program(&workspace, &["plan"]));
    show("The first promotion: two platforms, and a signature that travels along", 0, &mut program(&workspace, &[]));
    show("Again: nothing to do, found with two requests", 0, &mut program(&workspace, &[]));

    let second = release("1.1.0").with_signature();
    second.place(registry.contents(), "acme/api", &["staging"]);
    show("The second promotion: what was there before is kept alive", 0, &mut program(&workspace, &[]));

    let broken = Image::manifest("linux/amd64").layers(2, 4_096).defect(Defect::NoCommand).build();
    broken.place(registry.contents(), "acme/api", &["staging"]);
    show(
        "An image without a command, for one platform only: refused, and nothing is changed",
        1,
        &mut program(&workspace, &[]),
    );

    let third = release("1.2.0").with_signature();
    third.place(registry.contents(), "acme/api", &["staging"]);
    println!(
        "\n\u{1b}[1m=== The runner dies in the middle of the third promotion: the tag has moved, nobody knows\u{1b}[0m"
    );
    killed_while_the_tag_moves(&registry, &workspace);
    show("The job is run again: it looks at the world and goes on", 0, &mut job(&workspace, "2"));
    let fourth = release("1.3.0").with_signature();
    fourth.place(registry.contents(), "acme/api", &["staging"]);
    service.behaves(fourth.digest(), Behaviour::DiesAfter(Duration::from_millis(1_500)));
    show(
        "A release that answers well and falls over while it is watched: it is taken back, by a run of its own",
        4,
        &mut program(&workspace, &[]),
    );
    let by_hand = ["rollback", "--reason", "a second thought", "--confirm", "ROLLBACK"];
    show(
        "And by hand, to the one before: gates and freezes never stand in its way",
        0,
        &mut program(&workspace, &by_hand),
    );
    show("And the trail holds: every event, in one chain", 0, &mut program(&workspace, &["audit"]));

    println!("\n\u{1b}[1m=== What the registry has now\u{1b}[0m");
    for tag in registry.contents().tags("acme-prod/api") {
        println!("{tag:32} {}", registry.contents().digest("acme-prod/api", &tag).unwrap_or_default());
    }
    let in_place = registry.contents().digest("acme-prod/api", "production").as_deref() == Some(second.digest());
    println!("\nproduction is {}", if in_place { "what it should be" } else { "NOT what it should be" });
    println!("records, reports and logs: {}", workspace.join(".tidegate").display());
    if good && in_place { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A fresh folder with a configuration.
fn workspace(registry: &str, health: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/quickstart");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let configuration = format!(
        "\
version: 1
services:
  api: {{ image: {registry}/acme/api }}
environments:
  staging:
    tag: staging
  production:
    from: staging
    repository: {registry}/acme-prod/{{{{ service }}}}
    tag: production
    immutable-tags: [\"production-{{{{ sequence }}}}\"]
    validate:
      platforms: [linux/amd64, linux/arm64]
      size: {{ max: 100MiB }}
      labels: [org.opencontainers.image.version]
      layers: deep
    health:
      probes:
        api: {{ url: \"{health}\", body: {{ \"$.status\": ok }}, identity: {{ header: x-image-digest }} }}
      monitor: {{ for: 2s, every: 500ms, samples: 6 }}
    rollback: {{ lived: 1ms }}
"
    );
    std::fs::write(folder.join("tidegate.yml"), configuration).expect("the configuration can be written");
    folder
}

/// A multi-platform image.
fn release(version: &str) -> Content {
    Image::index(&["linux/amd64", "linux/arm64"])
        .layers(3, 40_000)
        .label("org.opencontainers.image.version", version)
        .command(&["/usr/bin/api", "--serve"])
        .user("app")
        .attestations()
        .build()
}

/// Signs content the way cosign does, with a tag beside it.
trait Signed {
    fn with_signature(self) -> Self;
}

impl Signed for Content {
    fn with_signature(self) -> Self {
        let signature = cosign(CosignKind::Signature, self.digest());
        self.with(signature)
    }
}

/// The program as a job of a workflow runs it, so that its second attempt belongs to the same run.
fn job(workspace: &Path, attempt: &str) -> Command {
    let mut program = program(workspace, &[]);
    program.env("GITHUB_RUN_ID", "1001").env("GITHUB_RUN_ATTEMPT", attempt);
    program
}

/// The program as a user runs it: on a command line, in the workspace.
fn program(workspace: &Path, arguments: &[&str]) -> Command {
    let mut program = Command::new(std::env::current_exe().expect("this program has a path"));
    program
        .current_dir(workspace)
        .env_clear()
        .env(CHILD, "1")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(arguments)
        .args(["--config", "tidegate.yml", "--environment", "production", "--requestor", "you"])
        .stdin(Stdio::null());
    program
}

/// Kills the child after the registry has moved the tag and before the program hears of it.
fn killed_while_the_tag_moves(registry: &Registry, workspace: &Path) {
    let child = Arc::new(Mutex::new(None::<std::process::Child>));
    let victim = Arc::clone(&child);
    let fault = registry.fault(Rule::on("PUT", "/v2/acme-prod/api/manifests/production").nth(1).act(
        Action::CallAfter(Arc::new(move || {
            if let Some(child) = victim.lock().expect("nobody panics here").as_mut() {
                let _ = child.kill();
            }
        })),
    ));
    let mut locked = child.lock().expect("nobody panics here");
    *locked = Some(job(workspace, "1").spawn().expect("the program starts"));
    drop(locked);
    loop {
        let ended = child.lock().expect("nobody panics here").as_mut().expect("it was started").try_wait();
        if let Some(status) = ended.expect("it can be waited for") {
            println!("... it was killed ({status})");
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    fault.remove();
}
