//! Persistent ids outside the one place and form that are ordinary: torch storages in a torch file.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::Role;
use crate::pickle::Action;

/// See the module.
pub struct PicklePersistentId;

static META: Meta = Meta {
    id: "pickle-persistent-id",
    title: "pickle asks its loader for an outside object",
    description: "PERSID and BINPERSID hand a value of the file's choosing to the loader's own lookup. Only torch does this, \
                  for tensor storages; anything else reaches code nobody has looked at.",
    severity: Severity::High,
    confidence: Confidence::Medium,
    controls: &["SUP-01"],
    references: &["https://docs.python.org/3/library/pickle.html#persistence-of-external-objects"],
    remediation: "find out which loader the file was made for, and what it does with these ids",
};

impl Detector for PicklePersistentId {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"Psomething\n.".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let in_torch = inspection.role == Role::TorchPickle || inspection.format == "torch-legacy";
        for event in &inspection.parsed.events {
            let Action::PersistentId { storage, text } = &event.action else { continue };
            let message = match (storage, in_torch) {
                (Some(_), true) => continue,
                (Some(_), false) => "asks for a torch storage outside a torch file".to_owned(),
                // The key of a tensor in an archive of torch before 0.1.10; newer loaders refuse it.
                (None, true) if text.as_deref().is_some_and(is_number) => continue,
                (None, _) => match text {
                    Some(text) => format!("asks its loader for the outside object {}", quote(text)),
                    None => "asks its loader for an outside object".to_owned(),
                },
            };
            found.add(META.finding(message, inspection.at(event.offset)));
        }
    }
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
