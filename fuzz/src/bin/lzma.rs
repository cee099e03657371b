//! The parser of bare LZMA files.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("lzma", bytes));
