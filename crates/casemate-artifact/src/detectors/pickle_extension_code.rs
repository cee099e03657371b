//! Objects taken by number from the `copyreg` extension registry: the name is outside the file.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::pickle::Action;

/// See the module.
pub struct PickleExtensionCode;

static META: Meta = Meta {
    id: "pickle-extension-code",
    title: "pickle takes an object from the extension registry",
    description: "EXT1, EXT2 and EXT4 import whatever the loading program registered under a number, so the file alone does \
                  not tell what is used.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["https://peps.python.org/pep-0307/#the-copyreg-extension-registry"],
    remediation: "save the model again without extension codes, or in safetensors or ONNX",
};

impl Detector for PickleExtensionCode {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02\x82\x01.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for event in &inspection.parsed.events {
            if let Action::Extension(code) = event.action {
                let message = format!("takes object {code} of the copyreg extension registry");
                found.add(META.finding(message, inspection.at(event.offset)));
            }
        }
    }
}
