//! Reads the stored tree: tiles, bundles, and heads of stretches computed from as few tiles as possible.

use std::collections::HashMap;
use std::ops::Range;

use casemate_core::Digest;

use super::{Error, Storage};
use crate::merkle::{self, Frontier, Node};
use crate::tiles::{self, BUNDLE_BYTES_MAX, HEIGHT, Kind, TILE_BYTES_MAX, Tile, WIDTH};

/// A stored tree of a certain size. Tiles read once are kept while it lives.
pub(super) struct Tree<'a> {
    storage: &'a dyn Storage,
    size: u64,
    hashes: HashMap<(u32, u64), Vec<Digest>>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(storage: &'a dyn Storage, size: u64) -> Self {
        Self { storage, size, hashes: HashMap::new() }
    }

    /// The hashes of a tile, as many as the tree has there.
    pub(super) fn tile(&mut self, level: u32, index: u64) -> Result<&[Digest], Error> {
        if !self.hashes.contains_key(&(level, index)) {
            let tile = Tile::in_tree(Kind::Hashes(level), index, self.size).ok_or_else(|| unknown(index))?;
            let hashes = read_tile(self.storage, &tile)?;
            self.hashes.insert((level, index), hashes);
        }
        Ok(self.hashes.get(&(level, index)).map(Vec::as_slice).unwrap_or_default())
    }

    /// The entries of bundle `index`, as many as the tree has there.
    pub(super) fn entries(&self, index: u64) -> Result<Vec<Vec<u8>>, Error> {
        let tile = Tile::in_tree(Kind::Entries, index, self.size).ok_or_else(|| unknown(index))?;
        let entries = read_entries(self.storage, &tile)?;
        match entries.len() as u64 == tile.width {
            true => Ok(entries),
            false => Err(damaged(&tile, format!("holds {} entries instead of {}", entries.len(), tile.width))),
        }
    }

    /// The head over a stretch of leaves, from the tiles that hold its complete subtrees.
    pub(super) fn head(&mut self, leaves: Range<u64>) -> Result<Digest, Error> {
        let mut frontier = Frontier::default();
        for node in merkle::cover(leaves) {
            frontier.push(node.height, self.node(node)?);
        }
        Ok(frontier.root())
    }

    fn node(&mut self, node: Node) -> Result<Digest, Error> {
        // The tile level below, whose hashes it is the head of.
        let level = node.height / HEIGHT;
        let first = node.index << (node.height % HEIGHT);
        let start = usize::try_from(first % WIDTH).unwrap_or(usize::MAX);
        let wanted = start..start.saturating_add(1 << (node.height % HEIGHT));
        let hashes = self.tile(level, first / WIDTH)?;
        hashes.get(wanted).map(tiles::head).ok_or_else(|| unknown(node.index))
    }
}

/// The hashes of a stored tile, exactly as many as it should have.
pub(super) fn read_tile(storage: &dyn Storage, tile: &Tile) -> Result<Vec<Digest>, Error> {
    let bytes = storage.read(&tile.to_string(), TILE_BYTES_MAX)?.ok_or_else(|| damaged(tile, "missing".into()))?;
    let hashes = tiles::parse_hashes(&bytes).map_err(|error| damaged(tile, error.to_string()))?;
    match hashes.len() as u64 == tile.width {
        true => Ok(hashes),
        false => Err(damaged(tile, format!("holds {} hashes instead of {}", hashes.len(), tile.width))),
    }
}

/// The entries of a stored bundle, however many there are.
pub(super) fn read_entries(storage: &dyn Storage, tile: &Tile) -> Result<Vec<Vec<u8>>, Error> {
    let bytes = storage.read(&tile.to_string(), BUNDLE_BYTES_MAX)?.ok_or_else(|| damaged(tile, "missing".into()))?;
    let entries = tiles::parse_entries(&bytes).map_err(|error| damaged(tile, error.to_string()))?;
    Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
}

fn damaged(tile: &Tile, what: String) -> Error {
    Error::Damaged { file: tile.to_string(), what }
}

fn unknown(index: u64) -> Error {
    Error::UnknownRecord { which: index.to_string() }
}
