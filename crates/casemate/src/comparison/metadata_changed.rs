//! Files of a model that differ from the baseline outside of their tensors.

use casemate_core::{Confidence, Meta, Severity};

/// See the module.
pub static META: Meta = Meta {
    id: "metadata-changed",
    title: "a model's files differ from the baseline outside of its weights",
    description: "A header, a graph, a configuration or a tokenizer was changed, or a file was added or taken away, since the \
                  baseline was written. A chat template, an operator or a label map changes what a model does without \
                  touching a weight.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-14"],
    references: &["AML.T0018"],
    remediation: "look at what changed in the file named; if it was meant, write a new baseline and have it approved",
};
