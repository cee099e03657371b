//! Private keys under a password: `ENCRYPTED PRIVATE KEY`, PKCS#5 scheme 2 with PBKDF2 and AES-CBC.
//!
//! Sources: RFC 5958 (EncryptedPrivateKeyInfo), RFC 8018 (PBES2, PBKDF2), RFC 3565 (AES in CBC). It is what `openssl genpkey
//! -aes256` and Python's `cryptography` write. Cipher and derivation are aws-lc's; scrypt and older ciphers are refused.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use casemate_core::Secret;

use super::der::{INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, element};

/// PEM label.
pub(super) const LABEL: &str = "ENCRYPTED PRIVATE KEY";

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const HMAC_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0b];
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

/// Rounds of a file written here (OWASP password storage cheat sheet, 2023, for HMAC-SHA-256).
const ROUNDS: u32 = 600_000;

/// Rounds above which a file is refused: it would keep the machine busy for a minute.
const ROUNDS_MAX: u32 = 20_000_000;

/// The PKCS#8 form inside `der`; `None` when it is another scheme, malformed, or the password is another one.
pub(super) fn open(der: &[u8], password: &Secret<Vec<u8>>) -> Option<Secret<Vec<u8>>> {
    let mut outer = Reader(der).inside(SEQUENCE)?;
    let mut scheme = outer.inside(SEQUENCE)?;
    let encrypted = outer.value(OCTET_STRING)?;
    if scheme.value(OBJECT_IDENTIFIER)? != PBES2 {
        return None;
    }
    let mut parameters = scheme.inside(SEQUENCE)?;
    let (mut derivation, mut cipher) = (parameters.inside(SEQUENCE)?, parameters.inside(SEQUENCE)?);
    let key_bytes = match cipher.value(OBJECT_IDENTIFIER)? {
        AES_128_CBC => 16,
        AES_256_CBC => 32,
        _ => return None,
    };
    let iv: [u8; 16] = cipher.value(OCTET_STRING)?.try_into().ok()?;
    let key = derive(&mut derivation, key_bytes, password)?;
    let algorithm = if key_bytes == 16 { &AES_128 } else { &AES_256 };
    let key = UnboundCipherKey::new(algorithm, key.expose()).ok()?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    let mut buffer = encrypted.to_vec();
    let opened_bytes = key.decrypt(&mut buffer, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?.len();
    buffer.truncate(opened_bytes);
    Some(Secret::new(buffer))
}

fn derive(derivation: &mut Reader<'_>, key_bytes: usize, password: &Secret<Vec<u8>>) -> Option<Secret<Vec<u8>>> {
    if derivation.value(OBJECT_IDENTIFIER)? != PBKDF2 {
        return None;
    }
    let mut parameters = derivation.inside(SEQUENCE)?;
    let salt = parameters.value(OCTET_STRING)?;
    let rounds = NonZeroU32::new(parameters.number()?).filter(|rounds| rounds.get() <= ROUNDS_MAX)?;
    if parameters.0.first() == Some(&INTEGER) && usize::try_from(parameters.number()?).ok()? != key_bytes {
        return None;
    }
    let algorithm = match parameters.inside(SEQUENCE) {
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(mut prf) => match prf.value(OBJECT_IDENTIFIER)? {
            HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
            HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
            HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return None,
        },
    };
    Some(stretch(algorithm, rounds, salt, password, key_bytes))
}

fn stretch(
    algorithm: pbkdf2::Algorithm,
    rounds: NonZeroU32,
    salt: &[u8],
    password: &Secret<Vec<u8>>,
    key_bytes: usize,
) -> Secret<Vec<u8>> {
    let mut key = vec![0; key_bytes];
    pbkdf2::derive(algorithm, rounds, salt, password.expose(), &mut key);
    Secret::new(key)
}

/// `pkcs8` under a password; `None` when the system gives no randomness.
pub(super) fn seal(pkcs8: &[u8], password: &Secret<Vec<u8>>) -> Option<Vec<u8>> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    aws_lc_rs::rand::fill(&mut iv).ok()?;
    let key = stretch(pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::new(ROUNDS)?, &salt, password, 32);
    let key = UnboundCipherKey::new(&AES_256, key.expose()).ok()?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).ok()?;
    let mut buffer = pkcs8.to_vec();
    key.less_safe_encrypt(&mut buffer, EncryptionContext::Iv128(FixedLength::from(iv))).ok()?;
    let oid = |bytes: &[u8]| element(OBJECT_IDENTIFIER, bytes);
    let prf = element(SEQUENCE, &[oid(HMAC_SHA256), vec![0x05, 0x00]].concat());
    // Three bytes, the first below 0x80: the shortest form, which DER demands.
    let rounds = element(INTEGER, &ROUNDS.to_be_bytes()[1..]);
    let derivation = element(SEQUENCE, &[element(OCTET_STRING, &salt), rounds, prf].concat());
    let derivation = element(SEQUENCE, &[oid(PBKDF2), derivation].concat());
    let cipher = element(SEQUENCE, &[oid(AES_256_CBC), element(OCTET_STRING, &iv)].concat());
    let scheme = element(SEQUENCE, &[oid(PBES2), element(SEQUENCE, &[derivation, cipher].concat())].concat());
    Some(element(SEQUENCE, &[scheme, element(OCTET_STRING, &buffer)].concat()))
}
