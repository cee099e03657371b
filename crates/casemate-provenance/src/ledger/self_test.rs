//! Does verification find what it should? The newest records in memory, sound and then tampered with in each place.
//!
//! A check that anything passes shows nothing; so every run of it is shown defects, and the evidence it gives says how many it
//! found. A few records are enough, since every file is of a kind that is in this copy too.

use std::collections::BTreeMap;
use std::io;

use super::storage::{Listed, ListedKind, LockKind};
use super::{CHECKPOINT, Ledger, Storage, Trust, tree};
use crate::keys::KeyPair;
use crate::merkle;
use crate::note::{Checkpoint, Note, NoteKey};
use crate::tiles::{self, Kind, Tile, WIDTH};

/// Records copied.
const RECORDS_MAX: usize = 8;

impl Ledger {
    /// How many defects were planted in a copy of the newest records, and how many of them were found. None are planted where
    /// there is no record, or none that verifies.
    pub fn self_test(&self) -> (u64, u64) {
        let Some((files, trust)) = self.copy_of_newest() else { return (0, 0) };
        let is_intact = |files: &BTreeMap<String, Vec<u8>>| {
            let copy = Self { storage: Box::new(Memory(files.clone())), trust: trust.clone() };
            copy.verify(None).is_intact()
        };
        if !is_intact(&files) {
            return (0, 0);
        }
        let mut caught = 0;
        for name in files.keys() {
            let mut tampered = files.clone();
            if let Some(byte) = tampered.get_mut(name).and_then(|bytes| bytes.last_mut()) {
                *byte ^= 0x01;
            }
            caught += u64::from(!is_intact(&tampered));
            tampered.remove(name);
            caught += u64::from(!is_intact(&tampered));
        }
        (2 * files.len() as u64, caught)
    }

    /// The files of a ledger of the newest records under a key made for it, and whom to trust about it.
    fn copy_of_newest(&self) -> Option<(BTreeMap<String, Vec<u8>>, Trust)> {
        let head = self.checkpoint().ok()?;
        let last = Tile::in_tree(Kind::Entries, head.size.checked_sub(1)? / WIDTH, head.size)?;
        let mut entries = tree::read_entries(self.storage.as_ref(), &last).ok()?;
        entries.drain(..entries.len().saturating_sub(RECORDS_MAX));
        let mut files = BTreeMap::new();
        for entry in &entries {
            let path = super::Event::parse(entry)?.envelope.path();
            let envelope = self.storage.read(&path, super::ENVELOPE_BYTES_MAX as u64).ok()??;
            files.insert(path, envelope);
        }
        let hashes: Vec<_> = entries.iter().map(|entry| merkle::leaf_hash(entry)).collect();
        let size = entries.len() as u64;
        let path = |kind| Tile::in_tree(kind, 0, size).map(|tile| tile.to_string());
        files.insert(path(Kind::Entries)?, tiles::write_entries(&entries).ok()?);
        files.insert(path(Kind::Hashes(0))?, tiles::write_hashes(&hashes));
        let key = KeyPair::generate().ok()?;
        let copied = Checkpoint { size, root: merkle::root(&hashes), ..head };
        let note = Note::sign(&copied.to_text(), &copied.origin, &key).ok()?;
        files.insert(CHECKPOINT.into(), note.to_bytes());
        let ledger = NoteKey::new(&copied.origin, key.public()).ok()?;
        Some((files, Trust { ledger, witnesses: Vec::new(), ..self.trust.clone() }))
    }
}

/// Files in memory, to be read.
pub(super) struct Memory(pub(super) BTreeMap<String, Vec<u8>>);

impl Storage for Memory {
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        match self.0.get(path) {
            Some(bytes) if bytes.len() as u64 > bytes_max => Err(io::ErrorKind::InvalidData.into()),
            found => Ok(found.cloned()),
        }
    }

    fn write_durable(&self, _: &[(String, Vec<u8>)]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        let mut listed: Vec<Listed> = Vec::new();
        for path in self.0.keys() {
            let Some(below) = path.strip_prefix(directory) else { continue };
            let below = if directory.is_empty() { below } else { below.strip_prefix('/').unwrap_or_default() };
            let (name, kind) = match below.split_once('/') {
                Some((name, _)) => (name, ListedKind::Directory),
                None => (below, ListedKind::File),
            };
            if !name.is_empty() && listed.iter().all(|other| other.name != name) {
                listed.push(Listed { name: name.into(), kind });
            }
        }
        Ok(listed)
    }

    fn lock(&self, _: LockKind) -> io::Result<Box<dyn Send>> {
        Ok(Box::new(()))
    }
}
