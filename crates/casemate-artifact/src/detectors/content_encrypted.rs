//! Encrypted members: not judged, so never clean.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::Trouble;

/// See the module.
pub struct ContentEncrypted;

static META: Meta = Meta {
    id: "content-encrypted",
    title: "encrypted content",
    description: "What is encrypted cannot be judged before it is opened.",
    severity: Severity::Medium,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &[],
    remediation: "open it with its key and scan the plain file",
};

impl Detector for ContentEncrypted {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.zip", b"PK\x03\x04\x14\x00\x01\x00\x00\x00\x00\x00!\x00\xa58\x9ev\x14\x00\x00\x00\x14\x00\x00\x00\x01\x00\x00\x00a\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91PK\x01\x02\x14\x03\x14\x00\x01\x00\x00\x00\x00\x00!\x00\xa58\x9ev\x14\x00\x00\x00\x14\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x00\x00\x00aPK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00/\x00\x00\x003\x00\x00\x00\x00\x00".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        inspection.troubles(found, &META, &[Trouble::Encrypted])
    }
}
