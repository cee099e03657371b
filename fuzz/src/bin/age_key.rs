//! Wrapped keys as age files, and key files of every kind.

#![no_main]

use casemate_provenance::seal::key_file;

/// An identity for tests.
const IDENTITY: &[u8] = include_bytes!("../../seeds/age_key/identity");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = key_file::parse_keys(bytes);
    for key in key_file::parse_keys(IDENTITY) {
        let _ = key.unwrap(bytes, &[7; 32]);
    }
});
