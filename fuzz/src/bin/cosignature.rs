//! Cosignatures: keys in one line, and notes with the lines of a known witness.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::cosignature(bytes));
