//! Time stamps: requests and responses in DER.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::timestamp(bytes));
