//! Signatures, attestations and SBOMs travel with their image, from and to registries that know referrers and ones
//! that do not.

use bytes::Bytes;
use serde_json::{Value, json};
use testbed::client::Client;
use testbed::fault::{Action, Answer, Rule};
use testbed::image::{Artifact, Content, CosignKind, Image, cosign, referrer_loop};
use testbed::registry::{Referrers, Settings};
use tidegate::promotion::act::CopyStats;
use tidegate::promotion::digest::Digest;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::registry::{Class, CopyOptions, keep_tag};

use super::setup::{Kind, Place, anonymous, assert_all_counted, counted, digest, habits, tag};

const SBOM: &str = "application/spdx+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn image() -> Content {
    Image::index(&["linux/amd64", "linux/arm64"]).build()
}

/// An SBOM of the index, a signature of one child, and a signature of the SBOM.
fn attachments(image: &Content) -> Vec<Content> {
    let sbom = Artifact::new(SBOM).layer(SBOM, "{}").annotation("org.acme.tool", "syft").subject(image.root()).build();
    let child = Artifact::new(BUNDLE).layer(BUNDLE, "child").subject(&image.child("linux/arm64").unwrap()).build();
    let of_sbom = Artifact::new(BUNDLE).layer(BUNDLE, "sbom").subject(sbom.root()).build();
    vec![sbom, child, of_sbom]
}

fn all(image: &Content, attachments: &[Content]) -> Content {
    attachments.iter().cloned().fold(image.clone(), Content::with)
}

/// As the source has it: where there is no API, clients have listed what is attached.
fn listed_for(kind: Kind, content: Content) -> Content {
    if kind == Kind::Docker { content.with_fallback_tags() } else { content }
}

/// The entries of a subject's fallback index.
fn listed(client: &Client, path: &str, subject: &str) -> Vec<Value> {
    let Some(index) = client.manifest(path, &subject.replace(':', "-")) else { return Vec::new() };
    let index: Value = serde_json::from_slice(&index.bytes).unwrap();
    index["manifests"].as_array().cloned().unwrap_or_default()
}

/// Promotes from `acme/api` of one registry, and checks that what is attached costs the image's copy nothing.
async fn promote(source: &Place, target: &Place, path: &str, image: &Content) -> CopyStats {
    let client = anonymous();
    source.proxy.clear_log();
    target.proxy.clear_log();
    let (from, to) = (source.repository("acme/api"), target.repository(path));
    let stats = client.copy_content(&from, &to, &digest(image), CopyOptions::default()).await.unwrap();
    client.move_tag(&from, &to, &tag("production"), &digest(image)).await.unwrap();
    let within = std::ptr::eq(source, target);
    let target_log = if within { Vec::new() } else { target.proxy.log() };
    assert_all_counted(&client.traffic(), &[&source.proxy.log(), &target_log]);
    let (m, b) = (image.documents().len() as u64 - 1, image.blobs().len() as u64);
    // What is at the target already is not streamed.
    let wanted = 2 * m + 2 + b + if within { 0 } else { 2 * stats.streamed };
    assert_eq!(counted(&client.traffic(), Class::Copy), wanted);
    stats
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_travel_between_registries_with_and_without_the_api() {
    // docker-registry knows no referrers; the stand-in does, unless told otherwise.
    for (from, to) in [
        (Kind::StandIn, Kind::StandIn),
        (Kind::StandIn, Kind::Docker),
        (Kind::Docker, Kind::StandIn),
        (Kind::Docker, Kind::Docker),
    ] {
        let (source, target) = (Place::start(from), Place::start(to));
        let image = image();
        let attachments = attachments(&image);
        source.push(&listed_for(from, all(&image, &attachments)), "acme/api", &["staging"]);
        // The second time everything is there, and nothing is listed twice.
        for _ in 0..2 {
            let path = "acme/api";
            let client = anonymous();
            let (source_repository, repository) = (source.repository(path), target.repository(path));
            let whole = digest(&image);
            let stats = client.copy_content(&source_repository, &repository, &whole, CopyOptions::default()).await;
            assert_eq!(stats.unwrap().attached, 3, "{from:?} {to:?}");
            client.move_tag(&source_repository, &repository, &tag("production"), &whole).await.unwrap();
            let subjects =
                [image.digest().to_owned(), image.child("linux/arm64").unwrap().digest, attachments[0].digest().into()];
            for (attachment, subject) in attachments.iter().zip(subjects) {
                target.has_all_of(attachment, path);
                // Everybody who looks finds it: through the API or under the tag ...
                let subject_digest = subject.parse().unwrap();
                let found = anonymous().referrers(&repository, &subject_digest, Class::Inspect).await.unwrap();
                let found: Vec<String> = found.iter().map(|manifest| manifest.digest.to_string()).collect();
                assert_eq!(found, [attachment.digest()], "{from:?} {to:?}");
                // ... which is written as the specification wants it.
                if to == Kind::Docker {
                    let entries = listed(&target.client(), path, &subject);
                    assert_eq!(entries.len(), 1);
                    let wanted = attachment.document(attachment.digest()).unwrap();
                    assert_eq!(entries[0]["digest"], attachment.digest());
                    assert_eq!(entries[0]["size"], wanted.bytes.len());
                    assert_eq!(entries[0]["artifactType"], wanted.json()["artifactType"]);
                    assert_eq!(entries[0].get("annotations"), wanted.json().get("annotations"));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_attached_is_mounted_inside_a_registry() {
    for kind in Kind::BOTH {
        let place = Place::start(kind);
        let image = image();
        let mut attachments = attachments(&image);
        attachments.push(cosign(CosignKind::Signature, image.digest()));
        place.push(&listed_for(kind, all(&image, &attachments)), "acme/api", &["staging"]);
        let stats = promote(&place, &place, "acme/prod", &image).await;
        assert_eq!(stats.attached, 4, "{kind:?}");
        let log = place.proxy.log();
        let uploads = log.iter().filter(|entry| entry.method == "PUT" && entry.path().contains("/blobs/"));
        assert_eq!(uploads.count(), 0, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cosigns_tags_travel_for_the_index_and_its_children() {
    for (from, to) in [(Kind::StandIn, Kind::Docker), (Kind::Docker, Kind::StandIn)] {
        let (source, target) = (Place::start(from), Place::start(to));
        let image = image();
        let child = image.child("linux/amd64").unwrap().digest;
        let tags = [
            cosign(CosignKind::Signature, image.digest()),
            cosign(CosignKind::Attestation, image.digest()),
            cosign(CosignKind::Sbom, &child),
            cosign(CosignKind::Signature, &child),
        ];
        source.push(&all(&image, &tags), "acme/api", &["staging"]);
        let stats = promote(&source, &target, "acme/api", &image).await;
        assert_eq!(stats.attached, 4);
        for content in &tags {
            target.has_all_of(content, "acme/api");
            let (name, digest) = &content.tags()[0];
            assert_eq!(target.client().digest("acme/api", name).as_ref(), Some(digest));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cosigns_tags_are_found_also_where_tags_cannot_be_listed() {
    let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::StandIn));
    let image = image();
    let signature = cosign(CosignKind::Signature, image.digest());
    source.push(&all(&image, std::slice::from_ref(&signature)), "acme/api", &["staging"]);
    source.proxy.fault(Rule::on("GET", "/v2/*/tags/list").act(Action::Answer(Answer::status(404))));
    assert_eq!(promote(&source, &target, "acme/api", &image).await.attached, 1);
    target.has_all_of(&signature, "acme/api");
}

/// Signs an image in a repository, as `cosign sign` does: one manifest under the tag, one layer for each signature.
fn sign(place: &Place, image: &Content, kind: CosignKind, signers: &[&str]) -> String {
    let one = cosign(kind, image.digest());
    let document = one.document(one.digest()).unwrap();
    let mut manifest = document.json();
    let layers = signers.iter().map(|signer| {
        let mut layer = manifest["layers"][0].clone();
        layer["annotations"]["dev.cosignproject.cosign/signature"] = json!(signer);
        layer
    });
    manifest["layers"] = layers.collect();
    let client = place.client();
    for (digest, bytes) in one.blobs() {
        client.push_blob("acme/api", digest, bytes.clone()).unwrap();
    }
    let (bytes, name) = (Bytes::from(manifest.to_string()), &one.tags()[0].0);
    client.push_manifest("acme/api", name, &document.media_type, bytes.clone()).unwrap();
    Digest::sha256(&bytes).to_string()
}

/// Who has signed an image in a repository.
fn signers(place: &Place, image: &Content, suffix: &str) -> Vec<String> {
    let name = format!("{}.{suffix}", image.digest().replace(':', "-"));
    let manifest: Value = serde_json::from_slice(&place.client().manifest("acme/api", &name).unwrap().bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap().into()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_only_the_target_has_stay_there() {
    for (ours, theirs, wanted) in [
        (&["build"][..], &["prod"][..], &["build", "prod"][..]),
        (&["build", "scan"], &["build"], &["build", "scan"]),
        (&["build"], &["build", "prod"], &["build", "prod"]),
    ] {
        for to in Kind::BOTH {
            let (source, target) = (Place::start(Kind::StandIn), Place::start(to));
            let image = image();
            source.push(&image, "acme/api", &["staging"]);
            sign(&source, &image, CosignKind::Signature, ours);
            sign(&target, &image, CosignKind::Signature, theirs);
            promote(&source, &target, "acme/api", &image).await;
            assert_eq!(signers(&target, &image, "sig"), wanted, "{to:?} {ours:?} {theirs:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sbom_is_replaced_and_the_old_one_kept_alive() {
    let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::Docker));
    let image = image();
    source.push(&image, "acme/api", &["staging"]);
    sign(&source, &image, CosignKind::Sbom, &["new"]);
    let old = sign(&target, &image, CosignKind::Sbom, &["old"]);
    promote(&source, &target, "acme/api", &image).await;
    assert_eq!(signers(&target, &image, "sbom"), ["new"]);
    let kept = keep_tag(&old.parse().unwrap());
    assert_eq!(target.client().digest("acme/api", kept.as_str()), Some(old));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_lists_already_stays_listed() {
    let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::Docker));
    let image = image();
    let ours = Artifact::new(BUNDLE).layer(BUNDLE, "ours").subject(image.root()).build();
    let theirs = Artifact::new(BUNDLE).layer(BUNDLE, "theirs").subject(image.root()).build();
    source.push(&all(&image, std::slice::from_ref(&ours)), "acme/api", &["staging"]);
    target.push(&all(&image, std::slice::from_ref(&theirs)).with_fallback_tags(), "acme/api", &["old"]);
    promote(&source, &target, "acme/api", &image).await;
    let entries = listed(&target.client(), "acme/api", image.digest());
    let digests: Vec<_> = entries.iter().map(|entry| entry["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [theirs.digest(), ours.digest()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_index_that_somebody_else_writes_at_the_same_time_is_written_again() {
    let (source, target) = (Place::start(Kind::StandIn), Place::with(Settings::default()));
    target.stand_in().configure(|settings| settings.referrers = Referrers::Off);
    let image = image();
    let ours = Artifact::new(BUNDLE).layer(BUNDLE, "ours").subject(image.root()).build();
    let theirs = Artifact::new(BUNDLE).layer(BUNDLE, "theirs").subject(image.root()).build();
    source.push(&all(&image, std::slice::from_ref(&ours)), "acme/api", &["staging"]);
    let other = all(&image, std::slice::from_ref(&theirs)).with_fallback_tags();
    let name = image.digest().replace(':', "-");
    let contents = target.stand_in().contents().clone();
    // Right after our write somebody overwrites it with what he has read before.
    let race = Rule::on("PUT", &format!("/v2/acme/api/manifests/{name}")).nth(1);
    target.stand_in().fault(race.act(Action::call_after(move || other.place(&contents, "acme/api", &[]))));
    let client = anonymous();
    let (from, to) = (source.repository("acme/api"), target.repository("acme/api"));
    client.copy_content(&from, &to, &digest(&image), CopyOptions::default()).await.unwrap();
    assert_eq!(listed(&target.client(), "acme/api", image.digest()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referrer_loop_ends() {
    for kind in Kind::BOTH {
        let (source, target) = (Place::start(kind), Place::start(kind));
        let image = image();
        let looped = image.clone().with(referrer_loop(image.root()));
        source.push(&listed_for(kind, looped), "acme/api", &["staging"]);
        assert_eq!(promote(&source, &target, "acme/api", &image).await.attached, 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ghcrs_redirect_is_no_list_of_referrers() {
    let (source, target) = (Place::with(Settings::ghcr()), Place::with(Settings::ghcr()));
    let image = image();
    let attachments = attachments(&image);
    source.push(&all(&image, &attachments).with_fallback_tags(), "acme/api", &["staging"]);
    let stats = promote(&source, &target, "acme/api", &image).await;
    assert_eq!(stats.attached, 3);
    assert_eq!(listed(&target.client(), "acme/api", image.digest()).len(), 1);
    // The verdict is remembered: that there is no API is found out once.
    let asked = source.proxy.log().iter().filter(|entry| entry.path().contains("/referrers/")).count();
    assert_eq!(asked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_tag_that_is_no_list_lists_nothing_and_is_replaced() {
    // What `cosign copy` leaves behind, and how GitLab resolves the name: the image itself, whose children are no
    // referrers.
    for kind in Kind::BOTH {
        let (source, target) = (Place::start(kind), Place::start(Kind::Docker));
        let image = image();
        let poison = image.clone().with_tag(&image.digest().replace(':', "-"), image.digest());
        source.push(&poison, "acme/api", &["staging"]);
        assert_eq!(promote(&source, &target, "acme/api", &image).await.attached, 0, "{kind:?}");
        let api = source.repository("acme/api");
        assert!(anonymous().referrers(&api, &digest(&image), Class::Inspect).await.unwrap().is_empty());

        // An index of something else altogether.
        let (source, target) = (Place::start(kind), Place::start(Kind::Docker));
        let other = Image::index(&["linux/s390x"]).seed(9).build();
        let name = image.digest().replace(':', "-");
        let poison = image.clone().with(other.clone()).with_tag(&name, other.digest());
        source.push(&poison, "acme/api", &["staging"]);
        assert_eq!(promote(&source, &target, "acme/api", &image).await.attached, 0, "{kind:?}");

        let signature = Artifact::new(BUNDLE).layer(BUNDLE, "x").subject(image.root()).build();
        let (source, target) = (Place::start(Kind::StandIn), Place::start(Kind::Docker));
        source.push(&all(&image, &[signature]), "acme/api", &["staging"]);
        let child = image.child("linux/amd64").unwrap().digest;
        let poison = image.clone().with_tag(&image.digest().replace(':', "-"), &child);
        target.push(&poison, "acme/api", &["old"]);
        promote(&source, &target, "acme/api", &image).await;
        assert_eq!(listed(&target.client(), "acme/api", image.digest()).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_and_gone_is_passed_over_and_what_cannot_be_read_is_not() {
    let (source, target) = (Place::start(Kind::Docker), Place::start(Kind::StandIn));
    let image = image();
    let attachments = attachments(&image);
    let listed = all(&image, &attachments[..1]).with_fallback_tags();
    let gone = listed.clone().without(attachments[0].digest());
    let stand_in = Place::with(habits(|settings| settings.referrers = Referrers::Off));
    gone.place(stand_in.stand_in().contents(), "acme/api", &["staging"]);
    assert_eq!(promote(&stand_in, &target, "acme/api", &image).await.attached, 0);

    source.push(&listed, "acme/api", &["staging"]);
    let path = format!("/v2/acme/api/manifests/{}", attachments[0].digest());
    source.proxy.fault(Rule::on("GET", &path).act(Action::Answer(Answer::status(500))));
    let (from, to) = (source.repository("acme/api"), target.repository("acme/b"));
    let error = anonymous().copy_content(&from, &to, &digest(&image), CopyOptions::default()).await.unwrap_err();
    assert_eq!(Fault::from(error).code, Code::RegistryFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_on_many_pages_are_all_found() {
    let (source, target) = (Place::with(habits(|settings| settings.page_size = 3)), Place::start(Kind::StandIn));
    let image = image();
    let many: Vec<Content> = (0..10)
        .map(|number| Artifact::new(BUNDLE).layer(BUNDLE, format!("{number}")).subject(image.root()).build())
        .collect();
    source.push(&all(&image, &many), "acme/api", &["staging"]);
    assert_eq!(promote(&source, &target, "acme/api", &image).await.attached, 10);
}
