//! Lua functions among the objects of a Torch7 file.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection};
use crate::formats::torch7::FUNCTION;

/// See the module.
pub struct LuaFunction;

static META: Meta = Meta {
    id: "lua-function",
    title: "the file carries a Lua function",
    description: "Reading the file turns its bytes into a function, and bytecode can be made to break the virtual machine that \
                  takes it in. As a method of an object, or a field a program calls, it runs when the model is used.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-502", "https://github.com/torch/torch7/blob/master/doc/serialization.md"],
    remediation: "do not load the file; have its tensors exported to safetensors or ONNX",
};

impl Detector for LuaFunction {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.t7", b"\x08\0\0\0\x01\0\0\0\x06\0\0\0\x1bLJ\x02\0\0\0\0\0\0".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        if inspection.family.is_none_or(|family| family.id != "torch7") {
            return;
        }
        let functions = inspection.parsed.operators.iter().filter(|operator| operator.domain == FUNCTION);
        functions.for_each(|function| {
            found.add(META.finding(format!("holds a function in {}", function.name), inspection.at(None)));
        });
    }
}
