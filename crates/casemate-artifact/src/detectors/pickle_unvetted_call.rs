//! Calls that no profile allows: default deny.
//!
//! A longer list of bad names is no answer, since the standard library alone offers hundreds of gadgets; what is called
//! and not exactly allow-listed, with the arguments the entry asks for, is a finding. Source: arXiv 2508.19774, 2508.15987.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::Use;
use crate::pickle::{Action, Global, How, Operand};

/// See the module.
pub struct PickleUnvettedCall;

static META: Meta = Meta {
    id: "pickle-unvetted-call",
    title: "pickle calls something no profile allows",
    description: "Loading the pickle calls this with arguments the file chose. It is not on the exact list of calls that \
                  model libraries need to rebuild their data.",
    severity: Severity::Critical,
    confidence: Confidence::Medium,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-502", "https://arxiv.org/abs/2508.19774"],
    remediation: "do not load the file before the call is understood; prefer safetensors or ONNX, or load with weights_only=True",
};

impl Detector for PickleUnvettedCall {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02cevil_package\nboot\n)R.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for event in &inspection.parsed.events {
            if let Some(message) = objection(&event.action, inspection) {
                found.add(META.finding(message, inspection.at(event.offset)));
            }
        }
    }
}

fn objection(action: &Action, inspection: &Inspection<'_>) -> Option<String> {
    let imports = inspection.imports;
    match action {
        Action::Call { callee: Operand::Global(global), args, how } => {
            // A dangerous callee is reported by its own rule, a computed one by its own.
            let reported = !global.known || imports.danger(global).is_some();
            if reported || imports.allows_call(global, *how, args.as_deref()) {
                return None;
            }
            Some(denied_call(global, *how, inspection))
        }
        Action::Call { callee: Operand::ResultOf(global), .. } => {
            Some(format!("calls what {} returned", quote(&global.to_string())))
        }
        Action::Call { callee: Operand::Opaque, .. } => Some("calls something that is only known while loading".into()),
        Action::Call { callee, .. } => Some(format!("calls {}, which no loader can call", noun(callee))),
        Action::Pass(global) if global.known && imports.allows_import(global) && !imports.allows_pass(global) => {
            Some(format!("hands on {}, which may only be called in place", quote(&global.to_string())))
        }
        Action::Rewrite { target: Operand::ResultOf(global) } => {
            let name = quote(&global.to_string());
            Some(format!(
                "writes into what {name} returned after its state was set, which may call what the state holds"
            ))
        }
        Action::Build { target: Operand::ResultOf(global) } => unforeseen(global, Use::Build, inspection),
        Action::SetItem { target: Operand::ResultOf(global) } => unforeseen(global, Use::Items, inspection),
        Action::Build { target: Operand::Opaque } | Action::SetItem { target: Operand::Opaque } => {
            Some("writes into something that is only known while loading".into())
        }
        _ => None,
    }
}

/// A write that its profile does not list. Items set on an array or a table could land in memory that is not its own.
fn unforeseen(global: &Global, write: Use, inspection: &Inspection<'_>) -> Option<String> {
    let imports = inspection.imports;
    let foreseen = imports.allows(global, write) || !imports.allows_import(global);
    let what = if write == Use::Items { "items" } else { "state" };
    let name = || quote(&global.to_string());
    (!foreseen).then(|| format!("sets {what} on what {} returned, which its profile does not foresee", name()))
}

fn denied_call(global: &Global, how: How, inspection: &Inspection<'_>) -> String {
    let name = quote(&global.to_string());
    match (inspection.imports.allows_import(global), how) {
        (true, _) => format!("calls {name} in a way or with arguments that no profile allows"),
        (false, How::Reduce) => format!("calls {name}, which no profile allows"),
        (false, How::Instantiate | How::New) => format!("makes an instance of {name}, which no profile allows"),
    }
}

fn noun(operand: &Operand) -> &'static str {
    match operand {
        Operand::Text(_) => "a text",
        Operand::Bytes => "bytes",
        Operand::Int(_) => "a number",
        _ => "data",
    }
}
