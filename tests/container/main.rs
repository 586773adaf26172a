//! The image that the Dockerfile makes, run as runners run it.
//!
//! These cases have a harness of their own: whether there is a Docker engine with the Dockerfile's base images turns out
//! when they run, and where there is none they are reported as ignored, by name and with the reason.

#![allow(clippy::expect_used, reason = "a test may give up with a clear message")]

mod contents;
mod deployment;
mod kubernetes;
mod runner;
mod workflow;

use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

use libtest_mimic::{Arguments, Trial};
use testbed::docker::Engine;
use testbed::runner::Runner;

/// A case: its name and what it does.
type Case = (&'static str, fn(&Image));

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let reason = Image::engine().err();
    let cases = [runner::CASES, kubernetes::CASES, contents::CASES, deployment::CASES, workflow::CASES].concat();
    let trials = cases.into_iter().map(|(name, case)| {
        let run = move || {
            case(Image::built());
            Ok(())
        };
        let trial = Trial::test(format!("container::{name}"), run).with_ignored_flag(reason.is_some());
        trial.with_kind(reason.clone().unwrap_or_default())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The image under test.
struct Image {
    engine: Engine,
    name: String,
}

impl Image {
    fn engine() -> Result<Engine, String> {
        Engine::find(Self::source())
    }

    fn source() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// The image, built by the first case that needs it.
    fn built() -> &'static Self {
        static IMAGE: LazyLock<Image> = LazyLock::new(|| {
            let engine = Image::engine().expect("a Docker engine with the base images");
            let name = engine.image_of(Image::source());
            Image { engine, name }
        });
        &IMAGE
    }

    /// A step that runs the image, as GitHub's runner does.
    fn step(&self) -> Runner {
        Runner::of_image(&self.engine, &self.name)
    }

    /// What the client prints; it must not fail.
    fn docker(&self, arguments: &[&str]) -> String {
        self.engine.run(arguments).unwrap_or_else(|error| panic!("{error}"))
    }
}
