//! Imports that no profile allows, even if nothing calls them: importing a module runs it.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::pickle::{Action, Global};

/// See the module.
pub struct PickleUnvettedImport;

static META: Meta = Meta {
    id: "pickle-unvetted-import",
    title: "pickle imports something no profile allows",
    description: "Importing a module runs its top level, and the imported object may be called later by whoever uses the \
                  model. The name is not on the exact list of what model libraries need.",
    severity: Severity::High,
    confidence: Confidence::Medium,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-502"],
    remediation: "find out what the import is for; prefer safetensors or ONNX, or load with weights_only=True",
};

impl Detector for PickleUnvettedImport {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02cevil_package\nThing\n.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let imports = inspection.imports;
        let unvetted =
            |global: &Global| global.known && !imports.allows_import(global) && imports.danger(global).is_none();
        for event in &inspection.parsed.events {
            let Action::Import(global) = &event.action else { continue };
            if !unvetted(global) {
                continue;
            }
            let name = quote(&global.to_string());
            let message =
                match (global.module.is_ascii() && global.name.is_ascii(), global.module.contains(['\r', ' ', '\t'])) {
                    (false, _) => format!("imports {name}, whose name looks like another in other letters"),
                    (_, true) => format!("imports {name}, whose module name holds white space"),
                    _ => format!("imports {name}, which no profile allows"),
                };
            found.add(META.finding(message, inspection.at(event.offset)));
        }
    }
}
