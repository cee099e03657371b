//! The parser of fingerprints of SavedModels.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("tensorflow-fingerprint", bytes));
