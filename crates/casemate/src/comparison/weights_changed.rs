//! Tensors that are not those of the baseline.

use casemate_core::{Confidence, Meta, Severity};

/// See the module.
pub static META: Meta = Meta {
    id: "weights-changed",
    title: "weights differ from the baseline",
    description: "A tensor was changed, added or removed since the baseline was written. Editing a few weights plants a \
                  behaviour without any training and leaves sizes and accuracy as they were.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-14"],
    references: &["AML.T0018", "https://arxiv.org/abs/2202.05262"],
    remediation: "restore the approved version and treat an unexplained difference as an incident; if the change was meant, \
                  write a new baseline and have it approved",
};
