//! The bytes from which a format is recognised: the head and the tail of an object, never its name.

use std::io;

use casemate_core::{Source, SourceExt};

/// Head and tail of an object.
pub struct Probe {
    /// The first [`Probe::HEAD_BYTES`] bytes, or all.
    pub head: Vec<u8>,
    /// The last [`Probe::TAIL_BYTES`] bytes, or all.
    pub tail: Vec<u8>,
    /// Length of the object in bytes.
    pub size_bytes: u64,
}

impl Probe {
    /// Bytes looked at from the start; covers `ustar` at 257 and an ELF header.
    pub const HEAD_BYTES: u64 = 4096;
    /// Bytes looked at from the end: a zip end record with the longest comment.
    pub const TAIL_BYTES: u64 = 22 + 65_535;

    /// Reads head and tail of `source`.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn read(source: &dyn Source) -> io::Result<Self> {
        let size_bytes = source.size_bytes();
        let head = source.bytes_at(0, Self::HEAD_BYTES)?;
        let tail = match size_bytes <= Self::HEAD_BYTES {
            true => head.clone(),
            false => source.bytes_at(size_bytes.saturating_sub(Self::TAIL_BYTES), Self::TAIL_BYTES)?,
        };
        Ok(Self { head, tail, size_bytes })
    }

    /// Whether the object begins with `magic`.
    pub fn starts_with(&self, magic: &[u8]) -> bool {
        self.head.starts_with(magic)
    }

    /// Whether `magic` stands at `offset` in the head.
    pub fn has_at(&self, offset: usize, magic: &[u8]) -> bool {
        self.head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
    }
}
