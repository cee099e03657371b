//! Writes into something imported: `sys.modules[...] = …`, `module.forward = os.system` by BUILD with slot state.
//!
//! Source: the family of CVE-2026-24747; Python `pickle.py`, load_build and load_setitem.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::pickle::{Action, Operand};

/// See the module.
pub struct PickleImportWrite;

static META: Meta = Meta {
    id: "pickle-import-write",
    title: "pickle writes into something it imported",
    description: "Setting items or state on an imported module, class or function changes the running program: the next \
                  ordinary call runs what the file put there.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-502", "CVE-2026-24747"],
    remediation: "do not load the file",
};

impl Detector for PickleImportWrite {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02csys\nmodules\nX\x01\x00\x00\x00aNs.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for event in &inspection.parsed.events {
            let (Action::Build { target: Operand::Global(global) }
            | Action::SetItem { target: Operand::Global(global) }) = &event.action
            else {
                continue;
            };
            let message = format!("writes into {}, which it imported", quote(&global.to_string()));
            found.add(META.finding(message, inspection.at(event.offset)));
        }
    }
}
