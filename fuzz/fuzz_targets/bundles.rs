//! Sigstore bundles, held against the built-in trust roots: nothing crashes, and nothing is proven.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::config::{Identity, Matcher};
use tidegate::promotion::digest::Digest;
use tidegate::signature::material::Offer;
use tidegate::signature::trust::{Log, Trust, Wanted};

static TRUST: LazyLock<Trust> = LazyLock::new(|| Trust::built_in().expect("the built-in roots"));

fuzz_target!(|text: &str| {
    let Ok(offer) = Offer::of_json(text) else { return };
    let nobody = Matcher::Exactly("nobody".to_owned());
    let identity = Identity { issuer: nobody.clone(), subject: nobody };
    let wanted = Wanted::Identity { identity: &identity, log: Log::AsTheRoot };
    assert!(TRUST.prove(&offer, &Digest::sha256(text.as_bytes()), wanted).is_err());
});
