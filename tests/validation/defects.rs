//! Debian's docker-registry, a policy that asks for everything, an image that passes it, and that image with one thing
//! wrong with it at a time: refused for exactly that.

use std::io::Write as _;

use chrono::{TimeDelta, Utc};
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use testbed::client::Client;
use testbed::docker_registry::DockerRegistry;
use testbed::image::{Artifact, Content, CosignKind, Image, cosign_layer};
use testbed::sigstore::Key;
use tidegate::promotion::check::Verdict;

use super::layers::{Layer, archive, image_of, linked};
use super::scene::{REPOSITORY, Told, configuration, step, told};

/// Everything is asked for.
const POLICY: &str = "{ profile: strict, severity: { provenance: off }, platforms: [linux/amd64], \
                      size: { max: 200KiB }, labels: [org.opencontainers.image.source], \
                      metadata: [created, working-directory], age: { max: 30d }, \
                      scan: { reports: [scan/*.json] }, signature: { keys: cosign.pub }, \
                      sbom: { deny-licenses: [AGPL-*], deny-packages: [left-pad] }, \
                      content: { ports: { allow: [8080] }, setuid: { allow: [/usr/bin/su] }, secrets: {}, \
                      base-image: { allow: ['docker.io/library/debian:*'] }, packages: true, end-of-life: {}, \
                      growth: { layer: 50% } } }";

const ORIGIN: &str = "org.opencontainers.image.base.name";

const RELEASE: &str = "ID=debian\nVERSION_ID=\"13\"\n";

const DPKG: &str = "Package: libc6\nStatus: install ok installed\nVersion: 2.41\n";

/// The parts of an image, and of what belongs to it.
struct Parts {
    image: Image,
    layers: Vec<Layer>,
    package: &'static str,
    license: &'static str,
    severity: &'static str,
    /// Whether another digest is signed, scanned, listed.
    signed: bool,
    scanned: bool,
    listed: bool,
}

impl Parts {
    fn sound() -> Self {
        let files =
            [("etc/os-release", 0o644, RELEASE), ("var/lib/dpkg/status", 0o644, DPKG), ("usr/bin/su", 0o4755, "elf")];
        let image = Image::manifest("linux/amd64")
            .layers(1, 100)
            .created(&Utc::now().to_rfc3339())
            .user("65532")
            .label("org.opencontainers.image.source", "https://github.com/acme/api")
            .label(ORIGIN, "docker.io/library/debian:13")
            .edit_config(|config| {
                config["config"]["WorkingDir"] = json!("/app");
                config["config"]["ExposedPorts"] = json!({"8080/tcp": {}});
            });
        Self {
            image,
            layers: vec![Layer::plain(archive(&files)), Layer::plain(archive(&[("app/server", 0o755, "elf")]))],
            package: "libc6",
            license: "MIT",
            severity: "LOW",
            signed: true,
            scanned: true,
            listed: true,
        }
    }

    /// The same with another image.
    fn with(self, change: impl FnOnce(Image) -> Image) -> Self {
        Self { image: change(self.image), ..self }
    }

    /// The same with its configuration changed.
    fn edit(self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.with(|image| image.edit_config(edit))
    }

    /// The same with a layer more.
    fn and(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The same with another lowest layer.
    fn on(mut self, files: &[(&str, u32, &str)]) -> Self {
        self.layers[0] = Layer::plain(archive(files));
        self
    }

    fn build(&self, key: &Key) -> (Content, Value) {
        let image = image_of(self.image.clone(), &self.layers);
        let other = format!("sha256:{}", "0".repeat(64));
        let named = |right: bool| if right { image.digest().to_owned() } else { other.clone() };
        let (payload, annotations) = key.old_style(&named(self.signed));
        let signature = cosign_layer(CosignKind::Signature, image.digest(), payload.into(), annotations);
        let kind = "application/spdx+json";
        let bill = json!({"spdxVersion": "SPDX-2.3", "packages": [
            {"name": self.package, "versionInfo": "1.0", "licenseDeclared": self.license}]});
        let bill = Artifact::new(kind).layer(kind, bill.to_string()).subject(image.root()).build();
        let report = json!({
            "SchemaVersion": 2, "CreatedAt": Utc::now() - TimeDelta::hours(1), "ArtifactName": "x",
            "ArtifactType": "container_image",
            "Metadata": {"RepoDigests": [format!("registry.test/acme/api@{}", named(self.scanned))]},
            "Results": [{"Target": "x", "Vulnerabilities": [{
                "VulnerabilityID": "CVE-2026-1", "PkgName": "libc6", "InstalledVersion": "2.41", "Severity": self.severity}]}],
        });
        let content = image.with(signature);
        (if self.listed { content.with(bill) } else { content }.with_fallback_tags(), report)
    }
}

/// docker-registry, with an image in production that the candidates replace.
struct Place {
    registry: DockerRegistry,
    client: Client,
    key: Key,
    before: Content,
}

impl Place {
    fn start() -> Self {
        let registry = DockerRegistry::start();
        let client = registry.endpoint().client();
        let key = Key::new();
        let (before, _) = Parts::sound().and(filled(100_000)).build(&key);
        Self { before, registry, client, key }
    }

    fn promote(&self, policy: &str, parts: &Parts) -> (Told, String) {
        let (content, report) = parts.build(&self.key);
        content.push(&self.client, REPOSITORY, &["staging"]).unwrap();
        self.before.push(&self.client, REPOSITORY, &["production"]).unwrap();
        let step = step()
            .file(".github/tidegate.yml", configuration(self.registry.host(), policy))
            .file("cosign.pub", self.key.public_pem())
            .file("scan/report.json", report.to_string());
        (told(&step), content.digest().to_owned())
    }

    fn production(&self) -> String {
        self.client.digest(REPOSITORY, "production").unwrap()
    }
}

/// A layer of about this size.
fn filled(size: usize) -> Layer {
    Layer::plain(archive(&[("app/data", 0o644, &"x".repeat(size))]))
}

/// A gzip of a gigabyte of nothing and a little more, in about a megabyte.
fn bomb() -> Layer {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1_100 {
        packed.write_all(&zeros).unwrap();
    }
    Layer::gzip(packed.finish().unwrap(), &testbed::digest::sha256(b"whatever it would be"))
}

#[test]
fn a_sound_image_passes_and_each_defect_is_refused_for_exactly_what_it_is() {
    let place = Place::start();
    let (told, digest) = place.promote(POLICY, &Parts::sound());
    told.passes();
    assert_eq!(place.production(), digest, "{}", told.finished);
    for check in ["scan", "signature", "sbom", "setuid", "packages", "end-of-life", "growth", "layers", "base-image"] {
        told.says(check, Verdict::Pass, &[]);
    }
    let sound = Parts::sound;
    let one = |name: &str, mode: u32, content: &str| Layer::plain(archive(&[(name, mode, content)]));
    let defects: Vec<(&str, Parts, &str)> = vec![
        ("platforms", sound().edit(|config| config["architecture"] = json!("arm64")), "linux/amd64"),
        ("size", sound().and(filled(120_000)).and(filled(120_001)), "200KiB"),
        ("labels", sound().with(Image::without_labels).with(|image| image.label(ORIGIN, "docker.io/library/debian:13")), "image.source"),
        ("metadata", sound().edit(|config| config["config"]["WorkingDir"] = json!("")), "working-directory"),
        ("age", sound().with(|image| image.created("2020-01-01T00:00:00Z")), "2020"),
        ("command", sound().edit(|config| { config["config"]["Cmd"] = Value::Null; config["config"]["Entrypoint"] = Value::Null; }), "CMD"),
        ("user", sound().with(|image| image.user("root")), "root"),
        ("ports", sound().edit(|config| config["config"]["ExposedPorts"] = json!({"22/tcp": {}})), "22/tcp"),
        ("secrets", sound().with(|image| image.env("DB_PASSWORD", "hunter2-hunter2")), "DB_PASSWORD"),
        ("secrets", sound().edit(|config| config["history"] = json!([
            {"created_by": "ARG NPM_TOKEN=hunter2-hunter2", "empty_layer": true}, {"created_by": "COPY"}, {"created_by": "COPY"}])), "NPM_TOKEN"),
        ("base-image", sound().with(|image| image.label(ORIGIN, "docker.io/evil/debian:13")), "evil"),
        ("setuid", sound().and(one("usr/bin/mount", 0o4755, "elf")), "/usr/bin/mount"),
        ("setuid", sound().and(one("/usr/bin/mount", 0o2755, "elf")), "/usr/bin/mount"),
        ("setuid", sound().and(Layer::plain(linked("opt/tool", "../../usr/bin/evil", 0o4755))), "/opt/tool"),
        ("packages", sound().on(&[("etc/os-release", 0o644, RELEASE)]), "none"),
        ("end-of-life", sound().on(&[("etc/os-release", 0o644, "ID=debian\nVERSION_ID=\"10\"\n"), ("var/lib/dpkg/status", 0o644, DPKG)]), "debian 10"),
        ("growth", sound().and(filled(160_000)), "at most 50% more"),
        ("scan", Parts { severity: "CRITICAL", ..sound() }, "1 critical"),
        ("scan", Parts { scanned: false, ..sound() }, "no report about this digest"),
        ("signature", Parts { signed: false, ..sound() }, "it signs sha256:0000"),
        ("sbom", Parts { package: "left-pad", ..sound() }, "left-pad"),
        ("sbom", Parts { license: "AGPL-3.0-only", ..sound() }, "AGPL-3.0-only"),
        ("sbom", Parts { listed: false, ..sound() }, "none"),
    ];
    for (check, parts, says) in defects {
        let (told, _) = place.promote(POLICY, &parts);
        told.fails_by(check, &[says]);
        assert_eq!(place.production(), place.before.digest(), "{check}");
    }
}

#[test]
fn layers_that_are_made_to_harm_are_refused_and_harm_nothing() {
    let place = Place::start();
    let policy = POLICY.replace(" size: { max: 200KiB },", "").replace(", growth: { layer: 50% }", "");
    let names: Vec<String> = (0..50_000).map(|number| format!("{}/{number}", "d/".repeat(20))).collect();
    let many: Vec<(&str, u32, &str)> = names.iter().map(|name| (name.as_str(), 0o644, "")).collect();
    let (told, _) = place.promote(&policy, &Parts::sound().and(Layer::packed(&archive(&many))));
    told.passes();
    let content = archive(&[("app/x", 0o644, "x")]);
    for (what, layer, says) in [
        ("a bomb", bomb(), "archives that fill disks"),
        ("not what it says", Layer::gzip(content.clone(), &testbed::digest::sha256(&content)), "cannot be unpacked"),
        (
            "other content",
            Layer { content: testbed::digest::sha256(b"other"), ..Layer::plain(content) },
            "its content is",
        ),
    ] {
        let (told, _) = place.promote(&policy, &Parts::sound().and(layer));
        told.says("layers", Verdict::Fail, &[says]);
        // What is in it cannot be told, so that whatever is asked about that fails too, and nothing else does.
        let failing: std::collections::BTreeSet<&str> = told
            .findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Fail)
            .map(|finding| finding.check.as_str())
            .collect();
        assert_eq!(failing.into_iter().collect::<Vec<_>>(), ["end-of-life", "layers", "packages", "setuid"], "{what}");
        assert_eq!(place.production(), place.before.digest(), "{what}");
    }
}
