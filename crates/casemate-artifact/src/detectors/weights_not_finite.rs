//! Weights that are no numbers: a model that was trained, exported or edited badly.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};

/// See the module.
pub struct WeightsNotFinite;

static META: Meta = Meta {
    id: "weights-not-finite",
    title: "weights that are infinite or no number",
    description: "A NaN or an infinity among the weights spreads through every layer after it. Training that diverged leaves \
                  them, so does a damaged file or an edit; masks and statistics of quantisation may hold infinities on purpose. \
                  Looked at only where weights are read.",
    severity: Severity::Low,
    confidence: Confidence::High,
    controls: &["SUP-14"],
    references: &[],
    remediation: "compare with the file as it was trained, and find out whether the tensor is used in arithmetic",
};

impl Detector for WeightsNotFinite {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let data = [1f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
        ("x.safetensors", [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for tensor in &inspection.parsed.weights {
            let Some(statistics) = &tensor.statistics else { continue };
            let (nan, infinite, count) = (statistics.nan, statistics.infinite, statistics.count);
            let what = match (nan, infinite) {
                (0, 0) => continue,
                (_, 0) => format!("{nan} of {count} are no number"),
                (0, _) => format!("{infinite} of {count} are infinite"),
                _ => format!("{nan} of {count} are no number and {infinite} infinite"),
            };
            found.add(META.finding(format!("tensor {}: {what}", quote(&tensor.name)), inspection.at(None)));
        }
    }
}
