//! The walk over the items of a stream: what is still to be read waits on a list, not on the call stack.
//!
//! R reads an item by its kind, and most kinds hold further items. Nothing is built: of symbols the notable names are
//! kept, because later items refer to them by number.

use std::collections::BTreeSet;

use casemate_core::Limits;

use super::reader::Reader;
use crate::r_code::{CALL, CONSTANT, HOOK, NAME, NATIVE, Names, PROMISE, Use};
use crate::{Malformed, Operator, Trouble};

/// Items that may wait, which bounds nesting; a deep one of R's own syntax trees has some thousands.
const WAITING_MAX: usize = 1 << 17;
/// Symbols, environments and the like that later items can refer to.
const REFERENCES_MAX: usize = 1 << 19;
/// The longest name of an encoding R accepts.
const ENCODING_BYTES_MAX: u64 = 63;

const HAS_ATTRIBUTES: u32 = 0x200;
const HAS_TAG: u32 = 0x400;

/// Kinds of items, as R numbers them (`SEXPTYPE` and the codes of `serialize.c`).
mod kind {
    pub(super) const SYMBOL: u32 = 1;
    pub(super) const PAIRS: u32 = 2;
    pub(super) const CLOSURE: u32 = 3;
    pub(super) const ENVIRONMENT: u32 = 4;
    pub(super) const PROMISE: u32 = 5;
    pub(super) const CALL: u32 = 6;
    pub(super) const SPECIAL: u32 = 7;
    pub(super) const BUILTIN: u32 = 8;
    pub(super) const CHARACTERS: u32 = 9;
    pub(super) const LOGICALS: u32 = 10;
    pub(super) const INTEGERS: u32 = 13;
    pub(super) const REALS: u32 = 14;
    pub(super) const COMPLEXES: u32 = 15;
    pub(super) const STRINGS: u32 = 16;
    pub(super) const DOTS: u32 = 17;
    pub(super) const LIST: u32 = 19;
    pub(super) const EXPRESSIONS: u32 = 20;
    pub(super) const BYTECODE: u32 = 21;
    pub(super) const POINTER: u32 = 22;
    pub(super) const WEAK: u32 = 23;
    pub(super) const RAW: u32 = 24;
    pub(super) const S4: u32 = 25;
    pub(super) const ALTERNATIVE: u32 = 238;
    pub(super) const PAIRS_WITH_ATTRIBUTES: u32 = 239;
    pub(super) const CALL_WITH_ATTRIBUTES: u32 = 240;
    pub(super) const BASE_ENVIRONMENT: u32 = 241;
    pub(super) const EMPTY_ENVIRONMENT: u32 = 242;
    pub(super) const REPEATED: u32 = 243;
    pub(super) const TO_BE_REPEATED: u32 = 244;
    pub(super) const PERSISTENT: u32 = 247;
    pub(super) const PACKAGE: u32 = 248;
    pub(super) const NAMESPACE: u32 = 249;
    pub(super) const BASE_NAMESPACE: u32 = 250;
    pub(super) const MISSING: u32 = 251;
    pub(super) const UNBOUND: u32 = 252;
    pub(super) const GLOBAL_ENVIRONMENT: u32 = 253;
    pub(super) const NIL: u32 = 254;
    pub(super) const REFERENCE: u32 = 255;
}

/// Where an item stands, as far as it matters for what would be called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Value,
    /// The variables of a workspace, and the name of one.
    Workspace,
    WorkspaceName,
    /// The function of a call.
    Head,
    /// The rest of a call, and one argument.
    Arguments(Use),
    Argument(Use),
    /// A constant of bytecode.
    Constant,
    /// The expression of a promise nobody has evaluated yet.
    Promised,
    /// The class of an alternative representation, which decides what is done with its state.
    Class,
}

enum Task {
    Item(Place),
    Items(u64, Place),
    /// The function of a call that stands at a place; among the constants of bytecode, or not.
    Head(Place, bool),
    /// What a promise came to, if it was evaluated; its expression follows.
    Promise,
    Bytecode,
    Constants(Option<u64>),
    /// An item among the constants of bytecode, which has its kind before it.
    Packed(Place),
}

/// What an item is called, where it is a symbol.
#[derive(Default)]
struct Symbol {
    notable: Option<&'static str>,
    text: Option<Vec<u8>>,
}

pub(super) struct Walk<'a> {
    reader: Reader<'a>,
    limits: &'a Limits,
    names: &'static Names,
    tasks: Vec<Task>,
    references: Vec<Option<&'static str>>,
    operators: BTreeSet<Operator>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(reader: Reader<'a>, limits: &'a Limits) -> Self {
        let (tasks, references, operators) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { reader, limits, names: Names::built_in(), tasks, references, operators }
    }

    /// Walks the stream at `start` to its end.
    pub(super) fn run(&mut self, start: u64, is_workspace: bool) -> Result<(), Malformed> {
        self.reader.begin(start)?;
        let version = self.reader.int()?;
        self.reader.int()?;
        self.reader.int()?;
        match version {
            2 => {}
            3 => {
                let n = self.reader.count()?;
                if n > ENCODING_BYTES_MAX {
                    return Err(self.broken(format!("the name of its encoding has {n} bytes")));
                }
                self.reader.characters(n)?;
            }
            _ => return Err(self.broken(format!("version {version} of the format is unknown"))),
        }
        self.push(Task::Item(if is_workspace { Place::Workspace } else { Place::Value }))?;
        while let Some(task) = self.tasks.pop() {
            self.step(task)?;
        }
        self.reader.end()
    }

    /// How far it came.
    pub(super) fn at(&self) -> u64 {
        self.reader.fields.at
    }

    /// The notable names, by what is done with them.
    pub(super) fn into_operators(self) -> Vec<Operator> {
        self.operators.into_iter().collect()
    }

    fn step(&mut self, task: Task) -> Result<(), Malformed> {
        match task {
            Task::Item(place) => self.item(place),
            Task::Items(0, _) => Ok(()),
            Task::Items(n, place) => {
                self.push(Task::Items(n - 1, place))?;
                self.item(place)
            }
            Task::Head(place, packed) => self.head(place, packed),
            Task::Promise => {
                let flags = self.flags()?;
                let pending = flags & 0xff == kind::UNBOUND;
                self.push(Task::Item(if pending { Place::Promised } else { Place::Value }))?;
                self.item_of(flags, Place::Value).map(drop)
            }
            Task::Bytecode => {
                self.push(Task::Constants(None))?;
                self.item(Place::Value)
            }
            Task::Constants(None) => {
                let n = self.reader.length(1)?;
                self.push(Task::Constants(Some(n)))
            }
            Task::Constants(Some(0)) => Ok(()),
            Task::Constants(Some(n)) => {
                self.push(Task::Constants(Some(n - 1)))?;
                match self.reader.int()?.cast_unsigned() {
                    kind::BYTECODE => self.push(Task::Bytecode),
                    of => self.packed(of, Place::Constant),
                }
            }
            Task::Packed(place) => {
                let of = self.reader.int()?.cast_unsigned();
                self.packed(of, place)
            }
        }
    }

    fn item(&mut self, place: Place) -> Result<(), Malformed> {
        let flags = self.flags()?;
        let symbol = self.item_of(flags, place)?;
        let domain = match place {
            Place::Head | Place::Argument(Use::Called) | Place::Class => CALL,
            Place::Argument(_) => NAME,
            Place::Constant => CONSTANT,
            Place::WorkspaceName => HOOK,
            _ => return Ok(()),
        };
        symbol.notable.into_iter().for_each(|name| self.note(domain, name));
        Ok(())
    }

    /// The function of a call, which says what is done with the arguments.
    fn head(&mut self, place: Place, packed: bool) -> Result<(), Malformed> {
        let rest = |used| match packed {
            true => Task::Packed(Place::Arguments(used)),
            false => Task::Item(Place::Arguments(used)),
        };
        let of = if packed { self.reader.int()?.cast_unsigned() } else { 0 };
        let is_packed_call = is_packed(of);
        // Read ahead of its own attributes and parts: those go on the list above the arguments.
        let flags = if is_packed_call { 0 } else { self.flags()? };
        let symbol = match flags & 0xff {
            kind::SYMBOL | kind::REFERENCE => self.item_of(flags, Place::Head)?,
            _ => Symbol::default(),
        };
        if place == Place::Promised {
            let name = symbol.text.as_deref().map(String::from_utf8_lossy);
            self.note(PROMISE, symbol.notable.or(name.as_deref()).unwrap_or_default());
        }
        let used = symbol.notable.map_or(Use::Plain, |name| self.names.arguments(name, place == Place::Head));
        symbol.notable.into_iter().for_each(|name| self.note(CALL, name));
        self.push(rest(used))?;
        match flags & 0xff {
            kind::SYMBOL | kind::REFERENCE => Ok(()),
            _ if is_packed_call => self.packed(of, Place::Head),
            _ => self.item_of(flags, Place::Head).map(drop),
        }
    }

    /// An item among the constants of bytecode whose kind was read.
    fn packed(&mut self, of: u32, place: Place) -> Result<(), Malformed> {
        if !is_packed(of) {
            // Its own flags follow.
            return self.item(place);
        }
        if of == kind::REPEATED {
            return self.reader.int().map(drop);
        }
        let of = match of {
            kind::TO_BE_REPEATED => {
                self.reader.int()?;
                self.reader.int()?.cast_unsigned()
            }
            of => of,
        };
        match of {
            kind::CALL | kind::CALL_WITH_ATTRIBUTES => self.push(Task::Head(place, true))?,
            kind::PAIRS | kind::PAIRS_WITH_ATTRIBUTES => {
                self.push(Task::Packed(after(place)))?;
                self.push(Task::Packed(inside(place)))?;
            }
            _ => return Err(self.broken(format!("kind {of} among the constants of bytecode"))),
        }
        self.push(Task::Item(Place::Value))?;
        match of {
            kind::CALL_WITH_ATTRIBUTES | kind::PAIRS_WITH_ATTRIBUTES => self.push(Task::Item(Place::Value)),
            _ => Ok(()),
        }
    }

    /// An item whose flags were read; says how it is called, where it is a symbol.
    fn item_of(&mut self, flags: u32, place: Place) -> Result<Symbol, Malformed> {
        let (of, attributes) = (flags & 0xff, flags & HAS_ATTRIBUTES != 0);
        match of {
            kind::REFERENCE => return self.reference(flags >> 8),
            kind::SYMBOL => return self.symbol(),
            kind::NIL | kind::EMPTY_ENVIRONMENT | kind::BASE_ENVIRONMENT | kind::BASE_NAMESPACE => {}
            kind::GLOBAL_ENVIRONMENT if matches!(place, Place::Argument(_)) => self.note(NAME, "globalenv"),
            kind::GLOBAL_ENVIRONMENT | kind::UNBOUND | kind::MISSING => {}
            kind::PERSISTENT | kind::PACKAGE | kind::NAMESPACE => {
                self.named()?;
                self.add_reference(None)?;
            }
            kind::ENVIRONMENT => {
                self.reader.int()?;
                self.add_reference(None)?;
                // Its parent, its variables in a list and in a table, its attributes.
                (0..4).try_for_each(|_| self.push(Task::Item(Place::Value)))?;
            }
            kind::PAIRS | kind::CALL | kind::CLOSURE | kind::PROMISE | kind::DOTS => self.pairs(flags, place)?,
            kind::ALTERNATIVE => {
                self.push(Task::Item(Place::Value))?;
                self.push(Task::Item(Place::Value))?;
                self.push(Task::Item(Place::Class))?;
            }
            _ => {
                if attributes {
                    self.push(Task::Item(Place::Value))?;
                }
                self.vector(of, place)?;
            }
        }
        Ok(Symbol::default())
    }

    /// What is made of pairs: lists, calls, closures, promises.
    fn pairs(&mut self, flags: u32, place: Place) -> Result<(), Malformed> {
        let of = flags & 0xff;
        match of {
            kind::CALL => self.push(Task::Head(place, false))?,
            kind::PROMISE => self.push(Task::Promise)?,
            kind::PAIRS => {
                self.push(Task::Item(after(place)))?;
                self.push(Task::Item(inside(place)))?;
            }
            // A closure's formal arguments and its body; promises held for `...`.
            _ => (0..2).try_for_each(|_| self.push(Task::Item(Place::Value)))?,
        }
        if flags & HAS_TAG != 0 {
            let is_variable = of == kind::PAIRS && place == Place::Workspace;
            self.push(Task::Item(if is_variable { Place::WorkspaceName } else { Place::Value }))?;
        }
        match flags & HAS_ATTRIBUTES != 0 {
            true => self.push(Task::Item(Place::Value)),
            false => Ok(()),
        }
    }

    /// Kinds that hold their content in a row; attributes come after them.
    fn vector(&mut self, of: u32, place: Place) -> Result<(), Malformed> {
        match of {
            kind::LOGICALS | kind::INTEGERS => self.reader.numbers(4, 1),
            kind::REALS => self.reader.numbers(8, 1),
            kind::COMPLEXES => self.reader.numbers(16, 2),
            kind::RAW => self.reader.numbers(1, 1),
            kind::CHARACTERS => self.reader.text().map(drop),
            kind::S4 => Ok(()),
            kind::SPECIAL | kind::BUILTIN => {
                let n = self.reader.count()?;
                let name = self.reader.characters(n)?;
                self.names.notable(&name).into_iter().for_each(|name| self.note(CALL, name));
                Ok(())
            }
            kind::STRINGS => self.strings(place),
            kind::LIST | kind::EXPRESSIONS => {
                let n = self.reader.length(1)?;
                self.push(Task::Items(n, Place::Value))
            }
            kind::BYTECODE => {
                if place == Place::Promised {
                    self.note(PROMISE, "");
                }
                self.reader.int()?;
                self.push(Task::Bytecode)
            }
            kind::POINTER => {
                self.add_reference(None)?;
                self.push(Task::Item(Place::Value))?;
                self.push(Task::Item(Place::Value))
            }
            kind::WEAK => self.add_reference(None),
            _ => Err(self.broken(format!("an item of unknown kind {of}"))),
        }
    }

    fn strings(&mut self, place: Place) -> Result<(), Malformed> {
        let n = self.reader.length(1)?;
        for _ in 0..n {
            let text = self.characters()?.unwrap_or_default();
            match place {
                Place::Argument(Use::Called) => {
                    self.names.notable(&text).into_iter().for_each(|name| self.note(CALL, name));
                }
                Place::Argument(Use::Native) => self.note(NATIVE, &String::from_utf8_lossy(&text)),
                // A call may name its function by a text.
                Place::Head => self.names.notable(&text).into_iter().for_each(|name| self.note(CALL, name)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The texts that name a namespace, a package or what an application stored.
    fn named(&mut self) -> Result<(), Malformed> {
        if self.reader.int()? != 0 {
            return Err(self.broken("names of names are in no version of the format"));
        }
        let n = self.reader.length(1)?;
        (0..n).try_for_each(|_| self.characters().map(drop))
    }

    fn symbol(&mut self) -> Result<Symbol, Malformed> {
        let text = self.characters()?.unwrap_or_default();
        let notable = self.names.notable(&text);
        self.add_reference(notable)?;
        Ok(Symbol { notable, text: Some(text) })
    }

    /// A text where nothing else may stand.
    fn characters(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let flags = self.flags()?;
        match flags & 0xff == kind::CHARACTERS && flags & HAS_ATTRIBUTES == 0 {
            true => self.reader.text(),
            false => Err(self.broken("a text belongs before this")),
        }
    }

    fn reference(&mut self, packed: u32) -> Result<Symbol, Malformed> {
        let n = if packed == 0 { self.reader.count()? } else { u64::from(packed) };
        let index = usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        match index.and_then(|index| self.references.get(index)) {
            Some(notable) => Ok(Symbol { notable: *notable, text: None }),
            None => Err(self.broken(format!("refers to number {n} of {} objects", self.references.len()))),
        }
    }

    fn add_reference(&mut self, name: Option<&'static str>) -> Result<(), Malformed> {
        let max = usize::try_from(self.limits.entries_max).unwrap_or(usize::MAX).min(REFERENCES_MAX);
        if self.references.len() >= max {
            let what = format!("more than {max} symbols and environments");
            return Err(Malformed::new(Trouble::Limit, self.at(), what));
        }
        self.references.push(name);
        Ok(())
    }

    fn flags(&mut self) -> Result<u32, Malformed> {
        self.reader.int().map(i32::cast_unsigned)
    }

    fn push(&mut self, task: Task) -> Result<(), Malformed> {
        if self.tasks.len() >= WAITING_MAX {
            return Err(Malformed::new(Trouble::Limit, self.at(), "nested deeper than can be followed"));
        }
        self.tasks.push(task);
        Ok(())
    }

    fn note(&mut self, domain: &str, name: &str) {
        // Notable names are few; names of routines and of promised calls are the file's own.
        if (self.operators.len() as u64) < self.limits.findings_max || self.names.notable(name.as_bytes()).is_some() {
            self.operators.insert(Operator { domain: domain.into(), name: name.into() });
        }
    }

    fn broken(&self, what: impl Into<String>) -> Malformed {
        self.reader.fields.broken(what)
    }
}

/// Kinds that bytecode writes in a form of its own.
fn is_packed(of: u32) -> bool {
    use kind::{CALL, CALL_WITH_ATTRIBUTES, PAIRS, PAIRS_WITH_ATTRIBUTES, REPEATED, TO_BE_REPEATED};
    matches!(of, CALL | PAIRS | REPEATED | TO_BE_REPEATED | CALL_WITH_ATTRIBUTES | PAIRS_WITH_ATTRIBUTES)
}

/// Where the first value of a pair stands.
fn inside(place: Place) -> Place {
    match place {
        Place::Arguments(used) => Place::Argument(used),
        Place::Class => Place::Class,
        _ => Place::Value,
    }
}

/// Where the rest behind a pair stands.
fn after(place: Place) -> Place {
    match place {
        // Only the first argument names the routine.
        Place::Arguments(Use::Native) => Place::Arguments(Use::Plain),
        Place::Arguments(_) | Place::Workspace | Place::Class => place,
        _ => Place::Value,
    }
}
