//! Leaf hashes as the entries give them and as the tiles hold them, side by side.

use casemate_core::Digest;

use super::defect::Mismatch;
use crate::merkle::Frontier;
use crate::tiles::{self, HEIGHT, WIDTH};

/// Differences kept to be named; far more than a report lists.
const MISMATCHES_MAX: usize = 1 << 16;

/// Leaf hashes of one origin, entries or tiles, condensed to what heads are made of.
#[derive(Default)]
pub(super) struct Side {
    /// A bundle could not be read.
    pub(super) broken: bool,
    /// Heads of complete tiles.
    pub(super) heads: Vec<Digest>,
    /// Hashes of the incomplete one.
    pub(super) rest: Vec<Digest>,
    /// Hashes before the boundary in the tile it divides.
    pub(super) before: Vec<Digest>,
}

/// Both origins of leaf hashes, and where they differ.
pub(super) struct Leaves {
    /// Size of the remembered tree.
    boundary: u64,
    pub(super) entries: Side,
    pub(super) tiles: Side,
    pub(super) mismatches: Vec<Mismatch>,
}

impl Side {
    fn push(&mut self, hashes: Option<Vec<Digest>>, first: u64, boundary: u64) {
        let Some(hashes) = hashes else {
            self.broken = true;
            return;
        };
        let before = boundary.saturating_sub(first);
        if before < WIDTH {
            let before = usize::try_from(before).ok().and_then(|n| hashes.get(..n)).unwrap_or_default();
            self.before.extend(before);
        }
        match hashes.len() as u64 == WIDTH {
            true => self.heads.push(tiles::head(&hashes)),
            false => self.rest = hashes,
        }
    }

    /// The head of the tree of `size` leaves of which `rest` are in the incomplete tile.
    pub(super) fn root(&self, size: u64, rest: &[Digest]) -> Option<Digest> {
        let complete = usize::try_from(size / WIDTH).ok().and_then(|n| self.heads.get(..n))?;
        let counted = complete.len() as u64 * WIDTH + rest.len() as u64;
        let mut frontier = Frontier::default();
        complete.iter().for_each(|head| frontier.push(HEIGHT, *head));
        rest.iter().for_each(|hash| frontier.push(0, *hash));
        (!self.broken && counted == size).then(|| frontier.root())
    }
}

impl Leaves {
    pub(super) fn new(boundary: u64) -> Self {
        Self { boundary, entries: Side::default(), tiles: Side::default(), mismatches: Vec::new() }
    }

    pub(super) fn push(&mut self, first: u64, entries: Option<Vec<Digest>>, tile: Option<Vec<Digest>>) {
        if let (Some(entries), Some(tile)) = (&entries, &tile) {
            let longest = entries.len().max(tile.len());
            let pairs = (0..longest).map(|at| (first + at as u64, tile.get(at).copied(), entries.get(at).copied()));
            let differing = pairs.filter(|(_, expected, found)| expected != found);
            let room = MISMATCHES_MAX.saturating_sub(self.mismatches.len());
            let differing = differing.take(room);
            self.mismatches.extend(differing.map(|(index, expected, found)| Mismatch { index, expected, found }));
        }
        self.entries.push(entries, first, self.boundary);
        self.tiles.push(tile, first, self.boundary);
    }
}
