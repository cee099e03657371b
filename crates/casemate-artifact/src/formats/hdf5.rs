//! HDF5 files: Keras weights and models, and whatever else is one.
//!
//! The library follows names out of the file: external links, external raw storage and virtual datasets read other files
//! (CVE-2026-1669), and Keras reads its configuration, code included, from attributes (CVE-2024-3660, CVE-2025-9905). We
//! walk the objects from the root, hand on links, texts and configurations, and claim each structure we pass; data is
//! claimed and not read. Compressed structures of newer libraries (dense groups, chunk indexes other than the B-tree) are
//! reported where they stand, not followed.
//!
//! Source: HDF5 File Format Specification 3.0, The HDF Group.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use casemate_core::Window;

use super::reading::{Allowance, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Claims, Malformed, Parsed, Probe, Trouble};

mod attribute;
mod chunks;
mod dataset;
mod fields;
mod group;
mod header;
mod heap;
mod superblock;

use fields::Fields;

/// Reads HDF5 files of every superblock version.
pub(crate) struct Hdf5;

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

impl Format for Hdf5 {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "hdf5", title: "HDF5", extensions: &["h5", "hdf5", "he5"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match signature_at(probe) {
            Some(_) => Sniff::Certain,
            None => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let base = signature_at(object.probe).unwrap_or(0);
        let mut file = File {
            object,
            window: Window::new(&**object.source),
            parsed: &mut parsed,
            allowance: Allowance::new(),
            base,
            offset_size: 8,
            length_size: 8,
            leaf_k: 4,
            internal_k: 16,
            chunk_k: 32,
            seen: HashSet::new(),
            blocks: 0,
            waiting: Vec::new(),
            heaps: HashMap::new(),
            names: HashSet::new(),
            bytes_read: 0,
            claimed: Vec::new(),
        };
        if let Err(malformed) = file.read() {
            file.report(malformed);
        }
        file.settle();
        parsed
    }
}

/// Where the file begins: at 0, or after a user block of 512 bytes or a power of two more. What stands in the block is
/// claimed by nobody.
fn signature_at(probe: &Probe) -> Option<u64> {
    [0usize, 512, 1024, 2048].into_iter().find(|at| probe.has_at(*at, SIGNATURE)).map(|at| at as u64)
}

/// A file while it is read.
struct File<'a, 'p> {
    object: &'a Object<'a>,
    window: Window<'a>,
    parsed: &'p mut Parsed,
    allowance: Allowance,
    // Addresses count from here.
    base: u64,
    offset_size: u64,
    length_size: u64,
    leaf_k: u64,
    internal_k: u64,
    chunk_k: u64,
    // Structures walked, by address: a cycle ends where it began.
    seen: HashSet<u64>,
    blocks: u64,
    waiting: Vec<(String, u64)>,
    heaps: HashMap<u64, HashMap<u16, Range<u64>>>,
    // Names of links, for telling what freed heaps held.
    names: HashSet<Vec<u8>>,
    // Structures may overlap, so what they cost is counted apart from what the file has.
    bytes_read: u64,
    // Claims wait here: in the order of a hostile file, adding them one by one would be quadratic.
    claimed: Vec<Range<u64>>,
}

/// Bytes of structures read of any file, beside twice its size; the walk of an ordinary one reads a hundredth of that.
const BYTES_READ_MAX: u64 = 256 << 20;

impl File<'_, '_> {
    fn read(&mut self) -> Result<(), Malformed> {
        let root = self.superblock()?;
        self.waiting.push((String::new(), root));
        while let Some((path, address)) = self.waiting.pop() {
            if let Err(malformed) = self.object_at(&path, address) {
                if matches!(malformed.trouble, Trouble::Limit | Trouble::Unreadable) {
                    return Err(malformed);
                }
                self.report(malformed);
            }
        }
        self.freed()
    }

    /// Counts one more structure; false where it was walked before.
    fn enter(&mut self, address: u64) -> Result<bool, Malformed> {
        self.blocks += 1;
        if self.blocks > self.object.limits.entries_max || !self.allowance.take(0) {
            return Err(Malformed::new(Trouble::Limit, address, "structures after the first are not read: too many"));
        }
        Ok(self.seen.insert(address))
    }

    /// The bytes at an address.
    fn bytes(&mut self, address: u64, len: u64) -> Result<Vec<u8>, Malformed> {
        let at = self.base.saturating_add(address);
        if len > self.object.limits.header_bytes_max {
            return Err(Malformed::new(Trouble::Limit, at, format!("a structure of {len} bytes is not read")));
        }
        self.bytes_read = self.bytes_read.saturating_add(len);
        if self.bytes_read > self.object.source.size_bytes().saturating_mul(2).saturating_add(BYTES_READ_MAX) {
            return Err(Malformed::new(Trouble::Limit, at, "structures overlap: the rest is not read"));
        }
        let bytes = self.window.get(at, len).map_err(|e| unreadable(&e, at))?;
        let past =
            || Malformed::new(Trouble::Undecodable, at, format!("{len} bytes are announced past the file's end"));
        bytes.map(<[u8]>::to_vec).ok_or_else(past)
    }

    /// The fields at an address, whose structure begins with `signature`.
    fn block(&mut self, address: u64, len: u64, signature: &[u8]) -> Result<Fields, Malformed> {
        let fields = self.fields(address, len)?;
        match fields.bytes.starts_with(signature) {
            true => Ok(fields),
            false => {
                let what = format!("no {} where one is announced", signature.escape_ascii());
                Err(Malformed::new(Trouble::Undecodable, self.base.saturating_add(address), what))
            }
        }
    }

    fn fields(&mut self, address: u64, len: u64) -> Result<Fields, Malformed> {
        let bytes = self.bytes(address, len)?;
        Ok(self.fields_of(bytes, self.base.saturating_add(address)))
    }

    fn fields_of(&self, bytes: Vec<u8>, start: u64) -> Fields {
        Fields { bytes, at: 0, start, offset_size: self.offset_size, length_size: self.length_size }
    }

    /// Claims `len` bytes at an address, as far as the file goes.
    fn claim(&mut self, address: u64, len: u64) {
        let size = self.object.source.size_bytes();
        let start = self.base.saturating_add(address).min(size);
        self.claimed.push(start..start.saturating_add(len).min(size));
    }

    /// Turns what waits into claims, in ascending order.
    fn settle(&mut self) {
        let mut claimed = std::mem::take(&mut self.claimed);
        claimed.extend(self.parsed.claims.ranges().iter().cloned());
        claimed.sort_unstable_by_key(|range| range.start);
        self.parsed.claims = Claims::default();
        for range in claimed {
            self.parsed.claims.add(range);
        }
    }

    /// Claims the whole of a span of data, which has to lie in the file.
    fn claim_data(&mut self, address: u64, len: u64, what: &str) {
        let start = self.base.saturating_add(address);
        if start.checked_add(len).is_none_or(|end| end > self.object.source.size_bytes()) {
            let what = format!("{what} ends past the file's end");
            self.report(Malformed::new(Trouble::Undecodable, start, what));
        }
        self.claim(address, len);
    }

    fn report(&mut self, malformed: Malformed) {
        self.parsed.report(self.object.limits, malformed);
    }

    fn undecoded(&mut self, offset: u64, what: impl Into<String>) {
        self.report(Malformed::new(Trouble::Undecodable, offset, what));
    }

    /// Whether an address stands for none.
    fn undefined(&self, address: u64) -> bool {
        address >= u64::MAX >> (64 - 8 * self.offset_size.clamp(1, 8))
    }
}

#[cfg(test)]
mod tests;
