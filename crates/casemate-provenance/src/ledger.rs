//! The ledger: evidence in an append-only tree under signed heads.
//!
//! Answers the owner of a record who would like it gone, changed or moved: each of these breaks a hash, and the report says
//! where. Layout, all under one directory (c2sp.org/tlog-tiles, c2sp.org/tlog-checkpoint):
//!
//! - `checkpoint`: the signed tree head; what it does not count does not exist.
//! - `tile/<level>/<n>`, `tile/entries/<n>`: hashes and entries, names in [`crate::tiles`]. An entry is an [`Event`].
//! - `envelopes/<first two digits>/<sha256>.json`: the DSSE envelopes the entries name.
//! - `pending`: only while an append is under way, or after one was interrupted.
//!
//! A writer holds `<directory>.lock`, beside the directory. A ledger whose key lies beside it proves nothing against who
//! holds both, and an old copy of the whole directory is consistent in itself: readers keep the largest head they saw
//! ([`Ledger::remember`]), and others countersign heads ([`crate::cosignature`]) or keep them ([`Ledger::require_continues`]).

mod append;
mod cosign;
mod defect;
mod event;
mod leaves;
mod pending;
mod prove;
mod record;
mod remember;
mod self_test;
mod storage;
mod tree;
mod verify;
mod witness;

use std::io;
use std::path::Path;

use casemate_core::{Evidence, EvidenceSink, SinkError};

pub use append::Appended;
pub use cosign::Cosigning;
pub use defect::{Defect, Problem, VerifyReport};
pub use event::{EnvelopeReference, Event, EventSubject};
pub use prove::{ConsistencyProof, InclusionProof, ProofError, Proven};
pub use record::{LedgerRecord, Records};
pub use remember::remembered;
pub use storage::{DirectoryStorage, Listed, ListedKind, LockKind, Storage};
pub use witness::{Offered, Refusal, Witness};

use crate::cosignature::{self, Cosigned, WitnessKey};
use crate::keys::{KeyPair, PublicKey};
use crate::note::{self, Checkpoint, Note, NoteKey};
use crate::{dsse, merkle, statement, tiles};

/// The file with the signed tree head.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Bytes an envelope may have.
pub const ENVELOPE_BYTES_MAX: usize = 64 << 20;

/// Whose signatures a reader of a ledger believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The ledger's own key, under the ledger's origin.
    pub ledger: NoteKey,
    /// Keys that sign evidence.
    pub evidence: Vec<PublicKey>,
    /// Those who may have cosigned heads.
    pub witnesses: Vec<WitnessKey>,
}

impl Trust {
    /// The head in the signed note `bytes`, and who cosigned it.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`]; [`note::Error::BadSignature`] also when a known witness's line does not verify.
    pub fn open_head(&self, bytes: &[u8]) -> Result<(Checkpoint, Vec<Cosigned>), note::Error> {
        let head = Checkpoint::open(bytes, &self.ledger)?;
        let cosigned = cosignature::check(&note::parse(bytes)?, &head, &self.witnesses)?;
        Ok((head, cosigned))
    }
}

/// Why a ledger could not be created, read or appended to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The medium failed; the message names the file.
    #[error("ledger storage: {0}")]
    Storage(#[from] io::Error),
    /// There is something already.
    #[error("`{directory}` holds a ledger already, or other files")]
    Exists {
        /// Where.
        directory: String,
    },
    /// A directory without a single file of a ledger.
    #[error("`{directory}` holds no ledger")]
    NotALedger {
        /// Where.
        directory: String,
    },
    /// The checkpoint is gone.
    #[error("the ledger's `checkpoint` is missing")]
    NoCheckpoint,
    /// The checkpoint is not to be believed.
    #[error("the ledger's `checkpoint`: {0}")]
    Checkpoint(#[from] note::Error),
    /// Stored files contradict the checkpoint; nothing is appended to a damaged ledger.
    #[error("ledger file `{file}` is damaged: {what}")]
    Damaged {
        /// Path below the ledger directory.
        file: String,
        /// What contradicts.
        what: String,
    },
    /// Evidence could not be written as a statement.
    #[error(transparent)]
    Statement(#[from] statement::Error),
    /// The statement could not be signed.
    #[error(transparent)]
    Envelope(#[from] dsse::Error),
    /// Actor, kind and subject name together do not fit an entry.
    #[error(transparent)]
    Entry(#[from] tiles::Error),
    /// The key given for writing is not the one readers believe.
    #[error("the {role} key given is not one this ledger is read with")]
    ForeignKey {
        /// `ledger` or `evidence`.
        role: &'static str,
    },
    /// No such record.
    #[error("the ledger has no record `{which}`")]
    UnknownRecord {
        /// Index or id.
        which: String,
    },
    /// The beginning of an id fits more than one.
    #[error("several records begin with `{beginning}`; give more digits")]
    SeveralRecords {
        /// The beginning.
        beginning: String,
    },
    /// The ledger is shorter than, or not a continuation of, a head seen before.
    #[error("the ledger was rolled back or rewritten: {what}")]
    RolledBack {
        /// How it differs.
        what: String,
    },
}

/// A ledger in its storage, read with certain trust. Each operation reads the checkpoint anew, so writers elsewhere are seen.
pub struct Ledger {
    storage: Box<dyn Storage>,
    trust: Trust,
}

/// A ledger with the keys to append to it.
pub struct LedgerSink<'a> {
    /// The ledger.
    pub ledger: &'a mut Ledger,
    /// Signs evidence.
    pub evidence_key: &'a KeyPair,
    /// Signs tree heads.
    pub ledger_key: &'a KeyPair,
}

impl Ledger {
    /// Makes an empty ledger called `origin` in `directory`, which is created or empty.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Checkpoint`] when the origin cannot name a key, [`Error::Storage`].
    pub fn create(directory: &Path, origin: &str, ledger_key: &KeyPair) -> Result<(), Error> {
        let key = NoteKey::new(origin, ledger_key.public())?;
        let storage = DirectoryStorage::create(directory)?;
        let _lock = storage.lock(LockKind::Exclusive)?;
        if !storage.list("")?.is_empty() {
            return Err(Error::Exists { directory: directory.display().to_string() });
        }
        let head = Checkpoint { origin: key.name, size: 0, root: merkle::empty_root(), extensions: Vec::new() };
        let note = Note::sign(&head.to_text(), origin, ledger_key)?;
        Ok(storage.write_durable(&[(CHECKPOINT.into(), note.to_bytes())])?)
    }

    /// Opens the ledger in `directory`. Whether it is intact is for [`Ledger::verify`] to say.
    ///
    /// # Errors
    /// [`Error::NotALedger`] when no file of a ledger is there, [`Error::Storage`].
    pub fn open(directory: &Path, trust: Trust) -> Result<Self, Error> {
        Self::open_storage(Box::new(DirectoryStorage::open(directory)), trust).map_err(|error| match error {
            Error::NotALedger { .. } => Error::NotALedger { directory: directory.display().to_string() },
            error => error,
        })
    }

    /// Opens the ledger that lies in `storage`.
    ///
    /// # Errors
    /// Those of [`Ledger::open`].
    pub fn open_storage(storage: Box<dyn Storage>, trust: Trust) -> Result<Self, Error> {
        let known = ["checkpoint", "tile", "envelopes"];
        let listed = storage.list("")?;
        match listed.iter().any(|listed| known.contains(&listed.name.as_str())) {
            true => Ok(Self { storage, trust }),
            false => Err(Error::NotALedger { directory: String::new() }),
        }
    }

    /// The signed tree head.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`], [`Error::Checkpoint`], [`Error::Storage`].
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        let bytes = self.checkpoint_bytes()?;
        Ok(self.trust.open_head(&bytes)?.0)
    }

    /// Whose signatures are believed here.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The note that carries the tree head, as stored and not yet checked.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`], [`Error::Storage`].
    pub fn checkpoint_bytes(&self) -> Result<Vec<u8>, Error> {
        self.storage.read(CHECKPOINT, note::BYTES_MAX as u64)?.ok_or(Error::NoCheckpoint)
    }

    /// Held while several files are read that belong together.
    fn read_lock(&self) -> Result<Box<dyn Send>, Error> {
        Ok(self.storage.lock(LockKind::Shared)?)
    }
}

impl EvidenceSink for LedgerSink<'_> {
    fn append(&mut self, batch: &[Evidence]) -> Result<Vec<String>, SinkError> {
        let appended = self.ledger.append(batch, self.evidence_key, self.ledger_key);
        appended.map(|appended| appended.ids).map_err(|error| {
            let damaged = !matches!(error, Error::Storage(_) | Error::Exists { .. } | Error::NotALedger { .. });
            SinkError { message: error.to_string(), damaged }
        })
    }
}

#[cfg(test)]
mod tests;
