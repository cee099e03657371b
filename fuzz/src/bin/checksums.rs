//! Lists of checksums that publishers put beside downloads.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = std::str::from_utf8(bytes).map(casemate_provenance::checksums::parse);
});
