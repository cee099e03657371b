//! The parser of Torch7 objects.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("torch7", bytes));
