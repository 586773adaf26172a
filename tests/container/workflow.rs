//! A whole workflow, whose steps run the image.

use ::workflow::{Gate, Machine, Review, Verdict};
use testbed::channels::Channels;
use testbed::github::{GitHub, NewCheckRun, NewWorkflow};
use testbed::image::Image as TestImage;
use testbed::postgres::Postgres;
use testbed::registry::Registry;
use testbed::service::Service;

use super::{Case, Image};

pub(crate) const CASES: &[Case] = &[("an_example_is_run_by_the_image", example)];

fn example(image: &Image) {
    let (registry, channels) = (Registry::start(), Channels::start());
    let service = Service::following(registry.contents(), "acme/api", "production");
    let database = Postgres::shared().database();
    let github = GitHub::start();
    let repository = github.repository("acme/api");
    let commit = repository.commit("main", "What is promoted", "ann");
    let deploy = NewWorkflow::file("deploy.yml").run_name("Deploy {digest} ({run})");
    repository.workflow(&deploy.steps(&["queued", "completed:success"]));
    repository.check_run(&commit, &NewCheckRun::ended("build", "success"));
    let release = TestImage::index(&["linux/amd64", "linux/arm64"])
        .label("org.opencontainers.image.version", "1.0.0")
        .label("org.opencontainers.image.revision", &commit)
        .layers(2, 600)
        .build();
    release.place(registry.contents(), "acme/api", &["staging"]);
    let directory = Image::source().join("examples/image-promotion");
    let configuration = std::fs::read_to_string(directory.join(".github/tidegate.yml")).expect("the configuration");
    let (host, address) = (registry.host(), service.url(""));
    let configuration = [
        ("ghcr.io", host.as_str()),
        ("https://www.acme.test", address.as_str()),
        ("settle: 30s", "settle: 10ms"),
        ("{ for: 5m, every: 30s }", "{ for: 600ms, every: 100ms, samples: 4 }"),
        ("every: 10s", "every: 20ms"),
    ]
    .into_iter()
    .fold(configuration, |text, (from, to)| text.replace(from, to));
    let machine = Machine::new(Image::source(), "tidegate/tidegate", "/bin/false")
        .image(&image.engine, &image.name)
        .on(&github)
        .commit(&commit)
        .files(&directory)
        .file(".github/tidegate.yml", configuration)
        .secret("DATABASE_URL", &database.url())
        .secret("SLACK_WEBHOOK", &format!("{}/services/T0/B0/x", channels.url()))
        .secret("TEAMS_WEBHOOK", &format!("{}/workflows/oncall", channels.url()))
        .environment("production", Gate::reviewed(&["bob"], |_| Review::yes("bob")));
    let run = machine.dispatch(".github/workflows/promote.yml", &[]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(registry.contents().digest("acme/api", "production").as_deref(), Some(release.digest()));
    let id = &run.job("promote").outputs["deployment-id"];
    let record = run.artifact(&format!("deployment-{id}"), &format!("{id}/record.json"));
    assert!(record.contains("\"status\": \"success\""), "{record}");
    assert_eq!(channels.told().len(), 6);
}
