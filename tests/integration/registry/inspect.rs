//! Images looked at, and layers read whole.

use testbed::fault::{Action, Rule};
use testbed::image::{Compression as Packing, Content, Defect, Format, Image};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::registry::{Class, Compression, Inspection, LayerDefect, LayerLimits, LayerReading, RegistryError};

use super::setup::{Kind, Place, anonymous, assert_all_counted, counted, digest};

async fn inspected(place: &Place, image: &Content) -> Inspection {
    let client = anonymous();
    client.inspect(&place.repository("acme/api"), &digest(image)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_seen_as_it_is() {
    for (kind, format) in [(Kind::Docker, Format::Oci), (Kind::StandIn, Format::Oci), (Kind::StandIn, Format::Docker)] {
        let place = Place::start(kind);
        let image = Image::index(&["linux/amd64", "linux/arm64", "linux/arm/v7"])
            .format(format)
            .nested()
            .shared_layers(1)
            .attestations()
            .env("SECRET", "value")
            .build();
        place.push(&image, "acme/api", &["staging"]);
        place.proxy.clear_log();
        let client = anonymous();
        let seen = client.inspect(&place.repository("acme/api"), &digest(&image)).await.unwrap();
        let m = image.documents().len() as u64 - 1;
        // Every manifest, and the configuration of each platform; not those of the attestations.
        assert_eq!(counted(&client.traffic(), Class::Inspect), 1 + m + 3);
        assert_all_counted(&client.traffic(), &[&place.proxy.log()]);
        assert!(seen.problems.is_empty(), "{:?}", seen.problems);
        assert_eq!(seen.root.digest.as_str(), image.digest());
        assert_eq!((seen.facts.manifests, seen.facts.blobs), (m, image.blobs().len() as u64));
        let bytes: u64 = image.blobs().values().map(|blob| blob.len() as u64).sum();
        assert_eq!(seen.facts.bytes, bytes);
        let platforms: Vec<String> = seen.facts.platforms.iter().map(|facts| facts.platform.to_string()).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        let facts = &seen.facts.platforms[0];
        assert_eq!(facts.environment, ["PATH", "SECRET"]);
        assert!(!serde_json::to_string(&seen.facts).unwrap().contains("value"), "values may be secrets");
        assert_eq!(facts.entrypoint, ["/app/server"]);
        assert_eq!(facts.command, ["--port", "8080"]);
        assert_eq!(facts.user.as_deref(), Some("65532"));
        assert_eq!(facts.created.as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(seen.facts.revision(), Some("0123456789abcdef0123456789abcdef01234567"));
        assert_eq!(facts.layers.len(), 2);
        assert_eq!(seen.platforms[0].config.rootfs.diff_ids.len(), 2);
        assert_eq!(seen.platforms[0].config_json["config"]["WorkingDir"], "/app");
        assert_eq!(seen.platforms[2].declared.as_ref().unwrap().variant.as_deref(), Some("v7"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_image_has_no_index() {
    let place = Place::start(Kind::Docker);
    let image = Image::manifest("linux/arm64").foreign_layer("https://layers.test/base").build();
    place.push(&image, "acme/api", &["staging"]);
    let seen = inspected(&place, &image).await;
    assert_eq!(seen.facts.manifests, 0);
    assert_eq!(seen.platforms.len(), 1);
    assert!(seen.platforms[0].declared.is_none());
    // The foreign layer is one that the image refers to.
    assert_eq!(seen.facts.blobs, image.blobs().len() as u64 + 1);
    assert!(seen.platforms[0].layers[0].is_foreign());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_one_platform_is_told_and_the_others_are_seen() {
    for (defect, code) in [
        (Defect::ConfigNotJson, Code::ImageMalformed),
        (Defect::ConfigBytes, Code::DigestMismatch),
        (Defect::ManifestBytes, Code::DigestMismatch),
        (Defect::MissingConfig, Code::ImageAbsent),
        (Defect::MissingManifest, Code::ImageAbsent),
        (Defect::OversizeManifest, Code::ManifestTooLarge),
    ] {
        let place = Place::start(Kind::StandIn);
        let image = Image::index(&["linux/amd64", "linux/arm64"]).defect_on("linux/arm64", defect).build();
        image.place(place.stand_in().contents(), "acme/api", &["staging"]);
        let seen = inspected(&place, &image).await;
        assert_eq!(seen.platforms.len(), 1, "{defect:?}");
        assert_eq!(seen.problems.len(), 1, "{defect:?} {:?}", seen.problems);
        assert_eq!(seen.problems[0].declared.as_ref().unwrap().architecture, "arm64");
        assert_eq!(Fault::from(seen.problems[0].error.clone()).code, code, "{defect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lies_about_its_children_is_told() {
    for edit in
        [("size", serde_json::json!(7)), ("mediaType", serde_json::json!("application/vnd.oci.image.index.v1+json"))]
    {
        let place = Place::start(Kind::StandIn);
        let image = Image::index(&["linux/amd64"])
            .edit_index(move |index| index["manifests"][0][edit.0] = edit.1.clone())
            .build();
        image.place(place.stand_in().contents(), "acme/api", &["staging"]);
        let seen = inspected(&place, &image).await;
        assert_eq!(seen.problems.len(), 1, "{:?}", seen.problems);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_in_trouble_is_no_bad_image() {
    let place = Place::start(Kind::StandIn);
    let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
    place.push(&image, "acme/api", &["staging"]);
    place.proxy.fault(Rule::on("GET", "/v2/*/blobs/*").act(Action::Drop));
    let error = anonymous().inspect(&place.repository("acme/api"), &digest(&image)).await.unwrap_err();
    assert!(!error.is_about_content());
    assert_eq!(Fault::from(error).code, Code::RegistryFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_can_be_read_in_two_ways_is_refused() {
    let edits: [fn(&mut serde_json::Value); 4] = [
        |manifest| manifest["Layers"] = serde_json::json!([]),
        |manifest| manifest["layerſ"] = serde_json::json!([]),
        |manifest| manifest["manifests"] = serde_json::json!([]),
        |manifest| manifest["mediaType"] = serde_json::json!("application/vnd.oci.image.index.v1+json"),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let place = Place::start(Kind::StandIn);
        let image = Image::manifest("linux/amd64").edit_manifest(edit).build();
        image.place(place.stand_in().contents(), "acme/api", &["staging"]);
        let error = anonymous().inspect(&place.repository("acme/api"), &digest(&image)).await.unwrap_err();
        assert_eq!(Fault::from(error).code, Code::ImageMalformed, "{number}");
    }
}

/// Reads the last layer of the first platform.
async fn verified(place: &Place, image: &Content) -> Result<LayerReading, RegistryError> {
    let seen = inspected(place, image).await;
    let platform = &seen.platforms[0];
    let (layer, diff_id) = (platform.layers.last().unwrap(), platform.config.rootfs.diff_ids.last());
    let repository = place.repository("acme/api");
    anonymous().verify_layer(&repository, layer, diff_id, LayerLimits::default(), Class::Inspect).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_layers_are_found_sound_in_every_packing() {
    for kind in Kind::BOTH {
        for (packing, compression) in
            [(Packing::None, Compression::None), (Packing::Gzip, Compression::Gzip), (Packing::Zstd, Compression::Zstd)]
        {
            let place = Place::start(kind);
            let image = Image::manifest("linux/amd64").compression(packing).layers(2, 3_000_000).build();
            place.push(&image, "acme/api", &["staging"]);
            let reading = verified(&place, &image).await.unwrap();
            assert_eq!(reading.defect, None, "{kind:?} {packing:?}");
            assert_eq!(reading.compression, compression);
            assert!(reading.unpacked >= 3_000_000 / 2);
            assert!(reading.diff_id.is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_defect_of_a_layer_is_found() {
    for defect in [
        Defect::DiffId,
        Defect::TruncatedLayer,
        Defect::GarbageLayer,
        Defect::LayerBytes,
        Defect::LayerSize,
        Defect::MissingLayer,
    ] {
        let place = Place::start(Kind::StandIn);
        let image = Image::manifest("linux/amd64").layers(2, 200_000).defect(defect).build();
        image.place(place.stand_in().contents(), "acme/api", &["staging"]);
        let reading = verified(&place, &image).await;
        let found = match (defect, reading) {
            (Defect::MissingLayer, Err(error)) => error.is_absent(),
            // One byte short of what the manifest says, again and again.
            (Defect::LayerSize, Err(error)) => Fault::from(error).code == Code::RegistryFailed,
            (_, Err(error)) => panic!("{defect:?} {error}"),
            (_, Ok(reading)) => matches!(
                (defect, reading.defect),
                (Defect::DiffId, Some(LayerDefect::DiffId { .. }))
                    | (Defect::TruncatedLayer | Defect::GarbageLayer, Some(LayerDefect::Packing { .. }))
                    | (Defect::LayerBytes, Some(LayerDefect::Digest { .. }))
            ),
        };
        assert!(found, "{defect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_breaks_off_is_read_again() {
    let place = Place::start(Kind::StandIn);
    let image = Image::manifest("linux/amd64").layers(1, 200_000).build();
    place.push(&image, "acme/api", &["staging"]);
    let seen = inspected(&place, &image).await;
    place.proxy.fault(Rule::on("GET", "/v2/*/blobs/*").times(2).act(Action::Truncate(1_000)));
    let layer = &seen.platforms[0].layers[0];
    let client = anonymous();
    let repository = place.repository("acme/api");
    let reading = client.verify_layer(&repository, layer, None, LayerLimits::default(), Class::Inspect).await.unwrap();
    assert_eq!(reading.defect, None);
    assert_eq!(reading.packed, layer.size);
    assert_eq!(counted(&client.traffic(), Class::Inspect), 3);
    // A layer that is longer than declared is not read to its end.
    let short = tidegate::registry::Descriptor { size: 1_000, ..layer.clone() };
    let reading = client.verify_layer(&repository, &short, None, LayerLimits::default(), Class::Inspect).await.unwrap();
    assert!(matches!(reading.defect, Some(LayerDefect::Size { .. })));
    assert!(Digest::sha256(b"").as_str().starts_with("sha256:"));
}
