//! The parser of indexes of TensorFlow checkpoints.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("tensorflow-checkpoint", bytes));
