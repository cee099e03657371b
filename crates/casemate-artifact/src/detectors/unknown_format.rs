//! Objects in no format we can read: not judged, so never clean.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::Role;

/// See the module.
pub struct UnknownFormat;

static META: Meta = Meta {
    id: "unknown-format",
    title: "content in no format that can be judged",
    description: "Some loader may read these bytes; none of ours does, so nothing is known about them.",
    severity: Severity::Medium,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &[],
    remediation: "leave the file out, or convert it to a format that can be scanned: safetensors, ONNX, GGUF",
};

impl Detector for UnknownFormat {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.bin", vec![0xfe, 0x00, 0x01, 0xff, 0x03, 0xfd, 0x00, 0x99])
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        // Values nothing loads, and bytes already reported as unclaimed, need no format.
        let needed = matches!(inspection.role, Role::Any | Role::TorchPickle);
        if needed && inspection.format == "unknown" && inspection.parsed.malformed.is_empty() {
            found.add(META.finding("is in no format that can be judged".into(), inspection.at(0)));
        }
    }
}
