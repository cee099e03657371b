//! Numbers and characters of Torch7's two encodings.

use casemate_core::Source;

use crate::Malformed;
use crate::formats::fields::Fields;

/// The longest word: a number in decimal digits.
const WORD_BYTES_MAX: u64 = 64;

/// A file while it is read.
pub(super) struct Reader<'a> {
    pub(super) fields: Fields<'a>,
    pub(super) is_text: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn Source, is_text: bool) -> Self {
        Self { fields: Fields::new(source), is_text }
    }

    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        match self.is_text {
            true => {
                self.number().and_then(|n: i64| i32::try_from(n).map_err(|_| self.fields.broken("a number too large")))
            }
            false => self.fields.array().map(i32::from_le_bytes),
        }
    }

    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        if self.is_text { self.number() } else { self.fields.array().map(i64::from_le_bytes) }
    }

    pub(super) fn double(&mut self) -> Result<(), Malformed> {
        if self.is_text { self.number::<f64>().map(drop) } else { self.fields.skip(8) }
    }

    /// A length that cannot be negative or go past the end.
    pub(super) fn count(&mut self) -> Result<u64, Malformed> {
        let n = self.int()?;
        match u64::try_from(n) {
            Ok(n) if n <= self.fields.left() => Ok(n),
            _ => Err(self.fields.broken(format!("a length of {n}, {} bytes are left", self.fields.left()))),
        }
    }

    /// A text with its length before it, of at most so many bytes.
    pub(super) fn text(&mut self, max: u64) -> Result<Vec<u8>, Malformed> {
        let n = self.count()?;
        if n > max {
            return Err(self.fields.broken(format!("a name of {n} bytes")));
        }
        let text = self.fields.bytes(n)?.to_vec();
        self.end_of(n)?;
        Ok(text)
    }

    /// Passes over `n` characters.
    pub(super) fn characters(&mut self, n: u64) -> Result<(), Malformed> {
        self.fields.skip(n)?;
        self.end_of(n)
    }

    /// Whether these bytes follow.
    pub(super) fn begins(&mut self, bytes: &[u8]) -> bool {
        self.fields.peek(bytes.len() as u64).is_ok_and(|next| next == bytes)
    }

    /// Passes over `n` elements of a storage, of `width` bytes each.
    pub(super) fn elements(&mut self, n: u64, width: u64) -> Result<(), Malformed> {
        if !self.is_text || width == 1 {
            // Characters stand as they are in both.
            let bytes = n.checked_mul(width).ok_or_else(|| self.fields.broken("a storage without sound size"))?;
            return if width == 1 { self.characters(bytes) } else { self.fields.skip(bytes) };
        }
        if n > self.fields.left() {
            return Err(self
                .fields
                .broken(format!("{n} elements are announced, {} bytes are left", self.fields.left())));
        }
        (0..n).try_for_each(|_| self.number::<f64>().map(drop))
    }

    /// The line break Torch7 writes behind characters in text.
    fn end_of(&mut self, n: u64) -> Result<(), Malformed> {
        match self.is_text && n > 0 && self.begins(b"\n") {
            true => self.fields.skip(1),
            false => Ok(()),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, Malformed> {
        let bytes = self.fields.peek(WORD_BYTES_MAX)?;
        let spaces = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let word = bytes.get(spaces..).unwrap_or_default();
        let len = word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
        let number = std::str::from_utf8(word.get(..len).unwrap_or_default()).ok().and_then(|word| word.parse().ok());
        let number = number.ok_or_else(|| self.fields.broken("a number belongs here"))?;
        // One line break or space belongs to the number.
        let end = self.fields.left().min((spaces + len + 1) as u64);
        self.fields.skip(end)?;
        Ok(number)
    }
}
