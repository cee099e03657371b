//! What signs a model: a key in a file, or one that lies elsewhere and never leaves it.
//!
//! A key service signs on request and may be wrong, replaced or in other hands, so nothing it answers is taken for a signature
//! until the public key says so; [`crate::oms`] asks it before anything is written.

use std::fmt;

use super::Error;
use super::signing::{SigningKey, VerifyingKey};

/// Signs models, wherever its private key lies.
pub trait ModelSigner: fmt::Debug {
    /// The public key.
    fn public(&self) -> &VerifyingKey;

    /// The signature of `message`: DER for ECDSA, 3,309 bytes for ML-DSA-65. It is not checked yet.
    ///
    /// # Errors
    /// [`Error::Generate`] without randomness, [`Error::Elsewhere`] when a key service does not sign.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

impl ModelSigner for SigningKey {
    fn public(&self) -> &VerifyingKey {
        Self::public(self)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Self::sign(self, message)
    }
}
