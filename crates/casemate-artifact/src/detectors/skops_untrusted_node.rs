//! skops schemas that rebuild objects through functions, operators or methods nobody has vetted.
//!
//! `schema.json` names a loader, a module and a class for each object. Versions before 0.12 let OperatorFuncNode and
//! MethodNode reach names the trust check did not see (CVE-2025-54412, CVE-2025-54413); `trusted=` that is taken from the
//! file itself trusts everything. We judge the names whatever the version.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, danger_of, is_below, quote};
use crate::{Imports, SettingKind};

/// See the module.
pub struct SkopsUntrustedNode;

static META: Meta = Meta {
    id: "skops-untrusted-node",
    title: "a skops schema rebuilds objects of types outside the usual libraries",
    description: "skops imports the module a node names. A function node outside numpy, scipy and scikit-learn, or a node that \
                  binds a method by name, is how a schema runs code.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["CVE-2025-54412", "CVE-2025-54413", "CVE-2025-54886", "CWE-502"],
    remediation: "do not pass these types as `trusted`; have the publisher save the model without them",
};

impl Detector for SkopsUntrustedNode {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        let node = br#"{"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}"#;
        ("schema.json", node.to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for setting in inspection.parsed.settings.iter().filter(|setting| setting.kind == SettingKind::SkopsNode) {
            let Some((loader, dotted)) = setting.value.split_once(' ') else { continue };
            let Some((severity, what)) = judge(loader, dotted, inspection.imports) else { continue };
            let message = format!("{} of {} {what}", quote(loader), quote(dotted));
            found.add(META.finding_at(severity, message, inspection.at(None)));
        }
    }
}

/// Packages skops and its users trust.
const TRUSTED: &[&str] = &[
    "numpy",
    "scipy",
    "sklearn",
    "builtins",
    "collections",
    "datetime",
    "skops",
    "xgboost",
    "lightgbm",
    "catboost",
    "quantile_forest",
    "imblearn",
    "pandas",
    "sentence_transformers",
];

fn judge(loader: &str, dotted: &str, imports: &Imports) -> Option<(Severity, String)> {
    let operator = is_below(dotted, &["operator", "_operator"]);
    let getter = ["operator.attrgetter", "operator.itemgetter"].contains(&dotted);
    // The module of a plain object is a type to be made; `builtins` is in order there, `builtins.eval` is not.
    if let Some(why) = danger_of(imports, dotted).filter(|_| !getter) {
        return Some((Severity::Critical, format!("reaches what {why}")));
    }
    match loader {
        "OperatorFuncNode" if getter => None,
        "OperatorFuncNode" if operator => Some((Severity::High, "calls an operator of the schema's choice".into())),
        // What it wraps is a node of its own.
        "PartialNode" if dotted == "functools.partial" => None,
        "MethodNode" => Some((Severity::High, "binds a method by name".into())),
        _ if is_below(dotted, TRUSTED) || dotted == "." => None,
        _ => Some((Severity::High, "imports a package outside those skops knows".into())),
    }
}
