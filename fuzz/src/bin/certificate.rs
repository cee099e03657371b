//! X.509 certificates.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(casemate_provenance::keys::certificate::Certificate::parse(bytes)));
