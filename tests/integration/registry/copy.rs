//! Content copied, tags moved: every case on both registries, counted to the request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use testbed::fault::{Action, Answer, Rule};
use testbed::image::{Compression, Content, Format, Image};
use testbed::registry::{Locations, Settings};
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::retry::RetryPolicy;
use tidegate::registry::{Class, CopyOptions, Options, Registries};

use super::setup::{BARE, Kind, Place, anonymous, assert_all_counted, counted, digest, impatient, options, tag};

/// M and B: the manifests below the root, and the blobs.
fn size(content: &Content) -> (u64, u64) {
    (content.documents().len() as u64 - 1, content.blobs().len() as u64)
}

fn images() -> Vec<(&'static str, Content)> {
    let two = ["linux/amd64", "linux/arm64"];
    vec![
        ("one platform", Image::manifest("linux/amd64").build()),
        ("index", Image::index(&two).layers(5, 4_000).build()),
        ("shared layers", Image::index(&two).layers(4, 1_000).shared_layers(3).build()),
        ("attestations", Image::index(&two).attestations().build()),
        ("docker", Image::index(&two).format(Format::Docker).build()),
        ("zstd", Image::index(&two).compression(Compression::Zstd).build()),
        ("plain", Image::index(&two).compression(Compression::None).build()),
        ("nested", Image::index(&["linux/amd64", "linux/arm64", "linux/arm/v7"]).nested().build()),
        ("foreign", Image::index(&two).foreign_layer("https://layers.test/base").build()),
        ("foreign, docker", Image::index(&two).format(Format::Docker).foreign_layer("https://layers.test/b").build()),
    ]
}

/// Only what docker-registry 2.8 does not know.
fn modern_images() -> Vec<(&'static str, Content)> {
    let two = ["linux/amd64", "linux/arm64"];
    vec![
        ("sha512 blobs", Image::index(&two).sha512_blobs().build()),
        ("sha512 children", Image::index(&two).sha512_children().build()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_repository_everything_is_mounted_in_the_fewest_requests() {
    for kind in Kind::BOTH {
        let place = Place::start(kind);
        let modern = if kind == Kind::StandIn { modern_images() } else { Vec::new() };
        for (number, (name, image)) in images().into_iter().chain(modern).enumerate() {
            let (source, target) = (format!("acme/api-{number}"), format!("acme/prod-{number}"));
            place.push(&image, &source, &["staging"]);
            place.proxy.clear_log();
            let (from, to) = (place.repository(&source), place.repository(&target));
            let client = anonymous();
            let stats = client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
            client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
            let (m, b) = size(&image);
            let traffic = client.traffic();
            assert_eq!(counted(&traffic, Class::Copy), 2 * m + 2 + b, "{kind:?} {name}");
            assert_all_counted(&traffic, &[&place.proxy.log()]);
            assert_eq!((stats.manifests, stats.mounted, stats.streamed, stats.bytes), (m, b, 0, 0), "{kind:?} {name}");
            assert_eq!(stats.foreign, u64::from(name.starts_with("foreign")), "{kind:?} {name}");
            assert_eq!(place.skopeo(&target, "production"), image.digest(), "{kind:?} {name}");
            place.has_all_of(&image, &target);
            // Each further tag is one request more.
            client.move_tag(&from, &to, &tag("production-2"), &digest(&image)).await.unwrap();
            assert_eq!(counted(&client.traffic(), Class::Copy), 2 * m + 3 + b, "{kind:?} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_registry_everything_is_streamed_in_the_fewest_requests() {
    for kinds in [[Kind::Docker, Kind::StandIn], [Kind::StandIn, Kind::Docker]] {
        let (source, target) = (Place::start(kinds[0]), Place::start(kinds[1]));
        for (number, (name, image)) in images().into_iter().enumerate() {
            let path = format!("acme/api-{number}");
            source.push(&image, &path, &["staging"]);
            source.proxy.clear_log();
            target.proxy.clear_log();
            let (from, to) = (source.repository(&path), target.repository(&path));
            let client = anonymous();
            let stats = client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
            client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
            let (m, b) = size(&image);
            let bytes: u64 = image.blobs().values().map(|blob| blob.len() as u64).sum();
            let traffic = client.traffic();
            assert_eq!(counted(&traffic, Class::Copy), 2 * m + 2 + 3 * b, "{kinds:?} {name}");
            assert_all_counted(&traffic, &[&source.proxy.log(), &target.proxy.log()]);
            assert_eq!(
                (stats.manifests, stats.mounted, stats.streamed, stats.bytes),
                (m, 0, b, bytes),
                "{kinds:?} {name}"
            );
            let manifests: u64 = image.documents().iter().map(|document| document.bytes.len() as u64).sum();
            assert_eq!(traffic.sent, bytes + manifests, "{kinds:?} {name}");
            assert_eq!(target.skopeo(&path, "production"), image.digest(), "{kinds:?} {name}");
            target.has_all_of(&image, &path);

            // Once more, from nothing in memory: no byte of a blob moves.
            let again = anonymous();
            let stats = again.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
            assert_eq!((stats.mounted, stats.streamed, stats.bytes), (b, 0, 0), "{kinds:?} {name}");
            assert_eq!(counted(&again.traffic(), Class::Copy), 2 * m + 1 + b, "{kinds:?} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_mount_is_answered_with_an_upload_the_upload_is_gone_on_with() {
    for locations in [Locations::Relative, Locations::Absolute, Locations::WithoutQuery] {
        let place = Place::with(Settings::default());
        place.stand_in().configure(|settings| {
            settings.mounts = false;
            settings.locations = locations.clone();
        });
        let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(5, 4_000).build();
        place.push(&image, "acme/api", &["staging"]);
        place.proxy.clear_log();
        let (from, to) = (place.repository("acme/api"), place.repository("acme/prod"));
        let client = anonymous();
        client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
        client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
        let (m, b) = size(&image);
        assert_eq!(counted(&client.traffic(), Class::Copy), 2 * m + 2 + 3 * b, "{locations:?}");
        assert_all_counted(&client.traffic(), &[&place.proxy.log()]);
        place.has_all_of(&image, "acme/prod");
        assert_eq!(place.stand_in().open_uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_one_repository_a_tag_moves_in_two_requests_or_one() {
    for kind in Kind::BOTH {
        let place = Place::start(kind);
        let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
        place.push(&image, "acme/api", &["staging"]);
        place.proxy.clear_log();
        let api = place.repository("acme/api");
        let client = anonymous();
        let stats = client.copy_content(&api, &api, &digest(&image), CopyOptions::default()).await.unwrap();
        assert_eq!(stats, Default::default());
        client.move_tag(&api, &api, &tag("production"), &digest(&image)).await.unwrap();
        assert_eq!(counted(&client.traffic(), Class::Copy), 2, "{kind:?}");
        client.move_tag(&api, &api, &tag("production-7"), &digest(&image)).await.unwrap();
        assert_eq!(counted(&client.traffic(), Class::Copy), 3, "{kind:?}");
        assert_all_counted(&client.traffic(), &[&place.proxy.log()]);
        assert_eq!(place.skopeo("acme/api", "production"), image.digest());

        // What inspection read is not read again.
        let warm = anonymous();
        warm.inspect(&api, &digest(&image)).await.unwrap();
        warm.move_tag(&api, &api, &tag("production-8"), &digest(&image)).await.unwrap();
        assert_eq!(counted(&warm.traffic(), Class::Copy), 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_what_a_copy_costs() {
    let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
    for (name, image) in images() {
        source.push(&image, "acme/api", &["staging"]);
        let from = source.repository("acme/api");
        let inspection = anonymous().inspect(&from, &digest(&image)).await.unwrap();
        for (number, to) in
            [from.clone(), source.repository(&format!("{}/prod", slug(name))), target.repository(&slug(name))]
                .into_iter()
                .enumerate()
        {
            let client = anonymous();
            let stats = client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
            for name in ["production", "production-1"] {
                client.move_tag(&from, &to, &tag(name), &digest(&image)).await.unwrap();
            }
            let estimate = inspection.estimate(&from, &to, 2);
            assert_eq!(estimate.requests, counted(&client.traffic(), Class::Copy), "{name} {number}");
            assert_eq!(estimate.bytes, stats.bytes, "{name} {number}");
        }
    }
}

fn slug(name: &str) -> String {
    name.replace(", ", "-").replace(' ', "-")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_to_mount_gets_uploads_instead() {
    for status in [400, 401, 403, 404, 405] {
        for elsewhere in [false, true] {
            let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
            let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
            source.push(&image, "acme/api", &["staging"]);
            let to = if elsewhere { &target } else { &source };
            let refusal = Rule::on("POST", "/v2/*/blobs/uploads/?*mount=*");
            let answer =
                Answer::error(status, "UNSUPPORTED", "no mounts here").header("www-authenticate", "Basic realm=\"x\"");
            let fault = to.proxy.fault(refusal.act(Action::Answer(answer)));
            let client = anonymous();
            let (from, into) = (source.repository("acme/api"), to.repository("acme/prod"));
            let stats = client.copy_content(&from, &into, &digest(&image), BARE).await.unwrap();
            assert_eq!(stats.streamed, image.blobs().len() as u64, "{status}");
            to.has_all_of(&image.clone().without(image.digest()), "acme/prod");
            let refused = fault.hits();
            // The verdict is remembered: another image is not tried to be mounted there.
            let other = Image::index(&["linux/amd64"]).seed(2).build();
            source.push(&other, "acme/api", &["staging"]);
            client.copy_content(&from, &into, &digest(&other), BARE).await.unwrap();
            assert_eq!(fault.hits(), refused, "{status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_vanishes_before_its_manifest_is_written_is_brought_again() {
    for elsewhere in [false, true] {
        let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
        let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
        source.push(&image, "acme/api", &["staging"]);
        let to = if elsewhere { &target } else { &source };
        let contents = to.stand_in().contents().clone();
        let lost = image.blobs().keys().next().unwrap().clone();
        let rule = Rule::on("PUT", "/v2/acme/prod/manifests/*").nth(1);
        to.stand_in().fault(rule.act(Action::call({
            let (contents, lost) = (contents.clone(), lost.clone());
            move || contents.remove_blob("acme/prod", &lost)
        })));
        let client = anonymous();
        let (from, into) = (source.repository("acme/api"), to.repository("acme/prod"));
        client.copy_content(&from, &into, &digest(&image), BARE).await.unwrap();

        // And once everything is there but the root, a child goes.
        let child = image.child("linux/arm64").unwrap().digest;
        contents.remove_manifest("acme/prod", &child);
        client.move_tag(&from, &into, &tag("production"), &digest(&image)).await.unwrap();
        assert_eq!(contents.digest("acme/prod", "production").as_deref(), Some(image.digest()));
        to.has_all_of(&image, "acme/prod");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_begins_anew() {
    let actions: [(&str, Action); 6] = [
        ("PUT", Action::Drop),
        ("PUT", Action::LoseAnswer),
        ("PUT", Action::Answer(Answer::html(502))),
        ("PUT", Action::Answer(Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"))),
        ("PUT", Action::Answer(Answer::error(400, "DIGEST_INVALID", "provided digest did not match"))),
        ("POST", Action::Drop),
    ];
    for kind in Kind::BOTH {
        for (method, action) in &actions {
            let (source, target) = (Place::start(Kind::StandIn), Place::start(kind));
            let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(3, 100_000).build();
            source.push(&image, "acme/api", &["staging"]);
            let fault = target.proxy.fault(Rule::on(method, "/v2/*/blobs/uploads/*").times(2).act(action.clone()));
            let client = Registries::new(Options { retry: RetryPolicy { attempts: 6, ..impatient() }, ..options() });
            let retries = Arc::new(AtomicU32::new(0));
            let observed = client.observed_by(Arc::new({
                let retries = Arc::clone(&retries);
                move |retry| {
                    assert!(retry.what.starts_with("copy the blob"), "{}", retry.what);
                    retries.fetch_add(1, Ordering::SeqCst);
                }
            }));
            let (from, to) = (source.repository("acme/api"), target.repository("acme/api"));
            observed.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
            observed.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
            target.has_all_of(&image, "acme/api");
            assert_eq!(fault.hits(), 2);
            let retries = retries.load(Ordering::SeqCst);
            if matches!(action, Action::Answer(_)) {
                // A server that answers before it has read the upload closes the connection, and another upload may
                // be on it already.
                assert!(retries >= 2, "{kind:?} {action:?}");
            } else {
                assert_eq!(retries, 2, "{kind:?} {action:?}");
                assert_all_counted(&client.traffic(), &[&source.proxy.log(), &target.proxy.log()]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_breaks_off_is_asked_again_and_nothing_wrong_arrives() {
    for action in [Action::Truncate(500), Action::Drop, Action::Answer(Answer::status(503))] {
        let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::Docker));
        let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(2, 50_000).build();
        source.push(&image, "acme/api", &["staging"]);
        source.proxy.fault(Rule::on("GET", "/v2/*/blobs/*").times(2).act(action.clone()));
        let client = anonymous();
        let (from, to) = (source.repository("acme/api"), target.repository("acme/api"));
        client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
        client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
        target.has_all_of(&image, "acme/api");
        assert_eq!(target.skopeo("acme/api", "production"), image.digest());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_what_its_digest_says_never_arrives() {
    let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
    let image = Image::manifest("linux/amd64").layers(1, 50_000).build();
    source.push(&image, "acme/api", &["staging"]);
    source.proxy.fault(Rule::on("GET", "/v2/*/blobs/*").act(Action::Corrupt));
    let client = anonymous();
    let (from, to) = (source.repository("acme/api"), target.repository("acme/api"));
    let error = client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap_err();
    assert_eq!(Fault::from(error).code, Code::DigestMismatch);
    assert!(target.stand_in().contents().blobs("acme/api").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_manifest_is_visible_before_what_it_names() {
    let place = Place::start(Kind::StandIn);
    let image = Image::index(&["linux/amd64", "linux/arm64", "linux/arm/v7"]).nested().attestations().build();
    place.push(&image, "acme/api", &["staging"]);
    place.proxy.clear_log();
    let (from, to) = (place.repository("acme/api"), place.repository("acme/prod"));
    let client = anonymous();
    client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
    assert!(place.stand_in().contents().tags("acme/prod").is_empty());
    assert!(place.stand_in().contents().manifest("acme/prod", image.digest()).is_none());
    client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
    // The stand-in refuses what is out of order, so that no refusal means that the order was right.
    let refused = place.proxy.log().iter().filter(|entry| entry.status.is_some_and(|status| status >= 400)).count();
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_child_of_an_index_travels_as_a_blob() {
    let place = Place::start(Kind::StandIn);
    let image = Image::index(&["linux/amd64"])
        .edit_index(|index| {
            let blob = serde_json::json!({
                "mediaType": "application/vnd.acme.note", "size": 4,
                "digest": tidegate::promotion::digest::Digest::sha256(b"note"),
            });
            index["manifests"].as_array_mut().unwrap().push(blob);
        })
        .build();
    image.place(place.stand_in().contents(), "acme/api", &["staging"]);
    let note = tidegate::promotion::digest::Digest::sha256(b"note");
    place.stand_in().contents().put_blob("acme/api", note.as_str(), "note");
    let client = anonymous();
    let (from, to) = (place.repository("acme/api"), place.repository("acme/prod"));
    let stats = client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
    assert_eq!(stats.mounted, image.blobs().len() as u64 + 1);
    assert!(place.stand_in().contents().blob("acme/prod", note.as_str()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn opposite_copies_at_once_do_not_wait_for_each_other_for_ever() {
    let (one, other) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
    let image = |seed| Image::index(&["linux/amd64", "linux/arm64"]).layers(20, 2_000).seed(seed).build();
    let (first, second) = (image(1), image(2));
    one.push(&first, "acme/a", &["x"]);
    other.push(&second, "acme/b", &["x"]);
    let client = anonymous();
    let (there, back) = (other.repository("acme/a"), one.repository("acme/b"));
    let (from_one, from_other) = (one.repository("acme/a"), other.repository("acme/b"));
    let (first_digest, second_digest) = (digest(&first), digest(&second));
    let copies = async {
        tokio::try_join!(
            client.copy_content(&from_one, &there, &first_digest, BARE),
            client.copy_content(&from_other, &back, &second_digest, BARE),
        )
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), copies).await.expect("no deadlock").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_can_be_a_task_of_its_own_and_be_dropped() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
    let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(10, 200_000).build();
    source.push(&image, "acme/api", &["staging"]);
    source.proxy.set_latency(std::time::Duration::from_millis(5));
    let client: Registries = anonymous();
    let (from, to) = (source.repository("acme/api"), target.repository("acme/api"));
    for millis in [1, 12, 18, 25] {
        let whole = digest(&image);
        let copy = is_send(client.copy_content(&from, &to, &whole, CopyOptions::default()));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(millis), copy).await;
    }
    let task = tokio::spawn({
        let (client, from, to, whole) = (client.clone(), from.clone(), to.clone(), digest(&image));
        async move { client.copy_content(&from, &to, &whole, CopyOptions::default()).await }
    });
    task.await.unwrap().unwrap();
    client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
    target.has_all_of(&image, "acme/api");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever an image looks like, what arrives is what was there, in exactly as many requests as there must be.
    #[test]
    fn every_image_arrives_whole_and_in_the_fewest_requests(
        platforms in proptest::sample::subsequence(vec!["linux/amd64", "linux/arm64", "linux/arm/v7", "windows/amd64"], 1..=4),
        layers in 0usize..6, shared in 0usize..3, nested: bool, attestations: bool, docker: bool, within: bool, seed in 0u64..1_000,
    ) {
        let mut builder = Image::index(&platforms).layers(layers, 300).shared_layers(shared).seed(seed);
        if nested { builder = builder.nested(); }
        if attestations { builder = builder.attestations(); }
        if docker { builder = builder.format(Format::Docker); }
        let image = builder.build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
        source.push(&image, "acme/api", &["staging"]);
        source.proxy.clear_log();
        let to = if within { source.repository("acme/prod") } else { target.repository("acme/prod") };
        let client = anonymous();
        let from = source.repository("acme/api");
        runtime.block_on(async {
            client.copy_content(&from, &to, &digest(&image), BARE).await.unwrap();
            client.move_tag(&from, &to, &tag("production"), &digest(&image)).await.unwrap();
        });
        let (m, b) = size(&image);
        let wanted = 2 * m + 2 + if within { b } else { 3 * b };
        prop_assert_eq!(counted(&client.traffic(), Class::Copy), wanted);
        assert_all_counted(&client.traffic(), &[&source.proxy.log(), &target.proxy.log()]);
        let place = if within { &source } else { &target };
        place.has_all_of(&image, "acme/prod");
        let stored: BTreeSet<String> = place.stand_in().contents().blobs("acme/prod").into_iter().collect();
        prop_assert_eq!(stored, image.blobs().keys().cloned().collect::<BTreeSet<_>>());
    }
}
