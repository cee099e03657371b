//! Checkpoints, the signed heads of a ledger.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(str::from_utf8(bytes).map(casemate_provenance::Checkpoint::parse)));
