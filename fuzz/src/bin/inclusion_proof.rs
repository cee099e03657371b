//! Offline proofs that a record is in a ledger.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(casemate_provenance::ledger::InclusionProof::parse(bytes)));
