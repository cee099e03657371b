//! Proofs that stand without the ledger: that a record is in it, and that it only ever grew.
//!
//! Source: c2sp.org/tlog-proof (`c2sp.org/tlog-proof@v1`); the entry travels as the proof's extra data and is believed only
//! because its hash leads to the signed head. Made from at most two tiles per level and one bundle.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casemate_core::Digest;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::tree::Tree;
use super::{Error, Ledger};
use crate::merkle;
use crate::note::{self, Checkpoint, NoteKey, parse_decimal};
use crate::tiles::WIDTH;

const TITLE: &str = "c2sp.org/tlog-proof@v1";
/// Hashes no proof needs more of.
const HASHES_MAX: usize = 65;

/// That a record is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Index of the record.
    pub index: u64,
    /// The entry.
    pub entry: Vec<u8>,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<Digest>,
    /// The signed head, a note.
    pub checkpoint: String,
}

/// That the ledger under `checkpoint` continues the one of `old_size` records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Records of the old ledger.
    pub old_size: u64,
    /// RFC 6962, section 2.1.2.
    pub hashes: Vec<Digest>,
    /// The new signed head, a note.
    pub checkpoint: String,
}

/// What an inclusion proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Id of the record.
    pub id: String,
    /// Its index.
    pub index: u64,
    /// The record; the envelope it names is not part of the proof.
    pub event: Event,
    /// The head it is under.
    pub checkpoint: Checkpoint,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofError {
    /// Not of the form of a proof.
    #[error("proof is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The head it leads to is not to be believed.
    #[error("proof's checkpoint: {0}")]
    Checkpoint(#[from] note::Error),
    /// The hashes do not lead to the signed head.
    #[error("the proof does not lead to the signed head")]
    Mismatch,
}

impl Ledger {
    /// The index of the first record with this `id`, by reading leaf hashes from the start.
    ///
    /// # Errors
    /// [`Error::UnknownRecord`]; those of [`Ledger::checkpoint`]; [`Error::Damaged`].
    pub fn index_of(&self, id: &str) -> Result<u64, Error> {
        let unknown = || Error::UnknownRecord { which: id.into() };
        let wanted: Digest = id.parse().map_err(|_| unknown())?;
        let _lock = self.read_lock()?;
        let size = self.checkpoint()?.size;
        for index in 0..size.div_ceil(WIDTH) {
            // A tree of its own for each tile: one that keeps tiles would end up with the whole level.
            let mut tree = Tree::new(self.storage.as_ref(), size);
            if let Some(at) = tree.tile(0, index)?.iter().position(|hash| *hash == wanted) {
                return Ok(index * WIDTH + at as u64);
            }
        }
        Err(unknown())
    }

    /// The proof that record `index` is in the ledger.
    ///
    /// # Errors
    /// [`Error::UnknownRecord`]; those of [`Ledger::checkpoint`]; [`Error::Damaged`] when stored files do not prove it.
    pub fn prove(&self, index: u64) -> Result<InclusionProof, Error> {
        let _lock = self.read_lock()?;
        let (checkpoint, head) = self.checkpoint_note()?;
        let unknown = || Error::UnknownRecord { which: index.to_string() };
        let ranges = merkle::inclusion_ranges(index, head.size).ok_or_else(unknown)?;
        let mut tree = Tree::new(self.storage.as_ref(), head.size);
        let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        let entry = tree.entries(index / WIDTH)?.into_iter().nth(at).ok_or_else(unknown)?;
        let hashes = ranges.into_iter().map(|range| tree.head(range)).collect::<Result<_, _>>()?;
        let proof = InclusionProof { index, entry, hashes, checkpoint };
        proof.verify(&self.trust.ledger).map_err(|error| damaged(&error))?;
        Ok(proof)
    }

    /// The proof that the ledger continues the head `old`.
    ///
    /// # Errors
    /// [`Error::RolledBack`] when it does not; those of [`Ledger::checkpoint`]; [`Error::Damaged`].
    pub fn consistency(&self, old: &Checkpoint) -> Result<ConsistencyProof, Error> {
        let _lock = self.read_lock()?;
        let (checkpoint, head) = self.checkpoint_note()?;
        self.require_continues(old, &head)?;
        let mut tree = Tree::new(self.storage.as_ref(), head.size);
        let ranges = merkle::consistency_ranges(old.size, head.size).unwrap_or_default();
        let hashes = ranges.into_iter().map(|range| tree.head(range)).collect::<Result<_, _>>()?;
        let proof = ConsistencyProof { old_size: old.size, hashes, checkpoint };
        proof.verify(old, &self.trust.ledger).map_err(|error| damaged(&error))?;
        Ok(proof)
    }

    fn checkpoint_note(&self) -> Result<(String, Checkpoint), Error> {
        let bytes = self.checkpoint_bytes()?;
        let head = Checkpoint::open(&bytes, &self.trust.ledger)?;
        // What opened is UTF-8.
        Ok((String::from_utf8(bytes).unwrap_or_default(), head))
    }
}

fn damaged(error: &ProofError) -> Error {
    Error::Damaged { file: "tile".into(), what: error.to_string() }
}

impl InclusionProof {
    /// Checks the proof with nothing but the ledger's key.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, key: &NoteKey) -> Result<Proven, ProofError> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), key)?;
        let leaf = merkle::leaf_hash(&self.entry);
        let root = merkle::root_from_inclusion(leaf, self.index, checkpoint.size, &self.hashes);
        if root != Some(checkpoint.root) {
            return Err(ProofError::Mismatch);
        }
        let event = Event::parse(&self.entry).ok_or(ProofError::Malformed { what: "entry is not an event" })?;
        Ok(Proven { id: leaf.to_string(), index: self.index, event, checkpoint })
    }

    /// The proof as text in the form of c2sp.org/tlog-proof.
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}\nextra {}\nindex {}\n", STANDARD.encode(&self.entry), self.index);
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash.0));
            text.push('\n');
        }
        format!("{text}\n{}", self.checkpoint)
    }

    /// Reads what [`InclusionProof::to_text`] writes, of at most 1 MiB.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let malformed = |what| ProofError::Malformed { what };
        if bytes.len() > 1 << 20 {
            return Err(malformed("longer than 1 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(TITLE) {
            return Err(malformed("first line"));
        }
        let entry = lines.next().and_then(|line| STANDARD.decode(line.strip_prefix("extra ")?).ok());
        let entry = entry.ok_or(malformed("no entry as extra data"))?;
        let index = lines.next().and_then(|line| parse_decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(malformed("no index"))?;
        let hash = |line: &str| STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok()).map(Digest);
        let hashes: Option<Vec<Digest>> = lines.take(HASHES_MAX + 1).map(hash).collect();
        let hashes = hashes.filter(|hashes| hashes.len() <= HASHES_MAX).ok_or(malformed("hashes"))?;
        Ok(Self { index, entry, hashes, checkpoint: checkpoint.into() })
    }
}

impl ConsistencyProof {
    /// Checks the proof with nothing but the old head and the ledger's key; returns the new head.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, old: &Checkpoint, key: &NoteKey) -> Result<Checkpoint, ProofError> {
        let new = Checkpoint::open(self.checkpoint.as_bytes(), key)?;
        let holds = old.origin == new.origin
            && old.size == self.old_size
            && merkle::verify_consistency((old.size, old.root), (new.size, new.root), &self.hashes);
        if holds { Ok(new) } else { Err(ProofError::Mismatch) }
    }
}
