//! The parser of CatBoost models.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("catboost", bytes));
