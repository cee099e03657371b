//! ML-DSA-44 keys: what a witness cosigns tree heads with, beside Ed25519.
//!
//! Sources: FIPS 204 (ML-DSA, by aws-lc-rs), RFC 9881 (PKCS#8 in seed form, SPKI). c2sp.org/tlog-cosignature names this parameter
//! set and no other; models are signed with ML-DSA-65 ([`super::signing`]).

use std::path::Path;

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey};
use casemate_core::Secret;

use super::{Error, pem};
use crate::hash;

/// Bytes of a public key.
pub const PUBLIC_BYTES: usize = 1312;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 2420;

/// What stands before the key in its SubjectPublicKeyInfo: the algorithm 2.16.840.1.101.3.4.3.17 and a bit string.
const SPKI_PREFIX: [u8; 22] = [
    0x30, 0x82, 0x05, 0x32, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11, 0x03, 0x82,
    0x05, 0x21, 0x00,
];

/// A private key and its public key.
#[derive(Debug)]
pub struct MlDsa44Pair {
    pair: Secret<Box<PqdsaKeyPair>>,
    public: Vec<u8>,
}

impl MlDsa44Pair {
    /// A new key from the system's random generator.
    ///
    /// # Errors
    /// [`Error::Generate`] when there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        PqdsaKeyPair::generate(&ML_DSA_44_SIGNING).map(Self::of).map_err(|_| Error::Generate)
    }

    /// Reads a private key from the PKCS#8 PEM file at `path`.
    ///
    /// # Errors
    /// [`Error::Exposed`] on Unix when group or others have any permission on the file, [`Error::Malformed`] when it is not
    /// an unencrypted ML-DSA-44 key, [`Error::Io`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let malformed = || Error::Malformed { path: path.into(), expected: "an ML-DSA-44 private key in PKCS#8 PEM" };
        let text = Secret::new(super::read(path, true)?);
        let der = Secret::new(pem::decode(text.expose(), "PRIVATE KEY").ok_or_else(malformed)?);
        PqdsaKeyPair::from_pkcs8(&ML_DSA_44_SIGNING, der.expose()).map(Self::of).map_err(|_| malformed())
    }

    /// Writes the private key as PKCS#8 PEM with mode 0600. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a file at `path`, which is left as it is; [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let der = self.pair.expose().to_pkcs8v1().map_err(|_| Error::Generate)?;
        let text = Secret::new(pem::encode(der.as_ref(), "PRIVATE KEY"));
        super::write_new(path, text.expose().as_bytes(), 0o600)
    }

    /// Writes the public key as SPKI PEM, readable by all.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn save_public(&self, path: &Path) -> Result<(), Error> {
        let text = pem::encode(&[SPKI_PREFIX.as_slice(), &self.public].concat(), "PUBLIC KEY");
        super::write_new(path, text.as_bytes(), 0o644)
    }

    /// The public key, [`PUBLIC_BYTES`] long.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The signature of `message`, with an empty context. Two signatures of one message differ.
    ///
    /// # Errors
    /// [`Error::Generate`] when the system gives no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; SIGNATURE_BYTES];
        let signed = self.pair.expose().sign(message, &mut signature);
        signed.map(|_| signature).map_err(|_| Error::Generate)
    }

    fn of(pair: PqdsaKeyPair) -> Self {
        let public = pair.public_key().as_ref().to_vec();
        Self { pair: Secret::new(Box::new(pair)), public }
    }
}

/// The raw public key in SPKI PEM `text`, or `None` when it is anything else.
pub fn public_from_pem(text: &[u8]) -> Option<Vec<u8>> {
    let der = pem::decode(text, "PUBLIC KEY")?;
    der.strip_prefix(&SPKI_PREFIX).filter(|key| key.len() == PUBLIC_BYTES).map(<[u8]>::to_vec)
}

/// The key's name: kind and hexadecimal SHA-256 of the raw key.
pub fn key_id(public: &[u8]) -> String {
    format!("ml-dsa-44:{}", hash::sha256(public))
}

/// Whether `signature` is the signature of `message` by the key `public`.
pub fn verifies(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ML_DSA_44, public).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_key_loads_and_signs_for_its_public_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("key.pem"), dir.path().join("key.pub.pem"));
        let pair = MlDsa44Pair::generate().unwrap();
        pair.save(&private).unwrap();
        pair.save_public(&public).unwrap();
        let key = public_from_pem(&std::fs::read(&public).unwrap()).unwrap();
        assert_eq!(key, pair.public());
        let signature = MlDsa44Pair::load(&private).unwrap().sign(b"message").unwrap();
        assert_eq!(signature.len(), SIGNATURE_BYTES);
        assert!(verifies(&key, b"message", &signature));
        assert!(!verifies(&key, b"massage", &signature));
        assert!(!verifies(MlDsa44Pair::generate().unwrap().public(), b"message", &signature));
        assert!(super::super::signing::VerifyingKey::load(&public).is_err(), "no key for models");
        assert!(!format!("{pair:?}").contains("PqdsaKeyPair"));
    }
}
