//! The pickle machine, one stream.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::run_pickle(bytes));
