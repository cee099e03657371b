//! The parser of Universal Binary JSON.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("ubjson", bytes));
