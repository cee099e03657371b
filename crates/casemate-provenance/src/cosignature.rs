//! Cosignatures: what a witness says of a tree head it found consistent with all it saw before.
//!
//! Answers an owner who shows one ledger to one reader and another to the next. Source: c2sp.org/tlog-cosignature, both kinds:
//! Ed25519 (type 0x04), and ML-DSA-44 (type 0x06), which quantum computers are not known to break and which binds the witness's
//! name. Lines of keys that are not known say nothing; a line of a known key that does not verify rejects the whole note, as
//! c2sp.org/signed-note demands.

use std::path::Path;

use casemate_core::Timestamp;

use crate::keys::{self, KeyPair, PublicKey, ml_dsa_44};
use crate::note::{self, Checkpoint, Error, Note, Signature, is_name};

const ED25519: u8 = 0x04;
const ML_DSA_44: u8 = 0x06;

/// What ML-DSA-44 cosignatures sign begins so.
const LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// The public key of a witness under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    /// Its name; an address without scheme by custom.
    pub name: String,
    public: Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Ed25519(PublicKey),
    MlDsa44(Vec<u8>),
}

/// A witness's private key.
#[derive(Debug)]
pub struct WitnessPair {
    name: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ed25519(KeyPair),
    MlDsa44(ml_dsa_44::MlDsa44Pair),
}

/// A cosignature that verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Name of the witness.
    pub name: String,
    /// When, as the witness says.
    pub time: Timestamp,
    /// Whether quantum computers are not known to forge it.
    pub is_post_quantum: bool,
}

impl WitnessKey {
    /// Reads the key in its one-line form, `NAME+ID+KEY`.
    ///
    /// # Errors
    /// [`Error::Vkey`], also when it is the key of a ledger.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, key_type, key) = note::parse_vkey(text)?;
        let public = match key_type {
            ED25519 => key.try_into().ok().map(|key| Public::Ed25519(PublicKey(key))),
            ML_DSA_44 if key.len() == ml_dsa_44::PUBLIC_BYTES => Some(Public::MlDsa44(key)),
            _ => None,
        };
        match public.filter(|_| name.len() <= 255) {
            Some(public) => Ok(Self { name, public }),
            None => Err(Error::Vkey { text: text.trim().chars().take(60).collect() }),
        }
    }

    /// The key in its one-line form.
    pub fn to_vkey(&self) -> String {
        note::to_vkey(&self.name, self.key_type(), self.raw())
    }

    /// Kind and hexadecimal SHA-256 of the key.
    pub fn key_id(&self) -> String {
        match &self.public {
            Public::Ed25519(key) => format!("ed25519:{}", key.key_id()),
            Public::MlDsa44(key) => ml_dsa_44::key_id(key),
        }
    }

    /// Whether quantum computers are not known to forge its cosignatures.
    pub fn is_post_quantum(&self) -> bool {
        matches!(self.public, Public::MlDsa44(_))
    }

    /// The id on its signature lines.
    pub fn line_id(&self) -> [u8; 4] {
        note::key_id(&self.name, self.key_type(), self.raw())
    }

    fn key_type(&self) -> u8 {
        if self.is_post_quantum() { ML_DSA_44 } else { ED25519 }
    }

    fn raw(&self) -> &[u8] {
        match &self.public {
            Public::Ed25519(key) => &key.0,
            Public::MlDsa44(key) => key,
        }
    }

    /// The time of a cosignature of `text` by this key; `None` when it is not one.
    fn time_of(&self, text: &str, head: &Checkpoint, bytes: &[u8]) -> Option<u64> {
        let (time, signature) = bytes.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        let verifies = match &self.public {
            Public::Ed25519(key) => key.verifies(&text_message(text, time), signature),
            Public::MlDsa44(key) => ml_dsa_44::verifies(key, &head_message(&self.name, head, time)?, signature),
        };
        (verifies && i64::try_from(time).is_ok()).then_some(time)
    }
}

impl WitnessPair {
    /// Reads the private key at `path`, Ed25519 or ML-DSA-44, for the witness `name`.
    ///
    /// # Errors
    /// [`keys::Error`]; [`keys::Error::Malformed`] also when no witness can have the name.
    pub fn load(path: &Path, name: &str) -> Result<Self, keys::Error> {
        if !is_name(name) || name.len() > 255 {
            let expected = "for a witness of that name: 1 to 255 bytes without spaces and `+`";
            return Err(keys::Error::Malformed { path: path.into(), expected });
        }
        let malformed =
            |_| keys::Error::Malformed { path: path.into(), expected: "an Ed25519 or ML-DSA-44 private key in PEM" };
        let pair = match KeyPair::load(path) {
            Ok(pair) => Pair::Ed25519(pair),
            Err(keys::Error::Malformed { .. }) => Pair::MlDsa44(ml_dsa_44::MlDsa44Pair::load(path).map_err(malformed)?),
            Err(error) => return Err(error),
        };
        Ok(Self { name: name.into(), pair })
    }

    /// Its public key.
    pub fn public(&self) -> WitnessKey {
        let public = match &self.pair {
            Pair::Ed25519(pair) => Public::Ed25519(pair.public()),
            Pair::MlDsa44(pair) => Public::MlDsa44(pair.public().to_vec()),
        };
        WitnessKey { name: self.name.clone(), public }
    }

    /// The signature line that says: at `now`, this was the largest head of its ledger seen, and consistent with all before.
    ///
    /// # Errors
    /// [`keys::Error::Generate`] without randomness, or when origin or time fit no cosignature.
    pub fn cosign(&self, note: &Note, head: &Checkpoint, now: Timestamp) -> Result<Signature, keys::Error> {
        let time = u64::try_from(now.unix_ms() / 1000).map_err(|_| keys::Error::Generate)?;
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(&text_message(&note.text, time)),
            Pair::MlDsa44(pair) => pair.sign(&head_message(&self.name, head, time).ok_or(keys::Error::Generate)?)?,
        };
        let bytes = [time.to_be_bytes().as_slice(), &signature].concat();
        Ok(Signature { name: self.name.clone(), key_id: self.public().line_id(), bytes })
    }
}

/// The cosignatures of `known` witnesses on `note`, which carries `head`. Those of time 0 claim nothing and are left out.
///
/// # Errors
/// [`Error::BadSignature`] when one of a known key does not verify.
pub fn check(note: &Note, head: &Checkpoint, known: &[WitnessKey]) -> Result<Vec<Cosigned>, Error> {
    let mut cosigned: Vec<Cosigned> = Vec::new();
    for line in &note.signatures {
        let Some(key) = known.iter().find(|key| key.name == line.name && key.line_id() == line.key_id) else {
            continue;
        };
        let bad = || Error::BadSignature { name: key.name.clone() };
        let time = key.time_of(&note.text, head, &line.bytes).ok_or_else(bad)?;
        let ms = i64::try_from(time).ok().and_then(|time| time.checked_mul(1000)).ok_or_else(bad)?;
        let is_new =
            !cosigned.iter().any(|other| other.name == key.name && other.is_post_quantum == key.is_post_quantum());
        if time > 0 && is_new {
            let is_post_quantum = key.is_post_quantum();
            cosigned.push(Cosigned { name: key.name.clone(), time: Timestamp::from_unix_ms(ms), is_post_quantum });
        }
    }
    Ok(cosigned)
}

fn text_message(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// TLS presentation language: names behind a length of one byte, numbers big-endian.
fn head_message(name: &str, head: &Checkpoint, time: u64) -> Option<Vec<u8>> {
    let mut message = LABEL.to_vec();
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length > 0);
    message.push(short(name)?);
    message.extend(name.as_bytes());
    message.extend(time.to_be_bytes());
    message.push(short(&head.origin)?);
    message.extend(head.origin.as_bytes());
    message.extend(0u64.to_be_bytes());
    message.extend(head.size.to_be_bytes());
    message.extend(head.root.0);
    Some(message)
}

#[cfg(test)]
mod tests;
