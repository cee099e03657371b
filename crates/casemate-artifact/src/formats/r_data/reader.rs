//! Numbers and texts of R's three encodings.

use casemate_core::Source;

use crate::Malformed;
use crate::formats::fields::Fields;

/// Bytes kept of a text; a name worth judging is shorter.
const TEXT_BYTES_KEPT: usize = 128;
/// The longest word R reads from a stream in text encoding.
const WORD_BYTES_MAX: u64 = 127;
/// R marks a missing text with this length, and a long vector.
const NEGATIVE: i32 = -1;

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As words.
    Text,
    /// XDR, and native binary of a machine with this byte order.
    Big,
    /// Native binary of the usual machines.
    Little,
}

impl Encoding {
    /// The encoding of a stream and where its first number stands.
    pub(super) fn of(head: &[u8]) -> Option<(Self, usize)> {
        match head {
            [b'X', b'\n', ..] => Some((Self::Big, 2)),
            [b'A', b'\n', ..] => Some((Self::Text, 2)),
            // R accepts a line break left over from what stood before.
            [b'\n', b'A', b'\n', ..] => Some((Self::Text, 3)),
            [b'B', b'\n', 0, 0, 0, 2 | 3, ..] => Some((Self::Big, 2)),
            [b'B', b'\n', ..] => Some((Self::Little, 2)),
            _ => None,
        }
    }
}

/// A stream while it is read.
pub(super) struct Reader<'a> {
    pub(super) fields: Fields<'a>,
    encoding: Encoding,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { fields: Fields::new(source), encoding: Encoding::Big }
    }

    /// Begins with the stream at `at`.
    pub(super) fn begin(&mut self, at: u64) -> Result<(), Malformed> {
        self.fields.at = at;
        let head = Encoding::of(self.fields.peek(8)?);
        let (encoding, skipped) = head.ok_or_else(|| self.fields.broken("no stream of R begins here"))?;
        self.encoding = encoding;
        self.fields.skip(skipped as u64)
    }

    /// Passes what may follow a stream in text encoding: a line break.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        if self.encoding == Encoding::Text { self.spaces() } else { Ok(()) }
    }

    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        match self.encoding {
            Encoding::Big => self.fields.array().map(i32::from_be_bytes),
            Encoding::Little => self.fields.array().map(i32::from_le_bytes),
            Encoding::Text => {
                let at = self.fields.at;
                let number = match self.word()? {
                    b"NA" => Some(i32::MIN),
                    word => std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()),
                };
                number.ok_or_else(|| Malformed::new(crate::Trouble::Undecodable, at, "a whole number belongs here"))
            }
        }
    }

    /// A length that cannot be negative.
    pub(super) fn count(&mut self) -> Result<u64, Malformed> {
        let n = self.int()?;
        u64::try_from(n).map_err(|_| self.fields.broken(format!("a length of {n}")))
    }

    /// Number of elements of a vector of which each takes at least `each` bytes; long vectors have it in two parts.
    pub(super) fn length(&mut self, each: u64) -> Result<u64, Malformed> {
        let n = match self.int()? {
            NEGATIVE => {
                let (high, low) = (self.int()?.cast_unsigned(), self.int()?.cast_unsigned());
                u64::from(high) << 32 | u64::from(low)
            }
            n => u64::try_from(n).map_err(|_| self.fields.broken(format!("a length of {n}")))?,
        };
        match n.checked_mul(each).is_some_and(|bytes| bytes <= self.fields.left()) {
            true => Ok(n),
            false => {
                Err(self.fields.broken(format!("{n} elements are announced, {} bytes are left", self.fields.left())))
            }
        }
    }

    /// Passes over `n` numbers of `width` bytes each, which are `words` words in text.
    pub(super) fn numbers(&mut self, width: u64, words: u64) -> Result<(), Malformed> {
        match self.encoding {
            Encoding::Text => {
                let n = self.length(words)?;
                for _ in 0..n.saturating_mul(words) {
                    if !self.word()?.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
                        return Err(self.fields.broken("a number belongs before this"));
                    }
                }
                Ok(())
            }
            _ => {
                let n = self.length(width)?;
                self.fields.skip(n.saturating_mul(width))
            }
        }
    }

    /// The beginning of a text whose length stands before it; `None` for a missing one.
    pub(super) fn text(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        match self.int()? {
            NEGATIVE => Ok(None),
            n => {
                let n = u64::try_from(n).map_err(|_| self.fields.broken(format!("a text of length {n}")))?;
                self.characters(n).map(Some)
            }
        }
    }

    /// The beginning of a text of `n` bytes.
    pub(super) fn characters(&mut self, n: u64) -> Result<Vec<u8>, Malformed> {
        if n > self.fields.left() {
            return Err(self.fields.broken(format!("a text of {n} bytes, {} are left", self.fields.left())));
        }
        if self.encoding != Encoding::Text {
            let text = self.fields.peek(n.min(TEXT_BYTES_KEPT as u64))?.to_vec();
            self.fields.skip(n)?;
            return Ok(text);
        }
        let mut text = Vec::new();
        if n > 0 {
            self.spaces()?;
        }
        for _ in 0..n {
            let byte = self.character()?;
            if text.len() < TEXT_BYTES_KEPT {
                text.push(byte);
            }
        }
        Ok(text)
    }

    /// One byte of a text, which may be written as an escape.
    fn character(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.fields.array()?;
        if byte != b'\\' {
            return Ok(byte);
        }
        let [byte] = self.fields.array()?;
        Ok(match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'v' => 0x0b,
            b'b' => 0x08,
            b'r' => b'\r',
            b'f' => 0x0c,
            b'a' => 0x07,
            b'0'..=b'7' => {
                let mut value = byte - b'0';
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.fields.peek(1)?.first().copied() else { break };
                    value = value.wrapping_mul(8).wrapping_add(digit - b'0');
                    self.fields.skip(1)?;
                }
                value
            }
            other => other,
        })
    }

    fn spaces(&mut self) -> Result<(), Malformed> {
        loop {
            let bytes = self.fields.peek(WORD_BYTES_MAX)?;
            let (n, all) = (bytes.iter().take_while(|byte| is_space(**byte)).count(), bytes.len());
            self.fields.skip(n as u64)?;
            if n < all || all == 0 {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> Result<&[u8], Malformed> {
        self.spaces()?;
        let bytes = self.fields.peek(WORD_BYTES_MAX + 1)?;
        let n = bytes.iter().take_while(|byte| !is_space(**byte)).count() as u64;
        if n == 0 || n > WORD_BYTES_MAX {
            return Err(self.fields.broken("a word belongs here"));
        }
        self.fields.bytes(n)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
