//! The parser of NumPy arrays.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("npy", bytes));
