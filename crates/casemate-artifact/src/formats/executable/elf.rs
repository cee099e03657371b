//! ELF: header, program headers, section headers.

use casemate_core::Source;

use super::header;
use crate::Malformed;

/// Section type without bytes in the file.
const SHT_NOBITS: u64 = 8;

/// A header in either class and byte order.
struct Fields<'b> {
    bytes: &'b [u8],
    big_endian: bool,
    wide: bool,
}

impl Fields<'_> {
    /// The number of `len` bytes at `at`; 0 past the end.
    fn number(&self, at: usize, len: usize) -> u64 {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        let join = |n: u64, byte: &u8| n << 8 | u64::from(*byte);
        match self.big_endian {
            true => bytes.iter().fold(0, join),
            false => bytes.iter().rev().fold(0, join),
        }
    }

    /// An offset or size, at one place in 32 bit files and at another in 64 bit files.
    fn word(&self, narrow_at: usize, wide_at: usize) -> u64 {
        match self.wide {
            true => self.number(wide_at, 8),
            false => self.number(narrow_at, 4),
        }
    }
}

fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { bytes, big_endian: bytes.get(5) == Some(&2), wide: bytes.get(4) == Some(&2) }
}

/// Whether every field with few values has one of them.
pub(super) fn is_header(head: &[u8]) -> bool {
    let ident = matches!(head.get(..7), Some([0x7f, b'E', b'L', b'F', 1 | 2, 1 | 2, 1]));
    let fields = fields(head);
    let (kind, machine) = (fields.number(16, 2), fields.number(18, 2));
    let header_bytes = if fields.wide { fields.number(52, 2) == 64 } else { fields.number(40, 2) == 52 };
    // Machines are numbered to about 260; a few unofficial ones lie far above.
    let plausible = (1..=300).contains(&machine) || machine >= 0x9000;
    ident && matches!(kind, 1..=4 | 0xfe00..) && plausible && fields.number(20, 4) == 1 && header_bytes
}

/// Where the last byte lies that a header, a segment or a section covers.
pub(super) fn end(source: &dyn Source) -> Result<u64, Malformed> {
    let bytes = header(source, 0, 64)?;
    let file = fields(&bytes);
    let counts = if file.wide { 52 } else { 40 };
    let n = |index: usize| file.number(counts + 2 * index, 2);
    let mut end = n(0);
    let tables = [(file.word(28, 32), n(1), n(2), true), (file.word(32, 40), n(3), n(4), false)];
    for (at, entry_bytes, count, is_segments) in tables {
        if at == 0 || entry_bytes == 0 {
            continue;
        }
        // At most 65,535 entries of at most 65,535 bytes are read one by one.
        let table_end = at.saturating_add(entry_bytes * count);
        end = end.max(table_end);
        for index in 0..count {
            let entry = header(source, at.saturating_add(entry_bytes * index), entry_bytes.min(64))?;
            if entry.is_empty() {
                break;
            }
            let entry = Fields { bytes: &entry, ..file };
            let (offset, len) = match is_segments {
                true => (entry.word(4, 8), entry.word(16, 32)),
                false if entry.number(4, 4) == SHT_NOBITS => continue,
                false => (entry.word(16, 24), entry.word(20, 32)),
            };
            end = end.max(if len == 0 { 0 } else { offset.saturating_add(len) });
        }
    }
    Ok(end)
}
