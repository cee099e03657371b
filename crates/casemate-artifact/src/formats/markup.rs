//! XML read as a stream of tokens: elements, texts, instructions, and what the document type declares.
//!
//! A parser of XML may open files and addresses while it reads (external entities, CWE-611) and multiply short texts into
//! gigabytes (nested entities, CWE-776). Nothing is opened or replaced here: what is declared is listed. Names and values are
//! bounded by the tag they stand in, and open elements cost eight bytes each, so a document of any length is read in little
//! memory.
//!
//! Source: Extensible Markup Language (XML) 1.0, fifth edition.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use casemate_core::Source;

use super::reading::quote;
use crate::{Malformed, Trouble};

mod document_type;
mod input;

pub(crate) use document_type::DocumentType;
use input::Input;

/// Bytes of one tag, text or instruction that are held; what is longer in a tag is no tag of a model.
const TOKEN_BYTES_MAX: usize = 1 << 20;
/// Attributes of one element; each is compared with those before it.
const ATTRIBUTES_MAX: usize = 256;
/// Elements open at once. Trees of decisions nest as deep as they are; parsers that recurse give up far earlier.
const OPEN_MAX: usize = 100_000;

/// A piece of a document.
pub(crate) enum Token {
    /// An element begins.
    Start(Element),
    /// An element ends.
    End,
    /// Characters in an element, as far as they are held.
    Text(String),
    /// An instruction for whoever reads the document: where it stands, its target and its words.
    Instruction(u64, String, String),
}

/// The tag that begins an element.
#[derive(Debug, Default)]
pub(crate) struct Element {
    /// Offset in bytes of the tag.
    pub(crate) at: u64,
    name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// Its name without the prefix of its namespace.
    pub(crate) fn name(&self) -> &str {
        local(&self.name)
    }

    /// Whether its name has the prefix of a namespace.
    pub(crate) fn is_prefixed(&self) -> bool {
        self.name.contains(':')
    }

    /// The value of an attribute, `""` where it has none.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| local(key) == name).map_or("", |(_, value)| value)
    }

    /// All attributes.
    pub(crate) fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// A document being read.
pub(crate) struct Reader<'a> {
    input: Input<'a>,
    // Open elements by keyed hashes of their names.
    open: Vec<u64>,
    hasher: RandomState,
    root_seen: bool,
    // The last start tag closed itself.
    ends: bool,
    /// What the document type declares.
    pub(crate) document_type: DocumentType,
    // How often each declared entity is referred to.
    references: HashMap<String, u64>,
}

impl<'a> Reader<'a> {
    /// A reader of the document in `source`.
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self {
            input: Input::new(source),
            open: Vec::new(),
            hasher: RandomState::new(),
            root_seen: false,
            ends: false,
            document_type: DocumentType::default(),
            references: HashMap::new(),
        }
    }

    /// Offset in bytes of what comes next.
    pub(crate) fn at(&self) -> u64 {
        self.input.at()
    }

    /// The first byte that is no blank, for a look before reading; a medium that fails has none.
    pub(crate) fn first_byte(&mut self) -> Option<u8> {
        self.input.skip_blanks().ok()?;
        self.input.peek().ok()?
    }

    /// How deep the next token stands: 0 outside the root element.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Bytes that all references of the texts and values seen so far expand to.
    pub(crate) fn expanded_bytes(&self) -> u64 {
        let sizes = self.document_type.expanded();
        let each = |(name, n): (&String, &u64)| sizes.get(name.as_str()).map_or(0, |size| size.saturating_mul(*n));
        self.references.iter().map(each).fold(0, u64::saturating_add)
    }

    /// The next token; `None` at the end of the document, behind which bytes may follow.
    ///
    /// # Errors
    /// Where the document is not well-formed, or a bound is reached.
    pub(crate) fn next(&mut self) -> Result<Option<Token>, Malformed> {
        if std::mem::take(&mut self.ends) {
            self.open.pop();
            return Ok(Some(Token::End));
        }
        loop {
            if self.open.is_empty() {
                self.input.skip_blanks()?;
            }
            let Some(byte) = self.input.peek()? else {
                return match self.open.is_empty() && self.root_seen {
                    true => Ok(None),
                    false => Err(self.broken("the document ends before its root element does")),
                };
            };
            if byte != b'<' {
                if !self.open.is_empty() {
                    return self.text().map(|text| Some(Token::Text(text)));
                }
                return if self.root_seen { Ok(None) } else { Err(self.broken("text stands before the root element")) };
            }
            if self.open.is_empty() && self.root_seen && !self.input.follows(b"<!--")? && !self.input.follows(b"<?")? {
                return Ok(None);
            }
            if let Some(token) = self.markup()? {
                return Ok(Some(token));
            }
        }
    }

    /// What begins with `<`; `None` for what says nothing.
    fn markup(&mut self) -> Result<Option<Token>, Malformed> {
        let at = self.at();
        if self.input.take(b"<!--")? {
            self.input.until(b"-->", 0)?;
        } else if self.input.take(b"<![CDATA[")? {
            let text = self.input.until(b"]]>", TOKEN_BYTES_MAX)?;
            return Ok(Some(Token::Text(text)));
        } else if self.input.take(b"<?")? {
            let words = self.input.until(b"?>", TOKEN_BYTES_MAX)?;
            let (target, data) = words.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((&words, ""));
            if target != "xml" {
                return Ok(Some(Token::Instruction(at, target.into(), data.trim().into())));
            }
            self.declaration(at, data)?;
        } else if self.input.take(b"<!DOCTYPE")? {
            self.document_type.read(at, &mut self.input)?;
        } else if self.input.take(b"</")? {
            self.end(at)?;
            return Ok(Some(Token::End));
        } else {
            return self.start(at).map(|element| Some(Token::Start(element)));
        }
        Ok(None)
    }

    /// `<?xml …?>`: only its encoding matters, since a reader that follows it may see another document.
    fn declaration(&self, at: u64, data: &str) -> Result<(), Malformed> {
        let Some((_, rest)) = data.split_once("encoding") else { return Ok(()) };
        let rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '=']);
        let encoding = rest.get(1..).and_then(|rest| rest.split(['"', '\'']).next()).unwrap_or_default();
        match self.input.is_encoded_as(encoding) {
            true => Ok(()),
            false => {
                let what = format!("the document says that it is encoded as {}", quote(encoding));
                Err(Malformed::new(Trouble::Undecodable, at, what))
            }
        }
    }

    fn start(&mut self, at: u64) -> Result<Element, Malformed> {
        self.input.take(b"<")?;
        let name = self.input.name()?;
        let mut element = Element { at, name, attributes: Vec::new() };
        let mut held = element.name.len();
        loop {
            self.input.skip_blanks()?;
            if self.input.take(b">")? {
                break;
            }
            if self.input.take(b"/>")? {
                self.ends = true;
                break;
            }
            let key = self.input.name()?;
            self.input.skip_blanks()?;
            if !self.input.take(b"=")? {
                return Err(self.broken("an attribute has no value"));
            }
            self.input.skip_blanks()?;
            let raw = self.input.literal(TOKEN_BYTES_MAX)?;
            let value = self.replace(&raw);
            held = held.saturating_add(key.len() + value.len() + 64);
            if held > TOKEN_BYTES_MAX || element.attributes.len() >= ATTRIBUTES_MAX {
                return Err(Malformed::new(Trouble::Limit, at, "a tag is longer than any of a model"));
            }
            if element.attributes.iter().any(|(known, _)| *known == key) {
                let what = format!("an element has the attribute {} twice: readers take one or the other", quote(&key));
                return Err(Malformed::new(Trouble::Ambiguous, at, what));
            }
            element.attributes.push((key, value));
        }
        if self.open.len() >= OPEN_MAX {
            return Err(Malformed::new(Trouble::Limit, at, format!("elements nest more than {OPEN_MAX} deep")));
        }
        self.open.push(self.hasher.hash_one(&element.name));
        self.root_seen = true;
        Ok(element)
    }

    fn end(&mut self, at: u64) -> Result<(), Malformed> {
        let name = self.input.name()?;
        self.input.skip_blanks()?;
        let closed = self.open.pop() == Some(self.hasher.hash_one(&name)) && self.input.take(b">")?;
        match closed {
            true => Ok(()),
            false => {
                let what = format!("the end tag of {} closes no open element", quote(&name));
                Err(Malformed::new(Trouble::Undecodable, at, what))
            }
        }
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let raw = self.input.before(b'<', TOKEN_BYTES_MAX)?;
        Ok(self.replace(&raw))
    }

    /// `raw` with its characters by number and the five names of XML replaced; references to other entities are counted.
    fn replace(&mut self, raw: &str) -> String {
        if !raw.contains('&') {
            return raw.into();
        }
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('&') {
            out.push_str(before);
            match after.split_once(';').map(|(name, after)| (name, document_type::character(name), after)) {
                Some((_, Some(c), after)) => {
                    out.push(c);
                    rest = after;
                }
                Some((name, None, after)) if self.document_type.declares(name) => {
                    *self.references.entry(name.into()).or_default() += 1;
                    rest = after;
                }
                _ => {
                    out.push('&');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn broken(&self, what: &str) -> Malformed {
        Malformed::new(Trouble::Undecodable, self.at(), what)
    }
}

#[cfg(test)]
mod tests;
