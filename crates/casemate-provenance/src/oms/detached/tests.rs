//! Two files that are one signature, and every way to tear them apart.

use std::fs;

use super::*;
use crate::keys::signer::ModelSigner;
use crate::keys::signing::{KeyType, SigningKey};
use crate::oms::compare::list;
use crate::oms::payload::HashType;
use crate::oms::{SignatureState, Signer};

struct Release {
    key: SigningKey,
    pq_key: SigningKey,
}

impl Release {
    fn new() -> Self {
        let generate = |key_type| SigningKey::generate(key_type).unwrap();
        Self { key: generate(KeyType::EcdsaP256), pq_key: generate(KeyType::MlDsa65) }
    }

    fn sign(&self, contents: &str) -> Detached {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("weights"), contents).unwrap();
        let signed = list(directory.path(), HashType::Sha256, &[], None, &|_| ()).unwrap();
        sign(signed, SignWith { key: &self.key, pq_key: Some(&self.pq_key), certificates: &[] }).unwrap()
    }

    fn trusted(&self) -> Trusted {
        Trusted {
            signer: Signer::Key(self.key.public().clone()),
            pq_key: Some(self.pq_key.public().clone()),
            require_pq: true,
            allow_legacy: false,
        }
    }
}

fn refusal(result: Result<Opened, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn both_files_together_are_what_one_file_was() {
    let release = Release::new();
    let Detached { bundle, pq } = release.sign("w");
    assert_eq!(Bundle::parse(&bundle).unwrap().signatures.len(), 1, "strict verifiers want exactly one");
    let opened = open(&bundle, &pq, &release.trusted()).unwrap();
    assert_eq!(opened.signed.required_signatures, ["ecdsa-p256", "ml-dsa-65"]);
    assert!(opened.signatures.iter().all(|signature| signature.state == SignatureState::Good));
    assert_eq!(opened.signatures.len(), 2);
    // The envelope stands on its own as well.
    let envelope = dsse::parse(&pq, BUNDLE_BYTES_MAX).unwrap();
    let message = dsse::pae(&envelope.payload_type, &envelope.payload);
    assert!(release.pq_key.public().verifies(&message, &envelope.signatures[0].sig));
    assert_eq!(envelope.signatures[0].keyid, release.pq_key.public().key_id());
    // Without the key it is there and not checked.
    let without = Trusted { pq_key: None, require_pq: false, ..release.trusted() };
    assert_eq!(open(&bundle, &pq, &without).unwrap().signatures[1].state, SignatureState::NotChecked);
}

#[test]
fn a_second_file_that_is_gone_or_from_elsewhere_is_noticed() {
    let release = Release::new();
    let Detached { bundle, pq } = release.sign("w");
    let other = release.sign("v");
    assert!(is_wanted(&bundle) && is_wanted(&other.bundle));
    let without = Trusted { pq_key: None, require_pq: false, ..release.trusted() };
    for trusted in [&release.trusted(), &without] {
        let message = refusal(crate::oms::open(&bundle, trusted));
        assert!(message.contains("missing: ml-dsa-65") && message.contains("--pq-signature"), "{message}");
        assert!(refusal(open(&bundle, &other.pq, trusted)).contains("another list of files"));
        // The bundle of one model beside the second file of the other.
        assert!(refusal(open(&other.bundle, &pq, trusted)).contains("another list of files"));
    }
    let mut moved = dsse::parse(&other.pq, BUNDLE_BYTES_MAX).unwrap();
    moved.payload = dsse::parse(&pq, BUNDLE_BYTES_MAX).unwrap().payload;
    assert!(refusal(open(&bundle, &moved.to_json(), &release.trusted())).contains("ml-dsa-65 signature is bad"));
}

#[test]
fn another_key_or_a_flipped_bit_is_refused() {
    let (release, other) = (Release::new(), Release::new());
    let Detached { bundle, pq } = release.sign("w");
    let trusting_other = Trusted { pq_key: Some(other.pq_key.public().clone()), ..release.trusted() };
    assert!(refusal(open(&bundle, &pq, &trusting_other)).contains("missing: ml-dsa-65"));
    // One that claims to be of the trusted key.
    let mut claiming = dsse::parse(&pq, BUNDLE_BYTES_MAX).unwrap();
    let message = dsse::pae(&claiming.payload_type, &claiming.payload);
    claiming.signatures[0].sig = ModelSigner::sign(&other.pq_key, &message).unwrap();
    assert!(refusal(open(&bundle, &claiming.to_json(), &release.trusted())).contains("is bad"));
    claiming.signatures[0].sig.clear();
    assert!(refusal(open(&bundle, &claiming.to_json(), &release.trusted())).contains("is bad"));
    let before = open(&bundle, &pq, &release.trusted()).unwrap();
    for at in (0..pq.len()).step_by(7) {
        let mut flipped = pq.clone();
        flipped[at] ^= 1 << (at % 7);
        if let Ok(opened) = open(&bundle, &flipped, &release.trusted()) {
            // Another spelling of the same base64; what is believed may not change.
            assert_eq!(
                (opened.signed, opened.signatures),
                (before.signed.clone(), before.signatures.clone()),
                "byte {at}"
            );
        }
    }
    for cut in [0, 1, pq.len() / 2, pq.len() - 1] {
        assert!(open(&bundle, &pq[..cut], &release.trusted()).is_err());
    }
}

#[test]
fn only_a_bundle_that_lacks_it_wants_a_second_file() {
    let release = Release::new();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("weights"), "w").unwrap();
    let signed = list(directory.path(), HashType::Sha256, &[], None, &|_| ()).unwrap();
    let alone = SignWith { key: &release.key, pq_key: None, certificates: &[] };
    assert!(!is_wanted(&crate::oms::sign(signed.clone(), alone).unwrap()));
    assert!(matches!(sign(signed.clone(), alone), Err(Error::Malformed(_))));
    let both = SignWith { pq_key: Some(&release.pq_key), ..alone };
    assert!(!is_wanted(&crate::oms::sign(signed, both).unwrap()));
    assert!(!is_wanted(b"{}"));
}
