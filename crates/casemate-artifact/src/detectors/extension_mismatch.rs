//! Names that promise another format than the bytes are: a pickle called `.safetensors`.
//!
//! Loaders and reviewers choose by name, scanners skipped by name (CVE-2025-1889, CVE-2025-10155).

use casemate_core::{Confidence, Meta, Severity};

use super::embedded_executable::is_script_name;
use super::{Detector, Findings, Inspection};
use crate::formats::FORMATS;

/// See the module.
pub struct ExtensionMismatch;

static META: Meta = Meta {
    id: "extension-mismatch",
    title: "the name promises another format than the content is",
    description: "Reviewers, filters and loaders trust the extension. Content that runs code under the name of a format \
                  that cannot is meant to be overlooked.",
    severity: Severity::Medium,
    confidence: Confidence::High,
    controls: &["SUP-02"],
    references: &["CVE-2025-1889", "CVE-2025-10155", "CWE-646"],
    remediation: "rename the file to what it is, and find out who named it so",
};

impl Detector for ExtensionMismatch {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.safetensors", b"\x80\x02N.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let name = inspection.name().to_lowercase();
        let Some((_, extension)) = name.rsplit_once('.') else { return };
        let promised = FORMATS.iter().map(|format| format.meta()).find(|meta| meta.extensions.contains(&extension));
        let (Some(promised), Some(actual)) = (promised, inspection.family) else { return };
        if inspection.format == "script" && is_script_name(&name) {
            return;
        }
        if promised.id == actual.id || actual.extensions.contains(&extension) {
            return;
        }
        // Code under the name of data is an attack; the reverse is a slip.
        let may_hide_code = actual.runs_code || actual.id == "zip";
        let severity = if may_hide_code && !promised.runs_code { Severity::High } else { Severity::Medium };
        let message = format!("named like {} but is {}", promised.title, actual.title);
        found.add(META.finding_at(severity, message, inspection.at(0)));
    }
}
