//! What a sealed file says of its plaintext, encrypted: size, digest, name.
//!
//! In the clear a digest or name would tell which public model is inside. The place is filled up with zeros before it is
//! encrypted, so its length tells nothing either.

use casemate_core::Digest;

use super::header::{FIXED_BYTES, Reader};

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 2048;

/// Bytes of the encrypted place, tag included.
/// It fills the head's first page behind the fixed part.
pub(super) const PLACE_BYTES: usize = 4096 - FIXED_BYTES;
const PLAIN_BYTES: usize = PLACE_BYTES - 16;

/// What is known of the plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256, where it was computed when the file was sealed.
    pub sha256: Option<Digest>,
    /// Its name in what was sealed: `/` between components.
    pub name: String,
}

impl Metadata {
    pub(super) fn encode(&self) -> Vec<u8> {
        let name: &[u8] = self.name.as_bytes().get(..NAME_BYTES_MAX).unwrap_or(self.name.as_bytes());
        let length = u16::try_from(name.len()).unwrap_or_default();
        let mut bytes = self.size_bytes.to_be_bytes().to_vec();
        bytes.push(u8::from(self.sha256.is_some()));
        bytes.extend(self.sha256.map_or([0; 32], |digest| digest.0));
        bytes.extend(length.to_be_bytes());
        bytes.extend(name);
        bytes.resize(PLAIN_BYTES, 0);
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let size_bytes = u64::from_be_bytes(reader.array()?);
        let [has_digest] = reader.array()?;
        let digest = Digest(reader.array()?);
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        let name = std::str::from_utf8(reader.take(length)?).ok()?.to_owned();
        Some(Self { size_bytes, sha256: (has_digest == 1).then_some(digest), name })
    }
}
