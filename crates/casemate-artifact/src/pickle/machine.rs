//! The machine: all 68 opcodes of protocols 0 to 5, on symbols instead of objects.
//!
//! Source: CPython `Lib/pickle.py`, `Modules/_pickle.c` and `Lib/pickletools.py`. Every import, call and write is recorded
//! when it is made, whether or not its result is used: what a loader did before it failed was done. Where CPython would
//! stop with an error, the stream ends here too ([`End::Broken`]); where only one of its readers would, we go on.
//!
//! A stream can make the machine hold at most one value for each 16 bytes of input above
//! [`Limits::pickle_values_max`]; constants stay in the source.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use casemate_core::{Limits, Source};

use super::event::{Action, Event, Global, Operand};
use super::memo::Memo;
use super::name::int;
use super::reader::{ReadError, Reader};
use super::value::{Span, Spelling, Tuple, Value};
use crate::{Clue, Malformed, Trouble};
use arrays::Arrays;

mod arrays;
mod calls;
mod constants;
mod imports;
mod numbers;

/// How frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// FRAME is an opcode without effect: the C reader over memory.
    Plain,
    /// FRAME fills a buffer, and an operand that does not fit in what is left of it starts anew after it: the C reader over
    /// a file without look-ahead.
    FramesBuffered,
    /// As joblib reads: FRAME is without effect, and arrays lie between the opcodes.
    Joblib,
}

/// What one stream does.
#[derive(Debug)]
pub struct Stream {
    /// What it does, in order of first appearance, each action once.
    pub events: Vec<Event>,
    /// How it ends.
    pub end: End,
    /// Offset after its last opcode.
    pub end_offset: u64,
    /// Number of opcodes executed.
    pub opcodes: u64,
    /// Trouble on the way.
    pub malformed: Vec<Malformed>,
    /// Constants that look like objects themselves.
    pub embedded: Vec<Embedded>,
    /// Memory in bytes that `events` takes.
    pub events_bytes: u64,
    /// What its text constants give away.
    pub clues: Vec<Clue>,
    /// Text constants in order, kept only when asked for.
    pub texts: Vec<String>,
    /// Whether a frame lies about its length, so that readers disagree about the stream.
    pub frames_disagree: bool,
    /// Whether joblib would take an array from the file in the middle of the stream.
    pub has_arrays: bool,
    /// Files joblib would read arrays from, with the offset that says so; only under [`Reading::Joblib`].
    pub external: Vec<(u64, String)>,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With STOP.
    Stop,
    /// With an error of the loader, a limit, or the end of the bytes.
    Broken,
}

/// A constant that looks like an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Offset of its bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Whether the bytes spell it in base64.
    pub base64: bool,
    /// Whether the stream hands it to something it calls.
    pub called: bool,
}

/// Runs the stream at `offset` of `source` to its end, executing nothing.
///
/// `texts_max`: how many text constants to keep in [`Stream::texts`].
pub fn run(source: &dyn Source, offset: u64, reading: Reading, limits: &Limits, texts_max: usize) -> Stream {
    let values_max = limits.pickle_values_max.saturating_add(source.size_bytes().saturating_sub(offset) / 16);
    let mut machine = Machine {
        reader: Reader::new(source, offset),
        source,
        limits,
        arrays: (reading == Reading::Joblib).then(Arrays::default),
        reading,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Memo::default(),
        seen: HashMap::new(),
        hasher: RandomState::new(),
        passed: Vec::new(),
        instances: 0,
        built: Vec::new(),
        embedded_at: HashMap::new(),
        embedded_full: false,
        excessive: false,
        protocol: 0,
        frame_end: None,
        op_offset: offset,
        values_max,
        tuples_bytes: Rc::default(),
        events_max: limits.pickle_events_max,
        texts_max,
        text_before: None,
        stream: Stream {
            events: Vec::new(),
            end: End::Broken,
            end_offset: offset,
            opcodes: 0,
            malformed: Vec::new(),
            embedded: Vec::new(),
            events_bytes: 0,
            clues: Vec::new(),
            texts: Vec::new(),
            frames_disagree: false,
            has_arrays: false,
            external: Vec::new(),
        },
    };
    machine.run();
    machine.stream
}

/// Why a stream cannot go on.
enum Stop {
    Done,
    Truncated,
    Io(std::io::Error),
    Error(String),
    Limit(String),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::Io(error) => Self::Io(error),
        }
    }
}

fn error<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Error(what.into()))
}

struct Machine<'a> {
    reader: Reader<'a>,
    source: &'a dyn Source,
    limits: &'a Limits,
    /// Present where arrays lie between the opcodes.
    arrays: Option<Arrays>,
    reading: Reading,
    stack: Vec<Value>,
    /// Stack heights at the open MARKs; nothing below the last may be popped.
    marks: Vec<usize>,
    memo: Memo,
    /// Where in `stream.events` an action of this hash stands. Keyed anew in each run, so that nobody can aim at a collision;
    /// one that happens costs a repeated event.
    seen: HashMap<u64, u32>,
    hasher: RandomState,
    /// Which of `globals` were handed on as values.
    passed: Vec<bool>,
    /// Number of results of calls so far.
    instances: u32,
    /// Which of those had their state set, one bit each.
    built: Vec<u64>,
    /// Where in `stream.embedded` the constant at an offset stands.
    embedded_at: HashMap<u64, usize>,
    embedded_full: bool,
    excessive: bool,
    protocol: u8,
    frame_end: Option<u64>,
    op_offset: u64,
    values_max: u64,
    /// Memory of the tuples alive.
    tuples_bytes: Rc<Cell<u64>>,
    events_max: u64,
    texts_max: usize,
    /// The text constant before: the key, where the next is a value.
    text_before: Option<Span>,
    stream: Stream,
}

/// Constants handed to calls that are looked into. A model pickled without torch.save has one for each tensor.
const EMBEDDED_MAX: usize = 1 << 16;

/// Digits CPython reads of one integer (`sys.int_info.default_max_str_digits`).
const DIGITS_MAX: u64 = 4300;

/// Memory for the tuples alive, above one byte for each byte of input.
const TUPLES_BYTES_MAX: u64 = 16 << 20;

/// Memory for the events of one stream. The largest public model we know needs less than 1 MiB.
pub(crate) const EVENTS_BYTES_MAX: u64 = 16 << 20;

impl Machine<'_> {
    fn run(&mut self) {
        let tuples_bytes_max = TUPLES_BYTES_MAX.saturating_add(self.reader.size_bytes());
        let stop = loop {
            self.op_offset = self.reader.at;
            if let Err(stop) = self.step() {
                break stop;
            }
            self.stream.opcodes += 1;
            self.check_frame();
            if let Err(stop) = self.skip_array() {
                break stop;
            }
            let held =
                (self.stack.len() as u64).saturating_add(self.memo.len()).saturating_add(self.marks.len() as u64);
            if held > self.values_max {
                break Stop::Limit(format!("holds more than {} values", self.values_max));
            }
            if self.tuples_bytes.get() > tuples_bytes_max {
                break Stop::Limit(format!("holds tuples of more than {tuples_bytes_max} bytes"));
            }
        };
        self.stream.end_offset = self.reader.at;
        self.stream.frames_disagree |= self.frame_end.is_some();
        let (trouble, what) = match stop {
            Stop::Done => {
                self.stream.end = End::Stop;
                return;
            }
            Stop::Truncated => {
                (Trouble::Undecodable, "pickle stream ends in the middle of an opcode or without STOP".into())
            }
            Stop::Io(error) => (Trouble::Unreadable, error.to_string()),
            Stop::Error(what) => (Trouble::Undecodable, format!("pickle stream stops: {what}")),
            Stop::Limit(what) => (Trouble::Limit, format!("pickle {what}")),
        };
        // An operand that broke off is not accounted for.
        self.stream.end_offset = self.op_offset;
        self.stream.malformed.push(Malformed::new(trouble, self.op_offset, what));
    }

    /// Executes one opcode.
    fn step(&mut self) -> Result<(), Stop> {
        let opcode = self.reader.u8()?;
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'.' => {
                self.pop()?;
                if !self.marks.is_empty() {
                    let what = format!("pickle ends with {} open MARKs, which no writer leaves", self.marks.len());
                    self.stream.malformed.push(Malformed::new(Trouble::Ambiguous, self.op_offset, what));
                }
                return Err(Stop::Done);
            }
            b'0' => self.pop_or_mark()?,
            b'1' => drop(self.pop_mark()?),
            b'2' => self.push(self.top()?.clone()),
            b'N' | 0x88 | 0x89 | b'}' | b']' | 0x8f | 0x97 => self.push(Value::Data),
            b')' => self.push_tuple(Vec::new()),
            0x98 => drop(self.top()?),
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'F' | b'G' => self.number(opcode)?,
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d => self.text(opcode)?,
            b'B' | b'C' | 0x8e | 0x96 => self.bytes(opcode)?,
            b'a' | b's' | b'e' | b'u' | 0x90 => self.add_items(opcode)?,
            b'd' | b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.pass(&items)?;
                self.push(Value::Data);
                // The oldest writers fill the dictionary DICT makes, as the later ones do.
                if opcode == b'd' {
                    self.follow_dicts(b'}');
                    self.keep_items(&items);
                }
            }
            b't' => {
                let items = self.pop_mark()?;
                self.pass(&items)?;
                self.push_tuple(items);
            }
            0x85..=0x87 => {
                let n = usize::from(opcode - 0x84);
                let mut items = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.pass(&items)?;
                self.push_tuple(items);
            }
            b'g' | b'h' | b'j' => self.get(opcode)?,
            b'p' | b'q' | b'r' | 0x94 => self.put(opcode)?,
            b'c' | b'i' | 0x93 => self.import_opcode(opcode)?,
            b'R' | b'o' | 0x81 | 0x92 => self.call_opcode(opcode)?,
            b'b' => self.build()?,
            b'P' | b'Q' => self.persistent_id(opcode)?,
            0x82..=0x84 => self.extension(opcode)?,
            0x80 => self.protocol()?,
            0x95 => self.frame()?,
            other => return error(format!("0x{other:02x} is no opcode")),
        }
        self.follow_dicts(opcode);
        Ok(())
    }

    // Stack.

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or_default()
    }

    fn pop(&mut self) -> Result<Value, Stop> {
        match self.stack.len() > self.fence() {
            true => self.stack.pop().ok_or_else(|| Stop::Error("stack underflow".into())),
            false => error("stack underflow"),
        }
    }

    fn top(&self) -> Result<&Value, Stop> {
        match self.stack.last().filter(|_| self.stack.len() > self.fence()) {
            Some(value) => Ok(value),
            None => error("stack underflow"),
        }
    }

    /// POP: a value, or the last MARK where nothing was pushed after it.
    fn pop_or_mark(&mut self) -> Result<(), Stop> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, Stop> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height.min(self.stack.len()))),
            None => error("no MARK to go back to"),
        }
    }

    fn push_tuple(&mut self, items: Vec<Value>) {
        let tuple = Tuple::new(items, Event::ARGS_MAX, &self.tuples_bytes);
        self.push(Value::Tuple(Rc::new(tuple)));
    }

    // Memo.

    fn memo_index(&mut self, opcode: u8) -> Result<u64, Stop> {
        match opcode {
            b'h' | b'q' => Ok(u64::from(self.reader.u8()?)),
            b'j' | b'r' => Ok(u64::from(u32::from_le_bytes(self.reader.array()?))),
            _ => {
                let span = self.reader.line(Spelling::Utf8)?;
                let digits = match span {
                    Some(span) => self.reader.bytes(span)?,
                    None => None,
                };
                match digits.and_then(int).and_then(|index| u64::try_from(index).ok()) {
                    Some(index) => Ok(index),
                    None => error("malformed memo index"),
                }
            }
        }
    }

    fn get(&mut self, opcode: u8) -> Result<(), Stop> {
        let index = self.memo_index(opcode)?;
        match self.memo.get(index) {
            Some(value) => {
                let value = value.clone();
                self.push(value);
                Ok(())
            }
            None => error(format!("memo slot {index} was never written")),
        }
    }

    fn put(&mut self, opcode: u8) -> Result<(), Stop> {
        let index = if opcode == 0x94 { self.memo.len() } else { self.memo_index(opcode)? };
        let value = self.top()?.clone();
        // Writers count up, so an index is never larger than the file. CPython's C reader allocates up to twice the index.
        if index > self.reader.size_bytes() {
            self.excess(format!("pickle writes memo slot {index}, for which a loader allocates all slots below"));
        }
        self.memo.put(index, value);
        Ok(())
    }

    // Containers.

    /// APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS: harmless on containers, a write on anything else.
    fn add_items(&mut self, opcode: u8) -> Result<(), Stop> {
        let items = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_mark()?,
        };
        self.pass(&items)?;
        self.keep_items(&items);
        let target = self.top()?.clone();
        self.note_rewrite(&target)?;
        let target = self.operand(&target)?;
        match target {
            Operand::Global(_) | Operand::ResultOf(_) | Operand::Opaque => self.record(Action::SetItem { target }),
            Operand::Data | Operand::Text(_) | Operand::Bytes | Operand::Int(_) => Ok(()),
        }
    }

    /// BUILD: `__setstate__`, or the instance's dictionary and slots.
    fn build(&mut self) -> Result<(), Stop> {
        let state = self.pop()?;
        self.pass(std::slice::from_ref(&state))?;
        let target = self.top()?.clone();
        self.note_rewrite(&target)?;
        self.build_array(&target, &state)?;
        if let Value::ResultOf(_, instance) = target {
            let (word, bit) = (instance as usize / 64, instance % 64);
            if self.built.len() <= word {
                self.built.resize(word + 1, 0);
            }
            self.built.iter_mut().skip(word).take(1).for_each(|bits| *bits |= 1 << bit);
        }
        let target = self.operand(&target)?;
        self.record(Action::Build { target })
    }

    /// Writers set an object's state last and once. Whoever writes again means to run what the state put there.
    fn note_rewrite(&mut self, target: &Value) -> Result<(), Stop> {
        let Value::ResultOf(_, instance) = target else { return Ok(()) };
        let bits = self.built.get(*instance as usize / 64).copied().unwrap_or_default();
        if bits >> (instance % 64) & 1 == 0 {
            return Ok(());
        }
        let target = self.operand(target)?;
        self.record(Action::Rewrite { target })
    }

    /// Notes imports that are handed on as values, each once.
    fn pass(&mut self, values: &[Value]) -> Result<(), Stop> {
        for value in values {
            let Value::Global(id) = value else { continue };
            let index = *id as usize;
            if self.passed.len() <= index {
                self.passed.resize(self.stream.events.len().max(index + 1), false);
            }
            let before = self.passed.get_mut(index).map(|passed| std::mem::replace(passed, true));
            if before == Some(false)
                && let Some(global) = self.global(*id).cloned()
            {
                self.record(Action::Pass(global))?;
            }
        }
        Ok(())
    }

    fn operand(&mut self, value: &Value) -> Result<Operand, Stop> {
        let global = |id: &u32| self.global(*id).cloned();
        Ok(match value {
            Value::Global(id) => global(id).map_or(Operand::Opaque, Operand::Global),
            Value::ResultOf(id, _) => global(id).map_or(Operand::Opaque, Operand::ResultOf),
            Value::Str(span) if span.len <= 100 => self.decode(*span)?.map_or(Operand::Data, Operand::Text),
            Value::Bytes(_) => Operand::Bytes,
            Value::Int(value) => Operand::Int(*value),
            Value::Str(_) | Value::Data | Value::Tuple(_) => Operand::Data,
            Value::Opaque => Operand::Opaque,
        })
    }

    // The rest.

    fn persistent_id(&mut self, opcode: u8) -> Result<(), Stop> {
        let (storage, text) = match opcode {
            b'P' => (None, self.line_text()?),
            _ => {
                let id = self.pop()?;
                (self.torch_storage(&id)?, self.known_text(&id)?)
            }
        };
        let text = text.map(|text| text.chars().take(200).collect());
        self.record(Action::PersistentId { storage, text })?;
        self.push(Value::Opaque);
        Ok(())
    }

    /// `('storage', type, key, location, numel[, view metadata])`, as `torch.save` writes it.
    fn torch_storage(&mut self, id: &Value) -> Result<Option<(Global, String, u64)>, Stop> {
        let Value::Tuple(tuple) = id else { return Ok(None) };
        let tuple = Rc::clone(tuple);
        let [kind, of, key, location, numel, ..] = tuple.items.as_slice() else { return Ok(None) };
        let is_storage =
            tuple.complete && tuple.items.len() <= 6 && self.known_text(kind)?.as_deref() == Some("storage");
        let named = self.known_text(location)?.is_some();
        match (self.operand(of)?, self.known_text(key)?, numel) {
            (Operand::Global(of), Some(key), Value::Int(numel)) if is_storage && named && *numel >= 0 => {
                Ok(Some((of, key, numel.unsigned_abs())))
            }
            _ => Ok(None),
        }
    }

    fn extension(&mut self, opcode: u8) -> Result<(), Stop> {
        let code = match opcode {
            0x82 => i64::from(self.reader.u8()?),
            0x83 => i64::from(u16::from_le_bytes(self.reader.array()?)),
            _ => i64::from(i32::from_le_bytes(self.reader.array()?)),
        };
        self.record(Action::Extension(code))?;
        self.push(Value::Opaque);
        Ok(())
    }

    fn protocol(&mut self) -> Result<(), Stop> {
        self.protocol = self.reader.u8()?;
        if self.protocol > 5 {
            let what = format!("protocol {} does not exist", self.protocol);
            self.stream.malformed.push(Malformed::new(Trouble::Ambiguous, self.op_offset, what));
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Stop> {
        let len = u64::from_le_bytes(self.reader.array()?);
        let end = self.reader.at.checked_add(len).filter(|end| *end <= self.reader.size_bytes());
        let trouble = match end {
            None => Some("frame is longer than the file"),
            Some(_) if self.frame_end.is_some() => Some("frame begins inside a frame"),
            Some(_) => None,
        };
        if let Some(what) = trouble {
            self.stream.frames_disagree = true;
            self.stream.malformed.push(Malformed::new(Trouble::Ambiguous, self.op_offset, what));
        }
        self.frame_end = end.filter(|end| *end > self.reader.at);
        if self.reading == Reading::FramesBuffered {
            self.reader.buffer_frame(len)?;
        }
        Ok(())
    }

    /// A frame must end where an opcode ends; where it does not, CPython's readers disagree.
    fn check_frame(&mut self) {
        let Some(end) = self.frame_end.filter(|end| self.reader.at >= *end) else { return };
        self.frame_end = None;
        // Writers put constants of 64 KiB and more between frames, never across the end of one.
        if self.reader.at > end {
            self.stream.frames_disagree = true;
            let what = "frame ends inside an operand, so readers disagree";
            self.stream.malformed.push(Malformed::new(Trouble::Ambiguous, self.op_offset, what));
        }
    }

    fn record(&mut self, action: Action) -> Result<(), Stop> {
        self.note(action).map(drop)
    }

    /// Notes an action and returns the number of its event, the earlier one where it was noted before.
    fn note(&mut self, action: Action) -> Result<u32, Stop> {
        let hash = self.hasher.hash_one(&action);
        if let Some(id) = self.seen.get(&hash) {
            let event = usize::try_from(*id).ok().and_then(|id| self.stream.events.get_mut(id));
            if let Some(event) = event.filter(|event| event.action == action) {
                event.count += 1;
                return Ok(*id);
            }
        }
        self.stream.events_bytes = self.stream.events_bytes.saturating_add(action.held_bytes());
        let full = self.stream.events.len() as u64 >= self.events_max || self.stream.events_bytes > EVENTS_BYTES_MAX;
        match u32::try_from(self.stream.events.len()) {
            Ok(id) if !full => {
                self.seen.insert(hash, id);
                self.stream.events.push(Event { action, offset: self.op_offset, count: 1 });
                Ok(id)
            }
            _ => Err(Stop::Limit("does more different things than are kept".into())),
        }
    }
}
