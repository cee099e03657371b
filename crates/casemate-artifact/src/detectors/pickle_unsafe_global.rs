//! Imports that are known to be dangerous: shells, loaders, evaluators, the network.
//!
//! What no profile allows is a finding anyway ([`super::pickle_unvetted_import`]); this rule says why it is worse.
//! Source: CWE-502; the lists of public bypasses, e.g. CVE-2025-10157 and GHSA-vvpj-8cmc-gx39.

use std::collections::HashSet;

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::pickle::{Action, Operand};

/// See the module.
pub struct PickleUnsafeGlobal;

static META: Meta = Meta {
    id: "pickle-unsafe-global",
    title: "pickle imports something that runs code, opens files or reaches the network",
    description: "Loading the pickle imports the name and, where it is called, runs it with arguments the file chose. \
                  Nobody needs such an import to store a model.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-502", "https://docs.python.org/3/library/pickle.html#restricting-globals"],
    remediation: "do not load the file; get the model from its publisher in safetensors or ONNX, and find out who made this one",
};

impl Detector for PickleUnsafeGlobal {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let events = &inspection.parsed.events;
        let called: HashSet<_> = events
            .iter()
            .filter_map(|event| match &event.action {
                Action::Call { callee: Operand::Global(callee), .. } => Some(callee),
                _ => None,
            })
            .collect();
        for event in events {
            let Action::Import(global) = &event.action else { continue };
            let Some(why) = inspection.imports.danger(global) else { continue };
            let name = quote(&global.to_string());
            let message = match called.contains(global) {
                true => format!("imports and calls {name}, which {why}"),
                false => format!("imports {name}, which {why}"),
            };
            found.add(META.finding(message, inspection.at(event.offset)));
        }
    }
}
