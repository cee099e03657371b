//! Rows of a weight matrix far longer than the others of their layer.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};

/// See the module.
pub struct WeightsRowOutlier;

static META: Meta = Meta {
    id: "weights-row-outlier",
    title: "a row of weights far longer than its layer's",
    description: "The row of one output stands out by its norm from the others of its layer, as the target's row does when a \
                  backdoor is written into the weights. Embeddings, and layers of language models that learned outlier \
                  features, have such rows by themselves: this is a place to look at, not a defect. Looked at only where \
                  weights are read.",
    severity: Severity::Info,
    confidence: Confidence::Low,
    controls: &["SUP-14"],
    references: &["https://arxiv.org/abs/1708.06733", "AML.T0018"],
    remediation: "compare the tensor with the model it was made from, and test what the output of that row reacts to",
};

impl Detector for WeightsRowOutlier {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        let header = r#"{"w":{"dtype":"F32","shape":[10,16],"data_offsets":[0,640]}}"#;
        let weight = |i: u16| if i / 16 == 7 { 8.0 } else { 1.0 + f32::from(i * 37 % 16) / 32.0 };
        let data: Vec<u8> = (0..160).flat_map(|i| weight(i).to_le_bytes()).collect();
        ("x.safetensors", [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for tensor in &inspection.parsed.weights {
            let Some((outliers, worst)) = tensor.outliers.as_ref().and_then(|all| Some((all, all.rows.first()?)))
            else {
                continue;
            };
            let others = outliers.rows.iter().skip(1).map(|row| row.row.to_string()).collect::<Vec<_>>();
            let more = match (outliers.count - 1, others.is_empty()) {
                (0, _) | (_, true) => String::new(),
                (n, _) if n > others.len() as u64 => format!(", and {n} more, {} first", others.join(", ")),
                _ => format!(", and {}", others.join(", ")),
            };
            let message = format!(
                "tensor {}: row {} has norm {:.4}, the median of {} rows is {:.4} ({:.0} robust deviations){more}",
                quote(&tensor.name),
                worst.row,
                worst.norm,
                outliers.compared,
                outliers.norm_median,
                worst.deviations,
            );
            found.add(META.finding(message, inspection.at(None)));
        }
    }
}
