//! Datasets in pieces: chunks under a B-tree, and virtual datasets made of other files' data.

use super::File;
use super::attribute::{Datatype, VARIABLE};
use super::dataset::Dataset;
use super::fields::{Fields, until_nul};
use crate::formats::reading::quote;
use crate::{Malformed, Trouble};

/// Depth of a chunk tree; with the smallest nodes, a million chunks.
const LEVELS_MAX: u8 = 20;

impl File<'_, '_> {
    /// Chunks as Keras and h5py lay them out by default.
    pub(super) fn chunked(&mut self, path: &str, dataset: &Dataset, mut layout: Fields) -> Result<(), Malformed> {
        let (rank, address) = (u64::from(layout.u8()?), layout.offset_field()?);
        self.tensor(path, dataset, None)?;
        let chunks = self.chunk_tree(address, rank, dataset.filtered)?;
        if dataset.datatype.map(|datatype: Datatype| datatype.class) != Some(VARIABLE) {
            return Ok(());
        }
        for (address, len) in chunks {
            match dataset.filtered {
                true => {
                    let what = format!("texts of {} are compressed and not followed", quote(path));
                    return Err(Malformed::new(Trouble::Undecodable, self.base.saturating_add(address), what));
                }
                false => self.elements(path, dataset, address, len)?,
            }
        }
        Ok(())
    }

    /// Claims the nodes of a chunk tree and the chunks; returns the chunks, address and length, of unfiltered data.
    pub(super) fn chunk_tree(&mut self, root: u64, rank: u64, filtered: bool) -> Result<Vec<(u64, u64)>, Malformed> {
        let mut chunks = Vec::new();
        if self.undefined(root) {
            return Ok(chunks);
        }
        let mut waiting = vec![(root, LEVELS_MAX)];
        while let Some((address, levels)) = waiting.pop() {
            if !self.enter(address)? {
                continue;
            }
            let key_len = 8 + 8 * rank;
            let leaf = self.bytes(address, 6)?.get(5) == Some(&0);
            let children = self.tree_node(address, 1, levels, key_len)?;
            let head = 8 + 2 * self.offset_size;
            let used = children.len() as u64;
            self.claim(address, head + used * (key_len + self.offset_size) + key_len);
            for (key, child) in children {
                if !leaf {
                    waiting.push((child, levels.saturating_sub(1)));
                    continue;
                }
                let len = key.first_chunk().copied().map_or(0, u32::from_le_bytes);
                self.blocks += 1;
                if self.blocks > self.object.limits.entries_max || !self.allowance.take(0) {
                    let what = "chunks after the first are not read: too many";
                    return Err(Malformed::new(Trouble::Limit, self.base.saturating_add(address), what));
                }
                self.claim_data(child, len.into(), "a chunk");
                if chunks.len() < 4096 || !filtered {
                    chunks.push((child, len.into()));
                }
            }
        }
        Ok(chunks)
    }

    /// Chunks as libraries since 1.10 lay them out when told to: one chunk is followed, indexes of many are not.
    pub(super) fn chunked_new(&mut self, path: &str, dataset: &Dataset, mut layout: Fields) -> Result<(), Malformed> {
        self.tensor(path, dataset, None)?;
        let (flags, rank, width) = (layout.u8()?, u64::from(layout.u8()?), u64::from(layout.u8()?));
        let mut elements = Some(1u64);
        for _ in 0..rank {
            let n = layout.uint(width.min(8))?;
            elements = elements.and_then(|product| product.checked_mul(n));
        }
        let kind = layout.u8()?;
        let filtered = flags & 2 != 0;
        let len = match (kind, filtered) {
            (1, true) => {
                let len = layout.length_field()?;
                layout.take(4)?;
                Some(len)
            }
            // The last dimension is the size of an element.
            (1, false) => elements,
            _ => None,
        };
        let Some(len) = len else {
            let what = format!("chunks of {} stand in an index of kind {kind}, which is not read", quote(path));
            return Err(Malformed::new(Trouble::Undecodable, layout.start, what));
        };
        let address = layout.offset_field()?;
        if self.undefined(address) {
            return Ok(());
        }
        self.claim_data(address, len, "a chunk");
        match dataset.datatype.map(|datatype| datatype.class) {
            Some(VARIABLE) if filtered => {
                let what = format!("texts of {} are compressed and not followed", quote(path));
                Err(Malformed::new(Trouble::Undecodable, layout.start, what))
            }
            Some(VARIABLE) => self.elements(path, dataset, address, len),
            _ => Ok(()),
        }
    }

    /// A dataset made of others: each is read from the file named, `.` being this one.
    pub(super) fn virtual_sources(&mut self, path: &str, mut layout: Fields) -> Result<(), Malformed> {
        let (heap, index) = (layout.offset_field()?, layout.uint(4)?);
        if self.undefined(heap) {
            return Ok(());
        }
        let mut block = self.heap_object(heap, index, layout.start)?;
        block.take(1)?;
        let entries = block.length_field()?;
        for _ in 0..entries {
            let file = self.nul_ended(&mut block)?;
            self.nul_ended(&mut block)?;
            if file != b"." {
                self.refer(path, &file, block.start);
            }
            let whole = skip_selection(&mut block)? && skip_selection(&mut block)?;
            if !whole {
                let what = format!("sources of {} after this one are not read", quote(path));
                return Err(Malformed::new(Trouble::Undecodable, block.offset(), what));
            }
        }
        Ok(())
    }

    fn nul_ended(&mut self, block: &mut Fields) -> Result<Vec<u8>, Malformed> {
        let rest = block.bytes.get(block.at..).unwrap_or_default();
        let len = until_nul(rest).len() as u64;
        let text = block.take(len)?.to_vec();
        block.take(1)?;
        Ok(text)
    }
}

/// Passes over a selection; false where its form does not say how long it is.
fn skip_selection(block: &mut Fields) -> Result<bool, Malformed> {
    let (kind, version) = (block.uint(4)?, block.uint(4)?);
    let len = match (kind, version) {
        (0 | 3, _) => 8,
        (1 | 2, 1) => {
            block.take(4)?;
            block.uint(4)?
        }
        (2, 2) => {
            block.take(1)?;
            block.uint(4)?
        }
        (2, 3) => {
            let (flags, width, rank) = (block.u8()?, u64::from(block.u8()?), block.uint(4)?);
            if flags & 1 == 0 || width > 8 || rank > 32 {
                return Ok(false);
            }
            // Start, stride, count and block of each dimension.
            4 * rank * width
        }
        _ => return Ok(false),
    };
    block.take(len)?;
    Ok(true)
}
