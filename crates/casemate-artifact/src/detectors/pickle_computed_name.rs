//! Imports whose name only shows while loading: built by calls, fetched from persistent objects.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::pickle::Action;

/// See the module.
pub struct PickleComputedName;

static META: Meta = Meta {
    id: "pickle-computed-name",
    title: "pickle imports a name that it computes while loading",
    description: "STACK_GLOBAL takes module and name from the stack. Where a call produced them, no reader can tell before \
                  loading what is imported; no library writes such a file.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-502"],
    remediation: "do not load the file",
};

impl Detector for PickleComputedName {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x04\x8c\x02osN\x93.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for event in &inspection.parsed.events {
            if matches!(&event.action, Action::Import(global) if !global.known) {
                found.add(META.finding("imports a name computed while loading".into(), inspection.at(event.offset)));
            }
        }
    }
}
