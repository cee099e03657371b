//! A whole file: recognised, parsed, judged, and every object in it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::scan(bytes));
