//! Programs where weights belong: ELF, PE, Mach-O, scripts, as files or inside other objects.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::Role;

/// See the module.
pub struct EmbeddedExecutable;

static META: Meta = Meta {
    id: "embedded-executable",
    title: "a program among the model's files",
    description: "A shared library or program beside or inside a model runs when a loader, a custom operator or a person \
                  picks it up. Weights need none.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["CWE-506"],
    remediation: "remove the program, or ship it as a signed package of its own",
};

impl Detector for EmbeddedExecutable {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("run", b"#!/bin/sh\necho casemate\n".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        // A script under the name of one is what a project is made of; its calls are judged by a rule of their own.
        let is_named_so = inspection.format == "script" && is_script_name(inspection.name());
        if !matches!(inspection.format, "executable" | "script" | "llamafile")
            || is_named_so && inspection.role == Role::Any
        {
            return;
        }
        let (severity, what) = match inspection.role {
            Role::Any if inspection.format == "llamafile" => {
                (Severity::High, "is a program with a model inside: take out the GGUF, which can be judged")
            }
            Role::Any | Role::Inert => (Severity::High, "is a program"),
            Role::RawData => (Severity::Critical, "is a program where tensor data belongs"),
            Role::TorchPickle => (Severity::Critical, "is a program where a pickle belongs"),
            Role::BesideGraph => (Severity::Critical, "is a program where a configuration belongs"),
            Role::Unclaimed => (Severity::Critical, "is a program hidden in bytes no format accounts for"),
        };
        found.add(META.finding_at(severity, what.into(), inspection.at(0)));
    }
}

/// Whether a name says that the file is a script.
pub(super) fn is_script_name(name: &str) -> bool {
    let name = name.to_lowercase();
    [".py", ".pyw", ".sh", ".bash", ".pl", ".rb"].iter().any(|end| name.ends_with(end))
}
