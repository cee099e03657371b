//! Core ML: `.mlmodel`, alone or in an `.mlpackage`, a protobuf of one model or a pipeline of them.
//!
//! A custom model or a custom layer names a class that the application has to bring along and that Core ML then calls;
//! both are listed, in pipelines and in the branches and loops of networks too. Metadata become texts.
//!
//! Source: `mlmodel/format/*.proto` of coremltools. Operators of ML programs are Core ML's own and are not listed.

use std::ops::Range;

use super::messages::{Messages, Schema, conforms};
use super::protobuf::{Cursor, Value};
use super::reading::text_kind;
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Text, Trouble};

mod schema;

use schema::PART;

/// Classes that Core ML calls in the application.
pub(crate) const CUSTOM_MODEL: &str = "coreml.custom-model";
/// Likewise, for one layer.
pub(crate) const CUSTOM_LAYER: &str = "coreml.custom-layer";

/// Reads Core ML models.
pub(crate) struct Coreml;

impl Format for Coreml {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "coreml", title: "Core ML", extensions: &["mlmodel"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let versioned = matches!(probe.head.as_slice(), [0x08, 1..=99, 0x12, ..]);
        match versioned && conforms(probe, &schema::MODEL).is_some_and(|messages| messages >= 2) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut reader = Reader(Messages::new(object, &mut parsed));
        reader.model(0..object.source.size_bytes(), 1);
        parsed.operators = reader.0.take_operators();
        parsed
    }
}

struct Reader<'a, 'p>(Messages<'a, 'p>);

impl Reader<'_, '_> {
    /// Walks a model; `depth` counts models in pipelines and networks in layers.
    fn model(&mut self, range: Range<u64>, depth: u32) {
        let (start, mut cursor, mut kinds) = (range.start, Cursor::new(range), 0);
        while let Some(field) = self.0.next(&mut cursor, &schema::MODEL) {
            if depth == 1 {
                self.0.parsed.claims.add(field.offset..cursor.at);
            }
            let Value::Bytes(range) = field.value else { continue };
            kinds += u32::from(field.number >= 200);
            if kinds == 2 && field.number >= 200 {
                self.0.ambiguous(field.offset, "the model is of two kinds: readers take the last");
            }
            match field.number {
                2 => self.fields(range, &schema::DESCRIPTION, |reader, number, range| {
                    if number == 100 {
                        reader.metadata(range);
                    }
                }),
                200 | 201 if !self.deep(depth, range.start) => self.nested(range, 1, depth, Self::pipeline),
                202 => self.pipeline(range, depth),
                303 | 403 | 500 => self.network(range, depth),
                555 => self.class(range, 1, CUSTOM_MODEL),
                _ => {}
            }
        }
        if kinds == 0 {
            self.0.report(Malformed::new(Trouble::Undecodable, start, "the model is of no kind"));
        }
    }

    /// Whether messages nest too deep, which is then reported.
    fn deep(&mut self, depth: u32, offset: u64) -> bool {
        // A level is three messages.
        let deep = depth > self.0.limits.nesting_max / 3;
        if deep {
            let what = format!("models nest more than {} deep", depth - 1);
            self.0.report(Malformed::new(Trouble::Limit, offset, what));
        }
        deep
    }

    fn fields(&mut self, range: Range<u64>, schema: &Schema, mut visit: impl FnMut(&mut Self, u32, Range<u64>)) {
        let mut cursor = Cursor::new(range);
        while let Some(field) = self.0.next(&mut cursor, schema) {
            if let Value::Bytes(range) = field.value {
                visit(self, field.number, range);
            }
        }
    }

    /// Visits every message in field `wanted`, one level deeper.
    fn nested(&mut self, range: Range<u64>, wanted: u32, depth: u32, visit: fn(&mut Self, Range<u64>, u32)) {
        self.fields(range, &PART, |reader, number, range| {
            if number == wanted {
                visit(reader, range, depth + 1);
            }
        });
    }

    fn pipeline(&mut self, range: Range<u64>, depth: u32) {
        if !self.deep(depth, range.start) {
            self.nested(range, 1, depth, Self::model);
        }
    }

    fn network(&mut self, range: Range<u64>, depth: u32) {
        if !self.deep(depth, range.start) {
            self.nested(range, 1, depth, Self::layer);
        }
    }

    fn layer(&mut self, range: Range<u64>, depth: u32) {
        self.fields(range, &PART, |reader, number, range| match number {
            500 => reader.class(range, 10, CUSTOM_LAYER),
            // The networks of a branch are its fields 1 and 2, those of a loop 3 and 4.
            605 => {
                reader.nested(range.clone(), 1, depth, Self::network);
                reader.nested(range, 2, depth, Self::network);
            }
            615 => {
                reader.nested(range.clone(), 3, depth, Self::network);
                reader.nested(range, 4, depth, Self::network);
            }
            _ => {}
        });
    }

    /// Notes the class in field `wanted`, or that there is none.
    fn class(&mut self, range: Range<u64>, wanted: u32, domain: &str) {
        let (start, mut name) = (range.start, String::new());
        self.fields(range, &PART, |reader, number, range| {
            if number == wanted {
                name = reader.0.text(range);
            }
        });
        self.0.operator(domain, name, start);
    }

    fn metadata(&mut self, range: Range<u64>) {
        self.fields(range, &schema::METADATA, |reader, number, range| {
            let offset = range.start;
            let (mut key, mut value) = (String::new(), String::new());
            match number {
                1 => (key, value) = ("shortDescription".into(), reader.0.text(range)),
                100 => reader.fields(range, &PART, |reader, number, range| match number {
                    1 => key = reader.0.text(range),
                    2 => value = reader.0.text(range),
                    _ => {}
                }),
                _ => return,
            }
            if reader.0.admit(key.len().saturating_add(value.len()), offset) {
                let text = Text { kind: text_kind(&value), key, text: value, offset: Some(offset) };
                reader.0.parsed.texts.push(text);
            }
        });
    }
}

#[cfg(test)]
mod tests;
