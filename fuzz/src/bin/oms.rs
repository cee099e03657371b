//! Signature files of models, and the lists they sign.

#![no_main]

use casemate_provenance::oms::{bundle::Bundle, payload::Signed};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Bundle::parse(bytes).map(|bundle| Signed::parse(&bundle.payload, true));
    let _ = Signed::parse(bytes, true);
});
