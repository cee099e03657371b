//! What Python source would call, as far as that shows from its tokens: which calls, on which line, and whether at import.
//!
//! Custom code of hub repositories runs when the model is loaded (`auto_map`, TorchServe handlers). We follow imports and
//! their aliases, `getattr` and `__import__` with literals, and calls of a file's own functions from its top level; we build
//! no tree and evaluate nothing. What a name holds is judged flat over the file, so a dangerous meaning is never lost to a
//! later harmless one.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

mod lexer;
mod names;
mod scope;
mod watch;

use lexer::{Kind, Token, tokens};
use names::Names;
use scope::Scope;
pub use watch::CallKind;

/// The longest source that is read; its tokens take 24 times its size at worst.
pub(crate) const SOURCE_BYTES_MAX: u64 = 1 << 20;

/// Texts handed to `exec` inside texts handed to `exec` that are read.
const DEPTH_MAX: u32 = 3;
/// Texts of one source that are read so; each costs as much as the aliases around it.
const INNER_MAX: u32 = 64;

/// A call worth judging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeCall {
    /// What it does.
    pub kind: CallKind,
    /// What is called, aliases resolved.
    pub callee: String,
    /// Line, from 1.
    pub line: u64,
    /// Whether it runs when the file is imported, rather than when somebody calls a function.
    pub at_import: bool,
    /// Whether it runs what is decoded or fetched on the spot.
    pub is_hidden: bool,
}

/// The calls of a source, in order; at most `max`.
pub(crate) fn calls(source: &str, max: u64) -> Vec<CodeCall> {
    read(source, &HashMap::new(), max, 0, &Cell::new(0))
}

/// Whether a text may call anything worth reporting: a quick look that spares most texts the reading.
pub(crate) fn may_call(text: &str) -> bool {
    ["import", "exec", "eval", "open", "builtins"].iter().any(|word| text.contains(word)) || !text.is_ascii()
}

fn read(source: &str, outer: &HashMap<String, Vec<String>>, max: u64, depth: u32, inner: &Cell<u32>) -> Vec<CodeCall> {
    let tokens = tokens(source);
    let names = Names::new(source, &tokens, outer);
    let mut reader =
        Reader { names: &names, scope: Scope::default(), found: Vec::new(), edges: HashMap::new(), max, depth, inner };
    for at in 0..tokens.len() {
        reader.token(at);
    }
    reader.finish()
}

/// A call and the function it stands in, if in one.
type Placed = (CodeCall, Option<String>);

struct Reader<'a> {
    names: &'a Names<'a>,
    scope: Scope,
    found: Vec<Placed>,
    // Who calls what of the file's own, `None` for the top level.
    edges: HashMap<Option<String>, HashSet<String>>,
    max: u64,
    depth: u32,
    // Texts read so far, those inside texts included.
    inner: &'a Cell<u32>,
}

impl Reader<'_> {
    fn token(&mut self, at: usize) {
        self.scope.enter(self.names, at);
        if self.names.kind(at) != Some(Kind::Name) || self.names.is_sign(at.wrapping_sub(1), b'.') {
            return;
        }
        let before = at.checked_sub(1).map_or("", |before| self.names.word(before));
        if matches!(before, "def" | "class" | "import" | "from") {
            return;
        }
        let chain = self.names.chain(at);
        let is_decorator = self.names.is_sign(at.wrapping_sub(1), b'@')
            && at.checked_sub(2).is_none_or(|line| matches!(self.names.kind(line), Some(Kind::Line(_))));
        let is_target = before == "=" && at >= 2 && self.names.word(at - 2) == "target";
        let is_call = self.names.is_sign(chain.end, b'(');
        if !(is_call || is_decorator || is_target) {
            return;
        }
        self.own(&chain);
        if !is_call {
            return;
        }
        for callee in self.names.resolve(&chain) {
            if let Some(kind) = watch::kind_of(&callee) {
                self.call(kind, callee, at, chain.end);
            }
        }
    }

    /// Notes a call of the file's own function, or of a method of what a class of its own gives.
    fn own(&mut self, chain: &names::Chain) {
        let from = self.scope.function();
        let from = if self.scope.is_deferred() && from.is_none() { Some(String::new()) } else { from };
        let called = self.edges.entry(from).or_default();
        called.insert(chain.name.clone());
        let after = self.names.close(chain.end).map_or(usize::MAX, |close| close.saturating_add(1));
        if self.names.is_sign(after, b'.') && self.names.is_sign(after.saturating_add(2), b'(') {
            called.insert(format!("{}.{}", chain.name, self.names.word(after.saturating_add(1))));
        }
    }

    fn call(&mut self, kind: CallKind, callee: String, at: usize, open: usize) {
        let names = self.names;
        let line = names.line(at);
        let literal = names.literal_argument(open);
        let direct = names.reveals_between(open, names.close(open).unwrap_or(open));
        let tainted = names.is_tainted(open.saturating_add(1));
        let is_hidden = kind == CallKind::Code && (direct || tainted);
        let at_import = !self.scope.is_deferred();
        let place = self.scope.function();
        match kind {
            CallKind::Startup if !names.writes_startup(open) => return,
            CallKind::Import if literal.is_some() => return,
            CallKind::Code if !is_hidden => {
                if let Some(text) = literal.filter(|_| self.inner.get() < INNER_MAX) {
                    self.inner.set(self.inner.get() + 1);
                    self.inner(text, at_import, line, &place);
                    return;
                }
            }
            _ => {}
        }
        if (self.found.len() as u64) < self.max || is_hidden {
            self.found.push((CodeCall { kind, callee, line, at_import, is_hidden }, place));
        }
    }

    /// Reads a text that is run as code; escapes in it hide what it says.
    fn inner(&mut self, text: &str, at_import: bool, line: u64, place: &Option<String>) {
        if self.depth >= DEPTH_MAX || ["\\x", "\\u", "\\U", "\\N"].iter().any(|escape| text.contains(escape)) {
            let callee = "exec".into();
            self.found
                .push((CodeCall { kind: CallKind::Code, callee, line, at_import, is_hidden: true }, place.clone()));
            return;
        }
        let room = self.max.saturating_sub(self.found.len() as u64);
        let inner = read(text, self.names.aliases(), room, self.depth + 1, self.inner);
        self.found.extend(inner.into_iter().map(|call| {
            let at_import = call.at_import && at_import;
            (CodeCall { line, at_import, ..call }, place.clone())
        }));
    }

    /// Raises to "at import" what the top level reaches through functions of the file.
    fn finish(self) -> Vec<CodeCall> {
        let mut reached: HashSet<&str> = HashSet::new();
        let mut waiting: Vec<&str> = self.edges.get(&None).into_iter().flatten().map(String::as_str).collect();
        while let Some(name) = waiting.pop() {
            if reached.insert(name) {
                let next = self.edges.get(&Some(name.to_owned()));
                waiting.extend(next.into_iter().flatten().map(String::as_str));
            }
        }
        let raise = |(call, place): &Placed| {
            let is_reached = place.as_deref().is_some_and(|place| reached.contains(place));
            CodeCall { at_import: call.at_import || is_reached, ..call.clone() }
        };
        self.found.iter().map(raise).collect()
    }
}

#[cfg(test)]
mod tests;
