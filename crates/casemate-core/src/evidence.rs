//! The record every capability ends in, and where records go.
//!
//! A record says which probe looked at which subject, what came out, and on which data the verdict rests. It is written
//! as an in-toto Statement and appended to the ledger by `casemate-provenance`; `casemate-assess` reads nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Finding, Measurement, Seed, Timestamp};

/// What a probe found out. Unknown is never counted as pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Looked at everything it had to, and it holds.
    Pass,
    /// Looked, and it does not hold.
    Fail,
    /// Did not run, could not finish, or could not see everything.
    Unknown,
}

impl Outcome {
    /// The lower-case word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// How a verdict was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Method {
    /// A machine examined the artifact.
    A,
    /// A live probe exercised the running system.
    C,
    /// A person decided.
    P,
}

/// What kind of thing a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// A model, identified by the digest of its full manifest.
    Model,
    /// A dataset, identified by the digest of its manifest.
    Dataset,
    /// A project as a whole, identified by its configuration.
    Project,
    /// A served route, identified by its configuration.
    Route,
    /// The compiled catalogue of controls.
    Catalogue,
    /// A ledger, identified by its tree head.
    Ledger,
    /// An incident record.
    Incident,
}

/// The thing a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// What kind of thing.
    pub kind: SubjectKind,
    /// Its name, for people.
    pub name: String,
    /// Its identity.
    pub digest: Digest,
}

/// The code that looked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Probe {
    /// Kebab-case id.
    pub id: String,
    /// Version; a change of what the probe can see changes it.
    pub version: String,
}

/// Data a verdict rests on: rules, catalogue, advisories, a corpus. When it changes, the record is stale.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// What it is, e.g. `rules`.
    pub name: String,
    /// Which version of it.
    pub digest: Digest,
}

/// One plain value a probe recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    /// True or false.
    Bool(bool),
    /// A count.
    Count(u64),
    /// Any finite number.
    Number(f64),
    /// A word.
    Text(String),
}

/// What one run of one probe found out about one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Kind: `<capability>.<probe>`, listed in `catalogue/kinds.toml`.
    pub kind: String,
    /// Who looked.
    pub probe: Probe,
    /// At what.
    pub subject: Subject,
    /// How.
    pub method: Method,
    /// What came out.
    pub outcome: Outcome,
    /// Why, for outcomes other than pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Plain values, snake-case names, units last.
    #[serde(default)]
    pub facts: BTreeMap<String, Fact>,
    /// Defects found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Numbers measured.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    /// Data the verdict rests on.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Seed, where chance was involved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
    /// Who or what ran the probe.
    pub actor: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl Evidence {
    /// The digest of the input called `name`, if the record rests on one.
    pub fn input(&self, name: &str) -> Option<Digest> {
        self.inputs.iter().find(|input| input.name == name).map(|input| input.digest)
    }
}

/// Evidence as it lies in a ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Ledger id: the hexadecimal leaf hash of the entry.
    pub id: String,
    /// Position in the ledger, from 0.
    pub index: u64,
    /// The evidence itself.
    pub evidence: Evidence,
}

/// Why evidence could not be stored. Nothing of it counts as recorded.
#[derive(Debug, thiserror::Error)]
#[error("evidence could not be recorded: {message}")]
pub struct SinkError {
    /// What went wrong, with the file.
    pub message: String,
    /// Whether what is recorded already does not hold, so that nothing may be built on it.
    pub damaged: bool,
}

/// Where evidence goes.
pub trait EvidenceSink {
    /// Stores `batch` durably, all of it or nothing, and returns the ledger ids in order.
    ///
    /// # Errors
    /// [`SinkError`] when anything could not be made durable.
    fn append(&mut self, batch: &[Evidence]) -> Result<Vec<String>, SinkError>;
}
