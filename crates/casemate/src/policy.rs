//! Scan policies: how severe each rule is for whoever asks.

use std::collections::BTreeMap;
use std::path::Path;

use casemate_artifact::{Verdict, detectors::DETECTORS};
use casemate_core::{Finding, Severity};
use serde::Deserialize;

use crate::exit::Failure;
use crate::scanning::Scanned;

/// Severities by rule, over those the rules bring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanPolicy {
    /// Rule id to severity.
    #[serde(default)]
    severity: BTreeMap<String, Severity>,
    /// Whether severities are the least a finding gets, rather than what it gets.
    #[serde(skip)]
    only_raises: bool,
}

impl ScanPolicy {
    /// The policy called `name`: `standard`, `strict`, or a TOML file with a `[severity]` table.
    ///
    /// # Errors
    /// When the file cannot be read, or names a rule that does not exist.
    pub fn named(name: &str) -> Result<Self, Failure> {
        match name {
            "standard" => return Ok(Self::default()),
            "strict" => {
                let rules = ["unsafe-format", "extension-mismatch", "template-injection"];
                return Ok(Self {
                    severity: rules.map(|rule| (rule.to_owned(), Severity::High)).into(),
                    only_raises: true,
                });
            }
            _ => {}
        }
        let at = |what: &dyn std::fmt::Display| {
            Failure::usage(format!("policy `{name}`: {what}; use standard, strict or a TOML file"))
        };
        let text = crate::small_file::read(Path::new(name)).map_err(|error| at(&error))?;
        let policy: Self = toml::from_str(&text).map_err(|error| at(&crate::config::at_line(&text, &error)))?;
        let known = |rule: &str| {
            let mut compared = crate::comparison::RULES.iter();
            DETECTORS.iter().any(|detector| detector.meta().id == rule) || compared.any(|meta| meta.id == rule)
        };
        match policy.severity.keys().find(|rule| !known(rule)) {
            Some(rule) => Err(at(&format!("`{rule}` is no rule"))),
            None => Ok(policy),
        }
    }

    /// Gives every finding the severity this policy asks for, and every file the verdict that follows. A policy can raise
    /// and lower words for people; it never makes what was not judged clean.
    pub fn apply(&self, scanned: &mut Scanned) {
        if self.severity.is_empty() {
            return;
        }
        let weigh = |finding: &mut Finding| {
            if let Some(severity) = self.severity.get(&finding.rule) {
                finding.severity = if self.only_raises { finding.severity.max(*severity) } else { *severity };
            }
        };
        scanned.others.iter_mut().for_each(weigh);
        for file in &mut scanned.files {
            file.report.findings.iter_mut().for_each(weigh);
            let worst = file.report.findings.iter().map(Verdict::of).max().unwrap_or(Verdict::Clean);
            file.report.verdict =
                worst.max(if file.report.findings_left_out > 0 { file.report.verdict } else { Verdict::Clean });
        }
    }
}
