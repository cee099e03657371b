//! One control: what must hold, for which systems, how that is shown, and what to do when it does not.
//!
//! A control is one TOML file and no code. The schema is closed: a misspelt key is an error, because a silently ignored
//! `max_age` would be a control that never expires.

use std::fmt;

use casemate_core::{Method, Severity, SubjectKind};
use serde::{Deserialize, Serialize, Serializer};

use crate::predicate::Predicate;
use crate::words::words;

/// A control of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Id, e.g. `SUP-01`; equals the file's name.
    pub id: String,
    /// One line.
    pub title: String,
    /// How bad it is when it does not hold.
    pub severity: Severity,
    /// Where the severity comes from.
    pub severity_source: SeveritySource,
    /// Stage of the life cycle; equals the file's directory.
    pub stage: Stage,
    /// Category of the report.
    pub category: Category,
    /// Which methods show it.
    pub verification: Verification,
    /// How long evidence of a pass counts in full.
    pub max_age: MaxAge,
    /// To which systems it applies.
    pub applies: Predicate,
    /// Capabilities that produce the evidence.
    pub producers: Vec<String>,
    /// Who asks for it.
    pub asked_by: Vec<String>,
    /// What must hold.
    pub statement: String,
    /// Why: the attack it answers.
    pub rationale: String,
    /// Ids of other frameworks.
    pub maps: Vec<MapId>,
    /// What must be shown; all of them, but for `C/P` and `A/P`.
    pub checks: Vec<Check>,
    /// What to do about it.
    pub remediation: Remediation,
}

/// One thing to show: evidence of a kind about a subject, and what it must say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Kind of evidence.
    pub evidence: String,
    /// What the evidence is about.
    pub subject: SubjectKind,
    /// How it was gathered.
    pub method: Method,
    /// What it must say.
    pub pass: Predicate,
}

/// How to make a control hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remediation {
    /// What to do.
    pub text: String,
    /// The command that helps.
    pub command: String,
    /// How long it takes.
    pub effort: Effort,
}

words! {
    /// Where a severity comes from.
    SeveritySource {
        /// The 26 seed checks.
        Seed = "seed",
        /// The risk table of the seed's OWASP page.
        OwaspTable = "owasp-table",
        /// Proposed by this catalogue or an overlay.
        Proposed = "proposed",
    }
}

words! {
    /// Stage of a model's life.
    Stage {
        /// Gathering and preparing data.
        Data = "data",
        /// Training and fine-tuning.
        Training = "training",
        /// Building and signing what is released.
        Release = "release",
        /// Tests and attacks before use.
        Evaluation = "evaluation",
        /// Answering requests.
        Serving = "serving",
        /// Watching it answer.
        Monitoring = "monitoring",
        /// When something went wrong.
        Incident = "incident",
        /// Rules, roles and records over the whole life.
        Govern = "govern",
        /// Taking it out of use.
        Retirement = "retirement",
    }
}

words! {
    /// Category of the report; the first five are its risk categories.
    Category {
        /// Poisoned training data.
        DataPoisoning = "data-poisoning",
        /// Model extraction and theft.
        ModelExtraction = "model-extraction",
        /// Inputs made to mislead.
        AdversarialExamples = "adversarial-examples",
        /// Artifacts, dependencies and base models.
        SupplyChain = "supply-chain",
        /// Monitoring and incident response.
        MonitoringIncident = "monitoring-incident",
        /// What a model reveals about people.
        Privacy = "privacy",
        /// The serving path.
        Serving = "serving",
        /// Roles, records and law.
        Governance = "governance",
    }
}

words! {
    /// How long a remediation takes.
    Effort {
        /// Minutes.
        Minutes = "minutes",
        /// Hours.
        Hours = "hours",
        /// Days.
        Days = "days",
        /// Weeks.
        Weeks = "weeks",
    }
}

words! {
    /// Which methods show that a control holds: A by machine, C by a live probe, P by a person.
    Verification {
        /// Machine.
        A = "A",
        /// Live probe.
        C = "C",
        /// Person.
        P = "P",
        /// Machine and person, both.
        AandP = "A+P",
        /// Live probe and person, both.
        CandP = "C+P",
        /// Machine and live probe, both.
        AandC = "A+C",
        /// Live probe, or a person where it cannot run.
        CorP = "C/P",
        /// Machine, or a person where it cannot run.
        AorP = "A/P",
    }
}

words! {
    /// The event after which evidence must be gathered anew.
    Event {
        /// The model changed.
        ModelDigest = "model-digest",
        /// The dataset changed.
        DatasetDigest = "dataset-digest",
        /// An incident happened.
        Incident = "incident",
        /// A model was retired.
        Retirement = "retirement",
        /// A model was trained again.
        Retrain = "retrain",
        /// A model was released.
        Release = "release",
    }
}

/// How long evidence of a pass counts in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub enum MaxAge {
    /// So many days; from then on credit falls to nothing over as many days again.
    Days {
        /// Days, at least one.
        days: u32,
    },
    /// Until an event, however long that takes.
    Per {
        /// The event.
        per: Event,
    },
}

impl Effort {
    /// Working hours it stands for when efforts are compared: one, eight, forty, two hundred.
    pub fn hours(self) -> u64 {
        match self {
            Self::Minutes => 1,
            Self::Hours => 8,
            Self::Days => 40,
            Self::Weeks => 200,
        }
    }
}

impl Verification {
    /// The methods of its checks.
    pub fn methods(self) -> &'static [Method] {
        match self {
            Self::A => &[Method::A],
            Self::C => &[Method::C],
            Self::P => &[Method::P],
            Self::AandP | Self::AorP => &[Method::A, Method::P],
            Self::CandP | Self::CorP => &[Method::C, Method::P],
            Self::AandC => &[Method::A, Method::C],
        }
    }

    /// True when a person may stand in where the machine or the probe cannot run.
    pub fn accepts_person_instead(self) -> bool {
        matches!(self, Self::CorP | Self::AorP)
    }
}

/// Weight of a severity in the score: 10, 5, 2, 1; `info` weighs nothing.
pub fn weight(severity: Severity) -> u64 {
    match severity {
        Severity::Critical => 10,
        Severity::High => 5,
        Severity::Medium => 2,
        Severity::Low => 1,
        Severity::Info => 0,
    }
}

/// The word for a kind of subject, as in evidence records.
pub fn subject_word(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Model => "model",
        SubjectKind::Dataset => "dataset",
        SubjectKind::Project => "project",
        SubjectKind::Route => "route",
        SubjectKind::Catalogue => "catalogue",
        SubjectKind::Ledger => "ledger",
        SubjectKind::Incident => "incident",
    }
}

/// An id of another framework with its edition: `owasp-ml@2023:ML06`.
///
/// Lists are renumbered between editions (OWASP LLM 2025 to 2026), so an id without one names nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapId {
    /// Framework, e.g. `owasp-ml`.
    pub framework: String,
    /// Edition, e.g. `2023`.
    pub edition: String,
    /// Id inside it, e.g. `ML06`.
    pub id: String,
}

impl MapId {
    /// The id written `framework@edition:id`; `None` when a part is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let (framework, rest) = text.split_once('@')?;
        let (edition, id) = rest.split_once(':')?;
        let whole = [framework, edition, id].iter().all(|part| !part.is_empty());
        whole.then(|| Self { framework: framework.into(), edition: edition.into(), id: id.into() })
    }

    /// Framework and edition, as `owasp-ml@2023`.
    pub fn list(&self) -> String {
        format!("{}@{}", self.framework, self.edition)
    }
}

impl fmt::Display for MapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.framework, self.edition, self.id)
    }
}

impl Serialize for MapId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
