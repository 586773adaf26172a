//! A deployment over SSH, with the image's own client.

use testbed::docker_host::{DockerHosts, HOSTS};
use testbed::image::Image as TestImage;
use testbed::registry::Registry;

use super::{Case, Image};

pub(crate) const CASES: &[Case] = &[("an_image_is_deployed_over_ssh", deployment)];

fn deployment(image: &Image) {
    let (registry, hosts) = (Registry::start(), DockerHosts::start());
    let release = TestImage::index(&["linux/amd64", "linux/arm64"]).layers(2, 600).build();
    release.place(registry.contents(), "acme/api", &["staging"]);
    hosts.write(HOSTS[0], "compose.yaml", "services:\n  api:\n    image: acme/api\n");
    let configuration = format!(
        "version: 1
services: {{ api: {{ image: \"{registry}/acme/api\" }} }}
environments:
  staging: {{ tag: staging }}
  production:
    from: staging
    tag: production
    deploy:
      compose:
        hosts: [\"{host}\"]
        user: {user}
        port: {port}
        key: \"${{SSH_KEY}}\"
        passphrase: \"${{SSH_PASSPHRASE}}\"
        host-keys: [\"{fingerprint}\"]
        directory: \"{directory}\"
        project: shop
",
        registry = registry.host(),
        host = HOSTS[0],
        user = hosts.sshd().user(),
        port = hosts.sshd().port(),
        fingerprint = hosts.sshd().fingerprint(),
        directory = hosts.app(HOSTS[0]).display(),
    );
    let step = image
        .step()
        .absent_inputs(&["services", "until", "database-url", "image", "to"])
        .file("tidegate.yml", configuration)
        .input("config", "tidegate.yml")
        .input("environment", "production")
        .env("SSH_KEY", &hosts.sshd().key_with("a passphrase"))
        .env("SSH_PASSPHRASE", "a passphrase");
    let finished = step.run();
    assert!(finished.is_success(), "{finished}");
    let running = hosts.runs(HOSTS[0], "shop-api-1");
    assert_eq!(running, Some(format!("{}/acme/api@{}", registry.host(), release.digest())));
}
