//! The parser of Keras metadata.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("keras-metadata", bytes));
