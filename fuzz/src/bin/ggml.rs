//! The parser of ggml models before GGUF.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("ggml", bytes));
