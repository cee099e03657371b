//! Core ML models that call classes of the application: custom models and custom layers.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::formats::coreml::{CUSTOM_LAYER, CUSTOM_MODEL};

/// See the module.
pub struct CoremlCustomCode;

static META: Meta = Meta {
    id: "coreml-custom-code",
    title: "model calls a class of the application",
    description: "A custom model or layer is native code that comes from elsewhere; Core ML calls it by the name the file \
                  gives, with weights and parameters the file gives.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["https://developer.apple.com/documentation/coreml/mlcustomlayer"],
    remediation: "convert the model with built-in layers, or vet the class that implements this one",
};

impl Detector for CoremlCustomCode {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.mlmodel", b"\x08\x04\x12\x06\x0a\x04\x0a\x02in\xda\x22\x06\x0a\x04Evil".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for operator in &inspection.parsed.operators {
            let what = match operator.domain.as_str() {
                CUSTOM_MODEL => "custom model",
                CUSTOM_LAYER => "custom layer",
                _ => continue,
            };
            let message = format!("a {what} is the class {}", quote(&operator.name));
            found.add(META.finding(message, inspection.at(None)));
        }
    }
}
