//! The parser of Core ML weights.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("coreml-weights", bytes));
