//! OpenVINO's intermediate representation: a network of layers in XML, its numbers in a `.bin` beside it.
//!
//! A layer of an operation set that is not OpenVINO's own is code of an extension, a shared library that somebody has to
//! load (`core.add_extension`); old versions let the layer name it. Layers in the bodies of loops count like others. Constants
//! name a stretch of the `.bin`: one that cannot be a stretch is told, whether the `.bin` has it only the `.bin` can tell.
//!
//! Source: docs.openvino.ai, "OpenVINO IR format" and "Available operation sets".

use std::collections::BTreeSet;

use super::markup::Element;
use super::xml::{Beginning, Notes, Vocabulary, read};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Operator, Parsed, Probe, Reference, ReferenceKind, Tensor, Trouble};

/// Reads networks.
pub(crate) struct Openvino;

/// Domain of layers that name their own library, or are Python.
const LIBRARY: &str = "openvino.library";
/// Operation sets of OpenVINO besides the numbered ones.
const OWN_SETS: &[&str] = &["", "ie_internal_opset", "type_relaxed_opset", "util", "internal"];
/// Attributes of old versions that name what implements a layer.
const LIBRARY_KEYS: &[&str] = &["library", "extension", "plugin", "impl", "kernel_path"];
/// Layers held as tensors.
const TENSORS_MAX: usize = 50_000;

impl Format for Openvino {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "openvino", title: "OpenVINO network", extensions: &["xml"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match Beginning::of(probe) {
            Beginning::Root(root) if Network::is_root(&root) => Sniff::Certain,
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        read(object)
    }
}

/// A network while it is read.
#[derive(Default)]
pub(super) struct Network {
    operators: BTreeSet<Operator>,
    layer: String,
}

impl Network {
    /// Whether a document with this root is a network.
    pub(super) fn is_root(root: &Element) -> bool {
        root.name() == "net" && (!root.attribute("version").is_empty() || !root.attribute("name").is_empty())
    }

    fn operator(&mut self, domain: &str, name: &str, at: u64, notes: &mut Notes<'_>) {
        let operator = Operator { domain: domain.into(), name: name.chars().take(256).collect() };
        if !self.operators.contains(&operator) && notes.admit(domain.len() + operator.name.len(), at) {
            self.operators.insert(operator);
        }
    }

    fn constant(&mut self, element: &Element, notes: &mut Notes<'_>) {
        let (offset, size) = (element.attribute("offset"), element.attribute("size"));
        if offset.is_empty() && size.is_empty() {
            return;
        }
        let number = |text: &str| text.parse::<u64>().ok();
        if number(offset).zip(number(size)).and_then(|(offset, size)| offset.checked_add(size)).is_none() {
            let what = format!(
                "a constant lies at {} and has {} bytes: no file has such a place",
                super::reading::quote(offset),
                super::reading::quote(size)
            );
            notes.report(Malformed::new(Trouble::Ambiguous, element.at, what));
        }
        let shape = element.attribute("shape").split(',').filter_map(|part| part.trim().parse().ok()).take(64);
        if notes.parsed.tensors.len() < TENSORS_MAX && notes.admit(self.layer.len(), element.at) {
            let dtype = element.attribute("element_type").chars().take(32).collect();
            let tensor = Tensor { name: self.layer.clone(), dtype, shape: shape.collect(), span: None };
            notes.parsed.tensors.push(tensor);
        }
    }
}

impl Vocabulary for Network {
    fn start(&mut self, element: &Element, notes: &mut Notes<'_>) {
        match element.name() {
            "layer" => {
                self.layer = element.attribute("name").chars().take(256).collect();
                let (kind, set) = (element.attribute("type"), element.attribute("version"));
                let numbered = set.strip_prefix("opset").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
                match () {
                    () if kind.to_ascii_lowercase().starts_with("python") => {
                        self.operator(LIBRARY, kind, element.at, notes)
                    }
                    () if numbered || OWN_SETS.contains(&set) => self.operator("", kind, element.at, notes),
                    () => self.operator(&format!("openvino.{set}"), kind, element.at, notes),
                }
            }
            "data" => self.constant(element, notes),
            _ => {}
        }
        for (key, value) in element.attributes() {
            let plain = key.rsplit(':').next().unwrap_or(key);
            let names_library = LIBRARY_KEYS.contains(&plain) && !value.is_empty();
            // Only an attribute that can be no name of a layer or a tensor.
            if names_library || plain != "name" && plain != "names" && is_library(value) {
                self.operator(LIBRARY, value, element.at, notes);
                if notes.admit(value.len(), element.at) {
                    notes.parsed.references.push(Reference {
                        kind: ReferenceKind::Code,
                        target: value.clone(),
                        from: self.layer.clone(),
                        offset: Some(element.at),
                    });
                }
            }
        }
    }

    fn finish(&mut self, notes: &mut Notes<'_>) {
        notes.parsed.operators = std::mem::take(&mut self.operators).into_iter().collect();
    }
}

/// Whether a text names a shared library.
fn is_library(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.len() < 4096
        && ([".so", ".dll", ".dylib", ".pyd"].iter().any(|end| text.ends_with(end)) || text.contains(".so."))
}

#[cfg(test)]
mod tests;
