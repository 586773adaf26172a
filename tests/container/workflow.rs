//! A whole workflow, whose steps run the image.

use ::workflow::{Gate, Machine, Review, Verdict};
use testbed::github::{GitHub, NewCheckRun};
use testbed::image::Image as TestImage;
use testbed::postgres::Postgres;
use testbed::registry::Registry;

use super::{Case, Image};

pub(crate) const CASES: &[Case] = &[("an_example_is_run_by_the_image", example)];

fn example(image: &Image) {
    let registry = Registry::start();
    let database = Postgres::shared().database();
    let github = GitHub::start();
    let repository = github.repository("acme/api");
    let commit = repository.commit("main", "What is promoted", "ann");
    repository.check_run(&commit, &NewCheckRun::ended("build", "success"));
    let release = TestImage::index(&["linux/amd64", "linux/arm64"])
        .label("org.opencontainers.image.version", "1.0.0")
        .label("org.opencontainers.image.revision", &commit)
        .layers(2, 600)
        .build();
    release.place(registry.contents(), "acme/api", &["staging"]);
    let directory = Image::source().join("examples/image-promotion");
    let configuration = std::fs::read_to_string(directory.join(".github/tidegate.yml")).expect("the configuration");
    let machine = Machine::new(Image::source(), "tidegate/tidegate", "/bin/false")
        .image(&image.engine, &image.name)
        .on(&github)
        .commit(&commit)
        .files(&directory)
        .file(".github/tidegate.yml", configuration.replace("ghcr.io", &registry.host()))
        .secret("DATABASE_URL", &database.url())
        .environment("production", Gate::reviewed(&["bob"], |_| Review::yes("bob")));
    let run = machine.dispatch(".github/workflows/promote.yml", &[]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(registry.contents().digest("acme/api", "production").as_deref(), Some(release.digest()));
    let artifact = format!("promotion-{}", run.job("promote").outputs["deployment-id"]);
    assert!(run.artifact(&artifact, "record.json").contains("\"status\": \"success\""));
}
