//! Operators with which a TensorFlow graph reaches beyond its tensors: files, Python, the network, libraries.
//!
//! Data: `catalogue/rules/tensorflow.toml`. What TensorFlow does not have comes from a library beside the model. TensorFlow
//! Lite's `Flex` operators are TensorFlow's and are judged here too.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use casemate_core::{Confidence, Meta, Severity};
use serde::Deserialize;

use super::{Detector, Findings, Inspection, quote};
use crate::Operator;
use crate::formats::tensorflow::{DOMAIN, FUNCTION, SAVER, TO_FILE};

/// See the module.
pub struct TensorflowUnsafeOperator;

static META: Meta = Meta {
    id: "tensorflow-unsafe-operator",
    title: "graph reaches for files, Python, the network or a library",
    description: "A TensorFlow graph is a program. Some operators read and write files, call Python or talk to other machines \
                  whenever the model runs; others are native code from a library that has to be loaded beside it.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md", "CWE-829"],
    remediation: "do not run the model outside a sandbox; export it again without the operator, or vet the library that has it",
};

/// The rule file, as a part of the rules' digest.
pub(crate) const FILE: (&str, &str) = ("tensorflow.toml", include_str!("../../../../catalogue/rules/tensorflow.toml"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(rename = "version")]
    _version: String,
    #[serde(rename = "source")]
    _source: String,
    saver: HashSet<String>,
    standard: HashSet<String>,
    danger: Vec<Danger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Danger {
    severity: Severity,
    why: String,
    names: Vec<String>,
}

/// What may be said of operators. Without rules every operator is unknown, so a broken file cannot make a model clean.
#[derive(Default)]
struct Compiled {
    saver: HashSet<String>,
    standard: HashSet<String>,
    danger: HashMap<String, (Severity, String)>,
}

static RULES: LazyLock<Compiled> = LazyLock::new(|| {
    // The file is part of the program: a test reads it, so this cannot fail in a release.
    let Ok(rules) = toml::from_str::<Rules>(FILE.1) else { return Compiled::default() };
    let mut compiled = Compiled { saver: rules.saver, standard: rules.standard, ..Compiled::default() };
    for danger in rules.danger {
        let each = danger.names.into_iter().map(|name| (name, (danger.severity, danger.why.clone())));
        compiled.danger.extend(each);
    }
    compiled
});

impl Detector for TensorflowUnsafeOperator {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("x.pb", b"\x0a\x0d\x0a\x01r\x12\x08ReadFile\x22\x02\x08\x01".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        for operator in &inspection.parsed.operators {
            if let Some((severity, why)) = judge(operator) {
                let message = format!("operator {} {why}", quote(&operator.name));
                found.add(META.finding_at(severity, message, inspection.at(None)));
            }
        }
    }
}

fn judge(operator: &Operator) -> Option<(Severity, &'static str)> {
    let (domain, name) = (operator.domain.as_str(), operator.name.as_str());
    if ![DOMAIN, FUNCTION, SAVER, TO_FILE].contains(&domain) {
        return None;
    }
    let rules = &*RULES;
    if let Some((severity, why)) = rules.danger.get(name) {
        return Some((*severity, why));
    }
    match domain {
        TO_FILE => Some((Severity::Critical, "prints to a file the graph names")),
        SAVER if rules.saver.contains(name) => None,
        _ if rules.saver.contains(name) => {
            Some((Severity::High, "reads or writes checkpoint files, and stands outside the saver"))
        }
        FUNCTION => None,
        _ if rules.standard.contains(name) => None,
        _ => Some((Severity::High, "is none of TensorFlow's: a library beside the model has it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(domain: &str, name: &str) -> Option<Severity> {
        judge(&Operator { domain: domain.into(), name: name.into() }).map(|(severity, _)| severity)
    }

    #[test]
    fn the_rule_file_is_whole() {
        let rules: Rules = toml::from_str(FILE.1).unwrap();
        assert!(rules.standard.len() > 1500 && rules.saver.is_subset(&rules.standard));
        assert!(rules.danger.iter().all(|danger| danger.severity >= Severity::High && !danger.names.is_empty()));
    }

    #[test]
    fn what_an_operator_may_do_depends_on_where_it_stands() {
        assert_eq!(judged(DOMAIN, "MatMul"), None);
        assert_eq!(judged(DOMAIN, "PyFunc"), Some(Severity::Critical));
        assert_eq!(judged(SAVER, "ReadFile"), Some(Severity::Critical));
        assert_eq!(judged(SAVER, "SaveV2"), None);
        assert_eq!(judged(DOMAIN, "SaveV2"), Some(Severity::High));
        assert_eq!(judged(DOMAIN, "EvilOp"), Some(Severity::High));
        assert_eq!(judged(TO_FILE, "PrintV2"), Some(Severity::Critical));
        assert_eq!(judged(FUNCTION, "my_function"), None);
        // A function cannot take the name of an operator to get past.
        assert_eq!(judged(FUNCTION, "WriteFile"), Some(Severity::Critical));
        assert_eq!(judged("", "PyFunc"), None);
    }
}
