//! The parser of OCDBT manifests and data files.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("ocdbt", bytes));
