//! Inputs that cost more than a limit allows: bombs, and the rest of what was not read.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::Trouble;

/// See the module.
pub struct LimitReached;

static META: Meta = Meta {
    id: "limit-reached",
    title: "a limit was reached before everything was read",
    description: "The file asks for more memory, nesting or members than any model we know. The rest was not judged.",
    severity: Severity::Medium,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["CWE-400", "CWE-409"],
    remediation: "raise the limit with --limits FILE if the file is known to be good",
};

impl Detector for LimitReached {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02N.".repeat(100))
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        inspection.troubles(found, &META, &[Trouble::Limit])
    }
}
