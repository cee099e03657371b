//! Keras configurations that restore Python code, or objects outside Keras.
//!
//! Lambda layers and functions as bytecode (CVE-2024-3660, CVE-2025-9905), any importable name as a class or function
//! (CVE-2025-1550), Keras's own functions that download, unpack or switch the guard off (CVE-2025-8747, CVE-2025-9906,
//! CVE-2025-12060), layers that unpickle (CVE-2025-49655), vocabularies that are paths (CVE-2025-12058).

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::keras::Names;
use crate::pickle::Global;
use crate::{Role, Serialized};

/// See the module.
pub struct KerasUnsafeLayer;

static META: Meta = Meta {
    id: "keras-unsafe-layer",
    title: "a Keras configuration restores code or foreign objects",
    description: "Loading a Keras model builds whatever its configuration names: a Lambda layer is Python bytecode, and a \
                  class or function from another module is imported and called with arguments from the file.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &[
        "CVE-2024-3660",
        "CVE-2025-1550",
        "CVE-2025-8747",
        "CVE-2025-9905",
        "CVE-2025-9906",
        "CVE-2025-12058",
        "CVE-2025-12060",
        "CVE-2025-49655",
        "CWE-502",
    ],
    remediation: "do not load the model; rebuild it in code from Keras's own layers and load only the weights",
};

impl Detector for KerasUnsafeLayer {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        (
            "config.json",
            br#"{"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda", "config": {}}]}}"#.to_vec(),
        )
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for serialized in &inspection.parsed.serialized {
            for (severity, what) in judge(Names::built_in(), inspection, serialized) {
                let place = if serialized.key.is_empty() { "the model".into() } else { quote(&serialized.key) };
                found.add(META.finding_at(severity, format!("{place} {what}"), inspection.at(None)));
            }
        }
    }
}

/// Values Keras writes with a class name of their own.
const MARKERS: &[&str] = &[
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__ellipsis__",
    "__slice__",
    "__tuple__",
    "__complex__",
    "CONSTANT_VALUE",
    "TensorShape",
];

type Objection = (Severity, String);

fn judge(names: &Names, inspection: &Inspection<'_>, object: &Serialized) -> Vec<Objection> {
    let mut found = Vec::new();
    // TensorFlow 2.11 registered its own optimizers under `Custom`.
    let class = object.class_name.strip_prefix("Custom>").unwrap_or(&object.class_name);
    let module = object.module.as_deref().filter(|module| !module.is_empty());
    let function = object.function.as_deref();
    if let Some(why) = names.unsafe_class(class) {
        found.push((Severity::Critical, format!("is a {}, which {why}", quote(class))));
        // What it calls is judged as an object of its own.
    } else if class == "function" {
        let legacy = object.registered_name.as_deref().filter(|name| !matches!(*name, "function"));
        // Two readers take the name from two fields.
        found.extend(
            function
                .into_iter()
                .chain(legacy.filter(|name| Some(*name) != function))
                .filter_map(|name| function_objection(names, inspection, module, name)),
        );
    } else if matches!(class, "TFOpLambda" | "SlicingOpLambda") {
        let name = function.unwrap_or_default();
        if !names.is_op(name) && class == "TFOpLambda" {
            found.push(op_objection(name));
        }
    } else if class == "__typespec__" {
        let spec = function.unwrap_or_default();
        let tensorflow = module.is_none_or(|module| module.starts_with("tensorflow.python."));
        if !(tensorflow && spec.ends_with("Spec") && !spec.contains('.')) {
            found.push(foreign(inspection, module, spec, "class"));
        }
    } else if !MARKERS.contains(&class) && !names.has_class(module, class) {
        found.extend(class_objection(names, inspection, module, class));
    } else {
        found.extend(object.registered_name.as_deref().and_then(|name| registered_objection(class, name)));
    }
    found.extend(object.vocabulary.as_deref().map(vocabulary_objection));
    found
}

/// A class of Keras's name that an application registered under its own is the application's.
fn registered_objection(class: &str, registered_name: &str) -> Option<Objection> {
    let (package, name) = registered_name.split_once('>')?;
    let own = package == "keras" || (package, name) == ("Custom", class);
    let what = || format!("is restored as {}, which an application registered", quote(registered_name));
    (!own).then(|| (Severity::High, what()))
}

fn class_objection(names: &Names, inspection: &Inspection<'_>, module: Option<&str>, class: &str) -> Option<Objection> {
    match names.unsafe_function(class) {
        Some(why) => Some((Severity::Critical, format!("names {}, which {why}", quote(class)))),
        None if module.is_some_and(|module| names.is_companion(module)) => None,
        None => Some(foreign(inspection, module, class, "class")),
    }
}

fn function_objection(
    names: &Names,
    inspection: &Inspection<'_>,
    module: Option<&str>,
    name: &str,
) -> Option<Objection> {
    if let Some(why) = names.unsafe_function(name) {
        return Some((Severity::Critical, format!("calls {}, which {why}", quote(name))));
    }
    (!names.has_function(module, name)).then(|| foreign(inspection, module, name, "function"))
}

/// A name outside Keras: known to be dangerous, or only unknown.
fn foreign(inspection: &Inspection<'_>, module: Option<&str>, name: &str, what: &str) -> Objection {
    let Some(module) = module else {
        // Beside a graph, Keras takes a class it does not find from the graph's own functions and looks no name up
        // (`_revive_layer_or_model_from_config`); elsewhere the application has to bring it.
        let is_in_graph = what == "class" && inspection.role == Role::BesideGraph;
        let severity = if is_in_graph { Severity::Low } else { Severity::High };
        return (severity, format!("needs the {what} {}, which Keras does not have", quote(name)));
    };
    let shown = quote(&format!("{module}.{name}"));
    let global = Global { module: module.into(), name: name.into(), known: true, python2: false };
    match inspection.imports.danger(&global) {
        Some(why) => (Severity::Critical, format!("imports {shown}, which {why}")),
        None => (Severity::High, format!("imports the {what} {shown} from outside Keras")),
    }
}

fn op_objection(name: &str) -> Objection {
    let reaches_out =
        ["io.", "py_function", "numpy_function", "raw_ops.", "saved_model.", "load_", "train.", "data.", "summary."];
    let shown = quote(name);
    match reaches_out.iter().any(|part| name.contains(part)) {
        true => (Severity::Critical, format!("calls {shown} of TensorFlow, which reaches out of the model")),
        false => (Severity::High, format!("calls {shown}, which is not among TensorFlow's computing functions")),
    }
}

fn vocabulary_objection(path: &str) -> Objection {
    let outside =
        path.starts_with(['/', '\\', '~']) || path.contains("://") || path.contains("..") || path.contains(":\\");
    let severity = if outside { Severity::Critical } else { Severity::High };
    (severity, format!("reads its vocabulary from the file {}", quote(path)))
}
