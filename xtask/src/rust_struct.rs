//! Struct literals of constants in Rust source, read as text: the `META` of a detector, the `FormatMeta` of a format.
//!
//! Only what such constants are made of is understood: texts (with escapes, continued over lines), lists of texts, words.

use std::collections::BTreeMap;

/// A value in a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A slice of strings.
    Texts(Vec<String>),
    /// Anything spelled as one word or path: `true`, `Severity::High`.
    Word(String),
}

/// A struct literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The line it starts on, from 1.
    pub line: usize,
    /// Its fields.
    pub fields: BTreeMap<String, Value>,
}

impl Literal {
    /// The text, or the last part of the path, under `name`; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        match self.fields.get(name) {
            Some(Value::Text(text)) => text,
            Some(Value::Word(word)) => word.rsplit(':').next().unwrap_or(word),
            _ => "",
        }
    }

    /// The texts under `name`.
    pub fn texts(&self, name: &str) -> &[String] {
        match self.fields.get(name) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }
}

/// The first literal that follows `opening` in `source`, where that is no function's return type: `None` when `opening` is
/// nowhere, an error with its line when the literal holds something else than constants.
pub fn find(source: &str, opening: &str) -> Option<Result<Literal, (usize, String)>> {
    let is_type = |at: usize| source.get(..at).is_some_and(|before| before.ends_with("-> "));
    let start = source.match_indices(opening).map(|(at, _)| at).find(|at| !is_type(*at))?;
    let mut reader = Reader { source, at: start + opening.len() };
    let line = reader.line_at(start);
    let fields = reader.fields().map_err(|what| (reader.line_at(reader.at), what));
    Some(fields.map(|fields| Literal { line, fields }))
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn line_at(&self, at: usize) -> usize {
        self.source.get(..at).unwrap_or(self.source).matches('\n').count() + 1
    }

    fn rest(&self) -> &str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            let len = rest.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") { trimmed.find('\n').unwrap_or(trimmed.len()) } else { 0 };
            if len + comment == 0 {
                return;
            }
            self.at += len + comment;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self) -> String {
        self.skip();
        let word: String =
            self.rest().chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '.')).collect();
        self.at += word.len();
        word
    }

    fn fields(&mut self) -> Result<BTreeMap<String, Value>, String> {
        let mut fields = BTreeMap::new();
        while !self.eat("}") {
            self.skip();
            let name: String = self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            self.at += name.len();
            if name.is_empty() || !self.eat(":") {
                return Err("expected `field: value`".into());
            }
            let value = self.value().ok_or(format!("value of `{name}` is not a text, a list of texts or a word"))?;
            fields.insert(name, value);
            if !self.eat(",") && !self.rest().trim_start().starts_with('}') {
                return Err("expected `,` or `}` after a field".into());
            }
        }
        Ok(fields)
    }

    fn value(&mut self) -> Option<Value> {
        if self.eat("&[") {
            let mut texts = Vec::new();
            while !self.eat("]") {
                texts.push(self.string()?);
                if !self.eat(",") && !self.rest().trim_start().starts_with(']') {
                    return None;
                }
            }
            return Some(Value::Texts(texts));
        }
        self.skip();
        if let Some(text) = self.string() {
            return Some(Value::Text(text));
        }
        Some(self.word()).filter(|word| !word.is_empty()).map(Value::Word)
    }

    /// A string literal here, unescaped.
    fn string(&mut self) -> Option<String> {
        self.skip();
        let rest = self.rest();
        if let Some(raw) = rest.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            let close = format!("\"{}", "#".repeat(hashes));
            let body = raw.get(hashes..)?.strip_prefix('"')?;
            let text = body.get(..body.find(&close)?)?.to_owned();
            self.at += 2 + hashes + text.len() + close.len();
            return Some(text);
        }
        let (text, len) = unescape(rest.strip_prefix('"')?)?;
        self.at += 1 + len;
        Some(text)
    }
}

/// The text of a string literal after its opening quote, and how many bytes it takes with the closing one.
fn unescape(body: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = body.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, at + 1)),
            '\\' => match chars.next()?.1 {
                // A backslash at the end of a line swallows the line break and the indentation.
                '\n' => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'u' => {
                    let digits: String = chars.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                    text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                c @ ('"' | '\\' | '\'') => text.push(c),
                _ => return None,
            },
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "static META: Meta = Meta {\n    id: \"a-b\", // said so\n    description: \"One \\\n        two, \\\"three\\\" \\u{e9}.\",\n    severity: Severity::High,\n    controls: &[\"SUP-01\", \"SUP-02\"],\n    references: &[],\n    remediation: r#\"a \"raw\" text\"#,\n};\n";

    #[test]
    fn a_literal_is_read_with_continued_and_raw_texts() {
        let literal = find(SOURCE, "Meta = Meta {").unwrap().unwrap();
        assert_eq!(literal.line, 1);
        assert_eq!(literal.text("id"), "a-b");
        assert_eq!(literal.text("description"), "One two, \"three\" é.");
        assert_eq!(literal.text("severity"), "High");
        assert_eq!(literal.texts("controls"), ["SUP-01", "SUP-02"]);
        assert!(literal.texts("references").is_empty());
        assert_eq!(literal.text("remediation"), "a \"raw\" text");
    }

    #[test]
    fn what_is_no_constant_is_refused_with_its_line() {
        let (line, what) =
            find("Meta {\n    id: \"a\",\n    title: &format!(\"x\"),\n}", "Meta {").unwrap().unwrap_err();
        assert_eq!(line, 3, "{what}");
        assert!(find("Meta {\n    id: \"a", "Meta {").unwrap().is_err());
        assert_eq!(find("nothing here", "Meta {"), None);
    }
}
