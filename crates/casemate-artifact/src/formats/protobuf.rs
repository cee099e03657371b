//! The protobuf wire format, walked in place: tags, and where each value lies.
//!
//! Nothing is copied or allocated from a length, so a model of gigabytes costs its small fields only.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::ops::Range;

use casemate_core::Window;

use super::reading::unreadable;
use crate::{Malformed, Trouble};

/// Wire types as bits, for tables of what a field may be.
pub(crate) const VARINT: u8 = 1;
pub(crate) const FIXED64: u8 = 1 << 1;
pub(crate) const BYTES: u8 = 1 << 2;
pub(crate) const FIXED32: u8 = 1 << 5;

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// Where its tag stands.
    pub(crate) offset: u64,
    pub(crate) value: Value,
}

/// A value, or where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Varint(u64),
    Fixed64,
    Bytes(Range<u64>),
    Fixed32,
}

impl Value {
    /// The wire type as a bit.
    pub(crate) fn wire(&self) -> u8 {
        match self {
            Self::Varint(_) => VARINT,
            Self::Fixed64 => FIXED64,
            Self::Bytes(_) => BYTES,
            Self::Fixed32 => FIXED32,
        }
    }
}

/// A message being walked.
pub(crate) struct Cursor {
    pub(crate) at: u64,
    end: u64,
}

impl Cursor {
    /// A walk over the message at `range`.
    pub(crate) fn new(range: Range<u64>) -> Self {
        Self { at: range.start, end: range.end }
    }

    /// The next field, `None` at the end of the message. After an error the rest cannot be read.
    pub(crate) fn next(&mut self, window: &mut Window<'_>) -> Option<Result<Field, Malformed>> {
        (self.at < self.end).then(|| self.field(window))
    }

    fn field(&mut self, window: &mut Window<'_>) -> Result<Field, Malformed> {
        let offset = self.at;
        let broken = |what: &str| Malformed::new(Trouble::Undecodable, offset, what);
        let tag = self.varint(window)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or_else(|| broken("field number is none"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint(window)?),
            1 => self.skip(8).map(|_| Value::Fixed64)?,
            2 => {
                let len = self.varint(window)?;
                Value::Bytes(self.skip(len)?)
            }
            5 => self.skip(4).map(|_| Value::Fixed32)?,
            _ => return Err(broken("field has no known wire type")),
        };
        Ok(Field { number, offset, value })
    }

    fn skip(&mut self, len: u64) -> Result<Range<u64>, Malformed> {
        match self.at.checked_add(len).filter(|end| *end <= self.end) {
            Some(end) => Ok(std::mem::replace(&mut self.at, end)..end),
            None => Err(Malformed::new(Trouble::Undecodable, self.at, "field ends past the end of its message")),
        }
    }

    /// A varint; more than 64 bits are an error, as in every reader.
    pub(crate) fn varint(&mut self, window: &mut Window<'_>) -> Result<u64, Malformed> {
        let (start, mut value) = (self.at, 0u64);
        let broken = || Malformed::new(Trouble::Undecodable, start, "number does not end");
        let len = self.end.saturating_sub(start).min(10);
        let bytes = window.get(start, len).map_err(|e| unreadable(&e, start))?.unwrap_or_default();
        for (n, byte) in (0u32..).zip(bytes) {
            value |= u64::from(byte & 0x7f).checked_shl(7 * n).unwrap_or(0);
            if byte & 0x80 == 0 {
                self.at += u64::from(n) + 1;
                return if n == 9 && *byte > 1 { Err(broken()) } else { Ok(value) };
            }
        }
        Err(broken())
    }
}

#[cfg(test)]
mod tests {
    use casemate_core::MemorySource;

    use super::*;

    fn walk(bytes: &[u8]) -> Vec<Result<Field, Malformed>> {
        let source = MemorySource::new(bytes);
        let (mut window, mut cursor) = (Window::new(&source), Cursor::new(0..bytes.len() as u64));
        let mut fields = Vec::new();
        while let Some(field) = cursor.next(&mut window) {
            let broken = field.is_err();
            fields.push(field);
            if broken {
                break;
            }
        }
        fields
    }

    #[test]
    fn each_wire_type_is_walked() {
        let fields = walk(b"\x08\x96\x01\x12\x02hi\x1d\0\0\0\0\x21\0\0\0\0\0\0\0\0");
        let values: Vec<Value> = fields.into_iter().map(|field| field.unwrap().value).collect();
        assert_eq!(values, [Value::Varint(150), Value::Bytes(5..7), Value::Fixed32, Value::Fixed64]);
    }

    #[test]
    fn what_does_not_end_or_fit_is_an_error() {
        for bytes in
            [&b"\x08"[..], b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", b"\x12\x05hi", b"\x0b", b"\0\0", b"\x1d\0"]
        {
            assert!(walk(bytes).last().is_some_and(Result::is_err), "{bytes:?}");
        }
        assert_eq!(walk(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").len(), 1);
    }
}
