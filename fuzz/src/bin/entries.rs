//! Entry bundles of a ledger.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(casemate_provenance::tiles::parse_entries(bytes)));
