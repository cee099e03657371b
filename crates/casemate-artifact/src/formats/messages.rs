//! Protobuf messages whose fields are known: a walk that reports the others, and a probe for files without a magic number.
//!
//! Readers skip fields they do not know, so anything fits in there; loaders of two versions may even disagree on them.
//! [`Schema`]s say what may stand where; [`conforms`] tells protobufs apart by their structure alone.

use std::collections::HashSet;
use std::ops::Range;

use casemate_core::{Limits, MemorySource, Window};

use super::protobuf::{Cursor, Field, Value};
use super::reading::{Allowance, unreadable};
use super::{Object, Probe};
use crate::{Malformed, Operator, Parsed, Trouble};

/// A name longer than this is none; metadata may be as long as this.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Inside {
    /// Numbers, or bytes nobody looks into.
    Data,
    /// A name on one line.
    Name,
    /// Another message.
    Message(&'static Schema),
}

/// The fields of one message.
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    /// Number, wire types, content.
    pub(crate) fields: &'static [(u32, u8, Inside)],
    /// Whether later versions of the format may have added fields; those are passed over.
    pub(crate) open: bool,
}

impl Schema {
    fn field(&self, number: u32) -> Option<(u8, Inside)> {
        self.fields.iter().find(|(known, ..)| *known == number).map(|(_, wires, inside)| (*wires, *inside))
    }
}

/// How many messages of `schema` and below begin in the head of an object that has its structure; `None` where it has not.
pub(crate) fn conforms(probe: &Probe, schema: &'static Schema) -> Option<u32> {
    let source = MemorySource::new(probe.head.as_slice());
    let mut window = Window::new(&source);
    let mut messages = 0;
    fits(&mut window, 0..probe.size_bytes, schema, 0, &mut messages).then_some(messages)
}

fn fits(window: &mut Window<'_>, range: Range<u64>, schema: &Schema, depth: u32, messages: &mut u32) -> bool {
    const DEPTH_MAX: u32 = 12;
    let len = window.size_bytes();
    let mut cursor = Cursor::new(range.clone());
    while cursor.at < len {
        let Some(next) = cursor.next(window) else { break };
        let Ok(field) = next else {
            // A number cut by the end of the head says nothing.
            return range.end > len && cursor.at + 10 >= len;
        };
        let Some((wires, inside)) = schema.field(field.number) else {
            if schema.open {
                continue;
            }
            return false;
        };
        if wires & field.value.wire() == 0 {
            return false;
        }
        let sound = match (inside, field.value) {
            (Inside::Name, Value::Bytes(range)) => is_name(window, range),
            (Inside::Message(inner), Value::Bytes(range)) if range.start < len && depth < DEPTH_MAX => {
                *messages += 1;
                fits(window, range, inner, depth + 1, messages)
            }
            _ => true,
        };
        if !sound {
            return false;
        }
    }
    true
}

/// Whether the part of a text that lies in the head is printable.
fn is_name(window: &mut Window<'_>, range: Range<u64>) -> bool {
    let end = range.end.min(window.size_bytes());
    let bytes = window.get(range.start, end.saturating_sub(range.start)).ok().flatten().unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => !text.contains(char::is_control),
        Err(error) => error.error_len().is_none() && end < range.end,
    }
}

/// A file of messages while it is walked.
pub(crate) struct Messages<'a, 'p> {
    pub(crate) window: Window<'a>,
    pub(crate) limits: &'a Limits,
    pub(crate) parsed: &'p mut Parsed,
    allowance: Allowance,
    operators: HashSet<Operator>,
    entries: u64,
    full: bool,
}

impl<'a, 'p> Messages<'a, 'p> {
    /// A walk over `object` that notes what it finds in `parsed`.
    pub(crate) fn new(object: &'a Object<'_>, parsed: &'p mut Parsed) -> Self {
        Self {
            window: Window::new(&**object.source),
            limits: object.limits,
            parsed,
            allowance: Allowance::new(),
            operators: HashSet::new(),
            entries: 0,
            full: false,
        }
    }

    /// The next field a message may have; others are reported and passed over. `None` at the end, or where it breaks.
    pub(crate) fn next(&mut self, cursor: &mut Cursor, schema: &Schema) -> Option<Field> {
        loop {
            match cursor.next(&mut self.window)? {
                Ok(field) => match schema.field(field.number) {
                    Some((wires, _)) if wires & field.value.wire() != 0 => return Some(field),
                    Some(_) => {
                        let what = format!("field {} of {} has the wrong wire type", field.number, schema.name);
                        self.ambiguous(field.offset, what);
                    }
                    None if schema.open => return Some(field),
                    None => self.ambiguous(field.offset, format!("{} has no field {}", schema.name, field.number)),
                },
                Err(malformed) => {
                    let what = format!("{} breaks: {}", schema.name, malformed.what);
                    self.report(Malformed { what, ..malformed });
                    return None;
                }
            }
        }
    }

    /// The text at `range`, at most its first MiB; what is cut is reported.
    pub(crate) fn text(&mut self, range: Range<u64>) -> String {
        let mut len = range.end.saturating_sub(range.start);
        if len > TEXT_BYTES_MAX {
            let what = format!("of a text of {len} bytes only {TEXT_BYTES_MAX} are read");
            self.report(Malformed::new(Trouble::Limit, range.start, what));
            len = TEXT_BYTES_MAX;
        }
        match self.window.get(range.start, len) {
            Ok(bytes) => String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned(),
            Err(error) => {
                self.report(unreadable(&error, range.start));
                String::new()
            }
        }
    }

    /// Notes an operator once.
    pub(crate) fn operator(&mut self, domain: &str, name: String, offset: u64) {
        let operator = Operator { domain: domain.into(), name };
        if !self.operators.contains(&operator) && self.admit(operator.name.len(), offset) {
            self.operators.insert(operator);
        }
    }

    /// The operators noted, in order.
    pub(crate) fn take_operators(&mut self) -> Vec<Operator> {
        let mut operators: Vec<_> = std::mem::take(&mut self.operators).into_iter().collect();
        operators.sort_unstable();
        operators
    }

    /// Whether one more record of `bytes` bytes may be held.
    pub(crate) fn admit(&mut self, bytes: usize, offset: u64) -> bool {
        self.entries += 1;
        let admitted = self.entries <= self.limits.entries_max && self.allowance.take(bytes);
        if !admitted && !std::mem::replace(&mut self.full, true) {
            let what = format!("entries after the first {} are not read", self.entries - 1);
            self.report(Malformed::new(Trouble::Limit, offset, what));
        }
        admitted
    }

    pub(crate) fn ambiguous(&mut self, offset: u64, what: impl Into<String>) {
        self.report(Malformed::new(Trouble::Ambiguous, offset, what));
    }

    pub(crate) fn report(&mut self, malformed: Malformed) {
        self.parsed.report(self.limits, malformed);
    }
}
