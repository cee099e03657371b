//! Keys that sign attestations: those that sign models, and Ed25519.
//!
//! An attestation's signature names its key as `<kind>:<hexadecimal SHA-256 of the raw public key>`, whatever the kind.

use std::path::Path;

use casemate_core::Secret;

use super::signing::{KeyType, SigningKey, VerifyingKey};
use super::{Error, KeyPair, PublicKey};
use crate::dsse::{Signs, Verifies};

const ED25519: &str = "ed25519";

/// A private key that signs attestations.
#[derive(Debug)]
pub enum AttestingKey {
    /// ECDSA or ML-DSA-65.
    Model(SigningKey),
    /// Ed25519.
    Ed25519(KeyPair),
}

/// A public key whose attestations may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedKey {
    /// ECDSA or ML-DSA-65.
    Model(VerifyingKey),
    /// Ed25519.
    Ed25519(PublicKey),
}

impl AttestingKey {
    /// Reads a private key of any kind from the PEM file at `path`; `password` opens an encrypted one.
    ///
    /// # Errors
    /// Those of [`SigningKey::load`].
    pub fn load(path: &Path, password: Option<&Secret<Vec<u8>>>) -> Result<Self, Error> {
        match SigningKey::load(path, password) {
            Ok(key) => Ok(Self::Model(key)),
            Err(Error::Malformed { .. }) => KeyPair::load(path).map(Self::Ed25519).map_err(|error| match error {
                Error::Malformed { path, .. } => {
                    Error::Malformed { path, expected: "a private key (ECDSA, Ed25519 or ML-DSA-65) in PEM" }
                }
                other => other,
            }),
            Err(error) => Err(error),
        }
    }

    /// A new key of the given kind of model keys.
    ///
    /// # Errors
    /// [`Error::Generate`] when there is no randomness.
    pub fn generate(key_type: KeyType) -> Result<Self, Error> {
        SigningKey::generate(key_type).map(Self::Model)
    }

    /// Name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Model(key) => key.key_type().as_str(),
            Self::Ed25519(_) => ED25519,
        }
    }

    /// The public key.
    pub fn public(&self) -> TrustedKey {
        match self {
            Self::Model(key) => TrustedKey::Model(key.public().clone()),
            Self::Ed25519(pair) => TrustedKey::Ed25519(pair.public()),
        }
    }
}

impl Signs for AttestingKey {
    fn key_id(&self) -> String {
        self.public().key_id()
    }

    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Model(key) => key.sign(message),
            Self::Ed25519(pair) => Ok(pair.sign(message)),
        }
    }
}

impl TrustedKey {
    /// Reads a public key of any kind from the PEM file at `path`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no such key; [`Error::Io`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = super::read(path, false)?;
        let ed25519 = || PublicKey::from_pem(&text).map(Self::Ed25519);
        let key = VerifyingKey::from_pem(&text).map(Self::Model).or_else(ed25519);
        key.ok_or(Error::Malformed { path: path.into(), expected: "a public key (ECDSA, Ed25519 or ML-DSA-65) in PEM" })
    }

    /// Name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Model(key) => key.key_type.as_str(),
            Self::Ed25519(_) => ED25519,
        }
    }

    /// Whether quantum computers are not known to break it.
    pub fn is_post_quantum(&self) -> bool {
        matches!(self, Self::Model(key) if key.key_type.is_post_quantum())
    }

    /// Its name among signatures.
    pub fn key_id(&self) -> String {
        match self {
            Self::Model(key) => key.key_id(),
            Self::Ed25519(key) => format!("{ED25519}:{}", key.key_id()),
        }
    }

    /// A new private key of the same kind, for checks that must fail.
    ///
    /// # Errors
    /// [`Error::Generate`] when there is no randomness.
    pub fn another(&self) -> Result<AttestingKey, Error> {
        match self {
            Self::Model(key) => AttestingKey::generate(key.key_type),
            Self::Ed25519(_) => KeyPair::generate().map(AttestingKey::Ed25519),
        }
    }

    /// The key in SPKI PEM.
    pub fn to_pem(&self) -> String {
        match self {
            Self::Model(key) => key.to_pem(),
            Self::Ed25519(key) => key.to_pem(),
        }
    }
}

impl Verifies for TrustedKey {
    fn key_id(&self) -> String {
        Self::key_id(self)
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Model(key) => key.verifies(message, signature),
            Self::Ed25519(key) => key.verifies(message, signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_loaded_from_its_file_and_signs_for_its_public_key() {
        let directory = tempfile::tempdir().unwrap();
        let (private, public) = (directory.path().join("k.pem"), directory.path().join("k.pub.pem"));
        let ed25519 = || {
            let pair = KeyPair::generate().unwrap();
            pair.save(&private).unwrap();
            pair.public().save(&public).unwrap();
        };
        let model = |key_type| {
            let key = SigningKey::generate(key_type).unwrap();
            key.save(&private, None).unwrap();
            key.public().save(&public).unwrap();
        };
        for kind in [None, Some(KeyType::EcdsaP256), Some(KeyType::EcdsaP521), Some(KeyType::MlDsa65)] {
            kind.map_or_else(ed25519, model);
            let (key, trusted) = (AttestingKey::load(&private, None).unwrap(), TrustedKey::load(&public).unwrap());
            assert_eq!((key.public(), key.kind()), (trusted.clone(), trusted.kind()));
            assert!(trusted.key_id().starts_with(&format!("{}:", trusted.kind())), "{}", trusted.key_id());
            let signature = key.sign_message(b"message").unwrap();
            assert!(trusted.verifies(b"message", &signature) && !trusted.verifies(b"massage", &signature));
            let another = trusted.another().unwrap();
            assert_eq!(another.kind(), trusted.kind());
            assert!(!another.public().verifies(b"message", &signature));
            assert!(matches!(AttestingKey::load(&public, None), Err(Error::Exposed { .. } | Error::Malformed { .. })));
            assert!(matches!(TrustedKey::load(&private), Err(Error::Malformed { .. })));
            std::fs::remove_file(&private).unwrap();
            std::fs::remove_file(&public).unwrap();
        }
    }
}
