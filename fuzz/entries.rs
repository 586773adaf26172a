//! What is fuzzed, for the fuzz targets and for the property tests, which run the same with a stable compiler: whatever
//! comes, nothing crashes, and nothing is proven but what somebody has really signed.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidegate::config::{Configuration, Identity, Signer};
use tidegate::promotion::digest::Digest;
use tidegate::registry::LayerContents;
use tidegate::signature::material::Offer;
use tidegate::signature::trust::{Log, Trust, Wanted, key};

static TRUST: LazyLock<Trust> = LazyLock::new(|| Trust::built_in().expect("the built-in roots"));

/// Whoever it is.
static ANYBODY: LazyLock<Identity> = LazyLock::new(|| {
    let text = "{ version: 1, services: { api: { image: ghcr.io/acme/api } }, environments: { production: { tag: production, \
                validate: { signature: { issuer-pattern: '.*', identity: '.*' } } } } }";
    let configuration = Configuration::parse("tidegate.yml", text).expect("a configuration");
    let environment = configuration.environment("production").expect("the environment");
    match &environment.for_service("api").validate.policy.signature.as_ref().expect("the signature").signer {
        Signer::Identity(identity) => identity.clone(),
        Signer::Keys(_) => unreachable!("no key is named"),
    }
});

/// Bundles that are real; all others are made of them.
const REAL: [&str; 3] = [
    include_str!("../tests/validation/sigstore/bundle_v3_github.whl.sigstore"),
    include_str!("../tests/validation/sigstore/conda-attestation.sigstore.json"),
    include_str!("../tests/validation/sigstore/github-private-attestation.sigstore.json"),
];

/// What the real ones prove.
static SIGNED: LazyLock<Vec<Signed>> = LazyLock::new(|| {
    let signed: Vec<Signed> = REAL.iter().flat_map(|bundle| proven(bundle)).collect();
    assert!(signed.len() >= REAL.len(), "each of them proves something: {signed:?}");
    signed
});

/// What was proven: the digest, by whom, who vouches for them, and the predicate.
#[derive(Debug, PartialEq)]
struct Signed(Digest, String, Option<String>, Option<(String, Value)>);

/// Reports of scanners, and what people know about vulnerabilities.
pub(crate) fn reports(data: &[u8]) {
    let _ = tidegate::scan::read(data);
    let _ = tidegate::scan::exceptions::read(data);
    let _ = tidegate::scan::openvex::read(data);
    let _ = tidegate::scan::exploited::read(data);
}

/// Bills of materials.
pub(crate) fn bills(text: &str) {
    let _ = tidegate::sbom::read(text);
}

/// Sigstore bundles, trust roots and keys: nobody has signed anything but what is in the real ones.
pub(crate) fn bundles(text: &str) {
    let _ = Trust::of_file(text);
    let _ = key(text);
    for signed in proven(text) {
        assert!(SIGNED.contains(&signed), "{signed:?} by {text}");
    }
}

/// What a bundle proves of the digests that it names, whoever has signed it.
fn proven(text: &str) -> Vec<Signed> {
    let Ok(offer) = Offer::of_json(text) else { return Vec::new() };
    let wanted = Wanted::Identity { identity: &ANYBODY, log: Log::AsTheRoot };
    let proofs = named(text).into_iter().filter_map(|digest| {
        let proven = TRUST.prove(&offer, &digest, wanted).ok()?;
        let statement = proven.statement.map(|statement| (statement.predicate_type, statement.predicate));
        Some(Signed(digest, proven.signer, proven.issuer, statement))
    });
    proofs.collect()
}

/// The digests that a bundle names, in its signature of one or in its statement.
fn named(text: &str) -> Vec<Digest> {
    let Ok(bundle) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let decoded = |pointer: &str| STANDARD.decode(bundle.pointer(pointer)?.as_str()?).ok();
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let of_signature = decoded("/messageSignature/messageDigest/digest").map(hex);
    let statement = decoded("/dsseEnvelope/payload").and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
    let subjects = statement.as_ref().and_then(|statement| statement["subject"].as_array()).into_iter().flatten();
    let of_subjects = subjects.filter_map(|subject| subject["digest"]["sha256"].as_str().map(str::to_owned));
    of_signature.into_iter().chain(of_subjects).filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect()
}

/// Layers, unpacked: however they come in, the same is in them.
pub(crate) fn archives(data: &[u8]) {
    let whole = LayerContents::of_archive(data, data.len());
    assert_eq!(whole, LayerContents::of_archive(data, 511));
    assert!(whole.entries <= data.len() as u64 / 512);
}
