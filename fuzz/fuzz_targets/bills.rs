//! Bills of materials.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = tidegate::sbom::read(text);
});
