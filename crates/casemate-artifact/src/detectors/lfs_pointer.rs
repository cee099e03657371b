//! Git LFS pointers where weights should be: what was scanned is a note of 130 bytes, not the model.
//!
//! Source: the Git LFS specification, version 1.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::SettingKind;

/// See the module.
pub struct LfsPointer;

static META: Meta = Meta {
    id: "lfs-pointer",
    title: "a pointer stands where the content should be",
    description: "The repository was fetched without its large files. What a loader will get is unknown here, so a clean \
                  answer would speak of a different file.",
    severity: Severity::Medium,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"],
    remediation: "fetch the content (`git lfs pull`) and scan again",
};

impl Detector for LfsPointer {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        let digest = "0".repeat(64);
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 1\n");
        ("model.safetensors", text.into_bytes())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let is_pointer = |kind| kind == SettingKind::LfsPointer;
        for setting in inspection.parsed.settings.iter().filter(|setting| is_pointer(setting.kind)) {
            let message = format!("the content is not here, only its pointer {}", quote(&setting.value));
            found.add(META.finding(message, inspection.at(0)));
        }
    }
}
