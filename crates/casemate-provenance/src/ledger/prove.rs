//! Proofs that stand without the ledger: that a record is in it, and that it only ever grew.
//!
//! Source: c2sp.org/tlog-proof (`c2sp.org/tlog-proof@v1`); the entry travels as the proof's extra data and is believed only
//! because its hash leads to the signed head. Made from at most two tiles per level and one bundle. That specification has no
//! proof of consistency, so ours follows its form: a first line, `old` and a size, hashes, an empty line, the checkpoint.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casemate_core::Digest;

use super::event::Event;
use super::tree::Tree;
use super::{Error, Ledger};
use crate::hash::sha256;
use crate::merkle;
use crate::note::{self, Checkpoint, NoteKey, parse_decimal};
use crate::tiles::WIDTH;

const TITLE: &str = "c2sp.org/tlog-proof@v1";
const TITLE_CONSISTENCY: &str = "casemate/consistency-proof@v1";
/// Hashes no proof needs more of.
const HASHES_MAX: usize = 65;
/// Bytes of the longest proof: a checkpoint, an entry in base64, hashes.
const BYTES_MAX: usize = 1 << 20;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
        self.indices(|hash| *hash == wanted, 1)?.first().copied().ok_or_else(unknown)
    }

    /// The index of the one record whose id begins with `beginning`, hexadecimal and lower case; likewise.
    ///
    /// # Errors
    /// [`Error::UnknownRecord`] when there is none, [`Error::SeveralRecords`]; those of [`Ledger::index_of`].
    pub fn index_of_beginning(&self, beginning: &str) -> Result<u64, Error> {
        let found = self.indices(|hash| hash.to_string().starts_with(beginning), 2)?;
        match found[..] {
            [index] => Ok(index),
            [] => Err(Error::UnknownRecord { which: beginning.into() }),
            _ => Err(Error::SeveralRecords { beginning: beginning.into() }),
        }
    }

    /// The first `n_max` records whose leaf hash is wanted.
    fn indices(&self, is_wanted: impl Fn(&Digest) -> bool, n_max: usize) -> Result<Vec<u64>, Error> {
        let _lock = self.read_lock()?;
        let size = self.checkpoint()?.size;
        let mut found = Vec::new();
        for index in 0..size.div_ceil(WIDTH) {
            // A tree of its own for each tile: one that keeps tiles would end up with the whole level.
            let mut tree = Tree::new(self.storage.as_ref(), size);
            let hashes = (index * WIDTH..).zip(tree.tile(0, index)?);
            found.extend(hashes.filter(|(_, hash)| is_wanted(hash)).map(|(at, _)| at));
            if found.len() >= n_max {
                break;
            }
        }
        found.truncate(n_max);
        Ok(found)
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

    /// The envelope of the record that `proof` is about.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is missing or another, [`Error::Storage`].
    pub fn envelope(&self, proof: &InclusionProof) -> Result<Vec<u8>, Error> {
        let event = Event::parse(&proof.entry);
        let reference =
            event.ok_or_else(|| damaged(&ProofError::Malformed { what: "entry is not an event" }))?.envelope;
        let damaged = |what: &str| Error::Damaged { file: reference.path(), what: what.into() };
        let bytes = self.storage.read(&reference.path(), super::ENVELOPE_BYTES_MAX as u64)?;
        let bytes = bytes.ok_or_else(|| damaged("missing"))?;
        match sha256(&bytes) == reference.sha256 {
            true => Ok(bytes),
            false => Err(damaged("its contents are not those the entry names")),
        }
    }

    /// The proof that the ledger continues the head `old`.
    ///
    /// # Errors
    /// [`Error::RolledBack`] when it does not; those of [`Ledger::checkpoint`]; [`Error::Damaged`].
    pub fn consistency(&self, old: &Checkpoint) -> Result<ConsistencyProof, Error> {
        let _lock = self.read_lock()?;
        let (checkpoint, head) = self.checkpoint_note()?;
        self.continues(old, &head)?;
        let mut tree = Tree::new(self.storage.as_ref(), head.size);
        let ranges = merkle::consistency_ranges(old.size, head.size).unwrap_or_default();
        let hashes = ranges.into_iter().map(|range| tree.head(range)).collect::<Result<_, _>>()?;
        let proof = ConsistencyProof { old_size: old.size, hashes, checkpoint };
        proof.verify(old, &self.trust.ledger).map_err(|error| damaged(&error))?;
        Ok(proof)
    }

    fn checkpoint_note(&self) -> Result<(String, Checkpoint), Error> {
        let bytes = self.checkpoint_bytes()?;
        let (head, _) = self.trust.open_head(&bytes)?;
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
        let head = format!("{TITLE}\nextra {}\nindex {}\n", STANDARD.encode(&self.entry), self.index);
        format!("{head}{}\n{}", to_lines(&self.hashes), self.checkpoint)
    }

    /// Whether `bytes` begin as such a proof does.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(TITLE.as_bytes())
    }

    /// Reads what [`InclusionProof::to_text`] writes, of at most 1 MiB.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let malformed = |what| ProofError::Malformed { what };
        let (mut lines, checkpoint) = open(bytes, TITLE)?;
        let entry = lines.next().and_then(|line| STANDARD.decode(line.strip_prefix("extra ")?).ok());
        let entry = entry.ok_or(malformed("no entry as extra data"))?;
        let index = lines.next().and_then(|line| parse_decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(malformed("no index"))?;
        let hashes = hashes(lines)?;
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

    /// The proof as text.
    pub fn to_text(&self) -> String {
        format!("{TITLE_CONSISTENCY}\nold {}\n{}\n{}", self.old_size, to_lines(&self.hashes), self.checkpoint)
    }

    /// Whether `bytes` begin as such a proof does.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(TITLE_CONSISTENCY.as_bytes())
    }

    /// Reads what [`ConsistencyProof::to_text`] writes, of at most 1 MiB.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let (mut lines, checkpoint) = open(bytes, TITLE_CONSISTENCY)?;
        let old_size = lines.next().and_then(|line| parse_decimal(line.strip_prefix("old ")?));
        let old_size = old_size.ok_or(ProofError::Malformed { what: "no old size" })?;
        Ok(Self { old_size, hashes: hashes(lines)?, checkpoint: checkpoint.into() })
    }
}

/// The lines behind the first, which has to be `title`, and the checkpoint.
fn open<'a>(bytes: &'a [u8], title: &str) -> Result<(std::str::Split<'a, char>, &'a str), ProofError> {
    let malformed = |what| ProofError::Malformed { what };
    if bytes.len() > BYTES_MAX {
        return Err(malformed("longer than 1 MiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
    let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("no checkpoint"))?;
    let mut lines = head.split('\n');
    if lines.next() == Some(title) { Ok((lines, checkpoint)) } else { Err(malformed("first line")) }
}

fn to_lines(hashes: &[Digest]) -> String {
    hashes.iter().map(|hash| STANDARD.encode(hash.0) + "\n").collect()
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Digest>, ProofError> {
    let hash = |line: &str| STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok()).map(Digest);
    let hashes: Option<Vec<Digest>> = lines.take(HASHES_MAX + 1).map(hash).collect();
    hashes.filter(|hashes| hashes.len() <= HASHES_MAX).ok_or(ProofError::Malformed { what: "hashes" })
}
