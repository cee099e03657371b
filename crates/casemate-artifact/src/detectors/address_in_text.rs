//! Hosts on the network that metadata, configurations and constants name.
//!
//! A fact, not a defect: most lead to a paper's page. Prose and code name hosts all the time and are left out.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::ClueKind;

/// See the module.
pub struct AddressInText;

static META: Meta = Meta {
    id: "address-in-text",
    title: "a text of the file names a host on the network",
    description: "Metadata and constants of a model need no hosts beside those of its paper, licence and library. An unfamiliar one \
                  may be where code or a person is to be led.",
    severity: Severity::Low,
    confidence: Confidence::Medium,
    controls: &["SUP-01"],
    references: &["CWE-506"],
    remediation: "ask the publisher what the address is for",
};

impl Detector for AddressInText {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("config.json", b"{\"url\": \"http://c2.casemate-planted.net/x\"}".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for clue in inspection.parsed.clues.iter().filter(|clue| clue.kind == ClueKind::Address) {
            let mut location = inspection.at(clue.offset);
            location.line = clue.line;
            let message = match clue.key.as_str() {
                "" => format!("names {}", clue.what),
                key => format!("{} names {}", quote(key), clue.what),
            };
            found.add(META.finding_at(clue.severity, message, location));
        }
    }
}
