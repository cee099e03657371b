//! Structures that two readers understand differently: the opening for exception-oriented and parser-differential attacks.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::Trouble;

/// See the module.
pub struct MalformedAmbiguous;

static META: Meta = Meta {
    id: "malformed-ambiguous",
    title: "readers would disagree about the content",
    description: "Two programs that read these bytes see different things, so what a scanner sees need not be what a loader runs.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["https://arxiv.org/abs/2508.19774"],
    remediation: "save the model again with its own library; do not load this copy",
};

impl Detector for MalformedAmbiguous {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x09N.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        inspection.troubles(found, &META, &[Trouble::Ambiguous])
    }
}
