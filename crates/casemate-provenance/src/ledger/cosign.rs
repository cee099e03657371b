//! Taking up cosignatures: what witnesses hand back is stored with the head it is about.

use super::{CHECKPOINT, Error, Ledger, LockKind};
use crate::cosignature::Cosigned;
use crate::note::{self, Checkpoint, Note};

/// What was taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigning {
    /// The head that was cosigned; the ledger continues it.
    pub head: Checkpoint,
    /// By whom; at least one.
    pub cosigned: Vec<Cosigned>,
    /// The head's note with all its signatures.
    pub note: Vec<u8>,
    /// Whether it is the present head, and its note in the ledger now carries them.
    pub is_present: bool,
}

impl Ledger {
    /// Takes up the cosignatures on `bytes`: a cosigned note, or the signature lines alone, which are then about the present
    /// head. A head since outgrown is checked and given back, for the caller to keep.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when a signature is bad or no known witness cosigned, [`Error::RolledBack`] when the ledger does
    /// not continue that head; those of [`Ledger::checkpoint`].
    pub fn cosign(&mut self, bytes: &[u8]) -> Result<Cosigning, Error> {
        let _lock = self.storage.lock(LockKind::Exclusive)?;
        let stored = self.checkpoint_bytes()?;
        let (present, _) = self.trust.open_head(&stored)?;
        let stored = note::parse(&stored)?;
        let brought = match bytes.starts_with("— ".as_bytes()) {
            true => with_lines(&stored, note::parse_lines(bytes)?),
            false => note::parse(bytes)?,
        };
        let (head, cosigned) = self.trust.open_head(&brought.to_bytes())?;
        if cosigned.is_empty() {
            return Err(note::Error::NoKnownSignature.into());
        }
        self.continues(&head, &present)?;
        let is_present = brought.text == stored.text;
        let note = if is_present { with_lines(&stored, self.witness_lines(&brought)) } else { brought };
        let note = note.to_bytes();
        let (_, cosigned) = self.trust.open_head(&note)?;
        if is_present {
            self.storage.write_durable(&[(CHECKPOINT.into(), note.clone())])?;
        }
        Ok(Cosigning { head, cosigned, note, is_present })
    }

    /// The lines of `note` that known witnesses signed: nobody else's are let into the ledger.
    fn witness_lines(&self, note: &Note) -> Vec<note::Signature> {
        let is_known = |line: &&note::Signature| {
            self.trust.witnesses.iter().any(|key| key.name == line.name && key.line_id() == line.key_id)
        };
        note.signatures.iter().filter(is_known).cloned().collect()
    }
}

/// `note` with `lines` beside its own; of one key the newer line stays.
fn with_lines(note: &Note, lines: Vec<note::Signature>) -> Note {
    let is_replaced = |old: &note::Signature| lines.iter().any(|new| new.name == old.name && new.key_id == old.key_id);
    let kept = note.signatures.iter().filter(|old| !is_replaced(old)).cloned();
    Note { text: note.text.clone(), signatures: kept.chain(lines.clone()).collect() }
}
