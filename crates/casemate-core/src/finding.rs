//! A defect that was found: what, where, how bad, how sure.

use serde::{Deserialize, Serialize};

/// How bad a finding is. Ordered: `Info` is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A fact worth knowing, no defect.
    Info,
    /// Weakens a defence.
    Low,
    /// Harms under conditions an attacker has yet to create.
    Medium,
    /// Harms once an attacker tries, or hides what cannot be judged.
    High,
    /// Runs code, leaks or destroys on ordinary use.
    Critical,
}

impl Severity {
    /// All severities, the worst first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The lower-case word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a severity: use critical, high, medium, low or info"))
    }
}

/// How sure a detector is that a finding is real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A heuristic that is often wrong.
    Low,
    /// A heuristic that is seldom wrong.
    Medium,
    /// Follows from the bytes.
    High,
}

/// Where in the subject a finding lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Path of the file, relative to what was looked at, `/` between components.
    pub path: String,
    /// Path inside the file: members of archives and nested objects joined by `!`.
    pub member: Option<String>,
    /// Offset in bytes inside the innermost object.
    pub offset: Option<u64>,
    /// Line in a text, from 1.
    pub line: Option<u64>,
}

/// One defect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Kebab-case id of the rule, which lives forever.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// One line, lower case, that names the thing found.
    pub message: String,
    /// Where.
    pub location: Location,
    /// Ids of the controls this finding speaks to.
    pub controls: Vec<String>,
    /// Specifications, CVEs, CWEs and papers.
    pub references: Vec<String>,
    /// What to do about it.
    pub remediation: String,
    /// Who lives with it, until when; set in reports, never in evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
}

/// Why a finding does not count for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Why.
    pub reason: String,
    /// The last day, `2027-01-31`.
    pub expires: String,
    /// Who agreed, where somebody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}
