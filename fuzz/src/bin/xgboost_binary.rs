//! The parser of old binary models of XGBoost.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("xgboost-binary", bytes));
