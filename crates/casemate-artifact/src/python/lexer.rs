//! Tokens of Python source: names, texts, signs and the starts of logical lines, in one linear pass.
//!
//! Texts keep their quotes and escapes. The fields of f-strings come as tokens between brackets, as Python 3.12 reads them;
//! older versions refuse what differs. Source: the Python reference, "Lexical analysis".

/// One token: what, and where in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: u32,
    pub(super) end: u32,
    /// From 1.
    pub(super) line: u32,
}

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A logical line begins, indented by so many columns.
    Line(u32),
    /// Name or keyword.
    Name,
    /// Number.
    Number,
    /// String literal.
    Text,
    /// Beginning of an f-string, whose fields follow.
    Format,
    /// Any other character.
    Sign(u8),
}

/// F-strings inside f-strings that are read; Python itself allows 150.
const NESTING_MAX: u32 = 16;

/// The tokens of a source of less than 4 GiB.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer =
        Lexer { bytes: source.as_bytes(), at: 0, line: 1, depth: 0, fresh: true, nesting: 0, out: Vec::new() };
    while lexer.at < lexer.bytes.len() {
        lexer.next();
    }
    lexer.out
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    depth: u32,
    // At the start of a logical line.
    fresh: bool,
    nesting: u32,
    out: Vec<Token>,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at.saturating_add(ahead)).copied().unwrap_or(0)
    }

    /// Steps over one byte.
    fn step(&mut self) {
        self.line += u32::from(self.peek(0) == b'\n');
        self.at = self.bytes.len().min(self.at + 1);
    }

    fn push(&mut self, kind: Kind, start: usize, line: u32) {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.out.push(Token { kind, start: place(start), end: place(self.at), line });
    }

    /// Reads one token, or steps over what is none.
    fn next(&mut self) {
        if self.fresh {
            self.indentation();
            if self.at >= self.bytes.len() {
                return;
            }
        }
        let (start, line) = (self.at, self.line);
        match self.peek(0) {
            b'\n' | b'\r' => {
                self.fresh = self.depth == 0;
                self.step();
            }
            b' ' | b'\t' | b'\x0c' => self.step(),
            b'#' => self.comment(),
            b'\\' => {
                self.step();
                self.at += usize::from(self.peek(0) == b'\r');
                self.step();
            }
            b'"' | b'\'' => self.text(start, false),
            byte if byte == b'_' || byte.is_ascii_alphabetic() || byte >= 0x80 => self.word(start),
            b'0'..=b'9' => {
                self.skip_word();
                self.push(Kind::Number, start, line);
            }
            byte => {
                match byte {
                    b'(' | b'[' | b'{' => self.depth += 1,
                    b')' | b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                self.step();
                self.push(Kind::Sign(byte), start, line);
            }
        }
    }

    /// Notes the start of a logical line, unless the line is blank.
    fn indentation(&mut self) {
        let mut column: u32 = 0;
        loop {
            column = match self.peek(0) {
                b' ' => column.saturating_add(1),
                b'\t' => (column / 8 + 1).saturating_mul(8),
                b'\x0c' => 0,
                _ => break,
            };
            self.step();
        }
        if !matches!(self.peek(0), b'\n' | b'\r' | b'#' | 0) {
            self.fresh = false;
            self.push(Kind::Line(column), self.at, self.line);
        }
    }

    fn comment(&mut self) {
        while self.at < self.bytes.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn skip_word(&mut self) {
        while matches!(self.peek(0), b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80..) {
            self.at += 1;
        }
    }

    /// A name, or a string literal with letters in front.
    fn word(&mut self, start: usize) {
        self.skip_word();
        let word = self.bytes.get(start..self.at).unwrap_or_default().to_ascii_lowercase();
        let prefixes: [&[u8]; 11] = [b"r", b"b", b"u", b"f", b"t", b"br", b"rb", b"fr", b"rf", b"tr", b"rt"];
        match matches!(self.peek(0), b'"' | b'\'') && prefixes.contains(&word.as_slice()) {
            true => self.text(start, word.iter().any(|letter| b"ft".contains(letter))),
            false => self.push(Kind::Name, start, self.line),
        }
    }

    /// A string literal from its quote on.
    fn text(&mut self, start: usize, has_fields: bool) {
        let (quote, line) = (self.peek(0), self.line);
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if triple { 3 } else { 1 };
        if has_fields {
            self.push(Kind::Format, start, line);
        }
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\\' => self.step(),
                b'\n' if !triple => break,
                b'{' if has_fields && self.peek(1) == b'{' => self.step(),
                b'{' if has_fields && self.nesting < NESTING_MAX => {
                    self.field(quote, triple);
                    continue;
                }
                byte if byte == quote && (!triple || self.peek(1) == quote && self.peek(2) == quote) => {
                    self.at += if triple { 3 } else { 1 };
                    break;
                }
                _ => {}
            }
            self.step();
        }
        self.at = self.at.min(self.bytes.len());
        if !has_fields {
            self.push(Kind::Text, start, line);
        }
    }

    /// A field of an f-string, from its `{` to its `}`.
    fn field(&mut self, quote: u8, triple: bool) {
        let (outer, start) = (self.depth, self.at);
        self.nesting += 1;
        self.at += 1;
        self.depth += 1;
        self.push(Kind::Sign(b'('), start, self.line);
        let inner = self.depth;
        let mut in_format = false;
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'}' if self.depth == inner => {
                    self.at += 1;
                    break;
                }
                // Nothing in a format needs quotes or a new line: the text around has ended, or is broken.
                byte if in_format && (byte == quote || byte == b'\n' && !triple) => break,
                b'{' if in_format && self.nesting < NESTING_MAX => self.field(quote, triple),
                _ if in_format => self.step(),
                b':' if self.depth == inner && self.peek(1) != b'=' => {
                    in_format = true;
                    self.at += 1;
                }
                _ => self.next(),
            }
        }
        self.depth = outer;
        self.nesting -= 1;
        let end = self.at;
        self.push(Kind::Sign(b')'), end, self.line);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(source: &str) -> Vec<&str> {
        let place = |at: u32| usize::try_from(at).unwrap();
        let words = tokens(source).into_iter().filter(|token| !matches!(token.kind, Kind::Line(_)));
        words.map(|token| &source[place(token.start)..place(token.end)]).collect()
    }

    #[test]
    fn texts_comments_and_continued_lines_hide_nothing_and_show_nothing() {
        assert_eq!(
            shown("a = rb'x\\'y' # os.system()\nb = \\\n 1.5"),
            ["a", "=", "rb'x\\'y'", "b", "=", "1", ".", "5"]
        );
        assert_eq!(shown("'''a\n\"b''' 'c\nd"), ["'''a\n\"b'''", "'c", "d"]);
        let lines = tokens("a\n\n  # c\n  b(\n c)\n\td").into_iter().filter_map(|token| match token.kind {
            Kind::Line(column) => Some((token.line, column)),
            _ => None,
        });
        assert_eq!(lines.collect::<Vec<_>>(), [(1, 0), (4, 2), (6, 8)]);
    }

    #[test]
    fn fields_of_format_strings_are_code() {
        assert_eq!(
            shown("f'a{{b}}{c(\"x\")!r:>{w}}d' + e"),
            ["f'", "{", "c", "(", "\"x\"", ")", "!", "r", "{", "w", "", "", "+", "e"]
        );
        assert_eq!(shown("f\"{x[\"a\"]}\" y").last(), Some(&"y"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[frb'\"{}()\\[\\]:\\\\\n #a.1é]{0,120}") {
            let found = tokens(&text);
            prop_assert!(found.len() <= 3 * text.len() + 1);
            prop_assert!(found.iter().all(|token| token.start <= token.end && usize::try_from(token.end).unwrap() <= text.len()));
        }
    }
}
