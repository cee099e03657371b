//! OCDBT, the store in which Orbax keeps checkpoints of JAX: a manifest, and data files of values followed by tree nodes.
//!
//! Manifest and nodes name further files, which a reader opens: a name with `..` reads elsewhere. Each block carries its
//! length and a CRC-32C. Values are chunks of arrays that only the tree tells apart, so they are numbers here and merely
//! searched for what begins unmistakably.
//!
//! Source: <https://google.github.io/tensorstore/kvstore/ocdbt/index.html>, compared with files of tensorstore 0.1.86.

use std::ops::Range;
use std::sync::Arc;

use casemate_core::{MemorySource, RangeSource, SourceExt};

use super::unpack::{Codec, Ending, Output};
use super::zstd::Zstd;
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Parsed, Probe, Role, Trouble};

mod block;
mod node;

use block::{Block, MANIFEST, NODE, VERSIONS};

/// Reads manifests and data files.
pub(crate) struct Ocdbt;

/// Bytes of one block, packed and unpacked; tensorstore keeps nodes below 8 MiB.
const BLOCK_BYTES_MAX: u64 = 8 << 20;

impl Format for Ocdbt {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "ocdbt", title: "OCDBT store", extensions: &["ocdbt"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match begins(probe) || last_blocks(probe).is_some() {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    /// What only ends like a store may be anything with a node behind it: there the name tensorstore finds it by decides.
    fn is_believable(&self, object: &Object<'_>) -> bool {
        begins(object.probe) || is_data_file(object.name)
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let size = object.source.size_bytes();
        let mut at = read_blocks(object, 0, &mut parsed);
        if !parsed.malformed.is_empty() {
            return parsed;
        }
        // Values come before the nodes that know them.
        if let Some(nodes) = last_blocks(object.probe).filter(|nodes| *nodes > at) {
            if !is_packed(&object.source.bytes_at(at, 4).unwrap_or_default()) {
                let source = Arc::new(RangeSource::new(Arc::clone(object.source), at, nodes - at));
                parsed.children.push(Child { name: format!("values@{at}"), source, role: Role::RawData });
            }
            parsed.claims.add(at..nodes);
            at = read_blocks(object, nodes, &mut parsed);
        }
        if at < size && at > 0 && !object.probe.starts_with(MANIFEST) {
            parsed.claims.add(at..size);
            let what = "values whose place only another file tells";
            parsed.report(object.limits, Malformed::new(Trouble::Undecodable, at, what));
        }
        parsed
    }
}

/// Whether an object begins with a block.
fn begins(probe: &Probe) -> bool {
    [MANIFEST, NODE, VERSIONS].iter().any(|magic| probe.starts_with(magic))
}

/// Whether a file has the name of a store's data: `d/` and 32 hexadecimal digits.
fn is_data_file(path: &str) -> bool {
    let digits = |name: &str| name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    path.rsplit_once('/').is_some_and(|(folder, name)| digits(name) && (folder == "d" || folder.ends_with("/d")))
}

/// Whether a value begins like a packed chunk: each is packed by itself, and the store knows where it ends.
fn is_packed(value: &[u8]) -> bool {
    matches!(value, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x1f, 0x8b, ..] | [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..])
}

/// Where the blocks begin that reach to the end of the object, as far as its tail tells.
fn last_blocks(probe: &Probe) -> Option<u64> {
    let start = probe.size_bytes.saturating_sub(probe.tail.len() as u64);
    let mut found = None;
    for (n, bytes) in probe.tail.windows(NODE.len()).enumerate() {
        if bytes != NODE && bytes != VERSIONS {
            continue;
        }
        let (at, rest) = (start + n as u64, probe.tail.get(n..).unwrap_or_default());
        let block = Block::of(rest, at);
        let sound =
            block.as_ref().and_then(|block| rest.get(..usize::try_from(block.len).ok()?)).is_some_and(block::is_sound);
        match block {
            Some(block) if sound && at + block.len == probe.size_bytes => return found.or(Some(at)),
            // Several in a row count from the first.
            Some(_) if sound => found = found.or(Some(at)),
            _ => {}
        }
    }
    None
}

/// Reads the blocks one behind the other from `at` on; returns where the last ends.
fn read_blocks(object: &Object<'_>, mut at: u64, parsed: &mut Parsed) -> u64 {
    let size = object.source.size_bytes();
    let mut read = 0;
    while at < size {
        let head = object.source.bytes_at(at, block::HEAD_BYTES).unwrap_or_default();
        let Some(block) = Block::of(&head, at) else { break };
        read += 1;
        let result = if read > object.limits.entries_max {
            Err(Malformed::new(Trouble::Limit, at, "more blocks than can be read"))
        } else {
            read_block(object, &block, at, parsed)
        };
        if let Err(malformed) = result {
            parsed.claims.add(at..at.saturating_add(block.len).min(size));
            parsed.report(object.limits, malformed);
            return size;
        }
        parsed.claims.add(at..at + block.len);
        at += block.len;
    }
    at
}

fn read_block(object: &Object<'_>, block: &Block, at: u64, parsed: &mut Parsed) -> Result<(), Malformed> {
    let broken = |what: String| Malformed::new(Trouble::Undecodable, at, what);
    if block.len < block::BYTES_MIN || block.len > object.source.size_bytes() - at {
        return Err(broken(format!("a block of {} bytes, {} are left", block.len, object.source.size_bytes() - at)));
    }
    if block.len > BLOCK_BYTES_MAX {
        return Err(Malformed::new(Trouble::Limit, at, format!("a block of {} bytes", block.len)));
    }
    let bytes = object.source.bytes_at(at, block.len).map_err(|error| super::reading::unreadable(&error, at))?;
    if !block::is_sound(&bytes) {
        return Err(broken("the checksum of a block is wrong".into()));
    }
    let body = block.body.start..block.len - block::CHECKSUM_BYTES;
    let body = match block.compression {
        0 => slice(&bytes, body).to_vec(),
        1 => unpack(object, slice(&bytes, body), at)?,
        other => return Err(broken(format!("a block packed in the unknown way {other}"))),
    };
    drop(bytes);
    node::read(&body, block.kind, object, parsed)
        .ok_or_else(|| broken("a block that ends too early, or holds more than can be read".into()))?
}

fn slice(bytes: &[u8], range: Range<u64>) -> &[u8] {
    let range = usize::try_from(range.start).unwrap_or(usize::MAX)..usize::try_from(range.end).unwrap_or(usize::MAX);
    bytes.get(range).unwrap_or_default()
}

fn unpack(object: &Object<'_>, packed: &[u8], at: u64) -> Result<Vec<u8>, Malformed> {
    let max = object.limits.inflated_member_bytes_max.min(BLOCK_BYTES_MAX);
    let (source, len) = (MemorySource::new(packed), packed.len() as u64);
    let mut output = Output::kept(max);
    let unpacked = Zstd.stream(&source, 0..len, &mut output).map_err(|error| super::reading::unreadable(&error, at))?;
    object.budget.inflated(output.made, object.limits)?;
    match unpacked.ending {
        Ending::Whole if unpacked.used == len => Ok(output.bytes),
        Ending::TooLong => Err(Malformed::new(Trouble::Limit, at, format!("a block unpacks to more than {max} bytes"))),
        _ => Err(Malformed::new(Trouble::Undecodable, at, "a block cannot be unpacked")),
    }
}

#[cfg(test)]
mod tests;
