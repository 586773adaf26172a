#![no_main]

#[path = "../entries.rs"]
#[expect(dead_code, reason = "each target has one of them")]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::reports(data));
