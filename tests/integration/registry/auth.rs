//! Who we are to registries: tokens, Basic, anonymous; and where credentials never go.

use futures_util::future::join_all;
use testbed::authority::Authority;
use testbed::docker_registry::DockerRegistry;
use testbed::fault::{Action, Answer, Rule};
use testbed::image::{Content, Image};
use testbed::proxy::Proxy;
use testbed::registry::{Auth, Locations, Registry, Settings, TokenField};
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::image::Repository;
use tidegate::registry::{Class, CopyOptions, Credentials, Options, Registries, Trouble};

use super::setup::{BARE, anonymous, assert_all_counted, counted, digest, habits, known, options, repository, tag};

fn image() -> Content {
    Image::index(&["linux/amd64", "linux/arm64"]).layers(4, 2_000).build()
}

fn guarded(settings: Settings) -> Registry {
    Registry::builder().auth(Auth::Token).user("ann", "s3cret-word").settings(settings).start()
}

/// Copies between two repositories of one registry.
async fn promote(client: &Registries, host: &str, image: &Content) -> Result<(), Fault> {
    let (from, to) = (repository(host, "acme/api"), repository(host, "acme/prod"));
    client.copy_content(&from, &to, &digest(image), CopyOptions::default()).await?;
    client.move_tag(&from, &to, &tag("production"), &digest(image)).await?;
    Ok(())
}

fn tokens(registry: &Registry) -> Vec<String> {
    let log = registry.log();
    log.iter().filter(|entry| entry.path() == "/token").map(|entry| entry.target.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_serves_a_whole_copy_and_is_fetched_once() {
    for field in [TokenField::Both, TokenField::Token, TokenField::AccessToken] {
        let registry = guarded(habits(|settings| settings.token_field = field));
        let image = image();
        image.place(registry.contents(), "acme/api", &["staging"]);
        let client = known(&registry.host(), "ann", "s3cret-word");
        promote(&client, &registry.host(), &image).await.unwrap();
        let tokens = tokens(&registry);
        assert_eq!(tokens.len(), 1, "{tokens:?}");
        // Both repositories in one scope set, the one that is written to first.
        let wanted = "scope=repository%3Aacme%2Fprod%3Apull%2Cpush&scope=repository%3Aacme%2Fapi%3Apull";
        assert!(tokens[0].contains(wanted), "{tokens:?}");
        assert_eq!(counted(&client.traffic(), Class::Auth), 2);
        assert_all_counted(&client.traffic(), &[&registry.log()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_wait_for_one_challenge_and_one_token() {
    let registry = guarded(Settings::default());
    let image = image();
    image.place(registry.contents(), "acme/api", &["staging"]);
    let client = known(&registry.host(), "ann", "s3cret-word");
    let api = repository(&registry.host(), "acme/api");
    let reference = api.tagged(tag("staging"));
    let heads = join_all((0..30).map(|_| client.head(&reference, Class::Look))).await;
    assert!(heads.into_iter().all(|head| head.unwrap().unwrap().digest == digest(&image)));
    assert_eq!(counted(&client.traffic(), Class::Auth), 2);
    assert_eq!(counted(&client.traffic(), Class::Look), 30);
    assert_all_counted(&client.traffic(), &[&registry.log()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_registry_with_signed_tokens_and_tls() {
    let authority = Authority::new();
    for (builder, tls) in [
        (DockerRegistry::builder().token("ann", "s3cret-word"), false),
        (DockerRegistry::builder().token("ann", "s3cret-word").tls(&authority), true),
        (DockerRegistry::builder().htpasswd("ann", "s3cret-word"), false),
        (DockerRegistry::builder().htpasswd("ann", "s3cret-word").tls(&authority).relative_locations(), true),
    ] {
        let registry = builder.start();
        let image = image();
        image.push(&registry.endpoint().client(), "acme/api", &["staging"]).unwrap();
        let client = known(registry.host(), "ann", "s3cret-word");
        promote(&client, registry.host(), &image).await.unwrap();
        let there = registry.endpoint().client().digest("acme/prod", "production");
        assert_eq!(there.as_deref(), Some(image.digest()), "tls: {tls}");

        let stranger = Fault::from(
            anonymous()
                .head(&repository(registry.host(), "acme/api").tagged(tag("staging")), Class::Look)
                .await
                .unwrap_err(),
        );
        assert!(matches!(stranger.code, Code::CredentialsRefused | Code::ImageDenied), "{stranger}");
        let wrong = known(registry.host(), "ann", "wr0ng-word");
        let wrong = Fault::from(
            wrong.head(&repository(registry.host(), "acme/api").tagged(tag("staging")), Class::Look).await.unwrap_err(),
        );
        assert_eq!(wrong.code, Code::CredentialsRefused);
        assert!(!wrong.to_string().contains("wr0ng-word"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_tokens_are_all_counted_behind_a_proxy() {
    let registry = DockerRegistry::builder().token("ann", "s3cret-word").start();
    let image = image();
    image.push(&registry.endpoint().client(), "acme/api", &["staging"]).unwrap();
    let proxy = Proxy::start(&registry.endpoint());
    let before = registry.tokens().unwrap().log().len();
    let client = known(&proxy.host(), "ann", "s3cret-word");
    promote(&client, &proxy.host(), &image).await.unwrap();
    let tokens = registry.tokens().unwrap().log();
    assert_all_counted(&client.traffic(), &[&proxy.log(), &tokens[before..]]);
    let (m, b) = (image.documents().len() as u64 - 1, image.blobs().len() as u64);
    assert_eq!(counted(&client.traffic(), Class::Copy), 2 * m + 2 + b);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_is_replaced() {
    let image = image();
    // Worn out after some requests.
    let registry = guarded(habits(|settings| settings.token_uses = Some(3)));
    image.place(registry.contents(), "acme/api", &["staging"]);
    let client = known(&registry.host(), "ann", "s3cret-word");
    let api = repository(&registry.host(), "acme/api");
    for _ in 0..10 {
        client.head(&api.tagged(tag("staging")), Class::Look).await.unwrap().unwrap();
    }
    assert_all_counted(&client.traffic(), &[&registry.log()]);
    assert_eq!(counted(&client.traffic(), Class::Look), 10);

    // Taken back in the middle.
    let registry = guarded(Settings::default());
    image.place(registry.contents(), "acme/api", &["staging"]);
    let client = known(&registry.host(), "ann", "s3cret-word");
    let api = repository(&registry.host(), "acme/api");
    client.head(&api.tagged(tag("staging")), Class::Look).await.unwrap().unwrap();
    registry.expire_tokens();
    promote(&client, &registry.host(), &image).await.unwrap();
    registry.expire_tokens();
    promote(&client, &registry.host(), &image).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_before_an_upload_is_replaced() {
    let source = Registry::start();
    let target = guarded(Settings::default());
    let image = image();
    image.place(source.contents(), "acme/api", &["staging"]);
    // Between the beginning of an upload and its content all tokens end.
    let contents = std::sync::Arc::new(target);
    contents.fault(Rule::on("POST", "/v2/*/blobs/uploads/*").nth(2).act(Action::call_after({
        let target = std::sync::Arc::downgrade(&contents);
        move || {
            if let Some(target) = target.upgrade() {
                target.expire_tokens();
            }
        }
    })));
    let client = known(&contents.host(), "ann", "s3cret-word");
    let (from, to) = (repository(&source.host(), "acme/api"), repository(&contents.host(), "acme/api"));
    client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
    client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
    assert_eq!(contents.contents().digest("acme/api", "production").as_deref(), Some(image.digest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_is_told_what_to_grant() {
    for settings in [Settings::default(), Settings::ghcr()] {
        let registry = Registry::builder()
            .auth(Auth::Token)
            .user_with("ann", "s3cret-word", &[("acme/*", "pull")])
            .settings(settings)
            .start();
        let image = image();
        image.place(registry.contents(), "acme/api", &["staging"]);
        let client = known(&registry.host(), "ann", "s3cret-word");
        let fault = promote(&client, &registry.host(), &image).await.unwrap_err();
        assert_eq!(fault.code, Code::PushDenied, "{fault}");
        assert!(fault.fix.contains("packages: write"));
        assert!(registry.contents().manifests("acme/prod").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ghcr_does_not_tell_what_is_missing_from_what_is_forbidden() {
    let registry = Registry::builder()
        .auth(Auth::Token)
        .user_with("ann", "s3cret-word", &[("acme/*", "pull,push")])
        .settings(Settings::ghcr())
        .start();
    let image = image();
    image.place(registry.contents(), "acme/api", &["staging"]);
    image.place(registry.contents(), "other/api", &["staging"]);
    let by_name = known(&registry.host(), "whoever", "s3cret-word");
    let stranger = anonymous();
    let at = |path: &str, name: &str| repository(&registry.host(), path).tagged(tag(name));
    assert!(stranger.resolve(&at("acme/api", "staging"), Class::Look).await.is_ok());
    for (client, reference) in
        [(&stranger, at("acme/none", "x")), (&by_name, at("acme/none", "x")), (&by_name, at("other/api", "x"))]
    {
        let error = client.resolve(&reference, Class::Look).await.unwrap_err();
        assert!(error.may_be_absent() && !error.is_absent());
        let fault = Fault::from(error);
        assert_eq!(fault.code, Code::ImageDenied, "{fault}");
        assert!(fault.message.contains("does not exist, or"), "{fault}");
    }
    // The first push creates a package.
    let to = repository(&registry.host(), "acme/new");
    by_name.copy_content(&at("acme/api", "x").repository, &to, &digest(&image), BARE).await.unwrap();
    by_name.move_tag(&at("acme/api", "x").repository, &to, &tag("production"), &digest(&image)).await.unwrap();
    by_name.read_back(&to, &tag("production"), &digest(&image)).await.unwrap();
    // A tag that is missing in a package that is there is told.
    let fault = Fault::from(by_name.resolve(&at("acme/api", "none"), Class::Look).await.unwrap_err());
    assert_eq!(fault.code, Code::ImageAbsent, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_may_not_be_mounted_from_is_streamed() {
    // The token server gives what it may; the mount is then refused for want of the source.
    let registry = Registry::builder()
        .auth(Auth::Basic)
        .user_with("ann", "s3cret-word", &[("acme/prod", "pull,push")])
        .settings(habits(|settings| settings.anonymous_pull = true))
        .start();
    let source = Registry::builder().contents(registry.contents()).start();
    let image = image();
    image.place(registry.contents(), "acme/api", &["staging"]);
    let client = known(&registry.host(), "ann", "s3cret-word");
    let (from, to) = (repository(&source.host(), "acme/api"), repository(&registry.host(), "acme/prod"));
    client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
    client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_never_go_to_another_host() {
    // Storage that refuses whoever brings an Authorization header along, as signed addresses do.
    for auth in [Auth::Token, Auth::Basic] {
        let registry = Registry::builder().auth(auth).user("ann", "s3cret-word").start();
        let storage = Registry::builder().auth(Auth::SignedAddresses).contents(registry.contents()).start();
        registry.configure(|settings| settings.redirect_blobs = Some(storage.url()));
        let image = image();
        image.place(registry.contents(), "acme/api", &["staging"]);
        let target = Registry::start();
        let client = known(&registry.host(), "ann", "s3cret-word");
        let (from, to) = (repository(&registry.host(), "acme/api"), repository(&target.host(), "acme/api"));
        client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
        assert_eq!(storage.log().len(), image.blobs().len());
        assert!(storage.log().iter().all(|entry| entry.authorization.is_none()), "{auth:?}");
        assert_all_counted(&client.traffic(), &[&registry.log(), &storage.log(), &target.log()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_on_another_host_gets_no_credentials() {
    let registry = Registry::builder().auth(Auth::Basic).user("ann", "s3cret-word").start();
    let storage = Registry::start();
    registry.configure(|settings| {
        settings.mounts = false;
        settings.locations = Locations::At(storage.url());
    });
    let image = image();
    image.place(registry.contents(), "acme/api", &["staging"]);
    // The other host takes everything; what counts here is what it was told.
    storage.fault(Rule::on("PUT", "/v2/*").act(Action::Answer(Answer::status(201))));
    let client = known(&registry.host(), "ann", "s3cret-word");
    let (from, to) = (repository(&registry.host(), "acme/api"), repository(&registry.host(), "acme/prod"));
    let _ = client.copy_content(&from, &to, &digest(&image), BARE).await;
    assert!(!storage.log().is_empty());
    assert!(storage.log().iter().all(|entry| entry.authorization.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_configuration_serves_a_real_registry() {
    let registry = DockerRegistry::builder().htpasswd("ann", "s3cret-word").start();
    let image = image();
    image.push(&registry.endpoint().client(), "acme/api", &["staging"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let write = |auth: &str| {
        let config = format!(r#"{{"auths": {{"{}": {auth}}}, "credsStore": "absent-helper"}}"#, registry.host());
        std::fs::write(&path, config).unwrap();
        Registries::new(Options { credentials: Credentials::anonymous().with_docker_config(&path), ..options() })
    };
    // ann:s3cret-word
    let client = write(r#"{"auth": "YW5uOnMzY3JldC13b3Jk"}"#);
    promote(&client, registry.host(), &image).await.unwrap();
    // The helper is only asked where it is needed, and then it is clear what is missing.
    let client = write("{}");
    let fault = promote(&client, registry.host(), &image).await.unwrap_err();
    assert_eq!(fault.code, Code::CredentialsRefused);
    assert!(fault.message.contains("docker-credential-absent-helper"), "{fault}");
    assert!(fault.fix.contains("registry-username"), "{}", fault.fix);
    let open = Registry::start();
    image.place(open.contents(), "acme/api", &["staging"]);
    promote(&client, &open.host(), &image).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_and_registry_tokens_of_the_docker_configuration_are_used() {
    for (auth, asks) in [(r#"{"identitytoken": "s3cret-word"}"#, 1), (r#"{"registrytoken": "s3cret-word"}"#, 0)] {
        let registry = Registry::start();
        let image = image();
        image.place(registry.contents(), "acme/api", &["staging"]);
        let challenge = format!("Bearer realm=\"{}/token\",service=\"x\"", registry.url());
        let challenge = Answer::status(401).header("www-authenticate", &challenge);
        registry.fault(Rule::on("*", "/v2/*").times(1).act(Action::Answer(challenge)));
        let token = Answer::status(200).body(r#"{"access_token": "t0ken", "expires_in": 300}"#);
        registry.fault(Rule::on("POST", "/token").act(Action::Answer(token)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, format!(r#"{{"auths": {{"{}": {auth}}}}}"#, registry.host())).unwrap();
        let credentials = Credentials::anonymous().with_docker_config(path);
        let client = Registries::new(Options { credentials, ..options() });
        let reference = repository(&registry.host(), "acme/api").tagged(tag("staging"));
        assert_eq!(client.resolve(&reference, Class::Look).await.unwrap().digest, digest(&image));
        let log = registry.log();
        let asked: Vec<_> = log.iter().filter(|entry| entry.path() == "/token").collect();
        assert_eq!(asked.len(), asks);
        assert!(asked.iter().all(|entry| entry.authorization.is_none() && !entry.target.contains("s3cret-word")));
        assert_eq!(log.last().unwrap().authorization.as_deref(), Some("Bearer"));
        assert_all_counted(&client.traffic(), &[&log]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_in_trouble_is_told_from_one_that_refuses() {
    for (answer, code, requests) in [
        (Answer::status(503), Code::RegistryFailed, 3),
        (Answer::retry_after_seconds(0), Code::RegistryThrottled, 3),
        (Answer::html(200), Code::RegistryNonsense, 1),
        (Answer::status(200).body("{}"), Code::RegistryNonsense, 1),
        (Answer::status(200).body("x".repeat(70_000)), Code::RegistryNonsense, 1),
        (Answer::status(404), Code::RegistryNonsense, 1),
        (Answer::status(302).header("location", "/elsewhere"), Code::RegistryNonsense, 1),
        (Answer::error(401, "UNAUTHORIZED", "you sent s3cret-word"), Code::CredentialsRefused, 1),
    ] {
        let registry = guarded(Settings::default());
        let fault = registry.fault(Rule::on("*", "/token").act(Action::Answer(answer.clone())));
        let client = known(&registry.host(), "ann", "s3cret-word");
        let reference = repository(&registry.host(), "acme/api").tagged(tag("staging"));
        let error = client.resolve(&reference, Class::Look).await.unwrap_err();
        assert_eq!(error.trouble.code(), code, "{answer:?} {error}");
        assert!(!error.to_string().contains("s3cret-word"), "{error}");
        assert_eq!(fault.hits(), requests, "{answer:?}");
        assert_all_counted(&client.traffic(), &[&registry.log()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_points_to_an_unsafe_place_is_not_met() {
    for (realm, unsafe_target) in [
        ("ftp://tokens.test/", true),
        ("https://user:pw@tokens.test/", true),
        ("http://169.254.169.254/token", true),
        ("no address", false),
    ] {
        let registry = Registry::start();
        let challenge = Answer::status(401).header("www-authenticate", &format!("Bearer realm=\"{realm}\""));
        registry.fault(Rule::on("*", "/v2/*").act(Action::Answer(challenge)));
        let client = known(&registry.host(), "ann", "s3cret-word");
        let api: Repository = repository(&registry.host(), "acme/api");
        let error = client.head(&api.tagged(tag("staging")), Class::Look).await.unwrap_err();
        assert_eq!(matches!(error.trouble, Trouble::UnsafeTarget { .. }), unsafe_target, "{realm} {error}");
        assert_eq!(error.trouble.code(), Code::RegistryNonsense);
    }
}
