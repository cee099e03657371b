//! Appending: everything a new head counts is durable before the head is.
//!
//! Order on disk: `pending` (what is about to be written), envelopes, bundles, tiles, `checkpoint`; then obsolete partial
//! tiles go, and `pending` last. What a crash leaves of this is cleared by [`super::pending`].

use std::collections::BTreeSet;

use casemate_core::{Digest, Evidence};
use rayon::prelude::*;

use super::event::{Event, envelope_path};
use super::pending::{PENDING, Pending, recover};
use super::tree::{self, Tree};
use super::{CHECKPOINT, Error, Ledger, LockKind, Storage};
use crate::keys::KeyPair;
use crate::merkle::{self, Frontier};
use crate::note::{Checkpoint, Note};
use crate::tiles::{self, HEIGHT, Kind, Tile, WIDTH};
use crate::{dsse, statement};

/// Records one append may bring, so that `pending` stays below its limit.
const BATCH_MAX: usize = 200_000;

/// What an append did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Ids of the new records, in the order of the batch: hexadecimal leaf hashes.
    pub ids: Vec<String>,
    /// What was found and cleared of an earlier append that was interrupted, and what could not be cleared.
    pub notes: Vec<String>,
}

impl Ledger {
    /// Appends `batch`, all of it or nothing. Waits for other writers. An empty batch writes nothing.
    ///
    /// On an error the ledger is as it was, except that after an error while the checkpoint itself was written either
    /// head may be found.
    ///
    /// # Errors
    /// [`Error`]: keys that readers do not believe, a ledger whose right edge contradicts its checkpoint, evidence that
    /// cannot be written, storage that fails.
    pub fn append(
        &mut self,
        batch: &[Evidence],
        evidence_key: &KeyPair,
        ledger_key: &KeyPair,
    ) -> Result<Appended, Error> {
        if !self.trust.evidence.contains(&evidence_key.public()) {
            return Err(Error::ForeignKey { role: "evidence" });
        }
        if self.trust.ledger.key != ledger_key.public() {
            return Err(Error::ForeignKey { role: "ledger" });
        }
        if batch.is_empty() {
            return Ok(Appended::default());
        }
        if batch.len() > BATCH_MAX {
            return Err(tiles::Error::TooManyEntries.into());
        }
        let _lock = self.storage.lock(LockKind::Exclusive)?;
        let head = self.checkpoint()?;
        let mut notes = recover(self.storage.as_ref(), head.size)?;
        let new = batch.par_iter().map(|evidence| New::of(evidence, evidence_key)).collect::<Result<Vec<_>, _>>()?;
        let edge = Edge::load(self.storage.as_ref(), &head)?;
        let ids = new.iter().map(|new| merkle::leaf_hash(&new.entry).to_string()).collect();
        let written = self.write(&head, edge, new, ledger_key);
        if written.is_err() {
            // The error being returned matters more; what stays is announced in `pending` and cleared later.
            let _ = self.checkpoint().and_then(|head| recover(self.storage.as_ref(), head.size));
        }
        notes.extend(written?);
        Ok(Appended { ids, notes })
    }

    /// Writes everything in order; returns notes on what could not be cleared after the checkpoint was durable.
    fn write(&self, head: &Checkpoint, mut edge: Edge, new: Vec<New>, key: &KeyPair) -> Result<Vec<String>, Error> {
        let storage = self.storage.as_ref();
        let mut files = Vec::new();
        let mut envelopes = Vec::new();
        let mut seen = BTreeSet::new();
        for New { digest, envelope, entry } in new {
            edge.push(entry)?;
            if seen.insert(digest) && !is_stored(storage, digest, &envelope)? {
                envelopes.push(digest);
                files.push((envelope_path(digest), envelope));
            }
        }
        let to = edge.size;
        let pending = Pending { base: head.size, envelopes, to };
        let pending = serde_json::to_vec(&pending).map_err(|error| Error::Storage(error.into()))?;
        storage.write_durable(&[(PENDING.into(), pending)])?;
        let root = edge.root();
        files.extend(edge.into_files()?);
        storage.write_durable(&files)?;
        let next = Checkpoint { size: to, root, ..head.clone() };
        let note = Note::sign(&next.to_text(), &next.origin, key)?;
        storage.write_durable(&[(CHECKPOINT.into(), note.to_bytes())])?;
        // From here on the records are acknowledged: failing to tidy up is no failure to append.
        let obsolete = Tile::partial_in_tree(head.size).into_iter().filter(|tile| !tile.is_part(to));
        let mut obsolete = obsolete.map(|tile| tile.to_string()).chain([PENDING.to_string()]);
        let cleared = obsolete.try_for_each(|path| storage.remove(&path));
        Ok(cleared.err().map(|error| format!("left for the next append to clear: {error}")).into_iter().collect())
    }
}

/// A record ready to be written.
struct New {
    digest: Digest,
    envelope: Vec<u8>,
    entry: Vec<u8>,
}

impl New {
    fn of(evidence: &Evidence, key: &KeyPair) -> Result<Self, Error> {
        let envelope = dsse::sign(statement::PAYLOAD_TYPE, statement::to_json(evidence)?, &[key])?.to_json();
        let max = super::ENVELOPE_BYTES_MAX;
        if envelope.len() > max {
            return Err(dsse::Error::TooLarge { size_bytes: envelope.len(), max }.into());
        }
        let event = Event::of(evidence, &envelope);
        let entry = event.to_bytes();
        if entry.len() > tiles::ENTRY_BYTES_MAX {
            return Err(tiles::Error::EntryTooLarge { size_bytes: entry.len(), max: tiles::ENTRY_BYTES_MAX }.into());
        }
        Ok(Self { digest: event.envelope.sha256, envelope, entry })
    }
}

/// Ed25519 signs the same evidence to the same envelope, so an envelope may be there already.
fn is_stored(storage: &dyn Storage, digest: Digest, envelope: &[u8]) -> Result<bool, Error> {
    let path = envelope_path(digest);
    match storage.read(&path, super::ENVELOPE_BYTES_MAX as u64)? {
        None => Ok(false),
        Some(bytes) if bytes == envelope => Ok(true),
        Some(_) => Err(Error::Damaged { file: path, what: "its contents do not have the digest of its name".into() }),
    }
}

/// The right edge of the tree: what is needed to grow it.
struct Edge {
    size: u64,
    /// Hashes of the incomplete tile of each level.
    hashes: Vec<Vec<Digest>>,
    entries: Vec<Vec<u8>>,
    /// Files that are complete.
    full: Vec<(String, Vec<u8>)>,
}

impl Edge {
    /// Reads the edge and makes sure that it leads to the signed head.
    fn load(storage: &dyn Storage, head: &Checkpoint) -> Result<Self, Error> {
        let size = head.size;
        let mut edge = Self { size, hashes: vec![Vec::new(); HEIGHT as usize], entries: Vec::new(), full: Vec::new() };
        for tile in Tile::partial_in_tree(size) {
            match (tile.kind, &mut edge) {
                (Kind::Entries, edge) => edge.entries = Tree::new(storage, size).entries(tile.index)?,
                (Kind::Hashes(level), edge) => {
                    if let Some(hashes) = edge.hashes.get_mut(level as usize) {
                        *hashes = tree::read_tile(storage, &tile)?;
                    }
                }
            }
        }
        let damaged = |file: &str, what: &str| Error::Damaged { file: file.into(), what: what.into() };
        if edge.root() != head.root {
            return Err(damaged("tile", "the newest tiles do not lead to the signed head; verify the ledger"));
        }
        let leaves: Vec<_> = edge.entries.iter().map(|entry| merkle::leaf_hash(entry)).collect();
        match edge.hashes.first() == Some(&leaves) {
            true => Ok(edge),
            false => Err(damaged("tile/entries", "the newest entries differ from their hashes; verify the ledger")),
        }
    }

    fn root(&self) -> Digest {
        let mut frontier = Frontier::default();
        for (level, hashes) in (0..HEIGHT).zip(&self.hashes).rev() {
            hashes.iter().for_each(|hash| frontier.push(level * HEIGHT, *hash));
        }
        frontier.root()
    }

    fn push(&mut self, entry: Vec<u8>) -> Result<(), Error> {
        let mut hash = merkle::leaf_hash(&entry);
        self.entries.push(entry);
        self.size += 1;
        if self.entries.len() as u64 == WIDTH {
            let tile = Tile { kind: Kind::Entries, index: self.size / WIDTH - 1, width: WIDTH };
            self.full.push((tile.to_string(), tiles::write_entries(&std::mem::take(&mut self.entries))?));
        }
        for (level, hashes) in (0..).zip(&mut self.hashes) {
            hashes.push(hash);
            if (hashes.len() as u64) < WIDTH {
                break;
            }
            let index = tiles::hashes_at(level + 1, self.size) - 1;
            let tile = Tile { kind: Kind::Hashes(level), index, width: WIDTH };
            self.full.push((tile.to_string(), tiles::write_hashes(hashes)));
            hash = tiles::head(&std::mem::take(hashes));
        }
        Ok(())
    }

    /// All files of the new edge: complete ones, then the incomplete ones, entries before hashes.
    fn into_files(self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut files = self.full;
        for tile in Tile::partial_in_tree(self.size).into_iter().rev() {
            let bytes = match tile.kind {
                Kind::Entries => tiles::write_entries(&self.entries)?,
                Kind::Hashes(level) => {
                    tiles::write_hashes(self.hashes.get(level as usize).map(Vec::as_slice).unwrap_or_default())
                }
            };
            files.push((tile.to_string(), bytes));
        }
        Ok(files)
    }
}
