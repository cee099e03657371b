//! The walk over the objects of a file; what is still to be read stands on a list.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use super::reader::Reader;
use crate::formats::Object;
use crate::formats::reading::{Allowance, quote};
use crate::{Malformed, Operator, Parsed, Tensor, Trouble};

/// Domain of functions in the data.
pub(crate) const FUNCTION: &str = "lua.function";
/// Domain of classes whose way of reading is their own.
const CLASS: &str = "lua.class";

const WAITING_MAX: usize = 1 << 17;
const DIMS_MAX: i32 = 64;
const NAME_BYTES_MAX: u64 = 256;

/// Kinds of objects, by the number before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nil,
    Number,
    Text,
    Table,
    Object,
    Boolean,
    Function,
    LegacyFunction,
    NumberedFunction,
}

impl Kind {
    pub(super) fn of(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Nil,
            1 => Self::Number,
            2 => Self::Text,
            3 => Self::Table,
            4 => Self::Object,
            5 => Self::Boolean,
            6 => Self::Function,
            7 => Self::LegacyFunction,
            8 => Self::NumberedFunction,
            _ => return None,
        })
    }
}

enum Task {
    Object,
    Objects(u64),
    /// The storage a tensor lies in was read; the tensor, and how many elements it reaches, if that is a number.
    Storage(Box<Tensor>, Option<u64>),
}

pub(super) struct Walk<'a> {
    reader: Reader<'a>,
    object: &'a Object<'a>,
    tasks: Vec<Task>,
    // Objects are numbered; a number met again stands for the object.
    seen: HashSet<i32>,
    operators: BTreeSet<Operator>,
    allowance: Allowance,
    parsed: Parsed,
    /// The storage read last, which a tensor waits for: how many elements, and where.
    last: Option<(u64, Range<u64>)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(reader: Reader<'a>, object: &'a Object<'a>) -> Self {
        Self {
            reader,
            object,
            tasks: Vec::new(),
            seen: HashSet::new(),
            operators: BTreeSet::new(),
            allowance: Allowance::new(),
            parsed: Parsed::default(),
            last: None,
        }
    }

    /// Walks the first object to its end.
    pub(super) fn run(&mut self) -> Result<(), Malformed> {
        self.tasks.push(Task::Object);
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Object => self.next()?,
                Task::Objects(0) => {}
                Task::Objects(n) => {
                    self.push(Task::Objects(n - 1))?;
                    self.next()?;
                }
                Task::Storage(tensor, wanted) => self.keep(*tensor, wanted)?,
            }
        }
        Ok(())
    }

    /// How far it came.
    pub(super) fn at(&self) -> u64 {
        self.reader.fields.at
    }

    pub(super) fn into_parsed(self) -> Parsed {
        Parsed { operators: self.operators.into_iter().collect(), ..self.parsed }
    }

    fn next(&mut self) -> Result<(), Malformed> {
        let number = self.reader.int()?;
        let kind = Kind::of(number).ok_or_else(|| self.broken(format!("an object of unknown kind {number}")))?;
        match kind {
            Kind::Nil => Ok(()),
            Kind::Number => self.reader.double(),
            Kind::Boolean => self.reader.int().map(drop),
            Kind::Text => {
                let n = self.reader.count()?;
                self.reader.characters(n)
            }
            Kind::Function => self.function(),
            Kind::LegacyFunction | Kind::NumberedFunction if self.is_new()? => self.function(),
            Kind::Table if self.is_new()? => {
                // A key and a value, four bytes each at least, or two in text.
                let n = self.reader.count()?;
                self.push(Task::Objects(n.saturating_mul(2)))
            }
            Kind::Object if self.is_new()? => self.instance(),
            _ => Ok(()),
        }
    }

    /// Whether the object with the number that follows stands here, and not somewhere before.
    fn is_new(&mut self) -> Result<bool, Malformed> {
        let number = self.reader.int()?;
        if self.seen.contains(&number) {
            return Ok(false);
        }
        if !self.allowance.take(0) {
            return Err(Malformed::new(Trouble::Limit, self.at(), "more objects than can be told apart"));
        }
        Ok(self.seen.insert(number))
    }

    fn function(&mut self) -> Result<(), Malformed> {
        let n = self.reader.count()?;
        let is_compiled = self.reader.begins(b"\x1bL");
        self.reader.characters(n)?;
        let what = if is_compiled { "compiled Lua" } else { "Lua source" };
        self.operators.insert(Operator { domain: FUNCTION.into(), name: what.into() });
        // The variables it has from around it.
        self.push(Task::Object)
    }

    fn instance(&mut self) -> Result<(), Malformed> {
        let mut class = self.reader.text(NAME_BYTES_MAX)?;
        // Files before versions have the class at once.
        if class.starts_with(b"V ") {
            class = self.reader.text(NAME_BYTES_MAX)?;
        }
        let class = String::from_utf8_lossy(&class).into_owned();
        let Some(name) = class.strip_prefix("torch.") else {
            // Whatever is no number keeps its fields in a table.
            return self.table_of(class);
        };
        match (name.strip_suffix("Tensor").and_then(width), name.strip_suffix("Storage").and_then(width)) {
            (Some((dtype, _)), _) => self.tensor(dtype),
            (_, Some((_, width))) => self.storage(width),
            _ => self.table_of(class),
        }
    }

    fn table_of(&mut self, class: String) -> Result<(), Malformed> {
        let known = class.starts_with("nn.") || class.starts_with("cudnn.") || class.starts_with("torch.");
        if !known && self.allowance.take(class.len()) {
            self.operators.insert(Operator { domain: CLASS.into(), name: class });
        }
        self.push(Task::Object)
    }

    fn tensor(&mut self, dtype: &str) -> Result<(), Malformed> {
        let (at, dims) = (self.at(), self.reader.int()?);
        if !(0..=DIMS_MAX).contains(&dims) {
            return Err(Malformed::new(Trouble::Undecodable, at, format!("a tensor of {dims} dimensions")));
        }
        let negative = |_| Malformed::new(Trouble::Undecodable, at, "a tensor with a negative dimension");
        let mut row = || {
            let longs = (0..dims).map(|_| self.reader.long().and_then(|n| u64::try_from(n).map_err(negative)));
            longs.collect::<Result<Vec<_>, _>>()
        };
        let (shape, strides) = (row()?, row()?);
        // Counted from one; nothing at all has an offset of zero.
        let offset = u64::try_from(self.reader.long()?).map_err(negative)?;
        let last = shape.iter().zip(&strides).try_fold(offset, |at, (dim, stride)| {
            dim.saturating_sub(1).checked_mul(*stride).and_then(|step| at.checked_add(step))
        });
        self.last = None;
        let wanted = if shape.is_empty() || shape.contains(&0) { Some(0) } else { last };
        let tensor = Tensor { name: format!("@{at}"), dtype: dtype.into(), shape, span: None };
        self.push(Task::Storage(Box::new(tensor), wanted))?;
        self.push(Task::Object)
    }

    fn storage(&mut self, width: u64) -> Result<(), Malformed> {
        let n = self.reader.long()?;
        let n = u64::try_from(n).map_err(|_| self.broken(format!("a storage of {n} elements")))?;
        let start = self.at();
        self.reader.elements(n, width)?;
        self.last = Some((n, start..self.at()));
        Ok(())
    }

    fn keep(&mut self, mut tensor: Tensor, wanted: Option<u64>) -> Result<(), Malformed> {
        // A storage that stands elsewhere was judged there.
        let (elements, span) = self.last.take().unzip();
        if wanted.is_none_or(|wanted| elements.is_some_and(|elements| wanted > elements)) {
            let what = format!("tensor {} is larger than its storage", quote(&tensor.name));
            let at = span.as_ref().map(|span| span.start);
            self.parsed.report(self.object.limits, Malformed::new(Trouble::Ambiguous, at, what));
        }
        tensor.span = span;
        let room = (self.parsed.tensors.len() as u64) < self.object.limits.entries_max;
        if !room || !self.allowance.take(8 * tensor.shape.len()) {
            return Err(Malformed::new(Trouble::Limit, self.at(), "more tensors than can be listed"));
        }
        self.parsed.tensors.push(tensor);
        Ok(())
    }

    fn push(&mut self, task: Task) -> Result<(), Malformed> {
        if self.tasks.len() >= WAITING_MAX {
            return Err(Malformed::new(Trouble::Limit, self.at(), "nested deeper than can be followed"));
        }
        self.tasks.push(task);
        Ok(())
    }

    fn broken(&self, what: impl Into<String>) -> Malformed {
        self.reader.fields.broken(what)
    }
}

/// Type and bytes of the elements of a class of tensors or storages.
fn width(class: &str) -> Option<(&'static str, u64)> {
    Some(match class.strip_prefix("Cuda").filter(|rest| !rest.is_empty()).unwrap_or(class) {
        "Byte" => ("Byte", 1),
        "Char" => ("Char", 1),
        "Short" => ("Short", 2),
        "Half" => ("Half", 2),
        "Int" => ("Int", 4),
        "Float" | "Cuda" => ("Float", 4),
        "Long" => ("Long", 8),
        "Double" => ("Double", 8),
        _ => return None,
    })
}
