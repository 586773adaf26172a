//! What is fuzzed, for the fuzz targets and for the property tests, which run the same with a stable compiler: whatever
//! comes, nothing crashes, and nothing is proven.

use std::sync::LazyLock;

use tidegate::config::{Identity, Matcher};
use tidegate::promotion::digest::Digest;
use tidegate::registry::LayerContents;
use tidegate::signature::material::Offer;
use tidegate::signature::trust::{Log, Trust, Wanted, key};

static TRUST: LazyLock<Trust> = LazyLock::new(|| Trust::built_in().expect("the built-in roots"));

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

/// Sigstore bundles, trust roots and keys: nobody has signed anything.
pub(crate) fn bundles(text: &str) {
    let _ = Trust::of_file(text);
    let _ = key(text);
    let Ok(offer) = Offer::of_json(text) else { return };
    let nobody = Matcher::Exactly("nobody".to_owned());
    let identity = Identity { issuer: nobody.clone(), subject: nobody };
    let wanted = Wanted::Identity { identity: &identity, log: Log::AsTheRoot };
    assert!(TRUST.prove(&offer, &Digest::sha256(text.as_bytes()), wanted).is_err());
}

/// Layers, unpacked: however they come in, the same is in them.
pub(crate) fn archives(data: &[u8]) {
    let whole = LayerContents::of_archive(data, data.len());
    assert_eq!(whole, LayerContents::of_archive(data, 511));
    assert!(whole.entries <= data.len() as u64 / 512);
}
