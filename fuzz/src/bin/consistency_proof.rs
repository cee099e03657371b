//! Offline proofs that a ledger only ever grew.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(casemate_provenance::ledger::ConsistencyProof::parse(bytes)));
