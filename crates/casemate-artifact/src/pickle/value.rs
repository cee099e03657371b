//! Values on the machine's stack: just enough of each to know what is imported, called and written to.

use std::cell::Cell;
use std::rc::Rc;

/// How the bytes of a string constant spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// UTF-8, or ASCII of Python 2 strings.
    Utf8,
    /// UNICODE: Latin-1 with `\uXXXX` and `\UXXXXXXXX` escapes.
    RawUnicodeEscape,
    /// STRING: a quoted Python literal, quotes still on.
    Quoted,
}

/// Where a constant stands in the source; its bytes are read only when somebody needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) spelling: Spelling,
}

/// A value. Tuples are shared, never copied, and nest at most [`Tuple::DEPTH_MAX`] deep.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Number, `None`, container: nothing that acts when called or written to.
    Data,
    Int(i64),
    Str(Span),
    Bytes(Span),
    Tuple(Rc<Tuple>),
    /// An import, by index into the machine's table.
    Global(u32),
    /// What a call of an import returned: the import, and which of the stream's calls it was.
    ResultOf(u32, u32),
    /// Anything the stream alone does not tell.
    Opaque,
}

/// The items of a tuple, as far as they are kept.
#[derive(Debug)]
pub(super) struct Tuple {
    pub(super) items: Vec<Value>,
    /// Whether `items` is all of it.
    pub(super) complete: bool,
    depth: u32,
    /// Memory of all tuples alive, this one's share included.
    held: Rc<Cell<u64>>,
}

impl Drop for Tuple {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(self.bytes()));
    }
}

impl Tuple {
    /// Deeper tuples forget their items, so that dropping one never recurses far.
    const DEPTH_MAX: u32 = 16;

    /// A tuple of `items`, of which at most `items_max` are kept; its memory is counted in `held` while it lives.
    pub(super) fn new(mut items: Vec<Value>, items_max: usize, held: &Rc<Cell<u64>>) -> Self {
        let mut complete = items.len() <= items_max;
        items.truncate(items_max);
        items.shrink_to_fit();
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or_default();
        if depth > Self::DEPTH_MAX {
            items = Vec::new();
            complete = false;
        }
        let depth = if items.is_empty() { 1 } else { depth };
        let tuple = Self { depth, items, complete, held: Rc::clone(held) };
        held.set(held.get().saturating_add(tuple.bytes()));
        tuple
    }

    /// What it takes, with what an allocator adds to both of its parts.
    fn bytes(&self) -> u64 {
        (size_of::<Self>() + 48 + self.items.len() * size_of::<Value>()) as u64
    }
}

impl Value {
    fn depth(&self) -> u32 {
        match self {
            Self::Tuple(tuple) => tuple.depth,
            _ => 0,
        }
    }
}
