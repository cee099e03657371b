//! Credentials in configurations, metadata, constants and code (CWE-798).
//!
//! What is found is told by its first four characters and its length, never whole.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::ClueKind;

/// See the module.
pub struct SecretInText;

static META: Meta = Meta {
    id: "secret-in-text",
    title: "a text of the file holds a credential",
    description: "Whoever gets the file gets the credential with it, and the access it gives; published models have carried their \
                  authors' tokens.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["CWE-798", "CWE-532"],
    remediation: "revoke the credential, then remove it from the file and from its history",
};

impl Detector for SecretInText {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        // Put together here, so that no scanner of source takes it for a token in use.
        let token = ["hf_", "zQWBuTSOoRi4A9sp", "HcVY5ncnsDkxkJQrst"].concat();
        ("config.json", format!("{{\"token\": \"{token}\"}}").into_bytes())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for clue in inspection.parsed.clues.iter().filter(|clue| clue.kind == ClueKind::Secret) {
            let mut location = inspection.at(clue.offset);
            location.line = clue.line;
            let message = match clue.key.as_str() {
                "" => format!("holds {}", clue.what),
                key => format!("{} holds {}", quote(key), clue.what),
            };
            found.add(META.finding_at(clue.severity, message, location));
        }
    }
}
