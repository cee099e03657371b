//! Which code runs at import, and in which function the rest stands: from indentation and the words that open blocks.

use super::lexer::Kind;
use super::names::Names;

/// The blocks around the current token.
#[derive(Default)]
pub(super) struct Scope {
    blocks: Vec<Block>,
    depth: u32,
    // In the head of a `def`, whose defaults run where it stands.
    in_head: bool,
    lambda: Option<Lambda>,
}

struct Block {
    indent: u32,
    is_deferred: bool,
    function: Option<String>,
    class: Option<String>,
}

struct Lambda {
    depth: u32,
    function: Option<String>,
}

/// Characters of a function's name that are kept: it is copied for each call in it.
const NAME_CHARS_MAX: usize = 200;

/// Methods that making an instance calls.
const MAKERS: &[&str] = &["__init__", "__new__", "__call__", "__post_init__", "__enter__", "__del__"];

impl Scope {
    /// Moves on to a token.
    pub(super) fn enter(&mut self, names: &Names<'_>, at: usize) {
        match names.kind(at) {
            Some(Kind::Line(indent)) => self.line(names, at.saturating_add(1), indent),
            Some(Kind::Sign(b'(' | b'[' | b'{')) => self.depth += 1,
            Some(Kind::Sign(b')' | b']' | b'}')) => {
                self.depth = self.depth.saturating_sub(1);
                self.lambda = self.lambda.take().filter(|lambda| self.depth >= lambda.depth);
            }
            Some(Kind::Sign(b':')) if self.depth == 0 => self.in_head = false,
            Some(Kind::Sign(b';')) if self.depth == 0 => self.lambda = None,
            // A lambda handed to something may be called at once, one that is kept is not.
            Some(Kind::Name) if names.word(at) == "lambda" && self.lambda.is_none() => {
                let before = at.saturating_sub(1);
                if !names.is_sign(before, b'(') && !names.is_sign(before, b',') {
                    let function =
                        at.checked_sub(2).map(|name| names.word(name).chars().take(NAME_CHARS_MAX).collect());
                    self.lambda = Some(Lambda { depth: self.depth, function: function.filter(|_| self.depth == 0) });
                }
            }
            _ => {}
        }
    }

    /// Whether the current token runs later than at import.
    pub(super) fn is_deferred(&self) -> bool {
        self.lambda.is_some() || self.around().any(|block| block.is_deferred)
    }

    /// The outermost function around the current token: `name`, `Class.name`, or `Class` for what makes its instances.
    pub(super) fn function(&self) -> Option<String> {
        let around = self.around().find(|block| block.is_deferred).map(|block| block.function.clone());
        around.unwrap_or_else(|| self.lambda.as_ref().and_then(|lambda| lambda.function.clone()))
    }

    fn around(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().take(self.blocks.len() - usize::from(self.in_head && !self.blocks.is_empty()))
    }

    fn line(&mut self, names: &Names<'_>, first: usize, indent: u32) {
        (self.depth, self.in_head, self.lambda) = (0, false, None);
        while self.blocks.pop_if(|block| block.indent >= indent).is_some() {}
        let skip = usize::from(names.word(first) == "async");
        let word = first.saturating_add(skip);
        let name: String = names.word(word.saturating_add(1)).chars().take(NAME_CHARS_MAX).collect();
        match names.word(word) {
            "def" => {
                let class = self.blocks.last().and_then(|block| block.class.as_deref());
                let function = match class {
                    Some(class) if MAKERS.contains(&name.as_str()) => class.to_owned(),
                    Some(class) => format!("{class}.{name}"),
                    None => name,
                };
                self.in_head = true;
                self.blocks.push(Block { indent, is_deferred: true, function: Some(function), class: None });
            }
            "class" => {
                self.blocks.push(Block { indent, is_deferred: false, function: None, class: Some(name) });
            }
            "if" if is_main_guard(names, word) => {
                self.blocks.push(Block { indent, is_deferred: true, function: None, class: None });
            }
            _ => {}
        }
    }
}

/// A plain `if` of which `__name__ == '__main__'` is one condition that has to hold: it does not run at import.
fn is_main_guard(names: &Names<'_>, at: usize) -> bool {
    let is_end = |at: &usize| matches!(names.kind(*at), None | Some(Kind::Line(_) | Kind::Sign(b':' | b'(' | b';')));
    let start = at.saturating_add(1);
    let start = if names.is_sign(start, b'(') { start.saturating_add(1) } else { start };
    let words: Vec<&str> =
        (start..start.saturating_add(32)).take_while(|at| !is_end(at)).map(|at| names.word(at)).collect();
    let is_plain = !words.iter().any(|word| matches!(*word, "or" | "not" | "if" | "lambda"));
    let conditions = words.split(|word| *word == "and");
    let is_main = |condition: &[&str]| match condition {
        ["__name__", "=", "=", text] | ["__name__", "=", "=", text, ")"] => {
            text.trim_matches(['\'', '"']) == "__main__"
        }
        _ => false,
    };
    is_plain && conditions.into_iter().any(is_main)
}
