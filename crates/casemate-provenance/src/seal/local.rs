//! A key-encryption key in a file: AES-256-GCM, and the small wrapping that other kinds share.
//!
//! Source: NIST SP 800-38D (GCM, by aws-lc-rs), with a random nonce: one key wraps far fewer than 2³² data keys.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use casemate_core::Secret;

use super::wrap::{KeyWrapper, WrapError, WrapKind};
use super::{Error, random_key};
use crate::hash::sha256;

/// A key of 32 random bytes.
pub struct LocalKey {
    key: Secret<[u8; 32]>,
    kek_id: String,
}

impl LocalKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        random_key().map(Self::of)
    }

    pub(super) fn of(key: Secret<[u8; 32]>) -> Self {
        // A hash of 256 random bits says nothing of them.
        let kek_id = format!("local:{}", short_hash(&[b"casemate kek id\0", key.expose()]));
        Self { key, kek_id }
    }

    pub(super) fn secret(&self) -> &Secret<[u8; 32]> {
        &self.key
    }
}

impl KeyWrapper for LocalKey {
    fn kind(&self) -> WrapKind {
        WrapKind::Local
    }

    fn kek_id(&self) -> String {
        self.kek_id.clone()
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        wrap_under(&self.key, key, &aad(WrapKind::Local, context)).ok_or_else(|| no_randomness(&self.kek_id))
    }

    fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, WrapError> {
        unwrap_under(&self.key, blob, &aad(WrapKind::Local, context))
            .ok_or_else(|| refused(&self.kek_id, "another key"))
    }
}

/// First 32 hexadecimal digits of the SHA-256 of `parts`.
pub(super) fn short_hash(parts: &[&[u8]]) -> String {
    sha256(&parts.concat()).to_string().chars().take(32).collect()
}

/// What a wrapped key is bound to: its kind and its file.
pub(super) fn aad(kind: WrapKind, context: &[u8]) -> Vec<u8> {
    [&b"casemate wrap "[..], kind.as_str().as_bytes(), b"\0", context].concat()
}

/// `key` under `kek`: nonce, ciphertext, tag.
pub(super) fn wrap_under(kek: &Secret<[u8; 32]>, key: &Secret<[u8; 32]>, aad: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut nonce).ok()?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek.expose()).ok()?);
    let mut bytes = key.expose().to_vec();
    cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut bytes).ok()?;
    Some([&nonce[..], &bytes].concat())
}

/// The key in `blob`, which [`wrap_under`] made.
pub(super) fn unwrap_under(kek: &Secret<[u8; 32]>, blob: &[u8], aad: &[u8]) -> Option<Secret<[u8; 32]>> {
    let (nonce, rest) = blob.split_first_chunk::<NONCE_LEN>()?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek.expose()).ok()?);
    let mut bytes = zeroize::Zeroizing::new(rest.to_vec());
    let plain = cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut bytes).ok()?;
    Some(Secret::new((&*plain).try_into().ok()?))
}

pub(super) fn refused(kek_id: &str, reason: &str) -> WrapError {
    WrapError::Refused { kek_id: kek_id.into(), reason: reason.into() }
}

pub(super) fn malformed(kek_id: &str, reason: &str) -> WrapError {
    WrapError::Malformed { kek_id: kek_id.into(), reason: reason.into() }
}

/// The one thing that fails when wrapping with keys at hand.
pub(super) fn no_randomness(kek_id: &str) -> WrapError {
    WrapError::Unreachable { kek_id: kek_id.into(), reason: "the cryptographic library failed".into() }
}
