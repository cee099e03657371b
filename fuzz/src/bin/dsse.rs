//! DSSE envelopes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(casemate_provenance::dsse::parse(bytes, bytes.len())));
