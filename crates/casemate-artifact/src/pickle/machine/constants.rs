//! Text and byte constants: where they lie, what begins in them, and what they give away.

use super::super::name::quoted;
use super::super::value::{Span, Spelling, Value};
use super::{Embedded, Machine, Stop, error};
use crate::clues::{self, Place};
use crate::{Malformed, Trouble};

/// Constants that look like objects and are looked into although nothing is known to unpickle them.
const EMBEDDED_INERT_MAX: usize = 1000;

/// Texts shorter than this hold no credential and no address, longer ones are data.
const TELLING_BYTES: std::ops::RangeInclusive<u32> = 9..=8192;

impl Machine<'_> {
    pub(super) fn text(&mut self, opcode: u8) -> Result<(), Stop> {
        let (len, spelling) = match opcode {
            b'S' => (None, Spelling::Quoted),
            b'V' => (None, Spelling::RawUnicodeEscape),
            b'U' | 0x8c => (Some(u64::from(self.reader.u8()?)), Spelling::Utf8),
            b'X' => (Some(u64::from(u32::from_le_bytes(self.reader.array()?))), Spelling::Utf8),
            b'T' => match u64::try_from(i32::from_le_bytes(self.reader.array()?)) {
                Ok(len) => (Some(len), Spelling::Utf8),
                Err(_) => return error("BINSTRING has a negative length"),
            },
            _ => (Some(u64::from_le_bytes(self.reader.array()?)), Spelling::Utf8),
        };
        let span = match len {
            Some(len) => self.reader.span(len, spelling)?,
            None => self.reader.line(spelling)?,
        };
        if let Some(span) = span {
            if spelling == Spelling::Quoted && self.reader.bytes(span)?.is_some_and(|line| quoted(line).is_none()) {
                return error("STRING is not a quoted literal");
            }
            self.look_into(span)?;
            self.look_over(span)?;
            if self.stream.texts.len() < self.texts_max
                && let Some(text) = self.decode(span)?
            {
                self.stream.texts.push(text);
            }
        }
        self.push(span.map_or(Value::Data, Value::Str));
        Ok(())
    }

    pub(super) fn bytes(&mut self, opcode: u8) -> Result<(), Stop> {
        let len = match opcode {
            b'C' => u64::from(self.reader.u8()?),
            b'B' => u64::from(u32::from_le_bytes(self.reader.array()?)),
            _ => u64::from_le_bytes(self.reader.array()?),
        };
        let span = self.reader.span(len, Spelling::Utf8)?;
        if let Some(span) = span {
            self.look_into(span)?;
        }
        self.push(span.map_or(Value::Data, Value::Bytes));
        Ok(())
    }

    /// Notes a constant that begins as a pickle or a zip does, plainly or in base64.
    fn look_into(&mut self, span: Span) -> Result<(), Stop> {
        if span.len < 8 {
            return Ok(());
        }
        let Some(base64) = looks_like_object(self.reader.peek(span, 4)?) else { return Ok(()) };
        match self.stream.embedded.len() {
            n if n < EMBEDDED_INERT_MAX => {
                self.embed(Embedded { offset: span.offset, len: u64::from(span.len), base64, called: false });
            }
            _ if !self.embedded_full => {
                self.embedded_full = true;
                let what =
                    format!("pickle holds more than {EMBEDDED_INERT_MAX} nested objects, the rest is not looked into");
                self.stream.malformed.push(Malformed::new(Trouble::Limit, self.op_offset, what));
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes what a text gives away. The text before it is its key where both stand in a dictionary.
    fn look_over(&mut self, span: Span) -> Result<(), Stop> {
        let before = self.text_before.replace(span);
        if !TELLING_BYTES.contains(&span.len) {
            return Ok(());
        }
        let Some(text) = self.decode(span)? else { return Ok(()) };
        let key = match before.filter(|before| before.len <= 64) {
            Some(before) if text.len() >= 16 => self.decode(before)?.unwrap_or_default(),
            _ => String::new(),
        };
        clues::note(&mut self.stream.clues, &text, Place { key: &key, offset: Some(span.offset), line: None });
        Ok(())
    }
}

/// Whether bytes begin as a pickle or a zip does, and if so whether they spell it in base64.
pub(super) fn looks_like_object(head: &[u8]) -> Option<bool> {
    match head {
        [0x80, 2..=5, ..] | [b'P', b'K', 3, 4] => Some(false),
        // 0x80 0x02 to 0x80 0x05 in base64.
        [b'g', b'A', b'I'..=b'X', ..] => Some(true),
        _ => None,
    }
}
