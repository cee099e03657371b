//! XML documents of any kind, and what OpenVINO and PMML share with them.
//!
//! A parser that follows a document type opens files and addresses while it reads (CWE-611) or fills its memory (CWE-776);
//! instructions and inclusions name stylesheets and files. That is judged in every document; what its elements say, in
//! the vocabularies that models are written in. Markdown and HTML begin like XML and are left to plain text.
//!
//! Source: XML 1.0; XInclude 1.1; the bounds on expansion are those of expat 2.4
//! (`XML_SetBillionLaughsAttackProtectionActivationThreshold`).

use super::markup::{Element, Reader, Token};
use super::openvino::Network;
use super::pmml::Document;
use super::reading::{Allowance, is_template};
use super::{Format, FormatMeta, Object, Sniff, text};
use crate::{Active, ActiveKind, Malformed, Parsed, Probe, Text, TextKind, Trouble};

/// Reads XML documents.
pub(crate) struct Xml;

/// Things a document may do that are held; the next are the same again.
const ACTIVE_MAX: usize = 256;

/// What a vocabulary makes of a document's elements.
pub(super) trait Vocabulary {
    /// An element begins.
    fn start(&mut self, element: &Element, notes: &mut Notes<'_>);
    /// Characters stand in the innermost open element.
    fn text(&mut self, _text: &str, _at: u64, _notes: &mut Notes<'_>) {}
    /// The innermost open element ends.
    fn end(&mut self) {}
    /// The document ends, or breaks.
    fn finish(&mut self, _notes: &mut Notes<'_>) {}
}

/// Where a vocabulary notes what it finds.
pub(super) struct Notes<'a> {
    pub(super) object: &'a Object<'a>,
    pub(super) parsed: &'a mut Parsed,
    pub(super) allowance: Allowance,
}

impl Notes<'_> {
    /// Notes something active.
    pub(super) fn active(&mut self, kind: ActiveKind, name: &str, target: &str, offset: u64) {
        let shortened = |text: &str| text.chars().take(1024).collect();
        if self.parsed.active.len() < ACTIVE_MAX {
            self.parsed.active.push(Active { kind, name: shortened(name), target: shortened(target), offset });
        }
    }

    /// Whether one more record of `bytes` may be held; the first that may not is reported.
    pub(super) fn admit(&mut self, bytes: usize, at: u64) -> bool {
        let admitted = self.allowance.take(bytes);
        if !admitted && !self.parsed.malformed.iter().any(|known| known.trouble == Trouble::Limit) {
            self.report(Malformed::new(Trouble::Limit, at, "elements from here on need too much memory"));
        }
        admitted
    }

    pub(super) fn report(&mut self, malformed: Malformed) {
        self.parsed.report(self.object.limits, malformed);
    }
}

impl Format for Xml {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "xml",
            title: "XML",
            extensions: &["xml", "svg", "xsd", "xsl", "xslt", "plist"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match Beginning::of(probe) {
            Beginning::Root(root) if vocabulary(&root).is_some() => Sniff::No,
            _ if is_declared(&probe.head) => Sniff::Certain,
            Beginning::Root(root) if root.attributes().iter().any(|(key, _)| key.starts_with("xmlns")) => Sniff::Likely,
            Beginning::Root(_) | Beginning::Other => Sniff::No,
            Beginning::Typed | Beginning::Open => Sniff::Likely,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = read(object);
        let broken = parsed.malformed.iter().any(|malformed| malformed.trouble == Trouble::Undecodable);
        // What looked like XML and is not is plain text, unless it speaks like a model or has been seen to do something.
        if broken && parsed.active.is_empty() && parsed.refined.is_none() {
            return text::PlainText.parse(object);
        }
        text::read_whole(object, &mut parsed);
        parsed
    }
}

/// What a document begins with, as far as its head shows.
pub(super) enum Beginning {
    /// Its root element.
    Root(Element),
    /// A document type, and nothing decisive behind it.
    Typed,
    /// Comments, blanks, instructions up to the end of the head.
    Open,
    /// No document.
    Other,
}

impl Beginning {
    pub(super) fn of(probe: &Probe) -> Self {
        let source = casemate_core::MemorySource::new(probe.head.as_slice());
        let mut reader = Reader::new(&source);
        let first = reader.first_byte();
        if !matches!(first, Some(b'<')) {
            return Self::Other;
        }
        loop {
            let typed = reader.document_type.is_declared;
            match reader.next() {
                Ok(Some(Token::Start(element))) => return Self::Root(element),
                Ok(Some(_)) => {}
                _ if typed || reader.document_type.is_declared => return Self::Typed,
                // The head ends in the midst of it.
                Err(_) if reader.at() >= probe.head.len() as u64 && probe.size_bytes > reader.at() => {
                    return Self::Open;
                }
                _ => return Self::Other,
            }
        }
    }
}

/// Whether a document says that it is XML, in one byte a character or two.
fn is_declared(head: &[u8]) -> bool {
    let bytes: Vec<u8> = head.iter().copied().filter(|byte| *byte != 0).take(64).collect();
    let bytes = [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"]
        .iter()
        .find_map(|mark| bytes.strip_prefix(*mark))
        .unwrap_or(&bytes);
    bytes.trim_ascii_start().starts_with(b"<?xml ")
}

/// The vocabulary a document is written in, by its root element.
fn vocabulary(root: &Element) -> Option<(&'static str, Box<dyn Vocabulary>)> {
    if Network::is_root(root) {
        Some(("openvino", Box::new(Network::default())))
    } else if Document::is_root(root) {
        Some(("pmml", Box::new(Document::default())))
    } else {
        None
    }
}

/// Reads a document whatever it is, and judges what its vocabulary says.
pub(super) fn read(object: &Object<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    let mut reader = Reader::new(&**object.source);
    let mut notes = Notes { object, parsed: &mut parsed, allowance: Allowance::new() };
    let mut speaks: Option<Box<dyn Vocabulary>> = None;
    let outcome = loop {
        let at = reader.at();
        match reader.next() {
            Ok(None) => break Ok(()),
            Err(malformed) => break Err(malformed),
            Ok(Some(Token::Start(element))) => {
                if reader.depth() == 1
                    && let Some((id, vocabulary)) = vocabulary(&element)
                {
                    (notes.parsed.refined, speaks) = (Some(id), Some(vocabulary));
                }
                include(&element, &mut notes);
                if let Some(vocabulary) = &mut speaks {
                    templates(&element, &mut notes);
                    vocabulary.start(&element, &mut notes);
                }
            }
            Ok(Some(Token::End)) => speaks.iter_mut().for_each(|vocabulary| vocabulary.end()),
            Ok(Some(Token::Text(text))) => {
                speaks.iter_mut().for_each(|vocabulary| vocabulary.text(&text, at, &mut notes));
            }
            Ok(Some(Token::Instruction(at, target, words))) => {
                notes.active(ActiveKind::Instruction, &target, &words, at);
            }
        }
    };
    speaks.iter_mut().for_each(|vocabulary| vocabulary.finish(&mut notes));
    declared(&reader, &mut notes);
    let end = reader.at();
    parsed.claims.add(0..end);
    if let Err(malformed) = outcome {
        parsed.report(object.limits, malformed);
    }
    parsed
}

/// Notes what the document type makes a parser do.
fn declared(reader: &Reader<'_>, notes: &mut Notes<'_>) {
    let document_type = &reader.document_type;
    if let Some(target) = &document_type.external {
        notes.active(ActiveKind::ExternalSubset, "", target, document_type.at);
    }
    for entity in &document_type.entities {
        match &entity.external {
            Some(target) => notes.active(ActiveKind::ExternalEntity, &entity.name, target, entity.at),
            None if entity.declares => notes.active(ActiveKind::ExternalEntity, &entity.name, "", entity.at),
            None => {}
        }
    }
    if let Some(first) = document_type.entities.iter().find(|entity| entity.external.is_none()) {
        let bytes = document_type.expanded_most().max(reader.expanded_bytes());
        let kind = ActiveKind::Expansion { bytes, nested: document_type.is_nested() };
        notes.active(kind, &first.name, "", first.at);
    }
}

/// Chat templates of a model stand in attributes (`rt_info` of an OpenVINO tokenizer).
fn templates(element: &Element, notes: &mut Notes<'_>) {
    for (key, value) in element.attributes().iter().filter(|(_, value)| is_template(value)) {
        if notes.admit(value.len(), element.at) {
            let (key, text) = (format!("{}.{key}", element.name()), value.clone());
            notes.parsed.texts.push(Text { kind: TextKind::Template, key, text, offset: Some(element.at) });
        }
    }
}

/// `<xi:include href="…"/>`.
fn include(element: &Element, notes: &mut Notes<'_>) {
    let target = element.attribute("href");
    let names_space = element.attribute("xmlns").contains("XInclude");
    if element.name() == "include" && !target.is_empty() && (element.is_prefixed() || names_space) {
        notes.active(ActiveKind::Include, "include", target, element.at);
    }
}

#[cfg(test)]
mod tests;
