//! Bundles that others have made, held against the trust roots that are built in: accepted for what they are, and in no
//! variant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate::config::{Identity, Matcher};
use tidegate::promotion::digest::Digest;
use tidegate::signature::material::Offer;
use tidegate::signature::trust::{Log, Trust, Wanted};

use super::fuzzed::places;

/// A signature of a file, by a workflow.
const FILE: &str = include_str!("sigstore/bundle_v3_github.whl.sigstore");

/// An attestation about a file, by a workflow.
const ATTESTATION: &str = include_str!("sigstore/conda-attestation.sigstore.json");

/// An attestation by GitHub's own authority, with a timestamp and no log.
const PRIVATE: &str = include_str!("sigstore/github-private-attestation.sigstore.json");

const ACTIONS: &str = "https://token.actions.githubusercontent.com";
const RELEASE: &str = "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2";
const ACTION: &str = "https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main";
const CONDA: &str = "sha256:54303491a8418fbed24344b513546182c29b43bf282ceb433af65e2299f9271f";

fn identity(issuer: &str, subject: &str) -> Identity {
    Identity { issuer: Matcher::Exactly(issuer.to_owned()), subject: Matcher::Exactly(subject.to_owned()) }
}

fn proven(bundle: &str, digest: &str, issuer: &str, subject: &str, log: Log) -> Result<String, String> {
    let digest: Digest = digest.parse().unwrap();
    let identity = identity(issuer, subject);
    let trust = Trust::built_in().unwrap();
    let proven = trust.prove(&Offer::of_json(bundle)?, &digest, Wanted::Identity { identity: &identity, log })?;
    Ok(proven.signer)
}

/// The digest of the file that a bundle signs.
fn file() -> String {
    let bundle: Value = serde_json::from_str(FILE).unwrap();
    let digest = bundle["messageSignature"]["messageDigest"]["digest"].as_str().unwrap();
    let hex: String = STANDARD.decode(digest).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A bundle with something else in one place.
fn with(bundle: &str, pointer: &str, value: Value) -> String {
    let mut bundle: Value = serde_json::from_str(bundle).unwrap();
    *bundle.pointer_mut(pointer).unwrap() = value;
    bundle.to_string()
}

#[test]
fn what_is_real_is_accepted_for_what_it_is() {
    assert_eq!(proven(FILE, &file(), ACTIONS, RELEASE, Log::Required), Ok(RELEASE.to_owned()));
    assert_eq!(proven(ATTESTATION, CONDA, ACTIONS, ACTION, Log::Required), Ok(ACTION.to_owned()));
    for (bundle, digest, issuer, subject) in [
        (FILE, file().as_str(), ACTIONS, ACTION),
        (FILE, file().as_str(), "https://accounts.google.com", RELEASE),
        (FILE, CONDA, ACTIONS, RELEASE),
        (ATTESTATION, file().as_str(), ACTIONS, ACTION),
        (ATTESTATION, CONDA, ACTIONS, &ACTION[..ACTION.len() - 1]),
    ] {
        assert!(proven(bundle, digest, issuer, subject, Log::Required).is_err(), "{digest} {issuer} {subject}");
    }
}

#[test]
fn no_forged_variant_is_accepted() {
    let entry = "/verificationMaterial/tlogEntries/0";
    let signature = STANDARD.encode([0x30, 6, 2, 1, 1, 2, 1, 1]);
    for (bundle, digest, subject, variants) in [
        (
            FILE,
            file(),
            RELEASE,
            vec![
                ("/messageSignature/signature".to_owned(), json!(signature)),
                (
                    format!("{entry}/inclusionProof/checkpoint/envelope"),
                    json!("rekor.sigstore.dev - 1\n1\nAAAA\n\n\u{2014} x AAAAAAAA\n"),
                ),
                (format!("{entry}/canonicalizedBody"), json!(STANDARD.encode("{}"))),
                (format!("{entry}/inclusionProof/hashes"), json!([])),
                (format!("{entry}/integratedTime"), json!("1")),
                ("/verificationMaterial/tlogEntries".to_owned(), json!([])),
            ],
        ),
        (
            ATTESTATION,
            CONDA.to_owned(),
            ACTION,
            vec![
                ("/dsseEnvelope/signatures/0/sig".to_owned(), json!(signature)),
                ("/dsseEnvelope/payload".to_owned(), json!(STANDARD.encode(r#"{"_type":"x","subject":[]}"#))),
                ("/dsseEnvelope/payloadType".to_owned(), json!("text/plain")),
                ("/dsseEnvelope/signatures".to_owned(), json!([])),
                (format!("{entry}/logId/keyId"), json!(STANDARD.encode([0; 32]))),
                ("/verificationMaterial/tlogEntries".to_owned(), json!([])),
                ("/mediaType".to_owned(), json!("application/json")),
            ],
        ),
    ] {
        for (pointer, value) in variants {
            let forged = with(bundle, &pointer, value);
            assert!(proven(&forged, &digest, ACTIONS, subject, Log::Required).is_err(), "{pointer}");
        }
    }
    // Without a checkpoint, and without an entry.
    for (bundle, digest, issuer, subject) in [
        (
            include_str!("sigstore/bundle_no_checkpoint.txt.sigstore"),
            "sha256:802dd60ff88333802f2585e73043bd21c341285e1992fe5b3155551cadeae30e",
            "https://github.com/login/oauth",
            "william@yossarian.net",
        ),
        (
            include_str!("sigstore/bundle_no_log_entry.txt.sigstore"),
            "sha256:9b469fc9761e8b933073b62725f7c98b549c3314199ded71cc8b286ecbc6fb9b",
            "https://accounts.google.com",
            "alex.cameron@trailofbits.com",
        ),
    ] {
        assert!(proven(bundle, digest, issuer, subject, Log::Required).is_err(), "{subject}");
    }
}

#[test]
fn githubs_own_authority_counts_only_where_no_log_is_asked_for() {
    let bundle: Value = serde_json::from_str(PRIVATE).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    let subjects = statement["subject"].as_array().unwrap();
    let hex = subjects.iter().find_map(|subject| subject["digest"]["sha256"].as_str()).unwrap();
    let digest = format!("sha256:{hex}");
    let signer = "https://dotcom.releases.github.com";
    // Its certificate names no issuer.
    assert_eq!(proven(PRIVATE, &digest, "", signer, Log::AsTheRoot), Ok(signer.to_owned()));
    assert!(proven(PRIVATE, &digest, "", signer, Log::Required).is_err());
    assert!(proven(PRIVATE, &digest, ACTIONS, signer, Log::AsTheRoot).is_err());
    assert!(proven(PRIVATE, CONDA, "", signer, Log::AsTheRoot).is_err());
}

/// What nobody has signed and nothing depends on, e.g. a digest beside the one that was computed: without it a bundle proves
/// neither more nor less. Of a checkpoint it is the name before the signature; that has a test of its own.
const SAYS_NOTHING: [&str; 3] =
    ["/messageSignature/messageDigest", "/timestampVerificationData", "/checkpoint/envelope"];

const CHECKPOINT: &str = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope";

/// The same text with another letter in one place.
fn misspelt(text: &str, place: usize) -> Value {
    let other = |letter: char| match letter {
        '0'..='8' => char::from_u32(letter as u32 + 1).unwrap_or('1'),
        'A' => 'B',
        _ => 'A',
    };
    let letters = text.chars().enumerate();
    json!(letters.map(|(at, letter)| if at == place { other(letter) } else { letter }).collect::<String>())
}

/// The same value, with something else in it.
fn altered(value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => json!("x"),
        Value::String(text) => misspelt(text, text.chars().count() / 2),
        Value::Number(_) => json!(7),
        Value::Bool(is) => json!(!is),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

#[test]
fn whatever_is_changed_in_a_bundle_it_is_refused() {
    let mut accepted = Vec::new();
    for (bundle, digest, subject) in [(FILE, file(), RELEASE), (ATTESTATION, CONDA.to_owned(), ACTION)] {
        let value: Value = serde_json::from_str(bundle).unwrap();
        for place in places(&value) {
            let forged = with(bundle, &place, altered(value.pointer(&place).unwrap()));
            if proven(&forged, &digest, ACTIONS, subject, Log::Required).is_ok() {
                accepted.push(place);
            }
        }
    }
    accepted.retain(|place| !SAYS_NOTHING.iter().any(|harmless| place.ends_with(harmless)));
    assert_eq!(accepted, Vec::<String>::new());
}

#[test]
fn a_checkpoint_is_signed_to_the_letter() {
    for (bundle, digest, subject) in [(FILE, file(), RELEASE), (ATTESTATION, CONDA.to_owned(), ACTION)] {
        let value: Value = serde_json::from_str(bundle).unwrap();
        let note = value.pointer(CHECKPOINT).unwrap().as_str().unwrap();
        let (before, signature) = note.split_once("\u{2014} ").unwrap();
        let name = before.chars().count() + 2..before.chars().count() + 3 + signature.find(' ').unwrap();
        for place in (0..note.trim_end().chars().count()).step_by(5).filter(|place| !name.contains(place)) {
            let forged = with(bundle, CHECKPOINT, misspelt(note, place));
            assert!(proven(&forged, &digest, ACTIONS, subject, Log::Required).is_err(), "{place} of {note}");
        }
    }
}
