//! The announcement of an append, and clearing up after one that was interrupted.
//!
//! A crash before the checkpoint leaves files no head counts; one after it leaves files no head needs. The announcement
//! tells either from files somebody else put there: those are problems, these are notes.

use std::collections::HashSet;

use casemate_core::Digest;
use serde::{Deserialize, Serialize};

use super::event::{Event, envelope_path};
use super::storage::TEMPORARY;
use super::tree::Tree;
use super::{CHECKPOINT, Error, ListedKind, Storage};
use crate::tiles::{Tile, WIDTH};

/// The file that announces an append.
pub(super) const PENDING: &str = "pending";
/// Bytes it may have: a digest for each record of the largest batch.
const BYTES_MAX: u64 = 16 << 20;
/// Directories `walk` goes down: below `tile/<level>` lie at most seven groups of digits and one `.p` directory.
const DEPTH_MAX: u32 = 12;

/// The contents of `pending`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    /// Number of records before the append.
    pub(super) base: u64,
    /// Envelopes it brings that were not there before.
    pub(super) envelopes: Vec<Digest>,
    /// Number of records after it.
    pub(super) to: u64,
}

/// Reads `pending` beside a head of `size` records; `None` when no append is under way.
pub(super) fn read_pending(storage: &dyn Storage, size: u64) -> Result<Option<Pending>, Error> {
    let Some(bytes) = storage.read(PENDING, BYTES_MAX)? else { return Ok(None) };
    let damaged = |what: &str| Error::Damaged { file: PENDING.into(), what: what.into() };
    let pending: Pending = serde_json::from_slice(&bytes).map_err(|_| damaged("not what an append writes"))?;
    let fits = pending.base < pending.to && (size == pending.base || size == pending.to);
    if fits { Ok(Some(pending)) } else { Err(damaged("announces an append between other sizes than the checkpoint's")) }
}

/// Clears what an interrupted append left; `size` is that of the signed head. Returns notes on it.
pub(super) fn recover(storage: &dyn Storage, size: u64) -> Result<Vec<String>, Error> {
    let Some(pending) = read_pending(storage, size)? else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    walk(storage, "", &mut |path, _| files.push(path))?;
    let stray = |path: &String| match path.strip_suffix(TEMPORARY) {
        Some(whole) => whole == CHECKPOINT || whole.starts_with("tile/") || whole.starts_with("envelopes/"),
        None => Tile::parse(path).is_some_and(|tile| !tile.is_part(size) && is_of(&pending, &tile)),
    };
    let mut removed = 0u64;
    for path in files.iter().filter(|path| stray(path)) {
        storage.remove(path)?;
        removed += 1;
    }
    if size == pending.base && !pending.envelopes.is_empty() {
        let referenced = referenced(storage, size)?;
        for digest in pending.envelopes.iter().filter(|digest| !referenced.contains(digest)) {
            storage.remove(&envelope_path(*digest))?;
            removed += 1;
        }
    }
    storage.remove(PENDING)?;
    let state = if size == pending.to { "finished but not tidied up" } else { "interrupted and is undone" };
    let (base, to) = (pending.base, pending.to);
    Ok(vec![format!("an append from {base} to {to} records was {state}; {removed} files were cleared")])
}

/// Whether the announced append may have left this tile.
pub(super) fn is_of(pending: &Pending, tile: &Tile) -> bool {
    tile.is_part(pending.base) || tile.is_part(pending.to)
}

fn referenced(storage: &dyn Storage, size: u64) -> Result<HashSet<Digest>, Error> {
    let tree = Tree::new(storage, size);
    let mut digests = HashSet::new();
    for index in 0..size.div_ceil(WIDTH) {
        digests.extend(tree.entries(index)?.iter().filter_map(|entry| Some(Event::parse(entry)?.envelope.sha256)));
    }
    Ok(digests)
}

/// Calls `visit` with each path below `directory` that is not a directory.
pub(super) fn walk(
    storage: &dyn Storage,
    directory: &str,
    visit: &mut dyn FnMut(String, ListedKind),
) -> Result<(), Error> {
    let mut rest = vec![(directory.to_string(), 0)];
    while let Some((directory, depth)) = rest.pop() {
        for listed in storage.list(&directory)? {
            let path = if directory.is_empty() { listed.name } else { format!("{directory}/{}", listed.name) };
            match listed.kind {
                ListedKind::Directory if depth < DEPTH_MAX => rest.push((path, depth + 1)),
                kind => visit(path, kind),
            }
        }
    }
    Ok(())
}
