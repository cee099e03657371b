//! What a verifier concluded about a release: SLSA verification summary (VSA) v1.
//!
//! Source: slsa.dev/spec/v1.1/verification_summary. A reader that trusts the verifier need not see what it saw.

use std::collections::BTreeMap;

use casemate_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::descriptor::ResourceDescriptor;
use super::predicate::Tenor;

/// The edition of SLSA whose levels are meant.
pub const SLSA_VERSION: &str = "1.1";
/// Level of a model that failed.
pub const LEVEL_FAILED: &str = "FAILED";

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VerificationResult {
    /// Everything the policy asks for is met.
    Passed,
    /// Something is not met, or not known.
    Failed,
}

/// A verification summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Who verified.
    pub verifier: Verifier,
    /// When.
    pub time_verified: Timestamp,
    /// What the model is called where it is used.
    pub resource_uri: String,
    /// Against what.
    pub policy: ResourceDescriptor,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_attestations: Vec<ResourceDescriptor>,
    /// What came out.
    pub verification_result: VerificationResult,
    /// The highest level of each track; `FAILED` for a model that failed.
    pub verified_levels: Vec<String>,
    /// Levels of what it was made of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependency_levels: BTreeMap<String, u64>,
    /// The edition of SLSA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slsa_version: Option<String>,
}

/// Who verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verifier {
    /// URI of the verifier.
    pub id: String,
    /// Versions of its parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

impl Summary {
    pub(super) fn tenor(&self) -> Tenor {
        match self.verification_result {
            VerificationResult::Passed => Tenor::For,
            VerificationResult::Failed => Tenor::Against,
        }
    }

    pub(super) fn checked(self) -> Result<Self, Error> {
        self.policy.check()?;
        for input in &self.input_attestations {
            input.check()?;
        }
        let passed = self.verification_result == VerificationResult::Passed;
        let names_failure = self.verified_levels.iter().any(|level| level == LEVEL_FAILED);
        let why = match () {
            () if self.verifier.id.is_empty() || self.resource_uri.is_empty() => {
                "a summary names no verifier or resource"
            }
            () if self.verified_levels.is_empty() => "a summary names no level",
            () if passed == names_failure => "result and levels of a summary contradict each other",
            () => return Ok(self),
        };
        Err(Error::Malformed(why.into()))
    }
}
