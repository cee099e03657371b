//! Statements, the evidence in an envelope.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(casemate_provenance::statement::parse(bytes)));
