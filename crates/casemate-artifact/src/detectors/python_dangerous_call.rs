//! Python beside a model that starts processes, runs hidden code or plants itself, above all when it is imported.
//!
//! Custom code of hub repositories is imported when the model is loaded; nobody has to call anything. What stands in
//! functions is ordinary in scripts and told in one line; code that is decoded or fetched and run at once never is.

use std::collections::BTreeMap;

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::python::SOURCE_BYTES_MAX;
use crate::{CallKind, CodeCall};

/// See the module.
pub struct PythonDangerousCall;

static META: Meta = Meta {
    id: "python-dangerous-call",
    title: "Python code starts processes, runs hidden code or plants itself",
    description: "Code that comes with a model runs with the rights of whoever loads it: modules named by `auto_map` and \
                  handlers run when they are imported, before anything is called.",
    severity: Severity::High,
    confidence: Confidence::Medium,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-506", "CWE-829", "https://huggingface.co/docs/transformers/custom_models"],
    remediation: "do not load the model with remote code allowed; read the lines named here, and pin the revision you have read",
};

impl Detector for PythonDangerousCall {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("modeling_x.py", b"import os as o\no.system('true')\n".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let name = inspection.name().to_lowercase();
        // Prose quotes code; Python runs what is called a module.
        if !name.ends_with(".py") && !name.ends_with(".pyw") {
            return;
        }
        let with_model = !inspection.member.is_empty() || LOADED.iter().any(|start| name.starts_with(start));
        let read_to = inspection.parsed.claims.ranges().last().map_or(0, |range| range.end);
        if matches!(inspection.format, "text" | "script") && read_to > SOURCE_BYTES_MAX {
            let message = format!("source is longer than {SOURCE_BYTES_MAX} bytes and was not judged");
            let severity = if with_model { Severity::High } else { Severity::Medium };
            found.add(META.finding_at(severity, message, inspection.at(0)));
        }
        let mut later: BTreeMap<CallKind, (&CodeCall, u64)> = BTreeMap::new();
        for call in &inspection.parsed.calls {
            match severity(call, with_model) {
                Some(severity) => {
                    let when = if call.at_import { "when it is imported" } else { "inside a function" };
                    let message = format!("calls {}, which {}, {when}", quote(&call.callee), words(call));
                    add(inspection, found, severity, message, call.line);
                }
                // In any other project's functions it is nobody's news.
                None if !with_model => {}
                None => later.entry(call.kind).or_insert((call, 0)).1 += 1,
            }
        }
        for (call, n) in later.into_values() {
            let message =
                format!("calls {}, which {}, inside a function (such calls: {n})", quote(&call.callee), words(call));
            add(inspection, found, Severity::Low, message, call.line);
        }
    }
}

fn add(inspection: &Inspection<'_>, found: &mut Findings, severity: Severity, message: String, line: u64) {
    let mut location = inspection.at(None);
    location.line = Some(line);
    found.add(META.finding_at(severity, message, location));
}

/// How modules are called that loaders import from a model's repository.
const LOADED: &[&str] = &[
    "modeling_",
    "configuration_",
    "tokenization_",
    "processing_",
    "image_processing_",
    "feature_extraction_",
    "custom_generate",
    "handler.",
];

/// How bad a call is by itself; `None` for what ordinary scripts do in their functions.
fn severity(call: &CodeCall, with_model: bool) -> Option<Severity> {
    let weak = if with_model { Severity::High } else { Severity::Medium };
    match call.kind {
        CallKind::Code if call.is_hidden && call.at_import => Some(Severity::Critical),
        CallKind::Code if call.is_hidden => Some(weak),
        CallKind::Startup if call.at_import => Some(Severity::High),
        CallKind::Startup => Some(weak),
        _ if !call.at_import => None,
        CallKind::Process => Some(Severity::High),
        _ => Some(weak),
    }
}

fn words(call: &CodeCall) -> &'static str {
    match call.kind {
        CallKind::Process => "starts a process",
        CallKind::Code if call.is_hidden => "runs code that was encoded, packed or fetched",
        CallKind::Code => "runs computed text as code",
        CallKind::Import => "imports a computed name",
        CallKind::Unpickle => "unpickles",
        CallKind::Native => "loads a native library",
        CallKind::Network => "reaches the network",
        CallKind::Startup => "writes where shells, daemons or Python start from",
    }
}
