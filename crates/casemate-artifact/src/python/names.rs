//! What the names of a source stand for: imports, their aliases, and attribute chains spelled in the usual disguises.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::watch::{self, BUILTINS, ROOTS};
use super::{Kind, Token};

/// Longest dotted name that is put together, and most meanings kept of one name.
const NAME_BYTES_MAX: usize = 256;
const MEANINGS_MAX: usize = 16;
/// `getattr` inside `getattr` that is followed.
const DEPTH_MAX: u32 = 6;

/// The tokens of a source, and what its names mean.
pub(super) struct Names<'a> {
    source: &'a str,
    tokens: &'a [Token],
    // For each opening bracket its closing one.
    closes: HashMap<usize, usize>,
    // Tokens that decode or fetch, ascending.
    reveals: Vec<usize>,
    aliases: HashMap<String, Vec<String>>,
    tainted: HashSet<&'a str>,
    // Tokens before this belong to an import statement that has been read.
    read_to: usize,
}

/// A dotted name as written, disguises taken off.
pub(super) struct Chain {
    /// The name.
    pub(super) name: String,
    /// The token after it.
    pub(super) end: usize,
    /// Whether its first part is a module, without an import statement.
    is_module: bool,
}

impl<'a> Names<'a> {
    /// Reads what the names mean; `outer` are meanings from around a text that is run as code.
    pub(super) fn new(source: &'a str, tokens: &'a [Token], outer: &HashMap<String, Vec<String>>) -> Self {
        let aliases = outer.clone();
        let mut names = Self {
            source,
            tokens,
            closes: HashMap::new(),
            reveals: Vec::new(),
            aliases,
            tainted: HashSet::new(),
            read_to: 0,
        };
        let mut open = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                Kind::Sign(b'(' | b'[' | b'{') => open.push(at),
                Kind::Sign(b')' | b']' | b'}') => drop(open.pop().map(|open| names.closes.insert(open, at))),
                Kind::Line(_) => open.clear(),
                Kind::Name if watch::reveals(names.word(at)) => names.reveals.push(at),
                Kind::Text if matches!(names.word(at).trim_matches(['\'', '"']), "rot13" | "rot_13") => {
                    names.reveals.push(at);
                }
                _ => {}
            }
        }
        for at in 0..tokens.len() {
            match names.word(at) {
                "import" | "from" if at < names.read_to => {}
                "import" if !names.is_in_from(at) => names.import(at.saturating_add(1)),
                "from" => names.import_from(at.saturating_add(1)),
                "=" => names.assign(at),
                _ => {}
            }
        }
        names
    }

    /// The meanings of names, for texts run as code.
    pub(super) fn aliases(&self) -> &HashMap<String, Vec<String>> {
        &self.aliases
    }

    pub(super) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    pub(super) fn line(&self, at: usize) -> u64 {
        self.tokens.get(at).map_or(0, |token| token.line.into())
    }

    /// A token as written, empty past the end.
    pub(super) fn word(&self, at: usize) -> &'a str {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        self.tokens.get(at).and_then(|token| self.source.get(place(token.start)..place(token.end))).unwrap_or_default()
    }

    pub(super) fn is_sign(&self, at: usize, sign: u8) -> bool {
        self.kind(at) == Some(Kind::Sign(sign))
    }

    /// The closing bracket of an opening one.
    pub(super) fn close(&self, open: usize) -> Option<usize> {
        self.closes.get(&open).copied()
    }

    /// Whether something between two tokens decodes or fetches.
    pub(super) fn reveals_between(&self, from: usize, to: usize) -> bool {
        let first = self.reveals.partition_point(|at| *at < from);
        self.reveals.get(first).is_some_and(|at| *at < to)
    }

    /// Whether a token is a name that holds what was decoded or fetched.
    pub(super) fn is_tainted(&self, at: usize) -> bool {
        self.kind(at) == Some(Kind::Name) && self.tainted.contains(self.word(at))
    }

    /// The text between the quotes, where the first argument is one literal.
    pub(super) fn literal_argument(&self, open: usize) -> Option<&'a str> {
        let (text, after) = (open.saturating_add(1), open.saturating_add(2));
        let ends = self.is_sign(after, b')') || self.is_sign(after, b',');
        (self.kind(text) == Some(Kind::Text) && ends).then(|| unquoted(self.word(text)))
    }

    /// Whether the arguments name a place where things start from, and a mode that writes.
    pub(super) fn writes_startup(&self, open: usize) -> bool {
        let end = self.close(open).unwrap_or(open).min(open.saturating_add(64));
        let texts = || (open..end).filter(|at| matches!(self.kind(*at), Some(Kind::Text))).map(|at| self.word(at));
        let writes = texts().any(|text| matches!(unquoted(text), "w" | "a" | "wb" | "ab" | "w+" | "a+" | "x" | "xb"));
        writes && texts().any(watch::is_startup_path)
    }

    /// The dotted name that begins at a token.
    pub(super) fn chain(&self, at: usize) -> Chain {
        self.chain_within(at, 0)
    }

    fn chain_within(&self, at: usize, depth: u32) -> Chain {
        let mut chain = Chain { name: plain(self.word(at)).into_owned(), end: at.saturating_add(1), is_module: false };
        loop {
            let (next, after) = (chain.end.saturating_add(1), chain.end.saturating_add(2));
            match self.kind(chain.end) {
                Some(Kind::Sign(b'.')) if self.kind(next) == Some(Kind::Name) => {
                    chain.add(&plain(self.word(next)));
                    chain.end = after;
                }
                Some(Kind::Sign(b'[')) if self.kind(next) == Some(Kind::Text) && self.is_sign(after, b']') => {
                    if !chain.subscript(unquoted(self.word(next))) {
                        return chain;
                    }
                    chain.end = after.saturating_add(1);
                }
                Some(Kind::Sign(b'(')) if depth < DEPTH_MAX => {
                    let Some(inner) = self.disguise(&chain, depth) else { return chain };
                    chain = inner;
                }
                _ => return chain,
            }
        }
    }

    /// What a call stands for that only names something: `__import__('os')`, `getattr(os, 'system')`, `vars(os)`.
    fn disguise(&self, chain: &Chain, depth: u32) -> Option<Chain> {
        let end = self.close(chain.end)?.saturating_add(1);
        let literal = self.literal_argument(chain.end);
        match chain.name.as_str() {
            "getattr" | "builtins.getattr" => {
                let inner = self.chain_within(chain.end.saturating_add(1), depth + 1);
                let [comma, text, after] = [0, 1, 2].map(|n| inner.end.saturating_add(n));
                let is_plain = self.is_sign(comma, b',') && self.kind(text) == Some(Kind::Text);
                if !is_plain || !(self.is_sign(after, b')') || self.is_sign(after, b',')) {
                    return None;
                }
                let mut named = Chain { end, ..inner };
                named.add(unquoted(self.word(text)));
                Some(named)
            }
            "vars" if literal.is_none() => {
                let inner = self.chain_within(chain.end.saturating_add(1), depth + 1);
                Some(Chain { name: format!("{}.__dict__", inner.name), end, ..inner })
            }
            "globals" | "locals" => Some(Chain { name: "globals".into(), end, is_module: false }),
            _ => {
                let imports = |name: &String| {
                    watch::kind_of(name) == Some(watch::CallKind::Import)
                        && literal.is_some_and(|text| !text.is_empty())
                };
                let is_import = self.resolve(chain).iter().any(imports);
                is_import.then(|| Chain { name: literal.unwrap_or_default().into(), end, is_module: true })
            }
        }
    }

    /// What a chain may stand for, aliases resolved; nothing where it cannot matter.
    pub(super) fn resolve(&self, chain: &Chain) -> Vec<String> {
        let (root, rest) = chain.name.split_once('.').map_or((chain.name.as_str(), None), |(a, b)| (a, Some(b)));
        let mut found: Vec<String> = self.aliases.get(root).into_iter().flatten().map(|to| joined(to, rest)).collect();
        if chain.is_module || BUILTINS.contains(&chain.name.as_str()) || root == "__builtins__" {
            found.push(chain.name.clone());
        }
        found
    }

    fn alias(&mut self, name: &str, target: String) {
        let root = target.split('.').next().unwrap_or_default();
        if !ROOTS.contains(&root) || target.len() > NAME_BYTES_MAX {
            return;
        }
        let meanings = self.aliases.entry(plain(name).into_owned()).or_default();
        if meanings.len() < MEANINGS_MAX && !meanings.contains(&target) {
            meanings.push(target);
        }
    }

    /// Whether an `import` belongs to a `from` before it.
    fn is_in_from(&self, at: usize) -> bool {
        let back =
            (0..at).rev().take(64).take_while(|at| !matches!(self.kind(*at), Some(Kind::Line(_) | Kind::Sign(b';'))));
        back.map(|at| self.word(at)).any(|word| word == "from")
    }

    /// `import a.b as c, d`.
    fn import(&mut self, mut at: usize) {
        while self.kind(at) == Some(Kind::Name) {
            let chain = self.chain(at);
            at = chain.end;
            if self.word(at) == "as" {
                let name = self.word(at.saturating_add(1));
                self.alias(name, chain.name);
                at = at.saturating_add(2);
            } else {
                let root = chain.name.split('.').next().unwrap_or_default().to_owned();
                self.alias(&root, root.clone());
            }
            self.read_to = at;
            if !self.is_sign(at, b',') {
                return;
            }
            at = at.saturating_add(1);
        }
    }

    /// `from a.b import (c as d, e)`.
    fn import_from(&mut self, at: usize) {
        if self.kind(at) != Some(Kind::Name) {
            return;
        }
        let module = self.chain(at);
        if self.word(module.end) != "import" {
            return;
        }
        let first = module.end.saturating_add(1);
        let mut at = if self.is_sign(first, b'(') { first.saturating_add(1) } else { first };
        if self.is_sign(at, b'*') {
            for name in ["system", "popen", "Popen", "run", "call", "check_output", "loads", "CDLL", "urlopen"] {
                self.alias(name, format!("{}.{name}", module.name));
            }
        }
        while self.kind(at) == Some(Kind::Name) {
            let target = joined(&module.name, Some(&plain(self.word(at))));
            let is_renamed = self.word(at.saturating_add(1)) == "as";
            let name = self.word(if is_renamed { at.saturating_add(2) } else { at });
            self.alias(name, target);
            at = at.saturating_add(if is_renamed { 3 } else { 1 });
            self.read_to = at;
            if !self.is_sign(at, b',') {
                return;
            }
            at = at.saturating_add(1);
        }
    }

    /// `name = chain`, and names that take what is decoded or fetched.
    fn assign(&mut self, at: usize) {
        let Some(target) = at.checked_sub(1).filter(|target| self.kind(*target) == Some(Kind::Name)) else { return };
        let starts = target
            .checked_sub(1)
            .is_none_or(|before| matches!(self.kind(before), Some(Kind::Line(_) | Kind::Sign(b';' | b':'))));
        if !starts || self.is_sign(at.saturating_add(1), b'=') {
            return;
        }
        let value = at.saturating_add(1);
        let first = self.reveals.partition_point(|reveal| *reveal < value);
        let is_ending = |at: &usize| matches!(self.kind(*at), Some(Kind::Line(_) | Kind::Sign(b';')));
        let reveal = self.reveals.get(first).filter(|reveal| **reveal - value < 64);
        if reveal.is_some_and(|reveal| !(value..*reveal).any(|at| is_ending(&at))) {
            self.tainted.insert(self.word(target));
        }
        if self.kind(value) == Some(Kind::Name) {
            let chain = self.chain(value);
            if !self.is_sign(chain.end, b'(') {
                let name = self.word(target).to_owned();
                self.resolve(&chain).into_iter().for_each(|meaning| self.alias(&name, meaning));
            }
        }
    }
}

impl Chain {
    fn add(&mut self, name: &str) {
        if self.name.len() + name.len() < NAME_BYTES_MAX {
            self.name.extend([".", name]);
        }
    }

    /// Takes an item by a literal key where that names an attribute or a module.
    fn subscript(&mut self, key: &str) -> bool {
        match self.name.as_str() {
            "sys.modules" => (self.name, self.is_module) = (key.into(), true),
            "globals" => self.name = key.into(),
            "__builtins__" => self.add(key),
            name => match name.strip_suffix(".__dict__") {
                Some(of) => self.name = joined(of, Some(key)),
                None => return false,
            },
        }
        true
    }
}

fn joined(to: &str, rest: Option<&str>) -> String {
    rest.map_or_else(|| to.to_owned(), |rest| format!("{to}.{rest}"))
}

/// A literal without its letters and quotes.
fn unquoted(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let quote = |triple: &str, single: char| {
        let inner = text.strip_prefix(triple).and_then(|text| text.strip_suffix(triple));
        inner.or_else(|| text.strip_prefix(single)?.strip_suffix(single))
    };
    quote("\"\"\"", '"').or_else(|| quote("'''", '\'')).unwrap_or(text)
}

/// A name as Python normalises it (NFKC), for the letters that have ASCII doubles: mathematical and full-width ones.
fn plain(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return name.into();
    }
    let letter = |n: u32| char::from_u32(if n < 26 { 65 + n } else { 71 + n });
    let fold = |c: char| match u32::from(c) {
        n @ 0x1d400..=0x1d6a3 => letter((n - 0x1d400) % 52).unwrap_or(c),
        n @ 0xff21..=0xff5a => char::from_u32(n - 0xfee0).unwrap_or(c),
        0x17f => 's',
        _ => c,
    };
    name.chars().map(fold).collect::<String>().into()
}
