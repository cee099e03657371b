//! The characters of a document as UTF-8, one byte at a time, whatever of the two common widths it is written in.
//!
//! UTF-16 hides every word from a reader of bytes; an XML parser decodes it by its mark, so it is decoded here as well.

use casemate_core::{Source, SourceExt, Window};

use crate::formats::reading::unreadable;
use crate::{Malformed, Trouble};

/// Bytes of a name; no vocabulary of XML has longer ones.
const NAME_BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    One,
    TwoLittle,
    TwoBig,
}

/// The width a document is written in, by its first bytes, and the length of its mark.
fn width_of(head: &[u8]) -> (Width, u64) {
    match head {
        [0xef, 0xbb, 0xbf, ..] => (Width::One, 3),
        [0xff, 0xfe, ..] => (Width::TwoLittle, 2),
        [0xfe, 0xff, ..] => (Width::TwoBig, 2),
        [b'<', 0, _, 0, ..] => (Width::TwoLittle, 0),
        [0, b'<', 0, _, ..] => (Width::TwoBig, 0),
        _ => (Width::One, 0),
    }
}

/// A document's characters.
pub(super) struct Input<'a> {
    source: &'a dyn Source,
    width: Width,
    read_at: u64,
    // Decoded bytes not yet taken, and where each came from.
    held: Vec<u8>,
    from: usize,
    held_at: u64,
    // How many bytes of the source one held byte stands for.
    scale: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        // A medium that fails fails again at the first byte.
        let (width, mark) = width_of(&source.bytes_at(0, 4).unwrap_or_default());
        let scale = if width == Width::One { 1 } else { 2 };
        Self { source, width, read_at: mark, held: Vec::new(), from: 0, held_at: mark, scale }
    }

    /// Offset in bytes of the next character.
    pub(super) fn at(&self) -> u64 {
        self.held_at.saturating_add((self.from as u64).saturating_mul(self.scale)).min(self.source.size_bytes())
    }

    /// Whether a document in this width may call its encoding so.
    pub(super) fn is_encoded_as(&self, encoding: &str) -> bool {
        const ONE: &[&str] = &[
            "",
            "utf-8",
            "utf8",
            "us-ascii",
            "ascii",
            "latin1",
            "gb2312",
            "gbk",
            "gb18030",
            "shift_jis",
            "big5",
            "euc-jp",
        ];
        let encoding = encoding.to_ascii_lowercase();
        match self.width {
            Width::One => {
                ONE.contains(&encoding.as_str())
                    || ["iso-8859-", "windows-125", "euc-kr"].iter().any(|family| encoding.starts_with(family))
            }
            _ => encoding.is_empty() || encoding.starts_with("utf-16"),
        }
    }

    /// The `n`th byte from here, if the document goes so far; `n` is small.
    fn ahead(&mut self, n: usize) -> Result<Option<u8>, Malformed> {
        if self.from + n >= self.held.len() && self.read_at < self.source.size_bytes() {
            self.fill()?;
        }
        Ok(self.held.get(self.from + n).copied())
    }

    /// Reads on, keeping what was not taken.
    fn fill(&mut self) -> Result<(), Malformed> {
        self.held_at = self.at();
        self.held.drain(..self.from.min(self.held.len()));
        self.from = 0;
        let at = self.read_at;
        let bytes = self.source.bytes_at(at, Window::BYTES).map_err(|error| unreadable(&error, at))?;
        if bytes.is_empty() {
            return Err(Malformed::new(Trouble::Unreadable, at, "the medium ends early"));
        }
        self.read_at = at.saturating_add(bytes.len() as u64);
        match self.width {
            Width::One => self.held.extend_from_slice(&bytes),
            // All markup is ASCII; other characters count as one that is no name.
            width => self.held.extend(bytes.chunks(2).map(|unit| match (width, unit) {
                (Width::TwoLittle, [low, 0]) | (Width::TwoBig, [0, low]) => *low,
                _ => b'?',
            })),
        }
        Ok(())
    }

    /// The next byte, left where it is.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Malformed> {
        self.ahead(0)
    }

    /// The next byte, which has to be there and may be no control character.
    fn byte(&mut self) -> Result<u8, Malformed> {
        let at = self.at();
        match self.ahead(0)? {
            None => Err(Malformed::new(Trouble::Undecodable, at, "the document ends inside a tag or text")),
            Some(byte) if byte < 0x20 && !b"\t\n\r".contains(&byte) => {
                Err(Malformed::new(Trouble::Undecodable, at, "a control character stands where XML has none"))
            }
            Some(byte) => {
                self.from += 1;
                Ok(byte)
            }
        }
    }

    /// Takes one byte.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        self.byte().map(drop)
    }

    /// Whether `word` comes next.
    pub(super) fn follows(&mut self, word: &[u8]) -> Result<bool, Malformed> {
        for (n, wanted) in word.iter().enumerate() {
            if self.ahead(n)? != Some(*wanted) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes `word` where it comes next.
    pub(super) fn take(&mut self, word: &[u8]) -> Result<bool, Malformed> {
        let follows = self.follows(word)?;
        self.from += if follows { word.len() } else { 0 };
        Ok(follows)
    }

    /// Skips blanks.
    pub(super) fn skip_blanks(&mut self) -> Result<(), Malformed> {
        while self.peek()?.is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.byte()?;
        }
        Ok(())
    }

    /// A name.
    pub(super) fn name(&mut self) -> Result<String, Malformed> {
        let (at, mut name) = (self.at(), Vec::new());
        while let Some(byte) = self.peek()? {
            if !(byte.is_ascii_alphanumeric() || b":_-.".contains(&byte) || byte >= 0x80) {
                break;
            }
            name.push(self.byte()?);
            if name.len() > NAME_BYTES_MAX {
                return Err(Malformed::new(Trouble::Limit, at, format!("a name has more than {NAME_BYTES_MAX} bytes")));
            }
        }
        match name.first() {
            Some(byte) if !byte.is_ascii_digit() && !b"-.".contains(byte) => Ok(text(name)),
            _ => Err(Malformed::new(Trouble::Undecodable, at, "no name stands where one belongs")),
        }
    }

    /// A value in quotes of either kind.
    pub(super) fn literal(&mut self, held_max: usize) -> Result<String, Malformed> {
        let at = self.at();
        match self.byte()? {
            quote @ (b'"' | b'\'') => {
                let value = self.before(quote, held_max)?;
                self.byte()?;
                Ok(value)
            }
            _ => Err(Malformed::new(Trouble::Undecodable, at, "a value has no quotes")),
        }
    }

    /// What stands before the next `stop`, which is left; at most `held_max` bytes of it are held.
    pub(super) fn before(&mut self, stop: u8, held_max: usize) -> Result<String, Malformed> {
        let mut held = Vec::new();
        loop {
            match self.peek()? {
                Some(byte) if byte == stop => return Ok(text(held)),
                _ => {
                    let byte = self.byte()?;
                    if held.len() < held_max {
                        held.push(byte);
                    }
                }
            }
        }
    }

    /// What stands before the next `stop`, which is taken; at most `held_max` bytes of it are held.
    pub(super) fn until(&mut self, stop: &[u8], held_max: usize) -> Result<String, Malformed> {
        let mut held = Vec::new();
        while !self.take(stop)? {
            let byte = self.byte()?;
            if held.len() < held_max {
                held.push(byte);
            }
        }
        Ok(text(held))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
