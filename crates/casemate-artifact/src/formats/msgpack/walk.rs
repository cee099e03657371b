//! The walk over all values; open maps and arrays stand on a list.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use casemate_core::RangeSource;

use super::array;
use super::token::{Token, next};
use crate::formats::Object;
use crate::formats::fields::Fields;
use crate::formats::reading::{Allowance, is_template, quote};
use crate::formats::text::TEMPLATE_BYTES_MAX;
use crate::{Child, Malformed, Parsed, Role, Text, TextKind, Trouble};

/// The longest key; Flax's are names of layers.
const KEY_BYTES_MAX: u64 = 1 << 10;

/// Extension types of Flax: array, complex number, scalar; and the timestamp of MessagePack itself.
const ARRAY: i8 = 1;
const COMPLEX: i8 = 2;
const SCALAR: i8 = 3;
const TIMESTAMP: i8 = -1;

/// A key, so that two spellings of one are the same.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Integer(i128),
    Plain(u64),
}

impl Key {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
            _ => b"",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer(n) => n.to_string(),
            Self::Plain(at) => format!("@{at}"),
        }
    }
}

/// A map or array whose values are being read.
struct Open {
    left: u64,
    /// Keys so far; none for an array.
    keys: Option<HashSet<Key>>,
    /// Key or index of the value being read.
    key: Option<Key>,
    /// What `msgpack-numpy` would unpickle, if the kind of the array says so.
    data: Option<Range<u64>>,
    has_objects: bool,
}

pub(super) struct Walk<'a> {
    object: &'a Object<'a>,
    fields: Fields<'a>,
    open: Vec<Open>,
    allowance: Allowance,
    plain_key: bool,
    pub(super) parsed: Parsed,
}

impl<'a> Walk<'a> {
    pub(super) fn new(object: &'a Object<'a>) -> Self {
        let (fields, open, allowance) = (Fields::new(&**object.source), Vec::new(), Allowance::new());
        Self { object, fields, open, allowance, plain_key: false, parsed: Parsed::default() }
    }

    /// How far it came.
    pub(super) fn at(&self) -> u64 {
        self.fields.at
    }

    /// Whether the first key is a plain word.
    pub(super) fn has_plain_key(&self) -> bool {
        self.plain_key
    }

    /// Walks the first value to its end.
    pub(super) fn run(&mut self) -> Result<(), Malformed> {
        self.value()?;
        while let Some(open) = self.open.last_mut() {
            if open.left == 0 {
                self.close();
                continue;
            }
            open.left -= 1;
            if open.keys.is_some() {
                self.key()?;
            }
            self.value()?;
        }
        Ok(())
    }

    fn key(&mut self) -> Result<(), Malformed> {
        let at = self.fields.at;
        let key = match next(&mut self.fields)? {
            Token::Integer(n) => Key::Integer(n),
            Token::Text(range) => Key::Text(self.content(range, KEY_BYTES_MAX, "key")?),
            Token::Binary(range) => Key::Binary(self.content(range, KEY_BYTES_MAX, "key")?),
            Token::Plain => Key::Plain(at),
            _ => {
                return Err(Malformed::new(
                    Trouble::Undecodable,
                    at,
                    "a key that is itself a map, an array or an object",
                ));
            }
        };
        if at < 6 {
            let plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
            self.plain_key = matches!(&key, Key::Text(text) if !text.is_empty() && text.iter().all(plain));
        }
        if !self.allowance.take(key.bytes().len()) {
            return Err(Malformed::new(Trouble::Limit, at, "more keys than can be compared"));
        }
        let words = quote(&key.words());
        let open = self.open.last_mut();
        let twice = open.is_some_and(|open| {
            open.key = Some(key.clone());
            open.keys.as_mut().is_some_and(|keys| !keys.insert(key))
        });
        if twice {
            self.report(Trouble::Ambiguous, at, format!("key {words} stands twice"));
        }
        Ok(())
    }

    fn value(&mut self) -> Result<(), Malformed> {
        let at = self.fields.at;
        match next(&mut self.fields)? {
            Token::Plain | Token::Integer(_) => Ok(()),
            Token::Map(n) => self.enter(n, Some(HashSet::new())),
            Token::Array(n) => self.enter(n, None),
            Token::Text(range) => self.text(range),
            Token::Binary(range) => self.binary(range),
            Token::Extension(ARRAY | SCALAR, range) => self.array(range),
            Token::Extension(COMPLEX | TIMESTAMP, _) => Ok(()),
            Token::Extension(kind, range) => {
                self.report(
                    Trouble::Undecodable,
                    at,
                    format!("extension type {kind} is known to its application alone"),
                );
                self.child(range, Role::Inert)
            }
        }
    }

    fn enter(&mut self, left: u64, keys: Option<HashSet<Key>>) -> Result<(), Malformed> {
        if self.open.len() as u64 >= u64::from(self.object.limits.nesting_max) {
            let what = format!("nested more than {} deep", self.object.limits.nesting_max);
            return Err(Malformed::new(Trouble::Limit, self.fields.at, what));
        }
        self.open.push(Open { left, keys, key: None, data: None, has_objects: false });
        Ok(())
    }

    fn close(&mut self) {
        let Some(Open { data: Some(range), has_objects, .. }) = self.open.pop() else { return };
        let role = if has_objects { Role::Any } else { Role::Inert };
        let name = [self.path().as_str(), "data"].join("/");
        if let Err(malformed) = self.child_called(name, range, role) {
            self.parsed.report(self.object.limits, malformed);
        }
    }

    fn text(&mut self, range: Range<u64>) -> Result<(), Malformed> {
        let at = range.start;
        if range.end - range.start > TEMPLATE_BYTES_MAX {
            return Ok(());
        }
        let bytes = self.content(range, TEMPLATE_BYTES_MAX, "text")?;
        self.note_kind(&bytes);
        let Ok(text) = String::from_utf8(bytes) else {
            self.report(Trouble::Undecodable, at, "a text is not UTF-8".into());
            return Ok(());
        };
        if is_template(&text) && self.allowance.take(text.len()) {
            let key = self.path();
            self.parsed.texts.push(Text { kind: TextKind::Template, key, text, offset: Some(at) });
        }
        Ok(())
    }

    fn binary(&mut self, range: Range<u64>) -> Result<(), Malformed> {
        if range.end - range.start <= 1 {
            let bytes = self.content(range, 1, "value")?;
            self.note_kind(&bytes);
            return Ok(());
        }
        match self.open.last_mut() {
            Some(open) if open.data.is_none() && open.key.as_ref().is_some_and(|key| key.bytes() == b"data") => {
                open.data = Some(range);
                Ok(())
            }
            _ => self.child(range, Role::Inert),
        }
    }

    /// Notes the kind of an array of `msgpack-numpy`: `O` has Python's objects in its data, pickled.
    fn note_kind(&mut self, value: &[u8]) {
        if let Some(open) = self.open.last_mut()
            && open.key.as_ref().is_some_and(|key| key.bytes() == b"kind")
        {
            open.has_objects |= value == b"O";
        }
    }

    fn array(&mut self, range: Range<u64>) -> Result<(), Malformed> {
        let (end, at) = (range.end, range.start);
        let (mut tensor, wrong) = match array::read(&mut self.fields, range) {
            Ok(read) => read,
            Err(malformed) => {
                self.parsed.report(self.object.limits, malformed);
                self.fields.at = end;
                return Ok(());
            }
        };
        tensor.name = self.path();
        if let Some(wrong) = wrong {
            self.report(Trouble::Ambiguous, at, format!("array {} {wrong}", quote(&tensor.name)));
        }
        let room = (self.parsed.tensors.len() as u64) < self.object.limits.entries_max;
        if !room || !self.allowance.take(tensor.name.len() + 8 * tensor.shape.len()) {
            return Err(Malformed::new(Trouble::Limit, at, "more arrays than can be listed"));
        }
        // Programs hide in arrays of bytes.
        let bytes = tensor.span.clone().filter(|_| matches!(tensor.dtype.as_str(), "uint8" | "int8" | "object"));
        self.parsed.tensors.push(tensor);
        bytes.map_or(Ok(()), |span| self.child(span, Role::RawData))
    }

    fn child(&mut self, range: Range<u64>, role: Role) -> Result<(), Malformed> {
        let name = self.path();
        self.child_called(name, range, role)
    }

    fn child_called(&mut self, name: String, range: Range<u64>, role: Role) -> Result<(), Malformed> {
        self.object.budget.member(self.object.limits)?;
        if !self.allowance.take(name.len()) {
            return Err(Malformed::new(Trouble::Limit, range.start, "more binary values than can be looked into"));
        }
        let source = Arc::new(RangeSource::new(Arc::clone(self.object.source), range.start, range.end - range.start));
        self.parsed.children.push(Child { name, source, role });
        Ok(())
    }

    /// Keys of the value being read, joined.
    fn path(&self) -> String {
        let keys = self.open.iter().filter_map(|open| open.key.as_ref().map(Key::words));
        keys.collect::<Vec<_>>().join("/")
    }

    fn content(&mut self, range: Range<u64>, max: u64, what: &str) -> Result<Vec<u8>, Malformed> {
        let len = range.end - range.start;
        if len > max {
            return Err(Malformed::new(Trouble::Limit, range.start, format!("a {what} of {len} bytes")));
        }
        let after = std::mem::replace(&mut self.fields.at, range.start);
        let bytes = self.fields.bytes(len)?.to_vec();
        self.fields.at = after;
        Ok(bytes)
    }

    fn report(&mut self, trouble: Trouble, at: u64, what: String) {
        self.parsed.report(self.object.limits, Malformed::new(trouble, at, what));
    }
}
