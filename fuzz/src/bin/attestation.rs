//! Lines of attestations and the statements in them, believed by nobody.

#![no_main]

use casemate_core::{Digest, Timestamp};
use casemate_provenance::attestation::judge::{Keyring, judge_all};
use casemate_provenance::attestation::{ModelSubject, Statement, store};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let model = ModelSubject { name: "m".into(), manifest: Digest([3; 32]), file: None, signature: None };
    for judged in judge_all(&store::lines(bytes).unwrap_or_default(), &Keyring::default(), &model, Timestamp::from_unix_ms(0)) {
        assert!(judged.good().is_none(), "nothing is believed without a key");
    }
    if let Ok(statement) = Statement::parse(bytes) {
        let _ = (statement.is_about(&model), statement.time(), statement.predicate.tenor());
    }
});
