//! Registries in trouble, and whatever else answers in their place: each is the right fault, and nothing is changed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testbed::fault::{Action, Answer, Rule};
use testbed::image::{Defect, Image};
use testbed::registry::{Locations, Registry};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::image::Repository;
use tidegate::promotion::retry::RetryPolicy;
use tidegate::registry::{Class, CopyOptions, Options, Registries, Retry};

use super::setup::{BARE, Kind, Place, anonymous, assert_all_counted, digest, habits, options, repository, tag};

/// Resolves a tag, looks at the image behind it, and gives the fault that came in the way.
async fn looked_at(client: &Registries, repository: &Repository) -> Result<(), Fault> {
    let head = client.resolve(&repository.tagged(tag("staging")), Class::Look).await?;
    client.inspect(repository, &head.digest).await?;
    Ok(())
}

fn registry() -> (Registry, testbed::image::Content) {
    let registry = Registry::start();
    let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(2, 20_000).build();
    image.place(registry.contents(), "acme/api", &["staging"]);
    (registry, image)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_makes_no_sense_is_the_right_fault() {
    let manifests = "/v2/*/manifests/*";
    let answers = |answer: Answer| Action::Answer(answer);
    for (method, path, action, code, attempts) in [
        ("*", "/v2/*", answers(Answer::html(200)), Code::RegistryNonsense, 1),
        ("*", "/v2/*", answers(Answer::html(404)), Code::RegistryNonsense, 2),
        ("*", "/v2/*", answers(Answer::html(503)), Code::RegistryFailed, 3),
        ("*", "/v2/*", answers(Answer::status(500)), Code::RegistryFailed, 3),
        ("*", "/v2/*", answers(Answer::status(200).body("garbage")), Code::RegistryNonsense, 2),
        ("*", "/v2/*", answers(Answer::status(200).body("{}")), Code::RegistryNonsense, 2),
        ("*", "/v2/*", answers(Answer::status(200).body("[1, 2")), Code::RegistryNonsense, 2),
        ("*", "/v2/*", answers(Answer::status(204)), Code::RegistryNonsense, 1),
        ("*", "/v2/*", answers(Answer::status(418)), Code::RegistryNonsense, 1),
        ("*", "/v2/*", answers(Answer::status(302)), Code::RegistryNonsense, 1),
        ("*", "/v2/*", answers(Answer::status(307).header("location", "/v2/x")), Code::RegistryNonsense, 6),
        ("*", "/v2/*", answers(Answer::status(307).header("location", "ftp://x.test/")), Code::RegistryNonsense, 1),
        (
            "*",
            "/v2/*",
            answers(Answer::status(307).header("location", "http://169.254.169.254/")),
            Code::RegistryNonsense,
            1,
        ),
        (
            "*",
            "/v2/*",
            answers(Answer::status(307).header("location", "https://u:p@x.test/")),
            Code::RegistryNonsense,
            1,
        ),
        ("*", "/v2/*", answers(Answer::status(401)), Code::RegistryNonsense, 1),
        ("*", "/v2/*", answers(Answer::status(403)), Code::ImageDenied, 2),
        ("*", "/v2/*", answers(Answer::error(404, "NAME_UNKNOWN", "repository name not known")), Code::ImageAbsent, 2),
        ("*", "/v2/*", answers(Answer::retry_after_seconds(0)), Code::RegistryThrottled, 3),
        ("*", "/v2/*", answers(Answer::ghcr_rate_limit()), Code::RegistryThrottled, 3),
        ("*", "/v2/*", Action::Drop, Code::RegistryFailed, 3),
        ("GET", manifests, Action::Truncate(40), Code::RegistryFailed, 3),
        ("GET", manifests, Action::Corrupt, Code::DigestMismatch, 1),
        ("GET", manifests, Action::Replace("{}".into()), Code::DigestMismatch, 1),
        ("HEAD", manifests, Action::SetHeader("docker-content-digest", "x".into()), Code::RegistryNonsense, 1),
        ("GET", manifests, Action::SetHeader("content-type", "text/html".into()), Code::RegistryNonsense, 1),
        (
            "GET",
            manifests,
            Action::SetHeader("content-type", "application/vnd.oci.image.manifest.v1+json".into()),
            Code::ImageMalformed,
            1,
        ),
        ("GET", "/v2/*/blobs/*", Action::Truncate(40), Code::RegistryFailed, 3),
    ] {
        let (registry, _) = registry();
        let fault = registry.fault(Rule::on(method, path).act(action.clone()));
        let client = anonymous();
        let met = looked_at(&client, &repository(&registry.host(), "acme/api")).await.unwrap_err();
        assert_eq!(met.code, code, "{method} {path} {action:?}: {met}");
        assert!(fault.hits() >= attempts, "{action:?} was met {} times", fault.hits());
        // Blobs are read at the same time, so that more of them may be under way.
        assert!(path.contains("blobs") || fault.hits() == attempts, "{action:?} was met {} times", fault.hits());
        assert!(!met.fix.is_empty());
        assert_all_counted(&client.traffic(), &[&registry.log()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_may_leave_out_is_not_missed() {
    let (registry, image) = registry();
    registry.fault(Rule::on("*", "/v2/*").act(Action::RemoveHeader("docker-content-digest")));
    registry.fault(Rule::on("PUT", "/v2/*").act(Action::RemoveHeader("location")));
    registry.fault(Rule::on("GET", "/v2/*/manifests/*").act(Action::RemoveHeader("content-type")));
    registry.configure(|settings| settings.mounts = false);
    let client = anonymous();
    let (from, to) = (repository(&registry.host(), "acme/api"), repository(&registry.host(), "acme/prod"));
    looked_at(&client, &from).await.unwrap();
    client.copy_content(&from, &to, &digest(&image), CopyOptions::default()).await.unwrap();
    client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
    client.read_back(&to, &tag("production"), &digest(&image)).await.unwrap();
    assert_eq!(registry.contents().digest("acme/prod", "production").as_deref(), Some(image.digest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_go_wrong_are_the_right_fault_and_move_no_tag() {
    let (blobs, manifests) = ("/v2/acme/prod/blobs/uploads/*", "/v2/acme/prod/manifests/*");
    for (method, path, action, code) in [
        ("POST", blobs, Action::RemoveHeader("location"), Code::RegistryNonsense),
        ("POST", blobs, Action::SetHeader("location", "ftp://x.test/".into()), Code::RegistryNonsense),
        ("POST", blobs, Action::SetHeader("location", "http://169.254.169.254/x".into()), Code::RegistryNonsense),
        ("POST", blobs, Action::Answer(Answer::html(200)), Code::RegistryNonsense),
        ("POST", blobs, Action::Answer(Answer::status(403)), Code::PushDenied),
        ("POST", blobs, Action::Answer(Answer::status(500)), Code::RegistryFailed),
        ("PUT", blobs, Action::Answer(Answer::html(200)), Code::RegistryNonsense),
        ("PUT", blobs, Action::Answer(Answer::status(413)), Code::ContentRefused),
        ("PUT", blobs, Action::Answer(Answer::status(403)), Code::PushDenied),
        ("PUT", blobs, Action::wrong_digest(), Code::DigestMismatch),
        ("PUT", manifests, Action::wrong_digest(), Code::DigestMismatch),
        ("PUT", manifests, Action::Answer(Answer::html(200)), Code::RegistryNonsense),
        ("PUT", manifests, Action::Answer(Answer::status(403)), Code::PushDenied),
        ("PUT", manifests, Action::Answer(Answer::error(400, "MANIFEST_INVALID", "no")), Code::ContentRefused),
        ("PUT", manifests, Action::Answer(Answer::error(404, "MANIFEST_BLOB_UNKNOWN", "no")), Code::ContentRefused),
        ("PUT", manifests, Action::Answer(Answer::retry_after_seconds(0)), Code::RegistryThrottled),
    ] {
        let (registry, image) = registry();
        registry.configure(|settings| settings.mounts = false);
        registry.fault(Rule::on(method, path).act(action.clone()));
        let client = anonymous();
        let (from, to) = (repository(&registry.host(), "acme/api"), repository(&registry.host(), "acme/prod"));
        let error = client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap_err();
        let fault = Fault::from(error);
        assert_eq!(fault.code, code, "{method} {path} {action:?}: {fault}");
        assert!(registry.contents().tags("acme/prod").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_too_large_is_not_read() {
    for sized in [true, false] {
        let place = Place::with(habits(|settings| settings.manifest_limit = 10 << 20));
        let image = Image::manifest("linux/amd64").defect(Defect::OversizeManifest).build();
        image.place(place.stand_in().contents(), "acme/api", &["staging"]);
        if !sized {
            place.proxy.fault(Rule::on("GET", "/v2/*").act(Action::RemoveHeader("content-length")));
        }
        let client = anonymous();
        let fault = looked_at(&client, &place.repository("acme/api")).await.unwrap_err();
        assert_eq!(fault.code, Code::ManifestTooLarge, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_blob_is_never_taken_for_a_whole_one() {
    for declared in [true, false] {
        let (source, image) = registry();
        let target = Registry::start();
        let blob = image.blobs().keys().next().unwrap();
        let path = format!("/v2/acme/api/blobs/{blob}");
        let half = image.blobs()[blob].len() / 2;
        if declared {
            // The registry itself has only half of it.
            source.contents().put_blob("acme/api", blob, image.blobs()[blob].slice(..half));
        } else {
            source.fault(Rule::on("GET", &path).act(Action::Truncate(half)));
        }
        let client = anonymous();
        let (from, to) = (repository(&source.host(), "acme/api"), repository(&target.host(), "acme/api"));
        let fault = Fault::from(client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap_err());
        assert_eq!(fault.code, Code::RegistryFailed, "{fault}");
        assert_eq!(fault.tried.len(), 2, "{fault}");
        assert!(target.contents().blob("acme/api", blob).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there_cannot_be_reached() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "registry.invalid".to_owned()] {
        let client = anonymous();
        let fault = looked_at(&client, &repository(&host, "acme/api")).await.unwrap_err();
        assert_eq!(fault.code, Code::RegistryUnreachable, "{host}: {fault}");
        assert_eq!(fault.tried.len(), 2, "{fault:?}");
        // Nobody saw a request.
        assert_eq!(client.traffic().total(), 0, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_what_hangs() {
    for action in [Action::Hang, Action::Stall(10), Action::Delay(Duration::from_secs(30))] {
        let (registry, _) = registry();
        registry.fault(Rule::on("GET", "/v2/*").act(action.clone()));
        let deadline = tokio::time::Instant::now() + Duration::from_millis(300);
        let client = anonymous().with_deadline(Some(deadline));
        let began = Instant::now();
        let fault = looked_at(&client, &repository(&registry.host(), "acme/api")).await.unwrap_err();
        assert_eq!(fault.code, Code::DeadlinePassed, "{action:?} {fault}");
        assert!(began.elapsed() < Duration::from_secs(3), "{action:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_leads_past_the_deadline_is_not_begun() {
    for answer in [Answer::retry_after_seconds(30), Answer::ghcr_secondary_limit()] {
        let (registry, _) = registry();
        registry.fault(Rule::on("*", "/v2/*").act(Action::Answer(answer)));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let client = anonymous().with_deadline(Some(deadline));
        let began = Instant::now();
        let fault = looked_at(&client, &repository(&registry.host(), "acme/api")).await.unwrap_err();
        assert_eq!(fault.code, Code::RegistryThrottled, "{fault}");
        assert!(fault.tried.iter().any(|tried| tried.contains("deadline")), "{fault:?}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_throttles_is_waited_for_as_long_as_it_asks() {
    for (answer, least, most) in [
        (Answer::retry_after_seconds(1), 1_000, 2_000),
        // Counted from here; the case before takes more than a second of it.
        (Answer::retry_after_date(Duration::from_secs(4)), 1_000, 4_000),
        (Answer::ghcr_rate_limit(), 12, 500),
    ] {
        let (registry, image) = registry();
        registry.fault(Rule::on("*", "/v2/*").times(1).act(Action::Answer(answer)));
        let client = anonymous();
        let seen = Arc::new(Mutex::new(Vec::<Retry>::new()));
        let observer = {
            let seen = Arc::clone(&seen);
            Arc::new(move |retry: &Retry| seen.lock().unwrap().push(retry.clone()))
        };
        let began = Instant::now();
        let reference = repository(&registry.host(), "acme/api").at(digest(&image));
        client.observed_by(observer).manifest(&reference, Class::Look).await.unwrap();
        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
        assert!((least..most).contains(&took), "{took} ms");
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].attempt, 1);
        assert!(seen[0].what.starts_with("read "), "{}", seen[0].what);
        assert!(seen[0].because.contains("429"), "{}", seen[0].because);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ghcrs_secondary_limit_is_waited_for_and_no_denial() {
    for method in ["HEAD|GET", "POST", "PUT"] {
        let (registry, image) = registry();
        registry.fault(Rule::on(method, "/v2/*").act(Action::Answer(Answer::ghcr_secondary_limit())));
        let seen = Arc::new(Mutex::new(Vec::<Retry>::new()));
        let observer = {
            let seen = Arc::clone(&seen);
            Arc::new(move |retry: &Retry| seen.lock().unwrap().push(retry.clone()))
        };
        let client = anonymous().observed_by(observer);
        let (from, to) = (repository(&registry.host(), "acme/api"), repository(&registry.host(), "acme/prod"));
        let copy = async {
            client.resolve(&from.tagged(tag("staging")), Class::Look).await?;
            client.copy_content(&from, &to, &digest(&image), BARE).await
        };
        assert!(tokio::time::timeout(Duration::from_secs(1), copy).await.is_err(), "{method}: it did not wait");
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty());
        for retry in seen.iter() {
            assert!((60..=66).contains(&retry.wait.as_secs()), "{method}: {retry:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_requests_are_in_flight_after_a_registry_throttled() {
    let place = Place::with(habits(|settings| settings.max_in_flight = Some(3)));
    let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(30, 100).build();
    place.push(&image, "acme/api", &["staging"]);
    place.stand_in().configure(|settings| settings.latency = Duration::from_millis(10));
    let retry =
        RetryPolicy { attempts: 30, initial: Duration::from_millis(20), factor: 1.2, max: Duration::from_millis(200) };
    let client = Registries::new(Options { retry, ..Options::default() });
    let (from, to) = (place.repository("acme/api"), place.repository("acme/prod"));
    client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
    client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
    place.has_all_of(&image, "acme/prod");
    let log = place.proxy.log();
    let throttled = log.iter().filter(|entry| entry.status == Some(429)).count();
    assert!(throttled > 0, "the test proves nothing");
    assert!(throttled < log.len() / 2, "{throttled} of {} requests were throttled", log.len());
    assert_all_counted(&client.traffic(), &[&log]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_another_host_is_not_followed() {
    let (registry, _) = registry();
    let link = "<http://127.0.0.1:9/v2/acme/api/tags/list>; rel=\"next\"";
    registry.fault(Rule::on("GET", "/v2/*/tags/list").act(Action::SetHeader("link", link.to_owned())));
    let error = anonymous().tags(&repository(&registry.host(), "acme/api"), Class::Look).await.unwrap_err();
    assert_eq!(error.trouble.code(), Code::RegistryNonsense, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_something_missing_is_not_copied_without_it() {
    for defect in [Defect::MissingLayer, Defect::MissingConfig, Defect::MissingManifest] {
        for elsewhere in [false, true] {
            let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
            let image = Image::index(&["linux/amd64", "linux/arm64"]).defect_on("linux/arm64", defect).build();
            image.place(source.stand_in().contents(), "acme/api", &["staging"]);
            let to = if elsewhere { &target } else { &source };
            let (from, into) = (source.repository("acme/api"), to.repository("acme/prod"));
            let client = anonymous();
            let fault = Fault::from(client.copy_content(&from, &into, &digest(&image), BARE).await.unwrap_err());
            assert_eq!(fault.code, Code::ImageAbsent, "{defect:?} {fault}");
            assert!(to.stand_in().contents().manifest("acme/prod", image.digest()).is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stands_still_is_noticed_by_the_deadline_and_a_lost_one_is_repeated() {
    let (source, image) = registry();
    let target = Registry::start();
    target.configure(|settings| settings.locations = Locations::Absolute);
    target.fault(Rule::on("PUT", "/v2/*/blobs/uploads/*").act(Action::Hang));
    let deadline = tokio::time::Instant::now() + Duration::from_millis(500);
    let client = Registries::new(options()).with_deadline(Some(deadline));
    let (from, to) = (repository(&source.host(), "acme/api"), repository(&target.host(), "acme/api"));
    let fault = Fault::from(client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap_err());
    assert_eq!(fault.code, Code::DeadlinePassed, "{fault}");
    target.clear_faults();
    anonymous().copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_is_explained() {
    for kind in Kind::BOTH {
        let place = Place::start(kind);
        let image = Image::manifest("linux/amd64").build();
        place.push(&image, "acme/api", &["staging"]);
        let client = anonymous();
        for (path, name, says) in [("acme/api", "none", "MANIFEST_UNKNOWN"), ("acme/none", "staging", "NAME_UNKNOWN")] {
            let reference = place.repository(path).tagged(tag(name));
            assert_eq!(client.head(&reference, Class::Look).await.unwrap(), None);
            let error = client.resolve(&reference, Class::Look).await.unwrap_err();
            assert!(error.is_absent());
            // docker-registry and the stand-in say that the manifest is unknown where the repository is.
            let text = error.to_string();
            assert!(text.contains(says) || text.contains("MANIFEST_UNKNOWN"), "{text}");
            assert_eq!(Fault::from(error).code, Code::ImageAbsent);
        }
        let gone = place.repository("acme/api").at(Digest::sha256(b"nothing"));
        assert!(client.manifest(&gone, Class::Look).await.unwrap_err().is_absent());
    }
}
