//! Formats that can run code by design, whatever this file does with them.
//!
//! A fact rather than a defect: SUP-02 counts such files, and the strict policy refuses them.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::Role;

/// See the module.
pub struct UnsafeFormat;

static META: Meta = Meta {
    id: "unsafe-format",
    title: "the format can run code by design",
    description: "Whoever loads this format runs what its author wrote. A scan looks for what is bad; a format without code \
                  leaves nothing to look for.",
    severity: Severity::Low,
    confidence: Confidence::High,
    controls: &["SUP-02"],
    references: &["CWE-502", "https://github.com/huggingface/safetensors"],
    remediation: "convert the weights to safetensors, ONNX or GGUF where nothing of value can be reached, and delete the original",
};

impl Detector for UnsafeFormat {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02N.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let Some(family) = inspection.family.filter(|family| family.runs_code && family.is_model) else { return };
        if matches!(inspection.role, Role::Any | Role::TorchPickle) {
            found.add(META.finding(format!("is a {}", family.title), inspection.at(0)));
        }
    }
}
