//! What becomes of a deployment is told as what it is: by the real program, of a service whose versions behave as told.

use testbed::runner::{Finished, Runner};
use testbed::service::{Behaviour, Service};

use super::scene::{Scene, image};

const CHANNELS: &str = "\
team: { slack: \"${SLACK}\", on: [succeeded, degraded, rolled-back, rollback-failed, drift, inconclusive] }
all: { webhook: \"${HOOK}\", on: [failed, succeeded] }";

struct Place {
    scene: Scene,
    service: Service,
    number: std::cell::Cell<u32>,
}

impl Place {
    /// A place whose service has this under `probes:` beside its own.
    fn with(probes: &str) -> Self {
        let scene = Scene::new(CHANNELS, "");
        let service = Service::following(scene.registry.contents(), "acme/api", "production");
        let keys = format!(
            "health:\n  retries: 1\n  interval: 50ms\n  timeout: 500ms\n  probes:\n    \
             api: {{ url: \"{}\", body: {{ \"$.status\": ok }} }}\n{probes}rollback: {{ lived: 1ms }}",
            service.url("/health")
        );
        scene.configure(CHANNELS, &keys);
        Self { scene, service, number: std::cell::Cell::new(0) }
    }

    fn step(&self) -> Runner {
        self.number.set(self.number.get() + 1);
        self.scene.step().env("GITHUB_RUN_ID", &format!("77{}", self.number.get()))
    }

    fn promote(&self, number: u64, behaviour: Behaviour) -> Finished {
        let content = image(number);
        self.service.behaves(content.digest(), behaviour);
        content.place(self.scene.registry.contents(), "acme/api", &["staging"]);
        self.step().run()
    }

    /// The titles of what the team was told, in order.
    fn titles(&self) -> Vec<String> {
        let title =
            |told: &testbed::channels::Told| told.json()["blocks"][0]["text"]["text"].as_str().unwrap().to_owned();
        self.scene.told("/services").iter().map(title).collect()
    }

    /// The events that the other channel was told.
    fn events(&self) -> Vec<String> {
        self.scene.told("/hook").iter().map(|told| told.json()["event"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn what_is_taken_back_is_told_once_and_where_it_is_now() {
    let place = Place::with("");
    assert!(place.promote(1, Behaviour::Healthy).is_success());
    let finished = place.promote(2, Behaviour::Dead);
    assert_eq!(finished.code, Some(4), "{finished}");
    assert_eq!(place.titles(), ["✅ Succeeded: api to production", "↩️ Rolled back: api in production"]);
    // Who asks for failures hears of it under that name; the run that took it back tells nobody by itself.
    assert_eq!(place.events(), ["succeeded", "failed"]);
    let text = place.scene.told("/hook")[1].json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains(&format!("api is back at {}", image(1).digest())), "{text}");
    let folder = finished.outputs().unwrap()["log-path"].clone();
    let failure = std::fs::read_to_string(place.scene.step().workspace().join(folder).join("failure.md")).unwrap();
    assert!(failure.starts_with("## Rollback report") && failure.contains("and taken back"), "{failure}");
}

#[test]
fn what_cannot_be_taken_back_wakes_somebody() {
    let place = Place::with("");
    let finished = place.promote(1, Behaviour::Dead);
    assert_eq!(finished.code, Some(5), "{finished}");
    assert_eq!(place.titles(), ["🆘 ROLLBACK FAILED, a human is needed: api in production"]);
    assert_eq!(place.events(), ["failed"]);
}

#[test]
fn what_lives_with_warnings_is_degraded_and_what_cannot_be_asked_inconclusive() {
    let place = Place::with("    queue: { tcp: \"127.0.0.1:9\", critical: false }\n");
    let finished = place.promote(1, Behaviour::Healthy);
    assert!(finished.is_success(), "{finished}");
    assert_eq!(place.titles(), ["⚠️ Degraded: api in production"]);
    assert_eq!(place.events(), ["succeeded"]);
    let text = &place.scene.told("/services")[0].body;
    assert!(text.contains("queue"), "{text}");

    let place = Place::with("    far: { url: \"http://nobody.invalid/\" }\n");
    let finished = place.promote(1, Behaviour::Healthy);
    assert_eq!(finished.code, Some(6), "{finished}");
    assert_eq!(place.titles(), ["❔ Inconclusive: whether api lives in production is not known"]);
}

#[test]
fn drift_is_told_and_a_look_at_what_is_as_it_should_be_is_not() {
    let place = Place::with("");
    assert!(place.promote(1, Behaviour::Healthy).is_success());
    let told = place.scene.channels.told().len();
    let look = || place.step().input("operation", "verify").run();
    let finished = look();
    assert!(finished.is_success(), "{finished}");
    assert_eq!(place.scene.channels.told().len(), told, "{finished}");
    place.service.behaves(image(2).digest(), Behaviour::Healthy);
    image(2).place(place.scene.registry.contents(), "acme/api", &["production"]);
    let finished = look();
    assert_eq!(finished.code, Some(1), "{finished}");
    assert_eq!(place.titles().last().unwrap(), "🔀 Drift: api in production is not what was deployed");
    assert_eq!(place.events(), ["succeeded", "failed"]);
    let text = place.scene.told("/hook")[1].json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains(image(1).digest()) && text.contains(image(2).digest()), "{text}");
}

#[test]
fn a_megabyte_in_a_label_is_cut_where_it_is_shown_and_kept_where_it_is_not() {
    let hostile = format!("\u{202e}gpj.exe <!channel> <b onload=x> {}", "A".repeat(1 << 20));
    let scene = Scene::new(CHANNELS, "validate: { label-values: { maintainer: \"ops@acme.test\" } }");
    let content = testbed::image::Image::manifest("linux/amd64").layers(1, 200).label("maintainer", &hostile).build();
    content.place(scene.registry.contents(), "acme/api", &["staging"]);
    let finished = scene.promote();
    assert_eq!(finished.code, Some(1), "{finished}");
    assert_eq!(scene.run().notifications[0].delivery.unwrap().0.name(), "sent", "{finished}");
    let text = &scene.told("/hook")[0].body;
    assert!(text.len() < 100_000, "{} bytes", text.len());
    let folder = scene.step().workspace().join(&finished.outputs().unwrap()["log-path"]);
    for name in ["report.md", "compliance.md", "compliance.html", "failure.md", "failure.html"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.len() < 100_000, "{name}: {} bytes", text.len());
        assert!(!text.contains('\u{202e}') && !text.contains("<b onload"), "{name}");
    }
}
