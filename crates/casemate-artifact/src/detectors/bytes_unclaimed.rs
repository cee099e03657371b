//! Bytes no parser accounts for: one rule for appended programs, prefix pickles, second archives and holes.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};

/// See the module.
pub struct BytesUnclaimed;

static META: Meta = Meta {
    id: "bytes-unclaimed",
    title: "bytes that belong to no part of the format",
    description: "Every byte of a model file has a place in its format. Bytes without one carry something another reader \
                  sees: a second archive, a program, a payload to be cut out later.",
    severity: Severity::High,
    confidence: Confidence::Medium,
    controls: &["SUP-01"],
    references: &["CWE-506"],
    remediation: "save the model again with its own library; if the bytes come back, ask its maintainers what they are",
};

impl Detector for BytesUnclaimed {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pkl", b"\x80\x02N.\xff\xfe".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let Some(first) = inspection.unclaimed.first() else { return };
        let bytes: u64 = inspection.unclaimed.iter().map(|gap| gap.end - gap.start).sum();
        let message = match inspection.unclaimed.len() {
            1 => {
                format!("{bytes} bytes at offset {} belong to no part of the {} format", first.start, inspection.format)
            }
            n => format!(
                "{bytes} bytes in {n} places from offset {} on belong to no part of the {} format",
                first.start, inspection.format
            ),
        };
        found.add(META.finding(message, inspection.at(first.start)));
    }
}
