//! Object headers of both versions: the messages that describe a group or dataset, with their continuations.

use std::collections::VecDeque;

use super::File;
use super::fields::Fields;
use crate::formats::reading::Allowance;
use crate::{Malformed, Trouble};

/// One header message.
pub(super) struct Message {
    pub(super) kind: u16,
    /// Stored elsewhere: the data is a pointer.
    pub(super) shared: bool,
    pub(super) data: Fields,
}

const CONTINUATION: u16 = 0x10;
/// Bit of a message that is stored elsewhere.
const FLAG_SHARED: u8 = 2;

/// Stretches of one header; the library itself writes a handful.
const STRETCHES_MAX: usize = 1 << 12;

#[derive(Clone, Copy)]
struct Shape {
    version: u8,
    tracked: bool,
}

/// A piece of a header, read when its turn comes.
struct Stretch {
    address: u64,
    len: u64,
    continued: bool,
}

impl File<'_, '_> {
    /// Reads the object header at an address and what hangs on it.
    pub(super) fn object_at(&mut self, path: &str, address: u64) -> Result<(), Malformed> {
        if self.undefined(address) || !self.enter(address)? {
            return Ok(());
        }
        let messages = self.messages(address)?;
        self.describe(path, messages)
    }

    fn messages(&mut self, address: u64) -> Result<Vec<Message>, Malformed> {
        let start = self.bytes(address, 4)?;
        let (shape, prefix, len) = match start.as_slice() {
            b"OHDR" => self.prefix_v2(address)?,
            [1, ..] => {
                let mut fields = self.fields(address, 12)?;
                fields.take(8)?;
                (Shape { version: 1, tracked: false }, 16, fields.uint(4)?)
            }
            _ => {
                let at = self.base.saturating_add(address);
                return Err(Malformed::new(Trouble::Undecodable, at, "no object header where one is announced"));
            }
        };
        let mut messages = Vec::new();
        let tail = if shape.version == 2 { 4 } else { 0 };
        self.claim(address, prefix.saturating_add(len).saturating_add(tail));
        let mut stretches =
            VecDeque::from([Stretch { address: address.saturating_add(prefix), len, continued: false }]);
        let mut n = 0;
        let mut allowance = Allowance::new();
        while let Some(stretch) = stretches.pop_front() {
            n += 1;
            if n > STRETCHES_MAX {
                let at = self.base.saturating_add(stretch.address);
                return Err(Malformed::new(Trouble::Limit, at, "an object header in too many pieces"));
            }
            let mut fields = self.stretch(stretch, shape)?;
            let continued = self.read_messages(&mut fields, shape, &mut messages, &mut allowance)?;
            stretches.extend(continued);
        }
        Ok(messages)
    }

    fn prefix_v2(&mut self, address: u64) -> Result<(Shape, u64, u64), Malformed> {
        let mut fields = self.fields(address, 6)?;
        fields.take(4)?;
        let (version, flags) = (fields.u8()?, fields.u8()?);
        if version != 2 {
            let what = format!("object header of version {version}");
            return Err(Malformed::new(Trouble::Undecodable, fields.start, what));
        }
        let times = if flags & 0x20 != 0 { 16 } else { 0 };
        let phases = if flags & 0x10 != 0 { 4 } else { 0 };
        let width = 1u64 << (flags & 3);
        let mut size = self.fields(address.saturating_add(6 + times + phases), width)?;
        Ok((Shape { version: 2, tracked: flags & 4 != 0 }, 6 + times + phases + width, size.uint(width)?))
    }

    /// The bytes of messages in one stretch.
    fn stretch(&mut self, stretch: Stretch, shape: Shape) -> Result<Fields, Malformed> {
        if shape.version == 1 || !stretch.continued {
            return self.fields(stretch.address, stretch.len);
        }
        let mut block = self.block(stretch.address, stretch.len, b"OCHK")?;
        block.take(4)?;
        block.part(stretch.len.saturating_sub(8))
    }

    /// Reads the messages of one stretch; returns where the header goes on.
    fn read_messages(
        &mut self,
        fields: &mut Fields,
        shape: Shape,
        messages: &mut Vec<Message>,
        allowance: &mut Allowance,
    ) -> Result<Vec<Stretch>, Malformed> {
        let mut continued = Vec::new();
        let head = if shape.version == 1 { 8 } else { 4 + if shape.tracked { 2 } else { 0 } };
        while fields.left() >= head {
            let (kind, len, flags) = match shape.version {
                1 => (fields.u16()?, u64::from(fields.u16()?), fields.u8()?),
                _ => (u16::from(fields.u8()?), u64::from(fields.u16()?), fields.u8()?),
            };
            fields.take(if shape.version == 1 { 3 } else { head - 4 })?;
            let mut data = fields.part(len)?;
            self.blocks += 1;
            // Messages of one header are held together: half of the allowance is enough for them.
            if self.blocks > self.object.limits.entries_max || !allowance.take(2 * data.bytes.len() + 64) {
                return Err(Malformed::new(Trouble::Limit, data.start, "messages after the first are not read"));
            }
            if kind != CONTINUATION {
                messages.push(Message { kind, shared: flags & FLAG_SHARED != 0, data });
                continue;
            }
            let (address, len) = (data.offset_field()?, data.length_field()?);
            if !self.enter(address)? {
                return Err(Malformed::new(Trouble::Ambiguous, data.start, "an object header runs in a circle"));
            }
            self.claim(address, len);
            continued.push(Stretch { address, len, continued: true });
        }
        Ok(continued)
    }
}
