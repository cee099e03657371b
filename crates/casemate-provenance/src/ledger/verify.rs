//! Verification: every byte under the ledger directory is accounted for, or a problem names the file.
//!
//! One pass over the bundles recomputes every leaf, and with it the hashes of each level. Where entries and stored leaf
//! hashes disagree, the signed head decides which of the two is true, and so whether an entry or a tile was edited.
//! Memory: a bundle, an envelope per thread, and per million records 256 KiB of hashes and some 64 MiB of digests of
//! envelopes.

use std::collections::HashSet;

use casemate_core::Digest;
use rayon::prelude::*;

use super::defect::{Defect, VerifyReport, classify};
use super::event::{Event, parse_envelope_path};
use super::leaves::{Leaves, Side};
use super::pending::{self, PENDING, Pending};
use super::record::{bundle_path, check, problem_of};
use super::storage::TEMPORARY;
use super::{CHECKPOINT, Error, Ledger, ListedKind, tree};
use crate::merkle;
use crate::note::{self, Checkpoint};
use crate::tiles::{self, HEIGHT, Kind, TILE_HASHES, Tile, WIDTH};

/// An announcement that is not whole.
const NOT_BEGUN: &str = "pending.tmp";

impl Ledger {
    /// Checks everything: the checkpoint's signature, every entry, tile, envelope, signature and statement, that no file
    /// is missing and none is extra, and that the ledger continues the head `remembered` from outside of it.
    pub fn verify(&self, remembered: Option<&Checkpoint>) -> VerifyReport {
        let mut report = VerifyReport::default();
        let _lock = self.read_lock().map_err(|error| report.notes.push(format!("read without lock: {error}"))).ok();
        let head = match self.checkpoint() {
            Ok(head) => head,
            Err(error) => {
                let defect = match error {
                    Error::NoCheckpoint => Defect::MissingFile,
                    Error::Checkpoint(_) => Defect::EditedCheckpoint,
                    _ => Defect::Unreadable,
                };
                report.add(defect, CHECKPOINT, None, error.to_string());
                report
                    .notes
                    .push("nothing else was checked: no signed head says how many records there should be".into());
                return report;
            }
        };
        (report.tree_size, report.root) = (head.size, Some(head.root));
        self.note_unchecked(&mut report);
        let boundary = remembered.map_or(0, |remembered| remembered.size);
        let mut audit =
            Audit { ledger: self, head: &head, report, envelopes: HashSet::new(), leaves: Leaves::new(boundary) };
        for bundle in 0..head.size.div_ceil(WIDTH) {
            if audit.report.is_full() {
                audit.report.notes.push("verification stopped: too many problems".into());
                return audit.report;
            }
            audit.bundle(bundle);
        }
        audit.settle();
        if let Some(remembered) = remembered {
            audit.continues(remembered);
        }
        audit.files();
        audit.report.problems.sort_by(|a, b| (&a.file, a.record, a.defect).cmp(&(&b.file, b.record, b.defect)));
        audit.report
    }

    /// Signature lines of keys unknown here may be witnesses', which nobody has checked.
    fn note_unchecked(&self, report: &mut VerifyReport) {
        let Ok(note) = self.checkpoint_bytes().and_then(|bytes| Ok(note::parse(&bytes)?)) else { return };
        let key = &self.trust.ledger;
        let is_witness = |line: &&note::Signature| {
            self.trust.witnesses.iter().any(|key| key.name == line.name && key.line_id() == line.key_id)
        };
        let unknown = note.signatures.iter().filter(|line| line.name != key.name || line.key_id != key.key_id());
        let unknown = unknown.filter(|line| !is_witness(line));
        let names = unknown.map(|line| format!("`{}`", line.name)).collect::<Vec<_>>();
        if !names.is_empty() {
            report.notes.push(format!("signatures on the checkpoint that were not checked: {}", names.join(", ")));
        }
    }
}

struct Audit<'a> {
    ledger: &'a Ledger,
    head: &'a Checkpoint,
    report: VerifyReport,
    /// Envelopes that entries name.
    envelopes: HashSet<Digest>,
    leaves: Leaves,
}

impl Audit<'_> {
    fn bundle(&mut self, index: u64) {
        let storage = self.ledger.storage.as_ref();
        let (first, size) = (index * WIDTH, self.head.size);
        let file = bundle_path(index, size);
        let stored = Tile::in_tree(Kind::Entries, index, size).map(|tile| tree::read_entries(storage, &tile));
        let entries = self.read(&file, stored);
        let leaf_tile = Tile::in_tree(Kind::Hashes(0), index, size);
        let tile_file = leaf_tile.map(|tile| tile.to_string()).unwrap_or_default();
        let hashes = self.read(&tile_file, leaf_tile.map(|tile| tree::read_tile(storage, &tile)));
        let leaves = entries.as_ref().map(|entries| entries.par_iter().map(|entry| merkle::leaf_hash(entry)).collect());
        self.leaves.push(first, leaves, hashes);
        let entries = entries.unwrap_or_default();
        let trust = &self.ledger.trust;
        let check = |(at, entry): (usize, &Vec<u8>)| check(storage, trust, &file, first + at as u64, entry).err();
        let problems: Vec<_> = entries.par_iter().enumerate().filter_map(check).collect();
        self.report.records += (entries.len() - problems.len()) as u64;
        problems.into_iter().for_each(|p| self.report.add(p.defect, &p.file, p.record, p.what));
        self.envelopes.extend(entries.iter().filter_map(|entry| Some(Event::parse(entry)?.envelope.sha256)));
    }

    /// What was read, or nothing and a problem in the report.
    fn read<T>(&mut self, file: &str, read: Option<Result<T, Error>>) -> Option<T> {
        match read? {
            Ok(read) => Some(read),
            Err(error) => {
                let problem = problem_of(&error, file);
                self.report.add(problem.defect, file, None, problem.what);
                None
            }
        }
    }

    /// Lets the signed head decide between entries and tiles, and checks the levels above against the winner.
    fn settle(&mut self) {
        let size = self.head.size;
        let root = |side: &Side| side.root(size, &side.rest);
        let (by_entries, by_tiles) = (root(&self.leaves.entries), root(&self.leaves.tiles));
        if by_entries == Some(self.head.root) {
            let mut named = String::new();
            for mismatch in std::mem::take(&mut self.leaves.mismatches) {
                let file = leaf_tile_path(mismatch.index, size);
                // One finding a tile, at the first hash that differs.
                if file != named {
                    self.report.add(
                        Defect::EditedTile,
                        &file,
                        Some(mismatch.index),
                        "the hash of the entry is another",
                    );
                    named = file;
                }
            }
        } else {
            for (index, defect, what) in classify(&self.leaves.mismatches) {
                self.report.add(defect, &bundle_path(index / WIDTH, size), Some(index), what);
            }
        }
        let unreadable = self.leaves.entries.broken || self.leaves.tiles.broken;
        if by_entries != Some(self.head.root) && by_tiles != Some(self.head.root) && !unreadable {
            let found = by_entries.or(by_tiles).map_or("none".into(), |root| root.to_string());
            let what = format!("the entries lead to head {found}, signed is {}", self.head.root);
            self.report.add(Defect::Rewritten, CHECKPOINT, None, what);
        }
        self.upper_tiles(by_tiles == Some(self.head.root) && by_entries != by_tiles);
    }

    fn upper_tiles(&mut self, by_tiles: bool) {
        let side = if by_tiles { &self.leaves.tiles } else { &self.leaves.entries };
        let comparable = !side.broken;
        let mut hashes = side.heads.clone();
        for level in 1..HEIGHT {
            let size = self.head.size;
            let expected = (0..).map_while(|n| Tile::in_tree(Kind::Hashes(level), n, size));
            let mut chunks = hashes.chunks(TILE_HASHES);
            for tile in expected {
                let truth = chunks.next();
                let read = Some(tree::read_tile(self.ledger.storage.as_ref(), &tile));
                let stored = self.read(&tile.to_string(), read);
                if stored.is_some_and(|stored| comparable && truth != Some(stored.as_slice())) {
                    let what = "its hashes are not those of the tiles below";
                    self.report.add(Defect::EditedTile, &tile.to_string(), None, what);
                }
            }
            hashes = hashes.as_chunks::<TILE_HASHES>().0.iter().map(|chunk| tiles::head(chunk)).collect();
        }
    }

    /// Whether the head seen before is a prefix of this ledger, by recomputing it.
    fn continues(&mut self, remembered: &Checkpoint) {
        let size = self.head.size;
        if remembered.origin != self.head.origin {
            let what = format!("the remembered head is of `{}`", remembered.origin);
            self.report.add(Defect::Rewritten, CHECKPOINT, None, what);
        } else if size < remembered.size {
            let what = format!("{size} records, but {} were seen before: the newest are gone", remembered.size);
            self.report.add(Defect::Truncated, CHECKPOINT, Some(size), what);
        } else {
            let before = |side: &Side| side.root(remembered.size, &side.before);
            let roots = [before(&self.leaves.entries), before(&self.leaves.tiles)];
            if !roots.contains(&Some(remembered.root)) {
                let what = format!("the first {} records are not those seen before", remembered.size);
                self.report.add(Defect::Rewritten, CHECKPOINT, None, what);
            }
        }
    }

    /// Accounts for every file there is.
    fn files(&mut self) {
        let storage = self.ledger.storage.as_ref();
        let announced = match pending::read_pending(storage, self.head.size) {
            Ok(pending) => pending,
            Err(error) => {
                self.report.add(Defect::ExtraFile, PENDING, None, error.to_string());
                None
            }
        };
        if let Some(pending) = &announced {
            let (base, to) = (pending.base, pending.to);
            let note = format!("an append from {base} to {to} records was interrupted; the next append clears it");
            self.report.notes.push(note);
        }
        let (size, envelopes, report) = (self.head.size, &self.envelopes, &mut self.report);
        // Which envelopes a lost bundle named is unknown; calling them extra would blame the wrong files.
        let bundle_lost = self.leaves.entries.broken;
        let mut unmatched = 0u64;
        let walked = pending::walk(storage, "", &mut |path, kind| {
            let tile = Tile::parse(&path);
            let envelope = parse_envelope_path(&path);
            let known = path == CHECKPOINT
                || path == PENDING
                || tile.is_some_and(|tile| tile.is_part(size))
                || envelope.is_some_and(|digest| envelopes.contains(&digest));
            match kind {
                ListedKind::File if known => {}
                ListedKind::File if path == NOT_BEGUN => {
                    report
                        .notes
                        .push(format!("`{path}` is left of an append that had not begun; the next one replaces it"));
                }
                ListedKind::File if is_left_over(&path, announced.as_ref()) => {
                    report.notes.push(format!("`{path}` was left by the interrupted append"));
                }
                ListedKind::File if bundle_lost && envelope.is_some() => unmatched += 1,
                ListedKind::File => report.add(Defect::ExtraFile, &path, None, "does not belong to the ledger"),
                _ => report.add(Defect::ExtraFile, &path, None, "not a regular file"),
            }
        });
        if unmatched > 0 {
            self.report
                .notes
                .push(format!("{unmatched} envelopes were not checked: the bundle that names them is lost"));
        }
        if let Err(error) = walked {
            self.report.add(Defect::Unreadable, "", None, error.to_string());
        }
    }
}

/// Whether a crash of the announced append explains the file.
fn is_left_over(path: &str, pending: Option<&Pending>) -> bool {
    let whole = path.strip_suffix(TEMPORARY);
    let Some(pending) = pending else { return false };
    let announced = |path: &str| {
        path == CHECKPOINT
            || Tile::parse(path).is_some_and(|tile| pending::is_of(pending, &tile))
            || parse_envelope_path(path).is_some_and(|digest| pending.envelopes.contains(&digest))
    };
    announced(whole.unwrap_or(path))
}

fn leaf_tile_path(index: u64, size: u64) -> String {
    Tile::in_tree(Kind::Hashes(0), index / WIDTH, size).map_or_else(|| "tile/0".into(), |tile| tile.to_string())
}
