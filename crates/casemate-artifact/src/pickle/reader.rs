//! Operands of opcodes, read within the source and never copied without need.

use std::io;

use casemate_core::{Source, Window};

use super::value::{Span, Spelling};

/// Why an operand could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The source ends before.
    Truncated,
    /// The medium failed.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) struct Reader<'a> {
    window: Window<'a>,
    /// Offset of the next byte.
    pub(super) at: u64,
    /// End of what is buffered, in the reading in which frames fill a buffer: an operand that does not fit starts anew there.
    pub(super) buffered_end: Option<u64>,
}

impl<'a> Reader<'a> {
    /// Longest text that is ever decoded; longer constants are data.
    pub(super) const TEXT_BYTES_MAX: u32 = 64 << 10;

    pub(super) fn new(source: &'a dyn Source, at: u64) -> Self {
        Self { window: Window::new(source), at, buffered_end: None }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.window.size_bytes()
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.refill(N as u64);
        let bytes = self.window.get(self.at, N as u64)?.ok_or(ReadError::Truncated)?;
        let array = bytes.try_into().map_err(|_| ReadError::Truncated)?;
        self.at += N as u64;
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ReadError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Drops what is left of the buffer when `len` bytes do not fit in it.
    fn refill(&mut self, len: u64) {
        if let Some(end) = self.buffered_end.filter(|end| self.at.saturating_add(len) > *end) {
            self.at = self.at.max(end);
            self.buffered_end = None;
        }
    }

    /// Fills the buffer with a frame, as the C reader over an unbuffered file does.
    pub(super) fn buffer_frame(&mut self, len: u64) -> Result<(), ReadError> {
        self.refill(len);
        if self.buffered_end.is_none() {
            let end = self.at.checked_add(len).filter(|end| *end <= self.size_bytes());
            self.buffered_end = Some(end.ok_or(ReadError::Truncated)?);
        }
        Ok(())
    }

    /// Steps over `len` bytes that must be there.
    pub(super) fn skip(&mut self, len: u64) -> Result<(), ReadError> {
        self.refill(len);
        self.at = self.at.checked_add(len).filter(|end| *end <= self.size_bytes()).ok_or(ReadError::Truncated)?;
        Ok(())
    }

    /// A constant of `len` bytes. `None` in place of a span longer than 4 GiB, which nobody decodes.
    pub(super) fn span(&mut self, len: u64, spelling: Spelling) -> Result<Option<Span>, ReadError> {
        self.skip(len)?;
        let offset = self.at - len;
        Ok(u32::try_from(len).ok().map(|len| Span { offset, len, spelling }))
    }

    /// The next line, without its newline. Nothing of it is kept in memory.
    ///
    /// A last line without newline is an error to the C reader; the pure Python one drops its last byte and goes on, and
    /// so do we.
    pub(super) fn line(&mut self, spelling: Spelling) -> Result<Option<Span>, ReadError> {
        let mut start = self.at;
        let mut at = start;
        // Most lines are short: asking for little keeps the window where it is.
        let mut chunk = 256;
        loop {
            let len = chunk.min(self.size_bytes().saturating_sub(at));
            if len == 0 {
                let end = self.size_bytes().saturating_sub(1).max(start);
                self.at = self.size_bytes();
                return Ok(u32::try_from(end - start).ok().map(|len| Span { offset: start, len, spelling }));
            }
            let bytes = self.window.get(at, len)?.ok_or(ReadError::Truncated)?;
            let newline = bytes.iter().position(|byte| *byte == b'\n').map(|i| at + i as u64);
            if let Some(cut) = self.buffered_end.filter(|cut| start < *cut && newline.map_or(at + len, |n| n) >= *cut) {
                (start, at) = (cut, cut);
                self.buffered_end = None;
                continue;
            }
            match newline {
                Some(end) => {
                    self.at = end + 1;
                    return Ok(u32::try_from(end - start).ok().map(|len| Span { offset: start, len, spelling }));
                }
                None => {
                    at += len;
                    chunk = Window::BYTES;
                }
            }
        }
    }

    /// The bytes of a constant, if it is short enough to be decoded.
    pub(super) fn bytes(&mut self, span: Span) -> Result<Option<&[u8]>, ReadError> {
        match span.len <= Self::TEXT_BYTES_MAX {
            true => Ok(self.window.get(span.offset, u64::from(span.len))?),
            false => Ok(None),
        }
    }

    /// The first bytes of a constant, at most `n`.
    pub(super) fn peek(&mut self, span: Span, n: u32) -> Result<&[u8], ReadError> {
        self.window.get(span.offset, u64::from(span.len.min(n)))?.ok_or(ReadError::Truncated)
    }
}
