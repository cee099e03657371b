//! Statements of casemate's own: a person's decision, and a stage that was reached.
//!
//! `urn:casemate:approval:v1` and `urn:casemate:stage:v1`, both described in `docs/guide/attestations.md`. They have no other
//! members than these: what a reader does not know, a signer must not have meant.

use casemate_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::predicate::Tenor;

/// Longest name, role or reason, in bytes.
const WORDS_BYTES_MAX: usize = 2000;

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Yes.
    Approved,
    /// No.
    Rejected,
}

/// A person's decision about a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who.
    pub approver: String,
    /// As what.
    pub role: String,
    /// What.
    pub decision: Decision,
    /// Why.
    pub reason: String,
    /// When.
    pub decided_at: Timestamp,
    /// Until when it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Approval {
    pub(super) fn tenor(&self) -> Tenor {
        match self.decision {
            Decision::Approved => Tenor::For,
            Decision::Rejected => Tenor::Against,
        }
    }

    pub(super) fn checked(self) -> Result<Self, Error> {
        let words = [("approver", &self.approver), ("role", &self.role), ("reason", &self.reason)];
        let bad = words.iter().find(|(_, text)| text.trim().is_empty() || text.len() > WORDS_BYTES_MAX);
        match bad {
            Some((name, _)) => Err(Error::Malformed(format!("`{name}` must have 1 to {WORDS_BYTES_MAX} bytes"))),
            None => Ok(self),
        }
    }
}

/// Where a model stands on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its training ended.
    AfterTraining,
    /// It enters storage.
    BeforeStorage,
    /// It is about to be deployed.
    BeforeDeployment,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 3] = [Self::AfterTraining, Self::BeforeStorage, Self::BeforeDeployment];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfterTraining => "after-training",
            Self::BeforeStorage => "before-storage",
            Self::BeforeDeployment => "before-deployment",
        }
    }
}

/// The model that was held at a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageReached {
    /// Which.
    pub stage: Stage,
    /// When, by the signer's clock.
    pub reached_at: Timestamp,
}
