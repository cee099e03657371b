//! Names that lead a loader or unpacker out of the model's directory.
//!
//! External tensor data (CVE-2022-25882, CVE-2024-27318, CVE-2024-5187, CVE-2025-51480), archive members and links.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::{Reference, ReferenceKind};

/// See the module.
pub struct PathEscape;

static META: Meta = Meta {
    id: "path-escape",
    title: "a name in the file leads out of the model's directory",
    description: "A loader that follows the name reads or writes files of the attacker's choosing: credentials end up in \
                  tensors, or an unpacked member replaces a file of the system.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["CWE-22", "CVE-2022-25882", "CVE-2024-27318", "CVE-2024-5187", "CVE-2025-51480"],
    remediation: "do not load or unpack the file; external data belongs beside the model, under a plain relative name",
};

impl Detector for PathEscape {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        (
            "x.onnx",
            b"\x08\x08B\x02\x10\x12:(\x12\x01g*#\x08\x02\x10\x01B\x01wj\x18\x0a\x08location\x12\x0c../../secretp\x01"
                .to_vec(),
        )
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for reference in &inspection.parsed.references {
            let target = quote(&reference.target);
            let Some(how) = leads_out(reference) else { continue };
            let message = match reference.kind {
                ReferenceKind::ExternalData => {
                    format!("{} reads its data from {target}, which {how}", quote(&reference.from))
                }
                ReferenceKind::Code => format!("{} runs {target}, which {how}", quote(&reference.from)),
                ReferenceKind::MemberName => format!("member {target} {how}"),
                ReferenceKind::LinkTarget => format!("link {} points to {target}, which {how}", quote(&reference.from)),
                ReferenceKind::ThroughLink => format!("member {} {how} {target}", quote(&reference.from)),
                ReferenceKind::Device => format!("member {target} {how}"),
            };
            found.add(META.finding(message, inspection.at(reference.offset)));
        }
    }
}

/// How a reference leads out: most by their names, some by what they are.
fn leads_out(reference: &Reference) -> Option<&'static str> {
    match reference.kind {
        // Where the link points may change between looking and writing (CVE-2025-4517), and no model needs it.
        ReferenceKind::ThroughLink => Some("is written through the archive's own link"),
        ReferenceKind::Device => Some("is a device or pipe, no file of the directory"),
        _ => escape(&reference.target),
    }
}

/// How a name leaves its directory, on any system; `None` for a plain relative one.
pub(super) fn escape(name: &str) -> Option<&'static str> {
    let drive = name.get(1..2) == Some(":") && name.starts_with(|c: char| c.is_ascii_alphabetic());
    match name {
        _ if name.contains('\0') => Some("holds a NUL byte, where readers disagree"),
        _ if name.contains("://") => Some("is an address on the network"),
        _ if name.starts_with(['/', '\\']) || drive => Some("is an absolute path"),
        _ if name.split(['/', '\\']).any(|part| part == "..") => Some("leaves the directory through `..`"),
        _ if name.contains('\\') => Some("holds a backslash, where systems disagree"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_seen_on_any_system() {
        for bad in ["../x", "a/../../x", "/etc/passwd", "C:\\x", "c:x", "a\\..\\b", "x\0y", "https://h/x", "a\\b", ".."]
        {
            assert!(escape(bad).is_some(), "{bad:?}");
        }
        for good in ["weights.bin", "a/b.data", "..hidden", "a..b/c", "x.y.z", "", "./w.bin"] {
            assert_eq!(escape(good), None, "{good:?}");
        }
    }
}
