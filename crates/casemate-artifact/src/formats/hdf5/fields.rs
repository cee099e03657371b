//! The fields of one structure, read in order; offsets and lengths in the widths the superblock gives.

use crate::{Malformed, Trouble};

/// The bytes of a structure and how far they have been read.
pub(super) struct Fields {
    pub(super) bytes: Vec<u8>,
    pub(super) at: usize,
    /// Where the structure starts in the object.
    pub(super) start: u64,
    pub(super) offset_size: u64,
    pub(super) length_size: u64,
}

impl Fields {
    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: u64) -> Result<&[u8], Malformed> {
        let short = Malformed::new(Trouble::Undecodable, self.offset(), "a structure ends before its fields");
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len)).ok_or_else(|| short.clone())?;
        let bytes = self.bytes.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(bytes)
    }

    /// The next unsigned integer of up to eight bytes.
    pub(super) fn uint(&mut self, len: u64) -> Result<u64, Malformed> {
        Ok(self.take(len)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(self.take(2)?.first_chunk().copied().map(u16::from_le_bytes).unwrap_or_default())
    }

    /// An address.
    pub(super) fn offset_field(&mut self) -> Result<u64, Malformed> {
        self.uint(self.offset_size)
    }

    /// A length.
    pub(super) fn length_field(&mut self) -> Result<u64, Malformed> {
        self.uint(self.length_size)
    }

    /// The next `len` bytes as fields of their own.
    pub(super) fn part(&mut self, len: u64) -> Result<Self, Malformed> {
        let start = self.offset();
        let bytes = self.take(len)?.to_vec();
        Ok(Self { bytes, at: 0, start, offset_size: self.offset_size, length_size: self.length_size })
    }

    pub(super) fn left(&self) -> u64 {
        self.bytes.len().saturating_sub(self.at) as u64
    }

    /// Where the next field stands in the object.
    pub(super) fn offset(&self) -> u64 {
        self.start.saturating_add(self.at as u64)
    }

    /// Text up to its NUL, or to the end.
    pub(super) fn text(&mut self, len: u64) -> Result<Vec<u8>, Malformed> {
        Ok(until_nul(self.take(len)?).to_vec())
    }
}

/// The bytes before the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
