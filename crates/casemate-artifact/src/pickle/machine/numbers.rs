//! Numbers: in digits, in bytes, and long enough to stall a loader.

use super::{DIGITS_MAX, Machine, Stop, error};
use crate::pickle::name::literal;
use crate::pickle::value::{Span, Spelling, Value};
use crate::{Malformed, Trouble};

impl Machine<'_> {
    pub(super) fn number(&mut self, opcode: u8) -> Result<(), Stop> {
        let value = match opcode {
            b'K' => Some(i64::from(self.reader.u8()?)),
            b'M' => Some(i64::from(u16::from_le_bytes(self.reader.array()?))),
            b'J' => Some(i64::from(i32::from_le_bytes(self.reader.array()?))),
            b'G' => self.reader.skip(8).map(|()| None)?,
            0x8a => {
                let len = self.reader.u8()?;
                self.long(u64::from(len))?
            }
            0x8b => {
                let Ok(len) = u64::try_from(i32::from_le_bytes(self.reader.array()?)) else {
                    return error("LONG4 has a negative length");
                };
                self.long(len)?
            }
            // A LONG of millions of digits stays where it is.
            _ => match self.digits(opcode)?.filter(|span| span.len <= 32 && opcode != b'F') {
                Some(span) => {
                    match self.reader.bytes(span)?.map(|digits| digits.strip_suffix(b"L").unwrap_or(digits)) {
                        Some(digits) => match literal(digits) {
                            Some(value) => i64::try_from(value).ok(),
                            None => return error("malformed integer"),
                        },
                        None => None,
                    }
                }
                None => None,
            },
        };
        self.push(value.map_or(Value::Data, Value::Int));
        Ok(())
    }

    /// The line of a number in digits.
    pub(super) fn digits(&mut self, opcode: u8) -> Result<Option<Span>, Stop> {
        let span = self.reader.line(Spelling::Utf8)?;
        let len = span.map_or(u64::MAX, |span| u64::from(span.len));
        if opcode != b'F' && len > DIGITS_MAX {
            self.excess(format!(
                "pickle has an integer of {len} digits, which takes a loader time that grows with their square"
            ));
        }
        Ok(span)
    }

    /// Notes, once, what costs a loader more than any model does.
    pub(super) fn excess(&mut self, what: String) {
        if !std::mem::replace(&mut self.excessive, true) {
            self.stream.malformed.push(Malformed::new(Trouble::Limit, self.op_offset, what));
        }
    }

    /// A little-endian two's complement integer of `len` bytes, where it fits 64 bits.
    pub(super) fn long(&mut self, len: u64) -> Result<Option<i64>, Stop> {
        let Some(span) = self.reader.span(len, Spelling::Utf8)?.filter(|span| span.len <= 8) else { return Ok(None) };
        let bytes = self.reader.peek(span, 8)?;
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut word = [sign; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(Some(i64::from_le_bytes(word)))
    }
}
