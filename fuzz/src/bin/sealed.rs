//! Sealed files: as the scanner sees them, and as they are opened with a key that the seeds were sealed for.

#![no_main]

use casemate_core::MemorySource;
use casemate_provenance::seal::wrap::KeyWrapper;
use casemate_provenance::seal::{Container, key_file};

/// 32 bytes of 7.
const KEY: &[u8] = b"-----BEGIN CASEMATE AES-256 KEK-----
BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=
-----END CASEMATE AES-256 KEK-----
";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    casemate_fuzz::parse_as("sealed", bytes);
    let source = MemorySource::new(bytes);
    let Ok(container) = Container::read(&source) else { return };
    let _ = (container.wraps().map(<[_]>::len), container.digest());
    let keys = key_file::parse_keys(KEY);
    let keys: Vec<&dyn KeyWrapper> = keys.iter().map(|key| &**key).collect();
    if let Ok(opened) = container.unlock(&keys) {
        let _ = opened.copy_to(&mut std::io::sink(), 1, &|_| true);
    }
});
