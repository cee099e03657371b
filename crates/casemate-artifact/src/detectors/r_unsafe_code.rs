//! R data that runs code when it is looked at, or carries code that reaches out of R.
//!
//! A promise that is still to be evaluated runs as soon as the value is used (CVE-2024-27322). Closures, bytecode and calls
//! are ordinary in fitted models; which functions they call is judged by `catalogue/rules/r.toml`.

use std::collections::BTreeSet;

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::Operator;
use crate::r_code::{CALL, CONSTANT, HOOK, NAME, NATIVE, Names, PROMISE, Together};

/// See the module.
pub struct RUnsafeCode;

static META: Meta = Meta {
    id: "r-unsafe-code",
    title: "R data carries code that runs by itself or reaches out of R",
    description: "R evaluates a promise in the data when the value is first looked at. Functions and calls in the data run \
                  when the object is used; some reach programs, files, the network or native libraries.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["CVE-2024-27322", "CWE-502"],
    remediation: "do not load the file; have its data exported as CSV or Parquet, or as a model format without code",
};

impl Detector for RUnsafeCode {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        // A promise without environment and value: the call `q()`.
        ("x.rds", b"A\n2\n263171\n131840\n5\n252\n6\n1\n9\n1\nq\n254\n".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        if inspection.family.is_none_or(|family| family.id != "r-data") {
            return;
        }
        let (operators, rules) = (&inspection.parsed.operators, Names::built_in());
        for operator in operators {
            if let Some((severity, message)) = judge(operator, rules) {
                found.add(META.finding_at(severity, message, inspection.at(None)));
            }
        }
        for together in &rules.together {
            if let Some(names) = all(together, operators) {
                let message = format!("code in the data {}: {names}", together.why);
                found.add(META.finding_at(together.severity, message, inspection.at(None)));
            }
        }
    }
}

fn judge(operator: &Operator, rules: &Names) -> Option<(Severity, String)> {
    let (domain, name) = (operator.domain.as_str(), operator.name.as_str());
    let shown = quote(name);
    match domain {
        PROMISE if name.is_empty() => {
            Some((Severity::Critical, "a promise runs code as soon as its value is looked at".into()))
        }
        PROMISE => Some((Severity::Critical, format!("a promise calls {shown} as soon as its value is looked at"))),
        HOOK if rules.is_hook(name) => {
            Some((Severity::High, format!("defines {shown}, which R calls when the workspace is opened or left")))
        }
        NATIVE => Some((Severity::High, format!("code in the data calls the native routine {shown} by its name"))),
        CALL => {
            rules.danger(name).map(|(severity, why)| (severity, format!("code in the data calls {shown}, which {why}")))
        }
        CONSTANT => rules.danger(name).map(|(severity, why)| {
            let severity = if rules.is_word(name) { Severity::Medium } else { severity };
            (severity, format!("bytecode in the data names {shown}, which {why}"))
        }),
        _ => None,
    }
}

/// One name out of each list, where each has one.
fn all(together: &Together, operators: &[Operator]) -> Option<String> {
    let in_code = operators.iter().filter(|operator| [CALL, CONSTANT, NAME].contains(&operator.domain.as_str()));
    let named: BTreeSet<_> = in_code.map(|operator| &operator.name).collect();
    let one = |names: &BTreeSet<String>| names.iter().find(|name| named.contains(name)).map(|name| quote(name));
    together.all.iter().map(one).collect::<Option<Vec<_>>>().map(|names| names.join(", "))
}
