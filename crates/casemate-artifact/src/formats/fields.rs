//! Fields that stand one behind the other: a reader that never goes past the end and never holds more than it is asked for.

use casemate_core::{Source, Window};

use super::reading::unreadable;
use crate::{Malformed, Trouble};

/// A source while it is read from front to back.
pub(crate) struct Fields<'a> {
    window: Window<'a>,
    /// Offset of the next field.
    pub(crate) at: u64,
}

impl<'a> Fields<'a> {
    /// A reader at the beginning of `source`.
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self { window: Window::new(source), at: 0 }
    }

    /// Bytes not yet read.
    pub(crate) fn left(&self) -> u64 {
        self.window.size_bytes().saturating_sub(self.at)
    }

    /// The next `len` bytes, a number the caller has bounded.
    pub(crate) fn bytes(&mut self, len: u64) -> Result<&[u8], Malformed> {
        let at = self.at;
        let end = at.checked_add(len).filter(|end| *end <= self.window.size_bytes());
        self.at = end.ok_or_else(|| self.cut(len))?;
        let bytes = self.window.get(at, len).map_err(|error| unreadable(&error, at))?;
        bytes.ok_or_else(|| Malformed::new(Trouble::Unreadable, at, "the file became shorter while it was read"))
    }

    /// Up to `len` of the next bytes, without passing them.
    pub(crate) fn peek(&mut self, len: u64) -> Result<&[u8], Malformed> {
        let (at, len) = (self.at, len.min(self.left()));
        let bytes = self.window.get(at, len).map_err(|error| unreadable(&error, at))?;
        Ok(bytes.unwrap_or_default())
    }

    /// Passes over bytes whose content does not matter.
    pub(crate) fn skip(&mut self, len: u64) -> Result<(), Malformed> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.window.size_bytes());
        self.at = end.ok_or_else(|| self.cut(len))?;
        Ok(())
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        Ok(self.bytes(N as u64)?.first_chunk().copied().unwrap_or([0; N]))
    }

    /// Trouble at the next field.
    pub(crate) fn broken(&self, what: impl Into<String>) -> Malformed {
        Malformed::new(Trouble::Undecodable, self.at, what)
    }

    fn cut(&self, len: u64) -> Malformed {
        self.broken(format!("{len} bytes are announced, {} are left", self.left()))
    }
}

#[cfg(test)]
mod tests {
    use casemate_core::MemorySource;

    use super::*;

    #[test]
    fn fields_end_with_the_file() {
        let source = MemorySource::new([1, 2, 3, 4, 5].as_slice());
        let mut fields = Fields::new(&source);
        assert_eq!(fields.array::<2>().unwrap(), [1, 2]);
        assert_eq!(fields.peek(100).unwrap(), [3, 4, 5]);
        assert!(fields.bytes(u64::MAX).is_err() && fields.skip(4).is_err());
        assert_eq!((fields.left(), fields.skip(3).is_ok(), fields.left()), (3, true, 0));
        assert_eq!(fields.bytes(0).unwrap(), [0; 0]);
        assert_eq!(fields.array::<1>().unwrap_err().offset, Some(5));
    }
}
