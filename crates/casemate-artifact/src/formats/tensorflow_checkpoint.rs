//! TensorFlow checkpoints' `.index`: a sorted table of tensors, whose numbers stand in `.data-00000-of-00001`.
//!
//! Blocks are walked so that every byte is one's or is reported; there is nothing in it that could run.
//!
//! Source: `tensorflow/core/lib/io/table_format.txt`, `tensorflow/core/protobuf/tensor_bundle.proto`.

use std::ops::Range;

use casemate_core::Window;

use super::protobuf::Cursor;
use super::reading::{u32_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

const MAGIC: &[u8] = &0xdb47_7524_8b80_fb57_u64.to_le_bytes();
const FOOTER_BYTES: u64 = 48;
/// Compression and checksum behind each block.
const TRAILER_BYTES: u64 = 5;
/// A block has 256 KiB, so this is an index of 5 GiB; claims out of order cost the square of their number.
const BLOCKS_MAX: u64 = 20_000;

/// Reads indexes of checkpoints.
pub(crate) struct TensorflowCheckpoint;

impl Format for TensorflowCheckpoint {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "tensorflow-checkpoint",
            title: "TensorFlow checkpoint index",
            extensions: &["index"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // The first key is empty, its value a header that begins with the number of shards.
        let headed = probe.starts_with(&[0, 0]) && probe.has_at(3, &[0x08]);
        match headed && probe.size_bytes >= FOOTER_BYTES && probe.tail.ends_with(MAGIC) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        Parsed::until_it_breaks(object, walk)
    }
}

fn walk(object: &Object<'_>, parsed: &mut Parsed) -> Result<(), Malformed> {
    let (size, mut window) = (object.source.size_bytes(), Window::new(&**object.source));
    let Some(footer) = size.checked_sub(FOOTER_BYTES) else {
        return Err(Malformed::new(Trouble::Undecodable, 0, "too short for a table"));
    };
    parsed.claims.add(footer..size);
    let mut cursor = Cursor::new(footer..size);
    let others = block(&mut cursor, &mut window, footer)?;
    let index = block(&mut cursor, &mut window, footer)?;
    for range in [&others, &index] {
        parsed.claims.add(range.start..range.end + TRAILER_BYTES);
    }
    let tail = index.end.checked_sub(4).filter(|tail| *tail >= index.start);
    let tail = tail.ok_or_else(|| Malformed::new(Trouble::Undecodable, index.start, "the index has no end"))?;
    let restarts = window.get(tail, 4).map_err(|error| unreadable(&error, tail))?;
    let restarts = 4 * u64::from(restarts.and_then(|bytes| u32_le(bytes, 0)).unwrap_or(u32::MAX));
    let end = tail.checked_sub(restarts).filter(|end| *end >= index.start);
    let end =
        end.ok_or_else(|| Malformed::new(Trouble::Undecodable, tail, "the index has more restarts than bytes"))?;
    let mut cursor = Cursor::new(index.start..end);
    let mut blocks = 0;
    while cursor.at < end {
        let at = cursor.at;
        blocks += 1;
        if blocks > BLOCKS_MAX {
            return Err(Malformed::new(Trouble::Limit, at, format!("more than {BLOCKS_MAX} blocks")));
        }
        cursor.varint(&mut window)?;
        let key = cursor.varint(&mut window)?;
        cursor.varint(&mut window)?;
        let value = cursor.at.checked_add(key).filter(|value| *value <= end);
        let value = value.ok_or_else(|| Malformed::new(Trouble::Undecodable, at, "a key ends past the index"))?;
        cursor = Cursor::new(value..end);
        let data = block(&mut cursor, &mut window, footer)?;
        parsed.claims.add(data.start..data.end + TRAILER_BYTES);
    }
    Ok(())
}

/// Where a block lies, from its offset and size; its trailer is inside the file too.
fn block(cursor: &mut Cursor, window: &mut Window<'_>, footer: u64) -> Result<Range<u64>, Malformed> {
    let at = cursor.at;
    let (start, len) = (cursor.varint(window)?, cursor.varint(window)?);
    let end = start.checked_add(len).filter(|end| end.checked_add(TRAILER_BYTES).is_some_and(|end| end <= footer));
    Ok(start..end.ok_or_else(|| Malformed::new(Trouble::Undecodable, at, "a block lies outside the table"))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

    /// One data block of 13 bytes, an empty block of 8, an index of one entry.
    fn sample() -> Vec<u8> {
        let mut bytes = [&[0, 0, 2, 8, 1][..], &[0, 0, 0, 0, 1, 0, 0, 0], &[0; 5]].concat();
        bytes.extend([&[0, 0, 0, 0, 1, 0, 0, 0][..], &[0; 5]].concat());
        bytes.extend([&[0, 1, 2, b'x', 0, 13][..], &[0, 0, 0, 0, 1, 0, 0, 0], &[0; 5]].concat());
        bytes.extend([18, 8, 31, 14]);
        bytes.resize(bytes.len() + 36, 0);
        bytes.extend(MAGIC);
        bytes
    }

    #[test]
    fn a_sound_index_is_claimed_whole() {
        assert_eq!(sniff(&TensorflowCheckpoint, &sample()), Sniff::Certain);
        assert_whole(&parse(&TensorflowCheckpoint, &sample()), &sample());
    }

    #[test]
    fn blocks_outside_and_bytes_between_are_reported() {
        for at in [35, 36, 52] {
            let mut bytes = sample();
            bytes[at] = 0x7f;
            assert_eq!(troubles(&parse(&TensorflowCheckpoint, &bytes)), [Trouble::Undecodable], "{at}");
        }
        let mut bytes = sample();
        bytes[36] = 1;
        assert_eq!(hidden(&parse(&TensorflowCheckpoint, &bytes), &bytes).len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\0\0\x06\x08\x01")) {
            assert_bounded(&TensorflowCheckpoint, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
            assert_bounded(&TensorflowCheckpoint, &bytes);
        }
    }
}
