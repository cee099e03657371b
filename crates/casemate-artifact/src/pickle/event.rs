//! What a pickle stream does, in the order it would do it.

use std::fmt;

/// A thing a stream imports: written as CPython's `find_class(module, name)` receives it, before Python 2 names are mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Global {
    /// Module; empty where it is computed while loading.
    pub module: String,
    /// Name in the module, dots included; empty where it is computed while loading.
    pub name: String,
    /// Whether both names are known from the stream alone.
    pub known: bool,
    /// Whether the loader would map Python 2 names (protocol below 3) before importing.
    pub python2: bool,
}

impl Global {
    /// A global whose name only shows while loading.
    pub fn computed() -> Self {
        Self { module: String::new(), name: String::new(), known: false, python2: false }
    }
}

impl fmt::Display for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known {
            true => write!(f, "{}.{}", self.module, self.name),
            false => f.write_str("a computed name"),
        }
    }
}

/// How a call is made. The distinction decides which profile entries allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// `callable(*args)`: REDUCE.
    Reduce,
    /// `cls(*args)` of a class, or of anything callable: INST, OBJ.
    Instantiate,
    /// `cls.__new__(cls, *args)`: NEWOBJ, NEWOBJ_EX.
    New,
}

/// What is called, written to, or passed along.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// Something imported.
    Global(Global),
    /// What a call of this import returned.
    ResultOf(Global),
    /// A short text constant.
    Text(String),
    /// A bytes constant; nested pickles in it become children.
    Bytes,
    /// An integer constant.
    Int(i64),
    /// A container, a number, a long text: nothing that can be called.
    Data,
    /// Anything else: results of results, persistent objects, extension codes.
    Opaque,
}

/// One thing a stream does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Imports a module and takes a name from it.
    Import(Global),
    /// Hands an import on as a value: as an argument, an item or state, where whatever receives it may call it.
    Pass(Global),
    /// Calls something; at most [`Event::ARGS_MAX`] arguments are listed, `None` where they cannot be known.
    Call {
        /// What is called.
        callee: Operand,
        /// With what.
        args: Option<Vec<Operand>>,
        /// How.
        how: How,
    },
    /// Sets state: `__setstate__`, or `__dict__` and slots.
    Build {
        /// On what.
        target: Operand,
    },
    /// Writes once more into something whose state was set: what is written may now decide what runs (`__setstate__`,
    /// `append`, `extend` and `add` are looked up on the instance).
    Rewrite {
        /// On what.
        target: Operand,
    },
    /// Sets items, appends, or adds to a set.
    SetItem {
        /// On what.
        target: Operand,
    },
    /// Asks the loader for an object outside the stream.
    PersistentId {
        /// `Some((storage type, key, number of elements))` where it has the form torch writes.
        storage: Option<(Global, String, u64)>,
        /// The id as text, where it is one.
        text: Option<String>,
    },
    /// Takes an object from the `copyreg` extension registry by number.
    Extension(i64),
}

/// An action and where it first happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happens.
    pub action: Action,
    /// Offset in bytes of the opcode.
    pub offset: u64,
    /// How often the same action happens.
    pub count: u64,
}

impl Event {
    /// Arguments listed of one call.
    pub const ARGS_MAX: usize = 8;
}

impl Action {
    /// Memory in bytes one action takes, names and arguments included.
    pub(super) fn held_bytes(&self) -> u64 {
        let global = |global: &Global| global.module.len() + global.name.len();
        let operand = |operand: &Operand| match operand {
            Operand::Global(of) | Operand::ResultOf(of) => global(of),
            Operand::Text(text) => text.len(),
            _ => 0,
        };
        let names = match self {
            Self::Import(of) | Self::Pass(of) => global(of),
            Self::Call { callee, args, .. } => {
                let args = args.as_deref().unwrap_or_default();
                operand(callee) + args.iter().map(|arg| size_of::<Operand>() + operand(arg)).sum::<usize>()
            }
            Self::Build { target } | Self::Rewrite { target } | Self::SetItem { target } => operand(target),
            Self::PersistentId { storage, text } => {
                let storage = storage.as_ref().map_or(0, |(of, key, _)| global(of) + key.len());
                storage + text.as_ref().map_or(0, String::len)
            }
            Self::Extension(_) => 0,
        };
        (size_of::<Event>() + names) as u64
    }
}
