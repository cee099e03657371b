//! ML-DSA-65 held against a second implementation, the crate `fips204`, in both directions.
//!
//! Two libraries that agree on keys, messages and what they refuse are unlikely to have misread FIPS 204 in the same way. The
//! keys cross over in the forms of RFC 9881: the seed in PKCS#8, the public key in SPKI.

use std::fs;
use std::path::Path;

use fips204::ml_dsa_65::{KG, PrivateKey, PublicKey};
use fips204::traits::{KeyGen as _, SerDes as _, Signer as _, Verifier as _};

use super::*;

/// An ML-DSA-65 key in PKCS#8 up to its 32 bytes of seed (RFC 9881, section 6).
const SEED_PREFIX: [u8; 22] = [
    0x30, 0x34, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12, 0x04,
    0x22, 0x80, 0x20,
];

const MESSAGES: [&[u8]; 3] = [b"", b"message", &[0xa5; 10_000]];

/// The same key there, from the seed that was saved here.
fn there(key: &SigningKey, directory: &Path) -> (PublicKey, PrivateKey) {
    let path = directory.join("key.pem");
    key.save(&path, None).unwrap();
    let der = pem::decode(&fs::read(path).unwrap(), "PRIVATE KEY").unwrap();
    let seed = der.strip_prefix(&SEED_PREFIX).unwrap();
    KG::keygen_from_seed(seed.try_into().unwrap())
}

/// The key of a seed here, read from a file as another program would write it.
fn here(seed: &[u8; 32], directory: &Path) -> SigningKey {
    let path = directory.join("theirs.pem");
    let der = [SEED_PREFIX.as_slice(), seed].concat();
    crate::keys::write_new(&path, pem::encode(&der, "PRIVATE KEY").as_bytes(), 0o600).unwrap();
    SigningKey::load(&path, None).unwrap()
}

/// The public key here of one from there, by way of SPKI PEM.
fn verifying(public: &PublicKey) -> VerifyingKey {
    let (_, prefix, _) = SPKI_PREFIXES[3];
    let spki = [prefix, public.clone().into_bytes().as_slice()].concat();
    VerifyingKey::from_pem(pem::encode(&spki, "PUBLIC KEY").as_bytes()).unwrap()
}

#[test]
fn keys_and_signatures_made_here_are_good_there() {
    let directory = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(KeyType::MlDsa65).unwrap();
    let (public, _) = there(&key, directory.path());
    assert_eq!(public.clone().into_bytes().as_slice(), key.public().raw(), "one seed, one key");
    for message in MESSAGES {
        let signature: [u8; 3309] = key.sign(message).unwrap().try_into().unwrap();
        assert!(public.verify(message, &signature, &[]));
        assert!(!public.verify(&[message, b"x"].concat(), &signature, &[]), "another message");
        assert!(!public.verify(message, &signature, b"context"), "another context");
        for at in [0, 47, 48, 1700, 3253, 3308] {
            let mut flipped = signature;
            flipped[at] ^= 1;
            assert!(!public.verify(message, &flipped, &[]), "byte {at}");
        }
    }
}

#[test]
fn keys_and_signatures_made_there_are_good_here() {
    for seed in [[0; 32], [0xff; 32], *b"thirty-two bytes of plain text.."] {
        let directory = tempfile::tempdir().unwrap();
        let (public, private) = KG::keygen_from_seed(&seed);
        let loaded = here(&seed, directory.path());
        let key = verifying(&public);
        assert_eq!(&key, loaded.public(), "one seed, one key");
        for message in MESSAGES {
            let signature = private.try_sign(message, &[]).unwrap();
            assert!(key.verifies(message, &signature));
            assert!(!key.verifies(&[message, b"x"].concat(), &signature), "another message");
            let with_context = private.try_sign(message, b"context").unwrap();
            assert!(!key.verifies(message, &with_context), "another context");
            for at in [0, 47, 48, 1700, 3253, 3308] {
                let mut flipped = signature;
                flipped[at] ^= 1;
                assert!(!key.verifies(message, &flipped), "byte {at}");
            }
        }
        let (other, _) = KG::keygen_from_seed(&[7; 32]);
        let signature = private.try_sign(b"message", &[]).unwrap();
        assert!(!verifying(&other).verifies(b"message", &signature));
    }
}
