//! Reports of scanners, exceptions, statements: whatever comes, nothing crashes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = tidegate::scan::read(data);
    let _ = tidegate::scan::exceptions::read(data);
    let _ = tidegate::scan::openvex::read(data);
    let _ = tidegate::scan::exploited::read(data);
});
