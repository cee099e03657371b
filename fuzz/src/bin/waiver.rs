//! Waiver files.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(
    str::from_utf8(bytes).map(|text| casemate_assess::waiver::parse("w.toml", text))
));
