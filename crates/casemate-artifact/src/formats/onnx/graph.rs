//! Graphs, nodes and functions, with the graphs and tensors in their attributes.

use std::ops::Range;

use super::{Cursor, Malformed, Operator, Reader, Trouble, Value, schema};

impl Reader<'_, '_> {
    /// Walks a graph; `depth` counts graphs inside graphs.
    pub(super) fn graph(&mut self, range: Range<u64>, depth: u32) {
        // Each level is three messages deep.
        if depth > self.limits.nesting_max / 3 {
            let what = format!("graphs nest more than {} deep", depth - 1);
            return self.report(Malformed::new(Trouble::Limit, range.start, what));
        }
        let mut cursor = Cursor::new(range);
        while let Some(field) = self.next(&mut cursor, &schema::GRAPH) {
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                1 => self.node(range, depth),
                5 => self.tensor(range, ""),
                10 => self.note("graph.doc_string", range),
                15 => self.sparse_tensor(range, ""),
                16 => self.property(range),
                _ => {}
            }
        }
    }

    /// Walks a node: lists its operator, looks into its attributes.
    fn node(&mut self, range: Range<u64>, depth: u32) {
        let (start, mut cursor) = (range.start, Cursor::new(range));
        let (mut name, mut domain) = (String::new(), String::new());
        while let Some(field) = self.next(&mut cursor, &schema::NODE) {
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                4 => name = self.text(range),
                5 => self.attribute(range, depth),
                7 => domain = self.text(range),
                _ => {}
            }
        }
        self.operator(domain, name, start);
    }

    fn operator(&mut self, domain: String, name: String, offset: u64) {
        // Both name the standard's own domain.
        let domain = if domain == "ai.onnx" { String::new() } else { domain };
        let operator = Operator { domain, name };
        if !self.full
            && !self.operators.contains(&operator)
            && self.admit(operator.domain.len() + operator.name.len(), offset)
        {
            self.operators.insert(operator);
        }
    }

    fn attribute(&mut self, range: Range<u64>, depth: u32) {
        let (mut cursor, mut name) = (Cursor::new(range), String::new());
        while let Some(field) = self.next(&mut cursor, &schema::ATTRIBUTE) {
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                1 => name = self.text(range),
                5 | 10 => self.tensor(range, &name),
                6 | 11 => self.graph(range, depth + 1),
                22 | 23 => self.sparse_tensor(range, &name),
                _ => {}
            }
        }
    }

    /// Walks a function of the model's own; it is listed as an operator of its domain.
    pub(super) fn function(&mut self, range: Range<u64>) {
        let (start, mut cursor) = (range.start, Cursor::new(range));
        let (mut name, mut domain) = (String::new(), String::new());
        while let Some(field) = self.next(&mut cursor, &schema::FUNCTION) {
            let Value::Bytes(range) = field.value else { continue };
            match field.number {
                1 => name = self.text(range),
                7 => self.node(range, 1),
                8 => self.note("function.doc_string", range),
                10 => domain = self.text(range),
                11 => self.attribute(range, 1),
                14 => self.property(range),
                _ => {}
            }
        }
        self.operator(domain, name, start);
    }

    /// Walks the two graphs of training info.
    pub(super) fn training(&mut self, range: Range<u64>) {
        let mut cursor = Cursor::new(range);
        while let Some(field) = self.next(&mut cursor, &schema::TRAINING) {
            if let (1 | 2, Value::Bytes(range)) = (field.number, field.value) {
                self.graph(range, 1);
            }
        }
    }

    fn sparse_tensor(&mut self, range: Range<u64>, name: &str) {
        let mut cursor = Cursor::new(range);
        while let Some(field) = self.next(&mut cursor, &schema::SPARSE_TENSOR) {
            if let (1 | 2, Value::Bytes(range)) = (field.number, field.value) {
                self.tensor(range, name);
            }
        }
    }
}
