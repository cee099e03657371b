//! ONNX: a protobuf of a graph, its weights and their places, also in other files.
//!
//! Answers external data outside the model's directory (CVE-2022-25882, CVE-2024-27318, CVE-2024-5187, CVE-2025-51480,
//! CVE-2026-34447): every location is listed, wherever in the model it hides. Operators of all graphs are listed as well,
//! since custom ones load libraries. Weights are checked against their dimensions; fields the format does not have are
//! reported, since readers skip them and anything fits in there.
//!
//! Source: `onnx.proto` of ONNX 1.19; <https://onnx.ai/onnx/repo-docs/ExternalData.html>.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use casemate_core::{Limits, MemorySource, Window};

use super::protobuf::{BYTES, Cursor, Field, VARINT, Value};
use super::reading::{Allowance, text_kind, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Operator, Parsed, Probe, Text, Trouble};

mod graph;
mod schema;
mod tensor;

use schema::Schema;

/// A text longer than this is no metadata.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Reads ONNX models.
pub(crate) struct Onnx;

impl Format for Onnx {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "onnx", title: "ONNX", extensions: &["onnx", "ort"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        sniff(&probe.head, probe.size_bytes)
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut reader = Reader {
            window: Window::new(&**object.source),
            limits: object.limits,
            parsed: &mut parsed,
            allowance: Allowance::new(),
            operators: HashSet::new(),
            entries: 0,
            full: false,
        };
        reader.model(object.source.size_bytes());
        let operators = std::mem::take(&mut reader.operators);
        parsed.operators.extend(operators);
        parsed.operators.sort_unstable();
        parsed
    }
}

/// Judges the first fields. Other protobufs differ: a SavedModel has a message where the producer's name stands here, and
/// no graph; a GraphDef begins with a message; Core ML has fields we do not. Loaders skip fields they do not know, so those
/// take away certainty and no more.
fn sniff(head: &[u8], size: u64) -> Sniff {
    let source = MemorySource::new(head);
    let (mut window, mut cursor) = (Window::new(&source), Cursor::new(0..size));
    let (mut version, mut graph, mut foreign) = (false, false, false);
    let len = head.len() as u64;
    while cursor.at < len && !graph {
        let Some(Ok(field)) = cursor.next(&mut window) else {
            // A number cut by the end of the head says nothing; anything else is no message.
            foreign |= size == len || cursor.at + 10 < len;
            break;
        };
        match (field.number, field.value) {
            (1, Value::Varint(ir_version)) if !version && (1..=100).contains(&ir_version) => version = true,
            (1, _) => return Sniff::No,
            (2..=4, Value::Bytes(range)) if !is_name(&mut window, range.clone()) => return Sniff::No,
            (7, Value::Bytes(range)) => {
                let begins_in_head = range.start < len;
                let first = Cursor::new(range).next(&mut window).and_then(Result::ok);
                let known = first.is_none_or(|field| schema::GRAPH.wires(field.number) & field.value.wire() != 0);
                foreign |= begins_in_head && !known;
                graph = true;
            }
            (number, value) => foreign |= schema::MODEL.wires(number) & value.wire() == 0,
        }
    }
    // Text has none of the tags of version, nodes and their operators.
    let binary = version || head.iter().any(|byte| matches!(byte, 0..=8));
    match (version, graph) {
        (true, true) if !foreign => Sniff::Certain,
        (true, true) => Sniff::Likely,
        (true, false) | (false, true) if !foreign && binary && size > 4 => Sniff::Likely,
        _ => Sniff::No,
    }
}

/// Whether a printable text stands at `range`; a nested message begins with a control character. CatBoost gives its version
/// in several lines.
fn is_name(window: &mut Window<'_>, range: Range<u64>) -> bool {
    let bytes = window.get(range.start, range.end - range.start).ok().flatten();
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).is_some_and(|text| {
        !text.starts_with(char::is_control) && !text.contains(|c: char| c.is_control() && c != '\n')
    })
}

/// A model while it is walked.
struct Reader<'a, 'p> {
    window: Window<'a>,
    limits: &'a Limits,
    parsed: &'p mut Parsed,
    allowance: Allowance,
    operators: HashSet<Operator>,
    entries: u64,
    full: bool,
}

impl Reader<'_, '_> {
    fn model(&mut self, size: u64) {
        let mut cursor = Cursor::new(0..size);
        let mut seen = BTreeMap::new();
        while let Some(field) = self.next(&mut cursor, &schema::MODEL) {
            self.parsed.claims.add(field.offset..cursor.at);
            let count: &mut u32 = seen.entry(field.number).or_default();
            *count += 1;
            if *count == 2 && matches!(field.number, 1..=7) {
                let what = format!("field {} of the model stands twice: readers merge or take the last", field.number);
                self.ambiguous(field.offset, what);
            }
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                6 => self.note("doc_string", range),
                7 => self.graph(range, 1),
                14 => self.property(range),
                20 => self.training(range),
                25 => self.function(range),
                _ => {}
            }
        }
        if !seen.contains_key(&7) {
            self.report(Malformed::new(Trouble::Undecodable, 0, "the model has no graph"));
        }
    }

    /// The next field a message may have; others are reported and passed over. `None` at the end, or where it breaks.
    fn next(&mut self, cursor: &mut Cursor, schema: &Schema) -> Option<Field> {
        loop {
            match cursor.next(&mut self.window)? {
                Ok(field) if schema.wires(field.number) & field.value.wire() != 0 => return Some(field),
                Ok(field) if schema.wires(field.number) == 0 => {
                    let what = format!("{} has no field {}", schema.name, field.number);
                    self.ambiguous(field.offset, what);
                }
                Ok(field) => {
                    let what = format!("field {} of {} has the wrong wire type", field.number, schema.name);
                    self.ambiguous(field.offset, what);
                }
                Err(malformed) => {
                    let what = format!("{} breaks: {}", schema.name, malformed.what);
                    self.report(Malformed { what, ..malformed });
                    return None;
                }
            }
        }
    }

    /// A key and a value of `metadata_props`.
    fn property(&mut self, range: Range<u64>) {
        let (start, (key, value)) = (range.start, self.entry(range));
        if let Some(key) = key {
            self.push_text(key, value.unwrap_or_default(), start);
        }
    }

    fn entry(&mut self, range: Range<u64>) -> (Option<String>, Option<String>) {
        let (mut cursor, mut key, mut value) = (Cursor::new(range), None, None);
        while let Some(field) = self.next(&mut cursor, &schema::ENTRY) {
            let Value::Bytes(range) = field.value else { continue };
            let slot = if field.number == 1 { &mut key } else { &mut value };
            if slot.is_some() {
                let what = format!("field {} of {} stands twice", field.number, schema::ENTRY.name);
                self.parsed.report(self.limits, Malformed::new(Trouble::Ambiguous, field.offset, what));
            }
            *slot = Some(range);
        }
        (key.map(|range| self.text(range)), value.map(|range| self.text(range)))
    }

    fn note(&mut self, key: &str, range: Range<u64>) {
        let (start, text) = (range.start, self.text(range));
        if !text.is_empty() {
            self.push_text(key.into(), text, start);
        }
    }

    fn push_text(&mut self, key: String, text: String, offset: u64) {
        if self.admit(key.len().saturating_add(text.len()), offset) {
            self.parsed.texts.push(Text { kind: text_kind(&text), key, text, offset: Some(offset) });
        }
    }

    /// The text at `range`, at most its first MiB; what is cut is reported.
    fn text(&mut self, range: Range<u64>) -> String {
        let mut len = range.end.saturating_sub(range.start);
        if len > TEXT_BYTES_MAX {
            let what = format!("of a text of {len} bytes only {TEXT_BYTES_MAX} are read");
            self.report(Malformed::new(Trouble::Limit, range.start, what));
            len = TEXT_BYTES_MAX;
        }
        match self.window.get(range.start, len) {
            Ok(bytes) => String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned(),
            Err(error) => {
                self.report(unreadable(&error, range.start));
                String::new()
            }
        }
    }

    /// Whether one more record of `bytes` bytes may be held.
    fn admit(&mut self, bytes: usize, offset: u64) -> bool {
        self.entries += 1;
        let admitted = self.entries <= self.limits.entries_max && self.allowance.take(bytes);
        if !admitted && !std::mem::replace(&mut self.full, true) {
            let what = format!("entries after the first {} are not read", self.entries - 1);
            self.report(Malformed::new(Trouble::Limit, offset, what));
        }
        admitted
    }

    fn ambiguous(&mut self, offset: u64, what: impl Into<String>) {
        self.report(Malformed::new(Trouble::Ambiguous, offset, what));
    }

    fn ambiguous_if(&mut self, wrong: bool, offset: u64, what: &str) {
        if wrong {
            self.ambiguous(offset, what);
        }
    }

    fn report(&mut self, malformed: Malformed) {
        self.parsed.report(self.limits, malformed);
    }
}

#[cfg(test)]
mod tests;
