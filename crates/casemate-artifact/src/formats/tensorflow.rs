//! TensorFlow: SavedModels (`saved_model.pb`) and frozen graphs, protobufs of nodes and functions.
//!
//! A graph is a program: its operators read and write files, list directories and call Python (ReadFile, WriteFile,
//! MatchingFiles, PyFunc), from the main graph or from any function in its library. Every operator is listed with where it
//! stands, so that the saver's own reading and writing of checkpoints can be told apart; names of assets are references,
//! and configurations of Keras objects become objects of their own. Weights live in `variables/`.
//!
//! Source: `saved_model.proto`, `meta_graph.proto`, `graph.proto`, `function.proto` of TensorFlow 2.21.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use casemate_core::RangeSource;

use super::messages::{Messages, conforms};
use super::protobuf::{Cursor, Value};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Operator, Parsed, Probe, Reference, ReferenceKind, Role, Trouble};

mod schema;

/// Operators of TensorFlow wherever they stand.
pub(crate) const DOMAIN: &str = "tensorflow";
/// Operators inside what `tf.train.Saver` and `tf.train.Checkpoint` make.
pub(crate) const SAVER: &str = "tensorflow.saver";
/// Operators that print to a file.
pub(crate) const TO_FILE: &str = "tensorflow.to-file";
/// Names of functions in the model's own library.
pub(crate) const FUNCTION: &str = "tensorflow.function";

/// Reads SavedModels and GraphDefs.
pub(crate) struct Tensorflow;

impl Format for Tensorflow {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "tensorflow", title: "TensorFlow", extensions: &["pb"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // Two messages deep and binary: neither a text that begins with a line break nor another protobuf goes so far.
        let binary = probe.head.iter().any(|byte| matches!(byte, 0..=8));
        let deep = |schema| conforms(probe, schema).is_some_and(|messages| messages >= 2);
        match probe.head.first() {
            Some(0x08) if probe.starts_with(b"\x08\x01\x12") && deep(&schema::SAVED_MODEL) => Sniff::Certain,
            Some(0x08 | 0x12) if binary && deep(&schema::SAVED_MODEL) => Sniff::Likely,
            Some(0x0a) if binary && is_graph(probe) => Sniff::Certain,
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut reader = Reader {
            messages: Messages::new(object, &mut parsed),
            object,
            functions: HashSet::new(),
            hasher: RandomState::new(),
        };
        let graph = object.probe.starts_with(b"\x0a");
        reader.file(object.source.size_bytes(), graph);
        let operators = reader.operators();
        parsed.operators = operators;
        parsed.refined = Some(if graph { "tensorflow-graph" } else { "tensorflow-saved-model" });
        parsed
    }
}

/// Whether the first node has a name and an operator, as every node of a graph has.
fn is_graph(probe: &Probe) -> bool {
    let source = casemate_core::MemorySource::new(probe.head.as_slice());
    let mut window = casemate_core::Window::new(&source);
    let Some(Ok(first)) = Cursor::new(0..probe.size_bytes).next(&mut window) else { return false };
    let Value::Bytes(node) = first.value else { return false };
    let mut cursor = Cursor::new(node);
    let mut field = || match cursor.next(&mut window) {
        Some(Ok(field)) => Some((field.number, field.value)),
        _ => None,
    };
    let (name, operator) = (field(), field());
    let Some(((1, Value::Bytes(_)), (2, Value::Bytes(operator)))) = name.zip(operator) else { return false };
    let bytes = window.get(operator.start, operator.end - operator.start).ok().flatten().unwrap_or_default();
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_>.".contains(byte);
    !bytes.is_empty() && bytes.iter().all(word) && conforms(probe, &schema::GRAPH).is_some()
}

/// Bytes of a configuration in which its first brace is looked for.
const BLANKS_BYTES_MAX: u64 = 4096;

/// Where nodes stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Graph,
    Function,
    SaverFunction,
}

struct Reader<'a, 'p> {
    messages: Messages<'a, 'p>,
    object: &'a Object<'a>,
    functions: HashSet<u64>,
    hasher: RandomState,
}

impl Reader<'_, '_> {
    fn file(&mut self, size: u64, graph: bool) {
        let (schema, mut graphs) = if graph { (&schema::GRAPH, 1) } else { (&schema::SAVED_MODEL, 0) };
        let mut cursor = Cursor::new(0..size);
        while let Some(field) = self.messages.next(&mut cursor, schema) {
            self.messages.parsed.claims.add(field.offset..cursor.at);
            match (graph, field.number, field.value) {
                (true, number, Value::Bytes(range)) => self.graph_field(number, range),
                (false, 2, Value::Bytes(range)) => {
                    graphs += 1;
                    self.meta_graph(range);
                }
                _ => {}
            }
        }
        if graphs == 0 {
            self.messages.report(Malformed::new(Trouble::Undecodable, 0, "the model has no graph"));
        }
    }

    fn meta_graph(&mut self, range: Range<u64>) {
        let mut cursor = Cursor::new(range);
        let mut graphs = 0;
        while let Some(field) = self.messages.next(&mut cursor, &schema::META_GRAPH) {
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                2 => {
                    graphs += 1;
                    if graphs == 2 {
                        self.messages
                            .ambiguous(field.offset, "a meta graph has two graphs: readers merge or take the last");
                    }
                    let mut cursor = Cursor::new(range);
                    while let Some(field) = self.messages.next(&mut cursor, &schema::GRAPH) {
                        if let Value::Bytes(range) = field.value {
                            self.graph_field(field.number, range);
                        }
                    }
                }
                6 => self.asset(range),
                7 => self.objects(range),
                _ => {}
            }
        }
    }

    fn graph_field(&mut self, number: u32, range: Range<u64>) {
        match number {
            1 => self.node(range, Place::Graph),
            2 => self.library(range),
            _ => {}
        }
    }

    fn library(&mut self, range: Range<u64>) {
        let mut cursor = Cursor::new(range);
        while let Some(field) = self.messages.next(&mut cursor, &schema::LIBRARY) {
            let Value::Bytes(range) = field.value else { continue };
            if field.number == 1 {
                self.function(range);
            }
        }
    }

    fn function(&mut self, range: Range<u64>) {
        // The name may stand behind the body.
        let name = self.nested_text(range.clone(), 1, 1).unwrap_or_default();
        let saver = ["__inference__traced_save", "__inference__traced_restore"].iter().any(|own| name.starts_with(own));
        if self.messages.admit(8, range.start) {
            self.functions.insert(self.hasher.hash_one(&name));
        }
        let place = if saver { Place::SaverFunction } else { Place::Function };
        let mut cursor = Cursor::new(range);
        while let Some(field) = self.messages.next(&mut cursor, &schema::FUNCTION) {
            let Value::Bytes(range) = field.value else { continue };
            if field.number == 3 {
                self.node(range, place);
            }
        }
    }

    /// The last text in field `inner` of the last message in field `outer`.
    fn nested_text(&mut self, range: Range<u64>, outer: u32, inner: u32) -> Option<String> {
        let find = |messages: &mut Messages<'_, '_>, range, number| {
            let (mut cursor, mut found) = (Cursor::new(range), None);
            while let Some(Ok(field)) = cursor.next(&mut messages.window) {
                match field.value {
                    Value::Bytes(range) if field.number == number => found = Some(range),
                    _ => {}
                }
            }
            found
        };
        let message = find(&mut self.messages, range, outer)?;
        let text = find(&mut self.messages, message, inner)?;
        Some(self.messages.text(text))
    }

    fn node(&mut self, range: Range<u64>, place: Place) {
        let (start, mut cursor) = (range.start, Cursor::new(range));
        let (mut name, mut operator, mut to_file) = (String::new(), None, false);
        while let Some(field) = self.messages.next(&mut cursor, &schema::NODE) {
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                1 => name = self.messages.text(range),
                2 => {
                    if operator.is_some() {
                        self.messages.ambiguous(field.offset, "a node has two operators");
                    }
                    operator = Some(self.messages.text(range));
                }
                5 => to_file |= self.prints_to_file(range),
                _ => {}
            }
        }
        let Some(operator) = operator else { return };
        // Before functions, `tf.train.Saver` put its nodes into scopes `save`, `save_1`, ….
        let scope = name.split('/').next().unwrap_or_default();
        let scoped = scope.strip_prefix("save").is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('_').is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let domain = match place {
            _ if to_file => TO_FILE,
            Place::SaverFunction => SAVER,
            Place::Graph if scoped && name.contains('/') => SAVER,
            _ => DOMAIN,
        };
        self.messages.operator(domain, operator, start);
    }

    /// Whether an attribute sends what is printed to a file (PrintV2: `output_stream: "file:///…"`).
    fn prints_to_file(&mut self, range: Range<u64>) -> bool {
        let (mut cursor, mut key, mut value) = (Cursor::new(range), false, None);
        while let Some(field) = self.messages.next(&mut cursor, &schema::ATTRIBUTE) {
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                1 if range.end - range.start == 13 => key = self.messages.text(range) == "output_stream",
                2 => value = Some(range),
                _ => {}
            }
        }
        let Some(value) = value.filter(|_| key) else { return false };
        let mut cursor = Cursor::new(value);
        while let Some(field) = self.messages.next(&mut cursor, &schema::VALUE) {
            match field.value {
                Value::Bytes(range) if field.number == 2 && self.messages.text(range.clone()).starts_with("file:") => {
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn asset(&mut self, range: Range<u64>) {
        let mut cursor = Cursor::new(range);
        while let Some(field) = self.messages.next(&mut cursor, &schema::ASSET) {
            let (2, Value::Bytes(range)) = (field.number, field.value) else { continue };
            let target = self.messages.text(range);
            if self.messages.admit(target.len(), field.offset) {
                let (kind, from) = (ReferenceKind::ExternalData, "an asset".into());
                let offset = Some(field.offset);
                self.messages.parsed.references.push(Reference { kind, target, from, offset });
            }
        }
    }

    /// Configurations of Keras objects: JSON that Keras makes layers of, Lambda layers too.
    fn objects(&mut self, range: Range<u64>) {
        let mut nodes = Cursor::new(range);
        while let Some(node) = self.messages.next(&mut nodes, &schema::OBJECTS) {
            let (1, Value::Bytes(range)) = (node.number, node.value) else { continue };
            let mut objects = Cursor::new(range);
            while let Some(object) = self.messages.next(&mut objects, &schema::OBJECT) {
                let (4, Value::Bytes(range)) = (object.number, object.value) else { continue };
                let mut fields = Cursor::new(range);
                while let Some(field) = self.messages.next(&mut fields, &schema::USER_OBJECT) {
                    match field.value {
                        Value::Bytes(range) if field.number == 3 && !range.is_empty() => self.configuration(range),
                        _ => {}
                    }
                }
            }
        }
    }

    fn configuration(&mut self, range: Range<u64>) {
        // Python's reader of JSON passes over blanks.
        let len = BLANKS_BYTES_MAX.min(range.end - range.start);
        let start = self.messages.window.get(range.start, len).ok().flatten().unwrap_or_default();
        if !matches!(start.trim_ascii_start().first(), Some(b'{') | None) {
            return;
        }
        if let Err(malformed) = self.object.budget.member(self.object.limits) {
            return self.messages.report(malformed);
        }
        if self.messages.admit(16, range.start) {
            let source = RangeSource::new(Arc::clone(self.object.source), range.start, range.end - range.start);
            let name = format!("object@{}", range.start);
            self.messages.parsed.children.push(Child { name, source: Arc::new(source), role: Role::BesideGraph });
        }
    }

    /// All operators; calls of the model's own functions in a domain of their own.
    fn operators(&mut self) -> Vec<Operator> {
        let mut operators = self.messages.take_operators();
        for operator in &mut operators {
            if self.functions.contains(&self.hasher.hash_one(&operator.name)) {
                operator.domain = FUNCTION.into();
            }
        }
        operators
    }
}

#[cfg(test)]
mod tests;
