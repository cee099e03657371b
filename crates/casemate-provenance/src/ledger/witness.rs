//! A witness: keeps the largest head it saw of a ledger, and cosigns a head that continues it and no other.
//!
//! Answers an owner with two histories: whichever of them a witness saw first is the only one it will sign. Rules of
//! c2sp.org/tlog-witness, without its network: what is offered is a note, a proof of consistency, or a ledger to be read. The new
//! head is durable before anything is signed, so that a crash cannot make the witness forget what it vouched for.

use std::path::Path;

use casemate_core::Timestamp;

use super::remember::{remembered, storage, turn};
use super::{ConsistencyProof, Error, Ledger, ProofError, Storage as _};
use crate::cosignature::WitnessPair;
use crate::keys;
use crate::note::{self, Checkpoint, Note, NoteKey};

/// What a witness is asked to sign.
#[derive(Clone, Copy)]
pub enum Offered<'a> {
    /// A signed head: the first one, or one that was seen already.
    Head(&'a [u8]),
    /// A head with the proof that it continues another.
    Proof(&'a ConsistencyProof),
    /// A ledger whose files can be read here.
    Ledger(&'a Ledger),
}

/// Who signs, and what they know.
pub struct Witness<'a> {
    /// The witness's key.
    pub pair: &'a WitnessPair,
    /// The key of the ledger.
    pub ledger: &'a NoteKey,
    /// File with the largest head seen.
    pub seen: &'a Path,
    /// Whether a ledger that was never seen may begin here.
    pub begins: bool,
}

/// Why a head is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not a head of this ledger to be believed.
    #[error("the head offered: {0}")]
    Note(#[from] note::Error),
    /// Nothing was seen of this ledger before.
    #[error("no head of `{origin}` was seen before")]
    Unseen {
        /// Name of the ledger.
        origin: String,
    },
    /// Fewer records than were seen before.
    #[error("the head offered is smaller than the one seen: {offered} after {seen}")]
    Smaller {
        /// The head seen.
        seen: String,
        /// The head offered.
        offered: String,
    },
    /// Two histories.
    #[error("the head offered does not continue the one seen: {offered} after {seen}")]
    Fork {
        /// The head seen.
        seen: String,
        /// The head offered.
        offered: String,
    },
    /// More records, and no proof from the head that was seen.
    #[error("a larger head needs a proof from the head of {size} records that was seen")]
    Unproven {
        /// Size of the head seen.
        size: u64,
    },
    /// What was kept or offered could not be read, or the new head not be kept.
    #[error(transparent)]
    Ledger(#[from] Error),
    /// The key failed.
    #[error(transparent)]
    Key(#[from] keys::Error),
}

impl Witness<'_> {
    /// The note of the head offered with the cosignature of this witness, which has seen it from now on.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing was signed, and what was seen stays as it was, except when the key itself failed.
    pub fn cosign(&self, offered: Offered<'_>, now: Timestamp) -> Result<Note, Refusal> {
        // From reading the old head to keeping the new one: two runs at once must not sign two histories.
        let _turn = turn(self.seen)?;
        let bytes = match offered {
            Offered::Head(bytes) => bytes.to_vec(),
            Offered::Proof(proof) => proof.checkpoint.clone().into_bytes(),
            Offered::Ledger(ledger) => ledger.checkpoint_bytes()?,
        };
        let head = Checkpoint::open(&bytes, self.ledger)?;
        match remembered(self.seen, self.ledger)? {
            Some(seen) => self.require_continues(&seen, &head, offered)?,
            None if self.begins => {}
            None => return Err(Refusal::Unseen { origin: head.origin }),
        }
        let (storage, name) = storage(self.seen)?;
        storage.write_durable(&[(name, bytes.clone())]).map_err(Error::Storage)?;
        let mut note = note::parse(&bytes)?;
        let line = self.pair.cosign(&note, &head, now)?;
        note.signatures.retain(|old| old.name != line.name || old.key_id != line.key_id);
        note.signatures.push(line);
        Ok(note)
    }

    fn require_continues(&self, seen: &Checkpoint, head: &Checkpoint, offered: Offered<'_>) -> Result<(), Refusal> {
        let fork = || Refusal::Fork { seen: shown(seen), offered: shown(head) };
        if head.size < seen.size {
            return Err(Refusal::Smaller { seen: shown(seen), offered: shown(head) });
        }
        if head.size == seen.size {
            return if head.root == seen.root { Ok(()) } else { Err(fork()) };
        }
        let proof = match offered {
            Offered::Head(_) => return Err(Refusal::Unproven { size: seen.size }),
            Offered::Proof(proof) => proof.clone(),
            // Made from the ledger's tiles and checked like one that was brought: nothing of them is believed.
            Offered::Ledger(ledger) => ledger.consistency(seen).map_err(|error| match error {
                Error::RolledBack { .. } => fork(),
                error => error.into(),
            })?,
        };
        if proof.old_size != seen.size {
            return Err(Refusal::Unproven { size: seen.size });
        }
        match proof.verify(seen, self.ledger) {
            // Between reading the head and making the proof the ledger may have grown.
            Ok(proven) if proven == *head => Ok(()),
            Ok(_) => Err(Refusal::Unproven { size: seen.size }),
            Err(ProofError::Checkpoint(error)) => Err(error.into()),
            Err(_) => Err(fork()),
        }
    }
}

fn shown(head: &Checkpoint) -> String {
    format!("{} records with head {}", head.size, head.root)
}
