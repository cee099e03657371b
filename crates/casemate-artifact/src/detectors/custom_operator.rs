//! Operators outside the standard: they need a library that comes with the model, or run Python.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::formats::tensorrt::LIBRARY;

/// See the module.
pub struct CustomOperator;

static META: Meta = Meta {
    id: "custom-operator",
    title: "graph uses an operator outside the standard",
    description: "A custom operator is native code or Python that somebody has to load beside the model; the file alone does \
                  not tell what it does.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["https://onnxruntime.ai/docs/reference/operators/add-custom-op.html"],
    remediation: "export the model with standard operators, or vet the library that implements this one",
};

/// Domains every runtime brings along: ONNX itself and the contributed operators of ONNX Runtime.
const STANDARD: &[&str] = &[
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview.training",
    "ai.onnx.preview",
    "com.microsoft",
    "com.microsoft.nchwc",
    "com.microsoft.experimental",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
];

/// Domains our parsers give to what a runtime has by itself, in formats without domains.
const STANDARD_ELSEWHERE: &[&str] = &["paddle", "mxnet"];

/// Domains of our parsers that other rules judge.
const JUDGED_ELSEWHERE: &[&str] = &["tensorflow", "coreml", "r", "lua"];

/// Operators that run code whatever their domain: Python callables inside a graph.
const RUNS_CODE: &[&str] = &["PyOp", "PythonOp", "PyFunc", "PyFuncStateless", "EagerPyFunc", "PyCustomOp", "py_func"];

impl Detector for CustomOperator {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        (
            "x.onnx",
            b"\x08\x08B\x02\x10\x12:\x1e\x0a\x19\x0a\x01x\x12\x01y\x22\x04Evil:\x0bevil.domain\x12\x01g".to_vec(),
        )
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        // In ONNX the domain is the file's own word: there no name of ours may hide an operator.
        let is_onnx = inspection.family.is_some_and(|family| family.id == "onnx");
        for operator in &inspection.parsed.operators {
            let family = operator.domain.split('.').next().unwrap_or_default();
            if !is_onnx && JUDGED_ELSEWHERE.contains(&family) {
                continue;
            }
            let is_standard = STANDARD.contains(&operator.domain.as_str())
                || !is_onnx && STANDARD_ELSEWHERE.contains(&operator.domain.as_str());
            let name = quote(&operator.name);
            if !is_onnx && operator.domain == LIBRARY {
                found.add(META.finding(format!("names the library {name}"), inspection.at(None)));
            } else if RUNS_CODE.contains(&operator.name.as_str()) {
                let message = format!("operator {name} runs Python code");
                found.add(META.finding_at(Severity::Critical, message, inspection.at(None)));
            } else if !is_standard {
                let message = format!("operator {name} of the custom domain {}", quote(&operator.domain));
                found.add(META.finding(message, inspection.at(None)));
            }
        }
    }
}
