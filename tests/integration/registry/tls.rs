//! Which registries are spoken to in plain HTTP, which over TLS, and whose certificates count.
//!
//! `0.0.0.0` leads to this machine and is none of its names, so that it stands for a registry somewhere else.

use testbed::authority::Authority;
use testbed::docker_registry::DockerRegistry;
use testbed::image::Image;
use testbed::registry::{Auth, Registry};
use tidegate::promotion::fault::{Code, Fault};
use tidegate::registry::{Class, CopyOptions, Credentials, Options, Registries, Trouble};

use super::setup::{BARE, anonymous, assert_all_counted, counted, digest, known, options, repository, tag};

fn elsewhere(host: &str) -> String {
    host.replace("127.0.0.1", "0.0.0.0")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_on_this_machine_may_speak_tls() {
    let authority = Authority::new();
    let registry = Registry::builder().tls(&authority).auth(Auth::Token).user("ann", "s3cret-word").start();
    let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(6, 1_000).build();
    image.place(registry.contents(), "acme/api", &["staging"]);
    for host in [registry.host(), registry.host_by_name()] {
        registry.clear_log();
        let client = known(&host, "ann", "s3cret-word");
        let (from, to) = (repository(&host, "acme/api"), repository(&host, "acme/prod"));
        client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
        client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
        let (m, b) = (image.documents().len() as u64 - 1, image.blobs().len() as u64);
        assert_eq!(counted(&client.traffic(), Class::Copy), 2 * m + 2 + b);
        assert_eq!(counted(&client.traffic(), Class::Auth), 2);
        // That it speaks TLS was found out without a request that it would have seen.
        assert_all_counted(&client.traffic(), &[&registry.log()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_registry_on_this_machine_may_speak_tls() {
    let authority = Authority::new();
    let registry = DockerRegistry::builder().tls(&authority).start();
    let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
    image.push(&registry.endpoint().client(), "acme/api", &["staging"]).unwrap();
    let client = anonymous();
    let (from, to) = (repository(registry.host(), "acme/api"), repository(registry.host(), "acme/prod"));
    client.resolve(&from.tagged(tag("staging")), Class::Look).await.unwrap();
    assert_eq!(client.traffic().total(), 1);
    client.copy_content(&from, &to, &digest(&image), CopyOptions::default()).await.unwrap();
    client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
    let there = registry.endpoint().client().digest("acme/prod", "production");
    assert_eq!(there.as_deref(), Some(image.digest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_elsewhere_is_spoken_to_over_tls_only() {
    let plain = Registry::builder().auth(Auth::Basic).user("ann", "s3cret-word").start();
    let host = elsewhere(&plain.host());
    let client = known(&host, "ann", "s3cret-word");
    let error = client.head(&repository(&host, "acme/api").tagged(tag("x")), Class::Look).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::Unreachable { .. }), "{error}");
    assert!(plain.log().is_empty());

    let authority = Authority::new();
    let encrypted = Registry::builder().tls(&authority).auth(Auth::Basic).user("ann", "s3cret-word").start();
    let host = elsewhere(&encrypted.host());
    let client = known(&host, "ann", "s3cret-word");
    let error = client.head(&repository(&host, "acme/api").tagged(tag("x")), Class::Look).await.unwrap_err();
    assert!(matches!(error.trouble, Trouble::Untrusted { .. }), "{error}");
    assert!(error.tried.is_empty(), "a certificate does not become better by asking again");
    let fault = Fault::from(error);
    assert_eq!(fault.code, Code::RegistryUnreachable);
    assert!(fault.fix.contains("insecure-registries"));
    assert!(encrypted.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_registry_may_speak_either() {
    let authority = Authority::new();
    for registry in [Registry::start(), Registry::builder().tls(&authority).start()] {
        let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
        image.place(registry.contents(), "acme/api", &["staging"]);
        let host = elsewhere(&registry.host());
        let client = Registries::new(Options { insecure: vec![host.clone()], ..options() });
        let (from, to) = (repository(&host, "acme/api"), repository(&host, "acme/prod"));
        client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
        client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
        assert_all_counted(&client.traffic(), &[&registry.log()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_registry_that_speaks_tls_never_hears_plain_credentials() {
    let authority = Authority::new();
    let registry = Registry::builder().tls(&authority).auth(Auth::Basic).user("ann", "s3cret-word").start();
    let image = Image::manifest("linux/amd64").build();
    image.place(registry.contents(), "acme/api", &["staging"]);
    let host = elsewhere(&registry.host());
    let credentials = Credentials::anonymous().with_login(&host, "ann", "s3cret-word".into());
    let client = Registries::new(Options { credentials, insecure: vec![host.clone()], ..options() });
    let reference = repository(&host, "acme/api").tagged(tag("staging"));
    assert_eq!(client.resolve(&reference, Class::Look).await.unwrap().digest, digest(&image));
    assert!(registry.log().iter().all(|entry| entry.status.is_some()));
}
