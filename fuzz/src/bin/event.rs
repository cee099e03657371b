//! Ledger entries.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(casemate_provenance::ledger::Event::parse(bytes)));
