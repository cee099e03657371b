//! The verdict lattice.

use casemate_core::{Finding, Severity};
use serde::{Deserialize, Serialize};

/// Verdict over an object; that of a file is the maximum over its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything was read, nothing speaks against it.
    Clean,
    /// Not everything could be judged.
    Unscannable,
    /// Hides bytes, or does what a model file need not do.
    Suspicious,
    /// Runs code, writes outside or injects on ordinary use.
    Malicious,
}

/// Rules that say "not judged" rather than "bad".
pub const UNSCANNABLE_RULES: &[&str] =
    &["content-encrypted", "content-undecodable", "lfs-pointer", "limit-reached", "unknown-format"];

/// Whether findings of `rule` say that something was not judged.
pub fn verdict_unscannable(rule: &str) -> bool {
    UNSCANNABLE_RULES.contains(&rule)
}

impl Verdict {
    /// The verdict one finding alone leads to.
    pub fn of(finding: &Finding) -> Self {
        match finding.severity {
            _ if UNSCANNABLE_RULES.contains(&finding.rule.as_str()) => Self::Unscannable,
            Severity::Critical => Self::Malicious,
            Severity::High => Self::Suspicious,
            Severity::Medium | Severity::Low | Severity::Info => Self::Clean,
        }
    }

    /// The lower-case word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Unscannable => "unscannable",
            Self::Suspicious => "suspicious",
            Self::Malicious => "malicious",
        }
    }
}
