//! What tests of a model gave: in-toto test result v0.1.
//!
//! Source: github.com/in-toto/attestation, `spec/predicates/test-result.md`.

use serde::{Deserialize, Serialize};

use super::Error;
use super::descriptor::ResourceDescriptor;
use super::predicate::Tenor;

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Result {
    /// Every test passed.
    Passed,
    /// None failed, some warned.
    Warned,
    /// Some failed.
    Failed,
}

/// The result of one run of tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// What came out.
    pub result: Result,
    /// What the run was configured with: suites, data, thresholds.
    pub configuration: Vec<ResourceDescriptor>,
    /// Where more is to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Names of tests that passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_tests: Vec<String>,
    /// Names of tests that warned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warned_tests: Vec<String>,
    /// Names of tests that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<String>,
}

impl TestResult {
    pub(super) fn tenor(&self) -> Tenor {
        match self.result {
            Result::Passed | Result::Warned => Tenor::For,
            Result::Failed => Tenor::Against,
        }
    }

    /// Refuses a result that its own lists contradict.
    pub(super) fn checked(self) -> std::result::Result<Self, Error> {
        for thing in &self.configuration {
            thing.check()?;
        }
        match self.result {
            Result::Passed | Result::Warned if !self.failed_tests.is_empty() => {
                Err(Error::Malformed("tests failed, and the result says otherwise".into()))
            }
            Result::Passed if !self.warned_tests.is_empty() => {
                Err(Error::Malformed("tests warned, and the result says that all passed".into()))
            }
            _ => Ok(self),
        }
    }
}
