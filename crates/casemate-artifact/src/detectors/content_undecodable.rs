//! Bytes that could not be read or decoded: not judged, so never clean.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::Trouble;

/// See the module.
pub struct ContentUndecodable;

static META: Meta = Meta {
    id: "content-undecodable",
    title: "content that could not be read",
    description: "What could not be decoded was not judged: a lenient loader may still run it.",
    severity: Severity::Medium,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &[],
    remediation: "get the file again; if it is whole, report the format to us with the message",
};

impl Detector for ContentUndecodable {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x04\x95\x10".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        inspection.troubles(found, &META, &[Trouble::Undecodable, Trouble::Unreadable])
    }
}
