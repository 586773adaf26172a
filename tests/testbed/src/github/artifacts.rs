//! Attestations, and GitHub's own record of what runs where.

use bytes::Bytes;
use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::repositories::repo;
use super::world::{Bundles, World, time};

pub(super) fn attestations(world: &mut World, call: &Call) -> Reply {
    let digest = call.segment(4).to_owned();
    let bundles: Vec<Value> = repo(world, call)
        .attestations
        .iter()
        .filter(|(subject, _)| *subject == digest)
        .map(|(_, bundle)| bundle.clone())
        .collect();
    if bundles.is_empty() {
        return Reply::not_found();
    }
    let (id, place) = (repo(world, call).id, world.settings.bundles);
    let mut shown = Vec::new();
    for bundle in bundles {
        let mut attestation = json!({"repository_id": id, "initiator": "user"});
        if place == Bundles::Inline {
            attestation["bundle"] = bundle;
            shown.push(attestation);
            continue;
        }
        let packed = snap::raw::Encoder::new().compress_vec(bundle.to_string().as_bytes());
        let path = format!("/bundles/{}?sig=secret-signature", world.id());
        attestation["bundle_url"] = json!(format!("{}{path}", world.elsewhere));
        if place == Bundles::ElsewhereAndNull {
            attestation["bundle"] = Value::Null;
        }
        world.blobs.insert(path, Bytes::from(packed.expect("a small bundle")));
        shown.push(attestation);
    }
    Reply::list_beside("attestations", shown, json!({}))
}

pub(super) fn record(world: &mut World, call: &Call) -> Reply {
    if !world.settings.artifact_metadata {
        return Reply::not_found();
    }
    let text = |name: &str| call.text(name).unwrap_or_default();
    let key = |record: &Value| ["logical_environment", "deployment_name"].map(|name| record[name].clone());
    let mut record = json!({
        "digest": text("digest"), "logical_environment": text("logical_environment"), "physical_environment": "",
        "cluster": "", "deployment_name": text("deployment_name"), "tags": {}, "runtime_risks": [],
        "created_at": time(call.now), "updated_at": time(call.now), "attestation_id": null,
    });
    record["id"] = json!(world.id());
    world.records.retain(|kept| key(kept) != key(&record));
    let mut kept = record.clone();
    kept["status"] = json!(text("status"));
    kept["name"] = json!(text("name"));
    world.records.push(kept);
    Reply::json(200, json!({"total_count": 1, "deployment_records": [record]}))
}
