//! Signed notes, and the tree head of a ledger as one.
//!
//! Sources: c2sp.org/signed-note and c2sp.org/tlog-checkpoint (v1.0.0). Signature type 0x01, Ed25519, alone; cosignatures of
//! witnesses are lines of keys unknown here, and read by [`crate::cosignature`]. Whether a head agrees with stored entries is
//! for [`crate::ledger`] to say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casemate_core::Digest;

use crate::hash;
use crate::keys::{KeyPair, PublicKey};

/// Bytes a note may have: room for the largest post-quantum signatures on all lines.
pub const BYTES_MAX: usize = 512 << 10;
/// Signature lines a note may have.
pub const SIGNATURES_MAX: usize = 64;

/// Signature type identifier of Ed25519 over the text.
const ED25519: u8 = 0x01;

/// A text and its signatures, none of them checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Ends with a newline.
    pub text: String,
    /// In the order of their lines.
    pub signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// First four bytes of a hash over name, type and key.
    pub key_id: [u8; 4],
    /// The signature proper.
    pub bytes: Vec<u8>,
}

/// A key whose signatures on notes are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    /// Its name; for a ledger the origin.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// A tree head: so many entries, with this hash over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log, unique for ever.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// RFC 6962 tree head.
    pub root: Digest,
    /// Further lines, opaque.
    pub extensions: Vec<String>,
}

/// Why bytes are not a note to be believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Longer than [`BYTES_MAX`].
    #[error("note of {size_bytes} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Its length.
        size_bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not of the form of a note.
    #[error("note is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A known key did not make the signature that bears its name and id.
    #[error("the signature of `{name}` does not match the text")]
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// No signature of a known key.
    #[error("note carries no signature of a known key")]
    NoKnownSignature,
    /// The text is no tree head.
    #[error("checkpoint is malformed: {what}")]
    NotACheckpoint {
        /// What is wrong.
        what: &'static str,
    },
    /// A head of another log.
    #[error("checkpoint is of `{found}`, not of `{expected}`")]
    Origin {
        /// What it says.
        found: String,
        /// Whose head was expected.
        expected: String,
    },
    /// No key in the one-line form, or of another kind than is wanted here.
    #[error("`{text}` is no such key in the form NAME+ID+KEY; `casemate ledger key` prints it")]
    Vkey {
        /// Its beginning.
        text: String,
    },
    /// A name that no signature line could carry.
    #[error("`{name}` cannot name a key: no spaces, no `+`, no control characters, not empty")]
    Name {
        /// The name.
        name: String,
    },
}

/// Reads a note of at most [`BYTES_MAX`] bytes and [`SIGNATURES_MAX`] signature lines.
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::Malformed`].
pub fn parse(bytes: &[u8]) -> Result<Note, Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::TooLarge { size_bytes: bytes.len(), max: BYTES_MAX });
    }
    let malformed = |what| Error::Malformed { what };
    let note = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
    if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(malformed("control character"));
    }
    // The text may hold empty lines; the last one separates it from the signatures.
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(malformed("no signatures"))?;
    let signatures = signatures.strip_suffix('\n').ok_or(malformed("last line has no newline"))?;
    if signatures.split('\n').count() > SIGNATURES_MAX {
        return Err(malformed("too many signatures"));
    }
    let line = |line| parse_signature(line).ok_or(malformed("signature line"));
    let signatures = signatures.split('\n').map(line).collect::<Result<_, _>>()?;
    Ok(Note { text: format!("{text}\n"), signatures })
}

fn parse_signature(line: &str) -> Option<Signature> {
    let (name, text) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(text).ok()?;
    let (key_id, bytes) = bytes.split_first_chunk::<4>()?;
    (is_name(name) && !bytes.is_empty()).then(|| Signature {
        name: name.into(),
        key_id: *key_id,
        bytes: bytes.to_vec(),
    })
}

/// Signature lines alone, as a witness hands them back; at least one and at most [`SIGNATURES_MAX`].
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::Malformed`].
pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Signature>, Error> {
    // A note whose text is one line, so that there is one reader of lines.
    parse(&[b"-\n\n", bytes].concat()).map(|note| note.signatures)
}

/// The id of a key on signature lines: SHA-256 of name, newline, type and key, first four bytes.
pub(crate) fn key_id(name: &str, key_type: u8, key: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = hash::sha256(&[name.as_bytes(), b"\n", &[key_type], key].concat()).0;
    [a, b, c, d]
}

/// A key in one line of text, c2sp.org/signed-note's `vkey`: name, id, and type with key in base64.
pub(crate) fn to_vkey(name: &str, key_type: u8, key: &[u8]) -> String {
    let id: String = key_id(name, key_type, key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}+{id}+{}", STANDARD.encode([&[key_type], key].concat()))
}

/// Name, type and key of a `vkey`; the id has to be theirs.
///
/// # Errors
/// [`Error::Vkey`].
pub(crate) fn parse_vkey(text: &str) -> Result<(String, u8, Vec<u8>), Error> {
    let read = || {
        let (name, rest) = text.trim().split_once('+')?;
        let (_, encoded) = rest.split_once('+')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (key_type, key) = decoded.split_first()?;
        (is_name(name) && to_vkey(name, *key_type, key) == text.trim())
            .then(|| (name.to_owned(), *key_type, key.to_vec()))
    };
    read().ok_or_else(|| Error::Vkey { text: text.trim().chars().take(60).collect() })
}

pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

impl NoteKey {
    /// The key `key` under the name `name`.
    ///
    /// # Errors
    /// [`Error::Name`] when no signature line could carry the name.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, Error> {
        match is_name(name) {
            true => Ok(Self { name: name.into(), key }),
            false => Err(Error::Name { name: name.into() }),
        }
    }

    /// The id on signature lines: SHA-256 of name, newline, type and key, first four bytes.
    pub fn key_id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519, &self.key.0)
    }

    /// Name and key in one line of text.
    pub fn to_vkey(&self) -> String {
        to_vkey(&self.name, ED25519, &self.key.0)
    }

    /// Reads what [`NoteKey::to_vkey`] writes.
    ///
    /// # Errors
    /// [`Error::Vkey`], also when it is the key of a witness.
    pub fn parse_vkey(text: &str) -> Result<Self, Error> {
        let (name, key_type, key) = parse_vkey(text)?;
        let key = key.try_into().ok().filter(|_| key_type == ED25519);
        let key = key.ok_or_else(|| Error::Vkey { text: text.trim().chars().take(60).collect() })?;
        Ok(Self { name, key: PublicKey(key) })
    }
}

impl Note {
    /// The note of `text`, which ends with a newline, signed by `key` under `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the text could not be read back, [`Error::Name`].
    pub fn sign(text: &str, name: &str, key: &KeyPair) -> Result<Self, Error> {
        let signer = NoteKey::new(name, key.public())?;
        let bytes = key.sign(text.as_bytes());
        let signatures = vec![Signature { name: name.into(), key_id: signer.key_id(), bytes }];
        let note = Self { text: text.into(), signatures };
        match parse(&note.to_bytes()) {
            Ok(parsed) if parsed == note => Ok(note),
            Ok(_) => Err(Error::Malformed { what: "text does not end with a newline" }),
            Err(error) => Err(error),
        }
    }

    /// The note as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            let encoded = STANDARD.encode([signature.key_id.as_slice(), &signature.bytes].concat());
            note.push_str(&format!("— {} {encoded}\n", signature.name));
        }
        note.into_bytes()
    }

    /// Checks the signatures of `known` keys; others are ignored.
    ///
    /// # Errors
    /// [`Error::BadSignature`] when any known key's signature is bad, [`Error::NoKnownSignature`] when none is there.
    pub fn verify(&self, known: &[NoteKey]) -> Result<(), Error> {
        let mut good = 0;
        for signature in &self.signatures {
            let key = known.iter().find(|key| key.name == signature.name && key.key_id() == signature.key_id);
            match key {
                Some(key) if key.key.verifies(self.text.as_bytes(), &signature.bytes) => good += 1,
                Some(key) => return Err(Error::BadSignature { name: key.name.clone() }),
                None => {}
            }
        }
        if good == 0 { Err(Error::NoKnownSignature) } else { Ok(()) }
    }
}

impl Checkpoint {
    /// The text of the note that carries this head.
    pub fn to_text(&self) -> String {
        let head = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0));
        self.extensions.iter().fold(head, |text, line| text + line + "\n")
    }

    /// Reads a head from the text of a note.
    ///
    /// # Errors
    /// [`Error::NotACheckpoint`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let malformed = |what| Error::NotACheckpoint { what };
        let mut lines = text.strip_suffix('\n').ok_or(malformed("last line has no newline"))?.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty()).ok_or(malformed("no origin"))?;
        let size = lines.next().and_then(parse_decimal).ok_or(malformed("size is not a decimal number"))?;
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok()).and_then(|bytes| bytes.try_into().ok());
        let root = Digest(root.ok_or(malformed("root is not 32 bytes of base64"))?);
        let extensions: Vec<String> = lines.map(String::from).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(malformed("empty line"));
        }
        Ok(Self { origin: origin.into(), size, root, extensions })
    }

    /// Reads the head in the signed note `bytes` and believes it when `key` signed it for its own name.
    ///
    /// # Errors
    /// [`Error`]: malformed, not signed by `key`, or a head of another log than `key.name`.
    pub fn open(bytes: &[u8], key: &NoteKey) -> Result<Self, Error> {
        let note = parse(bytes)?;
        note.verify(std::slice::from_ref(key))?;
        let checkpoint = Self::parse(&note.text)?;
        match checkpoint.origin == key.name {
            true => Ok(checkpoint),
            false => Err(Error::Origin { found: checkpoint.origin, expected: key.name.clone() }),
        }
    }
}

/// A decimal number without sign or leading zeros.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
