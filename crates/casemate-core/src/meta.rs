//! What a registered detector, screen, attack or guard says of itself.

use crate::{Confidence, Finding, Location, Severity};

/// Description of a rule, from which reports, SARIF and the reference docs are made.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// Kebab-case id; equals the file name with `-` for `_`.
    pub id: &'static str,
    /// One line that names the defect.
    pub title: &'static str,
    /// Why it matters: the attack, in one or two sentences.
    pub description: &'static str,
    /// Severity of its findings, unless a finding says otherwise.
    pub severity: Severity,
    /// How sure the rule is when it fires.
    pub confidence: Confidence,
    /// Ids of the controls its findings speak to.
    pub controls: &'static [&'static str],
    /// Specifications, CVEs, CWEs, papers.
    pub references: &'static [&'static str],
    /// What the owner should do.
    pub remediation: &'static str,
}

impl Meta {
    /// A finding of this rule with its standard severity.
    pub fn finding(&self, message: String, location: Location) -> Finding {
        self.finding_at(self.severity, message, location)
    }

    /// A finding of this rule with another severity.
    pub fn finding_at(&self, severity: Severity, message: String, location: Location) -> Finding {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Finding {
            rule: self.id.into(),
            severity,
            confidence: self.confidence,
            message,
            location,
            controls: owned(self.controls),
            references: owned(self.references),
            remediation: self.remediation.into(),
            accepted: None,
        }
    }
}
