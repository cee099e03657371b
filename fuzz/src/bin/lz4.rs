//! The parser of LZ4 frames.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("lz4", bytes));
