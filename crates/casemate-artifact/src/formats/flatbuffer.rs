//! FlatBuffers, walked in place: tables, vectors and strings, every offset checked before it is followed.
//!
//! Loaders map the file and follow its offsets, so one that points outside is memory of the process. Nothing is allocated
//! from a length; how many tables are visited is counted, since offsets may share or repeat them without end.
//!
//! Source: <https://flatbuffers.dev/internals/>.

use casemate_core::{Source, SourceExt};

use super::reading::{u16_le, u32_le, u64_le, unreadable};
use crate::{Malformed, Trouble};

/// A buffer being walked.
pub(crate) struct Flatbuffer<'a> {
    source: &'a dyn Source,
    /// What was read last: all of a small file. Offsets lead back and forth, so a window would be read again and again.
    held: Vec<u8>,
    held_at: u64,
    /// The end of what was reached so far.
    pub(crate) reached: u64,
    visits_left: u64,
}

/// A table: where it stands, and its vtable.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) at: u64,
    vtable: u64,
    vtable_bytes: u64,
    table_bytes: u64,
}

/// A vector or a string: its elements.
#[derive(Clone, Copy)]
pub(crate) struct Vector {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

impl<'a> Flatbuffer<'a> {
    /// A walk over `source` that visits at most `visits_max` tables, vectors and strings.
    pub(crate) fn new(source: &'a dyn Source, visits_max: u64) -> Self {
        // No sound file has more of them than words of four bytes.
        let visits_left = visits_max.min(source.size_bytes() / 4);
        Self { source, held: Vec::new(), held_at: 0, reached: 8, visits_left }
    }

    /// The root table.
    pub(crate) fn root(&mut self) -> Result<Table, Malformed> {
        let at = self.u32(0)?;
        self.table(at.into())
    }

    /// The table at `at`.
    pub(crate) fn table(&mut self, at: u64) -> Result<Table, Malformed> {
        self.visit(at)?;
        let back = i64::from(self.u32(at)?.cast_signed());
        let vtable = at.checked_add_signed(-back).ok_or_else(|| outside(at, "a table's layout"))?;
        let (vtable_bytes, table_bytes) = (u64::from(self.u16(vtable)?), u64::from(self.u16(vtable + 2)?));
        if vtable_bytes < 4 || vtable_bytes % 2 != 0 || table_bytes < 4 {
            return Err(Malformed::new(Trouble::Undecodable, vtable, "a table's layout has no sound size"));
        }
        self.reach(vtable, vtable_bytes)?;
        self.reach(at, table_bytes)?;
        Ok(Table { at, vtable, vtable_bytes, table_bytes })
    }

    /// Where the field `slot` of `width` bytes stands, if the table has it.
    fn field(&mut self, table: Table, slot: u64, width: u64) -> Result<Option<u64>, Malformed> {
        let entry = 4 + 2 * slot;
        if entry + 2 > table.vtable_bytes {
            return Ok(None);
        }
        let offset = u64::from(self.u16(table.vtable + entry)?);
        match offset {
            0 => Ok(None),
            _ if offset + width <= table.table_bytes => Ok(Some(table.at + offset)),
            _ => Err(outside(table.vtable + entry, "a field")),
        }
    }

    /// A number of one byte, 0 where absent.
    pub(crate) fn byte(&mut self, table: Table, slot: u64) -> Result<u8, Malformed> {
        let Some(at) = self.field(table, slot, 1)? else { return Ok(0) };
        Ok(self.bytes(at, 1)?.first().copied().unwrap_or(0))
    }

    /// A number of four bytes, 0 where absent.
    pub(crate) fn number(&mut self, table: Table, slot: u64) -> Result<u32, Malformed> {
        let Some(at) = self.field(table, slot, 4)? else { return Ok(0) };
        self.u32(at)
    }

    /// A number of eight bytes, 0 where absent.
    pub(crate) fn long(&mut self, table: Table, slot: u64) -> Result<u64, Malformed> {
        let Some(at) = self.field(table, slot, 8)? else { return Ok(0) };
        Ok(u64_le(self.bytes(at, 8)?, 0).unwrap_or(0))
    }

    /// What the field `slot` points to.
    fn target(&mut self, table: Table, slot: u64) -> Result<Option<u64>, Malformed> {
        let Some(at) = self.field(table, slot, 4)? else { return Ok(None) };
        Ok(Some(at + u64::from(self.u32(at)?)))
    }

    /// The table in field `slot`.
    pub(crate) fn inner(&mut self, table: Table, slot: u64) -> Result<Option<Table>, Malformed> {
        self.target(table, slot)?.map(|at| self.table(at)).transpose()
    }

    /// The vector of elements of `width` bytes in field `slot`.
    pub(crate) fn vector(&mut self, table: Table, slot: u64, width: u64) -> Result<Option<Vector>, Malformed> {
        let Some(at) = self.target(table, slot)? else { return Ok(None) };
        self.visit(at)?;
        let len = u64::from(self.u32(at)?);
        self.reach(at, 4 + len * width)?;
        Ok(Some(Vector { at: at + 4, len }))
    }

    /// The `n`th table of a vector of tables.
    pub(crate) fn element(&mut self, vector: Vector, n: u64) -> Result<Table, Malformed> {
        let at = vector.at + 4 * n;
        let target = at + u64::from(self.u32(at)?);
        self.table(target)
    }

    /// The numbers of four bytes of a vector whose length the caller has bounded.
    pub(crate) fn numbers(&mut self, vector: Vector) -> Result<Vec<u64>, Malformed> {
        let bytes = self.bytes(vector.at, 4 * vector.len)?;
        Ok(bytes.chunks_exact(4).map(|four| u32_le(four, 0).unwrap_or(0).into()).collect())
    }

    /// The string in field `slot`, at most 64 KiB of it.
    pub(crate) fn text(&mut self, table: Table, slot: u64) -> Result<Option<String>, Malformed> {
        let Some(vector) = self.vector(table, slot, 1)? else { return Ok(None) };
        let bytes = self.bytes(vector.at, vector.len.min(64 << 10))?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// The strings of the vector in field `slot`, at most 64 of them and 256 bytes of each.
    pub(crate) fn texts(&mut self, table: Table, slot: u64) -> Result<Vec<String>, Malformed> {
        let Some(vector) = self.vector(table, slot, 4)? else { return Ok(Vec::new()) };
        if vector.len > 64 {
            return Err(Malformed::new(Trouble::Limit, vector.at, "a list of more than 64 strings"));
        }
        let mut texts = Vec::new();
        for n in 0..vector.len {
            let at = vector.at + 4 * n;
            let target = at + u64::from(self.u32(at)?);
            self.visit(target)?;
            let len = u64::from(self.u32(target)?);
            self.reach(target, 4 + len)?;
            let bytes = self.bytes(target + 4, len.min(256))?;
            texts.push(String::from_utf8_lossy(bytes).into_owned());
        }
        Ok(texts)
    }

    fn visit(&mut self, at: u64) -> Result<(), Malformed> {
        match self.visits_left.checked_sub(1) {
            Some(left) => self.visits_left = left,
            None => return Err(Malformed::new(Trouble::Limit, at, "more tables and vectors than are followed")),
        }
        Ok(())
    }

    fn reach(&mut self, at: u64, len: u64) -> Result<(), Malformed> {
        let end = at.checked_add(len).filter(|end| *end <= self.source.size_bytes());
        self.reached = self.reached.max(end.ok_or_else(|| outside(at, "an offset or length"))?);
        Ok(())
    }

    fn u16(&mut self, at: u64) -> Result<u16, Malformed> {
        Ok(u16_le(self.bytes(at, 2)?, 0).unwrap_or(0))
    }

    fn u32(&mut self, at: u64) -> Result<u32, Malformed> {
        Ok(u32_le(self.bytes(at, 4)?, 0).unwrap_or(0))
    }

    fn bytes(&mut self, at: u64, len: u64) -> Result<&[u8], Malformed> {
        const HELD_BYTES: u64 = 16 << 20;
        let size = self.source.size_bytes();
        let end = at.checked_add(len).filter(|end| *end <= size).ok_or_else(|| outside(at, "an offset"))?;
        if at < self.held_at || end > self.held_at + self.held.len() as u64 {
            let (from, len) = if size <= HELD_BYTES { (0, size) } else { (at, len) };
            self.held = self.source.bytes_at(from, len).map_err(|error| unreadable(&error, at))?;
            self.held_at = from;
        }
        let from = usize::try_from(at - self.held_at).unwrap_or(usize::MAX);
        let bytes = self.held.get(from..).zip(usize::try_from(len).ok());
        bytes.and_then(|(bytes, len)| bytes.get(..len)).ok_or_else(|| outside(at, "an offset"))
    }
}

fn outside(at: u64, what: &str) -> Malformed {
    Malformed::new(
        Trouble::Ambiguous,
        at,
        format!("{what} points outside the file: loaders read memory that is not theirs"),
    )
}
