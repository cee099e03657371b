//! The parser of TensorFlow graphs and SavedModels.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("tensorflow", bytes));
