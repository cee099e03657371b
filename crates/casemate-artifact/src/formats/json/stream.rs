//! The bytes of a JSON text on their way to the parser: bounded strings, and Python's numbers.

use std::io::{self, ErrorKind, Read};

use casemate_core::{Source, SourceExt};

/// A JSON text as a reader. A string longer than the bound is an error of kind [`ErrorKind::FileTooLarge`], because the
/// parser would hold it whole; `NaN` and `Infinity`, which Python writes and reads, become zeros and blanks.
pub(super) struct JsonStream<'a> {
    source: &'a dyn Source,
    at: u64,
    token_bytes_max: u64,
    token_bytes: u64,
    in_string: bool,
    escaped: bool,
    // The rest of a word being blanked.
    word: &'static [u8],
}

impl<'a> JsonStream<'a> {
    /// A reader of `source` from its start.
    pub(super) fn new(source: &'a dyn Source, token_bytes_max: u64) -> Self {
        Self { source, at: 0, token_bytes_max, token_bytes: 0, in_string: false, escaped: false, word: &[] }
    }

    /// The byte the parser gets for `byte`.
    fn pass(&mut self, byte: u8) -> u8 {
        if self.in_string {
            let closes = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.in_string = !closes;
            self.token_bytes += 1;
            return byte;
        }
        if let Some((expected, rest)) = self.word.split_first() {
            self.word = if *expected == byte { rest } else { &[] };
            // Anything else than the word's rest is an error to the parser.
            return if *expected == byte { b' ' } else { b'!' };
        }
        // Numbers are held whole too.
        let in_number = byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E');
        self.token_bytes = if in_number { self.token_bytes + 1 } else { 0 };
        match byte {
            b'"' => self.in_string = true,
            b'N' => self.word = b"aN",
            b'I' => self.word = b"nfinity",
            _ => return byte,
        }
        if byte == b'"' { byte } else { b'0' }
    }
}

impl Read for JsonStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.fill_at(self.at, buffer)?;
        self.at += n as u64;
        for byte in buffer.iter_mut().take(n) {
            *byte = self.pass(*byte);
            if self.token_bytes > self.token_bytes_max {
                return Err(io::Error::new(ErrorKind::FileTooLarge, "a string or number is too long"));
            }
        }
        Ok(n)
    }
}
