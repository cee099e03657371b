//! Key-encryption keys: what wraps the data key of a sealed file, and what gets it back.
//!
//! A sealed file holds its data key several times, each time wrapped under another key. Where that key lies (a file, a head, a
//! key service) is the business of whoever implements [`KeyWrapper`]; who can only wrap, as the holder of a public key, is a
//! [`Recipient`]. The container ([`crate::seal`]) knows nothing else of them.

use std::fmt;

use casemate_core::Secret;

/// Longest name of a key-encryption key, in bytes.
pub const KEK_ID_BYTES_MAX: usize = 1024;

/// Longest wrapped key, in bytes: what AWS KMS may answer (6,144) with room.
pub const BLOB_BYTES_MAX: usize = 8 << 10;

/// How a data key is wrapped. The number stands in sealed files and never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WrapKind {
    /// AES-256-GCM under a key in a file.
    Local = 1,
    /// AES-256-GCM under a key that Argon2id makes of a passphrase.
    Passphrase = 2,
    /// An age v1 file for an X25519 recipient.
    Age = 3,
    /// HashiCorp Vault's transit engine.
    VaultTransit = 4,
    /// AWS Key Management Service.
    AwsKms = 5,
    /// X25519 and ML-KEM-768 together.
    Mlkem768X25519 = 6,
}

impl WrapKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Local, Self::Passphrase, Self::Age, Self::VaultTransit, Self::AwsKms, Self::Mlkem768X25519];

    /// The kind's number in a sealed file.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Passphrase => "passphrase",
            Self::Age => "age",
            Self::VaultTransit => "vault-transit",
            Self::AwsKms => "aws-kms",
            Self::Mlkem768X25519 => "mlkem768x25519",
        }
    }

    /// Whether asking costs a request to somebody else: such a key is asked only for blobs that name it.
    pub fn is_remote(self) -> bool {
        matches!(self, Self::VaultTransit | Self::AwsKms)
    }
}

impl fmt::Display for WrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a data key was not wrapped or not given back.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The key is another one, the blob or its context was changed, or the service says no.
    #[error("{kek_id}: refused: {reason}")]
    Refused {
        /// The key-encryption key that was asked.
        kek_id: String,
        /// Why, without anything secret.
        reason: String,
    },
    /// Nobody answered: it may open later.
    #[error("{kek_id}: not reachable: {reason}")]
    Unreachable {
        /// The key-encryption key that was asked.
        kek_id: String,
        /// What happened.
        reason: String,
    },
    /// The blob, or the answer of a service, has not the shape of its kind.
    #[error("{kek_id}: {reason}")]
    Malformed {
        /// The key-encryption key that was asked.
        kek_id: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A key that wraps data keys and gives them back.
///
/// `context` is the hash of the sealed file's fixed header: a blob moved to another file must be refused, so it belongs into
/// the associated data (AES-GCM), the encryption context (KMS), or whatever the kind has for it.
pub trait KeyWrapper: Send + Sync {
    /// How it wraps.
    fn kind(&self) -> WrapKind;

    /// Its name: stable, public, printable ASCII, at most [`KEK_ID_BYTES_MAX`] bytes. Begins with the kind and a colon.
    fn kek_id(&self) -> String;

    /// `key` wrapped, at most [`BLOB_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Those of [`WrapError`].
    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError>;

    /// The key in `blob`, which nobody vouches for.
    ///
    /// # Errors
    /// Those of [`WrapError`].
    fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, WrapError>;
}

/// What can wrap data keys and need not be able to give them back. Every [`KeyWrapper`] is one.
pub trait Recipient: Send + Sync {
    /// How it wraps.
    fn kind(&self) -> WrapKind;

    /// As [`KeyWrapper::kek_id`].
    fn kek_id(&self) -> String;

    /// As [`KeyWrapper::wrap`].
    ///
    /// # Errors
    /// Those of [`WrapError`].
    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError>;
}

impl<K: KeyWrapper + ?Sized> KeyWrapper for Box<K> {
    fn kind(&self) -> WrapKind {
        (**self).kind()
    }

    fn kek_id(&self) -> String {
        (**self).kek_id()
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        (**self).wrap(key, context)
    }

    fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, WrapError> {
        (**self).unwrap(blob, context)
    }
}

impl<K: KeyWrapper + ?Sized> Recipient for K {
    fn kind(&self) -> WrapKind {
        KeyWrapper::kind(self)
    }

    fn kek_id(&self) -> String {
        KeyWrapper::kek_id(self)
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        KeyWrapper::wrap(self, key, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_number_and_no_other_number_is_a_kind() {
        for number in 0..=u8::MAX {
            let found = WrapKind::from_number(number);
            assert_eq!(found.is_some(), (1..=6).contains(&number));
            assert!(found.is_none_or(|kind| kind.number() == number && kind.to_string() == kind.as_str()));
        }
    }
}
