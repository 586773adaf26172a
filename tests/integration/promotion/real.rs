//! With the real things: Debian's docker-registry with logins and TLS, PostgreSQL directly and through PgBouncer, and
//! skopeo, which says what is there in the end.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::authority::Authority;
use testbed::docker_registry::DockerRegistry;
use testbed::image::{Content, CosignKind, Image, cosign};
use testbed::proxy::Proxy;
use tidegate::promotion::digest::Digest;

use super::scene::{Scene, Visit, small};

const USER: &str = "ann";
const PASSWORD: &str = "s3cret/w0rd%";

/// Two platforms, some layers, a signature.
fn signed() -> Content {
    let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(3, 20_000).seed(77).build();
    let signature = cosign(CosignKind::Signature, image.digest());
    image.with(signature)
}

/// The digest of what skopeo gets there: a tag, or a digest.
fn skopeo(host: &str, login: bool, reference: &str) -> String {
    let mut command = Command::new("skopeo");
    command.args(["inspect", "--raw", "--tls-verify=false"]);
    if login {
        command.arg(format!("--creds={USER}:{PASSWORD}"));
    }
    let output = command.arg(format!("docker://{host}/{reference}")).output().unwrap();
    assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    Digest::sha256(&output.stdout).to_string()
}

/// A docker configuration with the login for this registry.
fn docker_config(host: &str) -> String {
    json!({"auths": {host: {"auth": STANDARD.encode(format!("{USER}:{PASSWORD}"))}}}).to_string()
}

/// skopeo sees the image, each of its platforms and its signature there, and nothing of ours knows the password.
fn arrived(visit: &Visit, host: &str, login: bool, repository: &str, tag: &str, image: &Content) {
    visit.succeeded();
    assert_eq!(visit.output("digest"), image.digest());
    assert_eq!(skopeo(host, login, &format!("{repository}:{tag}")), image.digest());
    for child in image.children() {
        assert_eq!(skopeo(host, login, &format!("{repository}@{}", child.digest)), child.digest);
    }
    let (tag, digest) = &image.tags()[0];
    assert_eq!(&skopeo(host, login, &format!("{repository}:{tag}")), digest);
    let basic = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for secret in [PASSWORD, "s3cret%2Fw0rd%25", &basic] {
        let places: Vec<String> =
            visit.places_with(secret).into_iter().filter(|place| place != "docker/config.json").collect();
        assert_eq!(places, Vec::<String>::new());
    }
}

fn goes_everywhere(registry: &DockerRegistry, authority: Option<&Authority>, scene: Scene) {
    let other = DockerRegistry::start();
    let image = signed();
    let client = registry.endpoint().client();
    image.push(&client, "acme/api", &["staging"]).unwrap();
    small(5).push(&client, "prod/api", &["live"]).unwrap();
    let host = registry.host();
    for (run, (at, login, repository, tag)) in [
        (host, true, "acme/api", "production"),
        (host, true, "prod/api", "live"),
        (other.host(), false, "prod/api", "live"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut step = scene
            .step()
            .input("image", &format!("{host}/acme/api:staging"))
            .input("to", &format!("{at}/{repository}:{tag}"))
            .env("GITHUB_RUN_ID", &run.to_string())
            .file("docker/config.json", docker_config(host))
            .env("DOCKER_CONFIG", scene.step().workspace().join("docker").to_str().unwrap());
        if let Some(authority) = authority {
            step = step.env("SSL_CERT_FILE", authority.file().to_str().unwrap());
        }
        let visit = scene.finish(step.start());
        arrived(&visit, at, login, repository, tag, &image);
        if repository == "prod/api" && at == host {
            // What was there before is kept.
            assert_eq!(visit.output("previous-digest"), small(5).digest());
            let kept = format!("prod/api:tidegate-keep-{}", &small(5).digest()[7..19]);
            assert_eq!(skopeo(at, login, &kept), small(5).digest());
        }
        // Again, as another run: it is there.
        let again = scene.finish(step.env("GITHUB_RUN_ID", &(run + 10).to_string()).start());
        again.succeeded();
        assert!(again.summary().contains("Nothing to do"), "{}", again.summary());
    }
    scene.assert_sound();
    assert_eq!(scene.runs().len(), 6);
}

#[test]
fn docker_registry_with_passwords_over_tls_and_postgresql() {
    let authority = Authority::new();
    let registry = DockerRegistry::builder().htpasswd(USER, PASSWORD).tls(&authority).start();
    goes_everywhere(&registry, Some(&authority), Scene::new().on_postgres());
}

#[test]
fn docker_registry_with_tokens_over_tls_and_pgbouncer() {
    let authority = Authority::new();
    let registry = DockerRegistry::builder().token(USER, PASSWORD).tls(&authority).start();
    goes_everywhere(&registry, Some(&authority), Scene::new().on_pgbouncer());
}

#[test]
fn docker_registry_with_tokens_and_relative_addresses_on_sqlite() {
    let registry = DockerRegistry::builder().token(USER, PASSWORD).relative_locations().start();
    goes_everywhere(&registry, None, Scene::new().on_a_file());
}

#[test]
fn the_record_counts_what_a_proxy_counts() {
    let registry = DockerRegistry::start();
    let proxy = Proxy::start(&registry.endpoint());
    let scene = Scene::new();
    signed().push(&registry.endpoint().client(), "acme/api", &["staging"]).unwrap();
    for to in ["acme/api:production", "prod/api:live", "acme/api:production"] {
        proxy.clear_log();
        let step = scene
            .step()
            .input("image", &format!("{}/acme/api:staging", proxy.host()))
            .input("to", &format!("{}/{to}", proxy.host()))
            .env("GITHUB_RUN_ID", &scene.runs().len().to_string());
        let visit = scene.finish(step.start());
        visit.succeeded();
        let record = visit.record().unwrap();
        let counts = record["traffic"]["requests"].as_object().unwrap();
        assert_eq!(counts.values().filter_map(Value::as_u64).sum::<u64>(), proxy.log().len() as u64, "{counts:?}");
    }
    assert_eq!(proxy.log().len(), 2, "there was nothing to do the last time");
}
