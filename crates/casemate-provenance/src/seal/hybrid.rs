//! X25519 and ML-KEM-768 together: whoever records a sealed file today has to break both to open it later.
//!
//! Both shared secrets go into HKDF-SHA256 with both ciphertexts and both public keys, as X-Wing combines them
//! (draft-connolly-cfrg-xwing-kem, which hashes with SHA3 and leaves out the ML-KEM ciphertext, that its proof does not need);
//! what comes out wraps the data key with AES-256-GCM. It is not X-Wing and does not claim to be. Sources: FIPS 203 (ML-KEM),
//! RFC 7748 (X25519), both by aws-lc-rs.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::hkdf;
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use casemate_core::Secret;

use super::header::Reader;
use super::local::{aad, malformed, no_randomness, refused, short_hash, unwrap_under, wrap_under};
use super::wrap::{KeyWrapper, Recipient, WrapError, WrapKind};
use super::{Error, random_key};

/// Bytes of an X25519 key, public or private.
const X25519_BYTES: usize = 32;
/// FIPS 203, table 3.
const ENCAPSULATION_BYTES: usize = 1184;
const DECAPSULATION_BYTES: usize = 2400;
const CIPHERTEXT_BYTES: usize = 1088;
/// Where the encapsulation key stands in the decapsulation key (FIPS 203, algorithm 16): behind 12·k·32 bytes.
const ENCAPSULATION_AT: usize = 1152;

/// The public half.
#[derive(Clone, PartialEq, Eq)]
pub struct HybridRecipient {
    x25519: [u8; X25519_BYTES],
    mlkem: Vec<u8>,
}

/// Both halves.
pub struct HybridKey {
    x25519: Secret<[u8; X25519_BYTES]>,
    mlkem: Secret<Vec<u8>>,
    public: HybridRecipient,
}

impl HybridRecipient {
    /// The key in `bytes`: X25519, then ML-KEM-768.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let x25519 = reader.array()?;
        let mlkem = reader.take(ENCAPSULATION_BYTES)?.to_vec();
        EncapsulationKey::new(&ML_KEM_768, &mlkem).ok()?;
        reader.0.is_empty().then_some(Self { x25519, mlkem })
    }

    /// Its bytes, as [`HybridRecipient::from_bytes`] reads them.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.x25519.as_slice(), &self.mlkem].concat()
    }

    fn encapsulate(&self, context: &[u8]) -> Option<(Vec<u8>, Secret<[u8; 32]>)> {
        let (ciphertext, mlkem) = EncapsulationKey::new(&ML_KEM_768, &self.mlkem).ok()?.encapsulate().ok()?;
        let ephemeral = random_key().ok()?;
        let ephemeral = PrivateKey::from_private_key(&X25519, ephemeral.expose()).ok()?;
        let share: [u8; X25519_BYTES] = ephemeral.compute_public_key().ok()?.as_ref().try_into().ok()?;
        let sent = [share.as_slice(), ciphertext.as_ref()].concat();
        let theirs = UnparsedPublicKey::new(&X25519, &self.x25519);
        let kek =
            agree(&ephemeral, theirs, (), |x25519| self.combine(mlkem.as_ref(), x25519, &sent, context).ok_or(()));
        Some((sent, kek.ok()?))
    }

    /// The key-encryption key of both secrets, what was sent, and this public key.
    fn combine(&self, mlkem: &[u8], x25519: &[u8], sent: &[u8], context: &[u8]) -> Option<Secret<[u8; 32]>> {
        let secret = Secret::new([mlkem, x25519].concat());
        let public = self.to_bytes();
        let info = [b"casemate mlkem768x25519\0".as_slice(), sent, &public, context];
        let mut key = [0; 32];
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"casemate hybrid v1").extract(secret.expose());
        // One piece: HKDF has no boundaries inside the information, and every part but the last has a fixed length.
        let info = info.concat();
        prk.expand(&[&info], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
        Some(Secret::new(key))
    }
}

impl HybridKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        let mlkem = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| Error::Random)?;
        let mlkem = Secret::new(mlkem.key_bytes().map_err(|_| Error::Random)?.as_ref().to_vec());
        Self::of(random_key()?, mlkem).ok_or(Error::Random)
    }

    /// The key in `bytes`: X25519, then ML-KEM-768, whose public half stands inside.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (x25519, mlkem) = bytes.split_first_chunk()?;
        (mlkem.len() == DECAPSULATION_BYTES).then_some(())?;
        Self::of(Secret::new(*x25519), Secret::new(mlkem.to_vec()))
    }

    /// Its bytes, as [`HybridKey::from_bytes`] reads them.
    pub fn to_bytes(&self) -> Secret<Vec<u8>> {
        Secret::new([self.x25519.expose().as_slice(), self.mlkem.expose()].concat())
    }

    /// The public half.
    pub fn recipient(&self) -> &HybridRecipient {
        &self.public
    }

    fn of(x25519: Secret<[u8; X25519_BYTES]>, mlkem: Secret<Vec<u8>>) -> Option<Self> {
        let key = PrivateKey::from_private_key(&X25519, x25519.expose()).ok()?;
        let public = key.compute_public_key().ok()?;
        let encapsulation = mlkem.expose().get(ENCAPSULATION_AT..ENCAPSULATION_AT + ENCAPSULATION_BYTES)?;
        let public = HybridRecipient::from_bytes(&[public.as_ref(), encapsulation].concat())?;
        Some(Self { x25519, mlkem, public })
    }

    fn decapsulate(&self, sent: &[u8], context: &[u8]) -> Option<Secret<[u8; 32]>> {
        let (share, ciphertext) = sent.split_first_chunk::<X25519_BYTES>()?;
        let mlkem = DecapsulationKey::new(&ML_KEM_768, self.mlkem.expose()).ok()?;
        let mlkem = mlkem.decapsulate(Ciphertext::from(ciphertext)).ok()?;
        let x25519 = PrivateKey::from_private_key(&X25519, self.x25519.expose()).ok()?;
        let theirs = UnparsedPublicKey::new(&X25519, share);
        agree(&x25519, theirs, (), |secret| self.public.combine(mlkem.as_ref(), secret, sent, context).ok_or(())).ok()
    }
}

impl Recipient for HybridRecipient {
    fn kind(&self) -> WrapKind {
        WrapKind::Mlkem768X25519
    }

    fn kek_id(&self) -> String {
        format!("mlkem768x25519:{}", short_hash(&[&self.to_bytes()]))
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        let wrapped = self.encapsulate(context).and_then(|(sent, kek)| {
            let wrapped = wrap_under(&kek, key, &aad(WrapKind::Mlkem768X25519, context))?;
            Some([sent, wrapped].concat())
        });
        wrapped.ok_or_else(|| no_randomness(&Recipient::kek_id(self)))
    }
}

impl KeyWrapper for HybridKey {
    fn kind(&self) -> WrapKind {
        WrapKind::Mlkem768X25519
    }

    fn kek_id(&self) -> String {
        Recipient::kek_id(&self.public)
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        self.public.wrap(key, context)
    }

    fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, WrapError> {
        let kek_id = KeyWrapper::kek_id(self);
        let split = blob.split_at_checked(X25519_BYTES + CIPHERTEXT_BYTES);
        let (sent, wrapped) = split.ok_or_else(|| malformed(&kek_id, "not what this kind of key wraps"))?;
        let kek = self.decapsulate(sent, context);
        kek.and_then(|kek| unwrap_under(&kek, wrapped, &aad(WrapKind::Mlkem768X25519, context)))
            .ok_or_else(|| refused(&kek_id, "another key, or a changed file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_what_was_wrapped_for_it_alone_and_in_its_context() {
        let (key, other) = (HybridKey::generate().unwrap(), HybridKey::generate().unwrap());
        let data = random_key().unwrap();
        let blob = key.recipient().wrap(&data, &[1; 32]).unwrap();
        assert_eq!(key.unwrap(&blob, &[1; 32]).unwrap().expose(), data.expose());
        assert!(matches!(other.unwrap(&blob, &[1; 32]), Err(WrapError::Refused { .. })));
        assert!(matches!(key.unwrap(&blob, &[2; 32]), Err(WrapError::Refused { .. })));
        for at in 0..blob.len() {
            let mut flipped = blob.clone();
            flipped[at] ^= 1;
            assert!(key.unwrap(&flipped, &[1; 32]).is_err(), "byte {at}");
        }
        for cut in [0, 31, 32, 1119, 1120, blob.len() - 1] {
            assert!(key.unwrap(&blob[..cut], &[1; 32]).is_err(), "cut at {cut}");
        }
    }

    /// Either half alone must not open: with one half right and the other of another key, nothing opens.
    #[test]
    fn one_half_of_the_key_is_not_enough() {
        let (key, other) = (HybridKey::generate().unwrap(), HybridKey::generate().unwrap());
        let blob = key.recipient().wrap(&random_key().unwrap(), &[1; 32]).unwrap();
        let mixed = |x25519: &HybridKey, mlkem: &HybridKey| {
            let bytes = [x25519.x25519.expose().as_slice(), mlkem.mlkem.expose()].concat();
            HybridKey::from_bytes(&bytes).unwrap()
        };
        assert!(mixed(&key, &key).unwrap(&blob, &[1; 32]).is_ok());
        assert!(mixed(&key, &other).unwrap(&blob, &[1; 32]).is_err());
        assert!(mixed(&other, &key).unwrap(&blob, &[1; 32]).is_err());
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_no_other_length_is() {
        let key = HybridKey::generate().unwrap();
        let bytes = key.to_bytes();
        let again = HybridKey::from_bytes(bytes.expose()).unwrap();
        assert_eq!(KeyWrapper::kek_id(&again), KeyWrapper::kek_id(&key));
        assert!(HybridKey::from_bytes(&bytes.expose()[1..]).is_none());
        let public = key.recipient().to_bytes();
        assert!(HybridRecipient::from_bytes(&public).unwrap() == *key.recipient());
        assert!(HybridRecipient::from_bytes(&public[..public.len() - 1]).is_none());
    }
}
