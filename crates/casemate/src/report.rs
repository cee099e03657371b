//! The report every command ends in: one structure, many renderings.
//!
//! Its JSON is the contract `casemate.report/v1`; every renderer reads this and nothing else, so no number can appear in
//! one format and differ in another.

use std::borrow::Cow;
use std::collections::BTreeMap;

use casemate_assess::assessment::{Action, CapabilityGap, FrameworkCoverage, ModelAssessment};
use casemate_assess::gate::GateVerdict;
use casemate_assess::{Assessment, ControlState, State};
use casemate_core::{Digest, Finding, Measurement, Outcome, Severity, Timestamp};
use serde::Serialize;

/// Schema id of [`Report`].
pub const SCHEMA: &str = "casemate.report/v1";

/// What one run of one command found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Who made it.
    pub tool: Tool,
    /// The command, without options.
    pub command: &'static str,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What was looked at.
    pub subject: ReportSubject,
    /// Pass, fail or unknown; unknown is never pass.
    pub outcome: Outcome,
    /// Files looked at.
    pub artifacts: Vec<ArtifactReport>,
    /// Everything found, the worst first.
    pub findings: Vec<Finding>,
    /// Everything measured.
    pub measurements: Vec<Measurement>,
    /// Ledger ids of the evidence appended or read.
    pub evidence: Vec<String>,
    /// Counts and words that belong to the command.
    pub summary: BTreeMap<&'static str, serde_json::Value>,
    /// What a reader has to know besides: what was not looked at, an interruption, a policy.
    #[serde(skip)]
    pub remarks: Vec<String>,
    /// Severity from which a finding fails the run, for formats that show failures one by one.
    #[serde(skip)]
    pub fail_on: Severity,
    /// How the project is named on the command line, for hints: `-C DIR `, or nothing.
    #[serde(skip)]
    pub at: String,
    /// The posture, for `check`, `assess` and `report`.
    #[serde(flatten)]
    pub posture: Option<Posture>,
}

/// The tool.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    /// `casemate`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// What was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct ReportSubject {
    /// Name, for people.
    pub name: String,
    /// Identity, where it was computed.
    pub digest: Option<DigestSet>,
}

/// A digest in in-toto form.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DigestSet {
    /// SHA-256.
    pub sha256: Digest,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct ArtifactReport {
    /// Path as given, `/` between components.
    pub path: String,
    /// Path inside the file, members joined by `!`, for a model that lies in an archive (`inventory`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Digest of the content, unless hashing was turned off.
    pub digest: Option<DigestSet>,
    /// Format of the file itself.
    pub format: Cow<'static, str>,
    /// `clean`, `suspicious`, `malicious` or `unscannable`.
    pub verdict: casemate_artifact::Verdict,
    /// What was found in it.
    pub findings: Vec<Finding>,
    /// Findings left out above the limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub findings_left_out: u64,
    /// What its pickles import, apart from the verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<String>,
    /// Number of objects inside, of each format.
    pub objects: BTreeMap<Cow<'static, str>, u64>,
    /// Number of tensors.
    pub tensors: u64,
    /// Whether the project knows it (`inventory`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
    /// Bytes fetched of it, where it lies on a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_fetched: Option<u64>,
}

/// What the project knows of a model that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// How it stands.
    pub status: RegistrationStatus,
    /// The model it belongs to, or looks like.
    pub model: Option<String>,
    /// What the status is based on.
    pub basis: String,
}

/// How a model that was found stands with the project, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationStatus {
    /// Its content is that of a declared model.
    Known,
    /// Its content was scanned in this project, but nobody declared it.
    Scanned,
    /// Nothing here knows it.
    Unregistered,
    /// It could not be told whether it is or holds a model.
    Unjudged,
    /// It carries the name of a model that is known with other content.
    Altered,
    /// Its content is that of a model that was quarantined or revoked.
    Quarantined,
}

impl RegistrationStatus {
    /// All, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Quarantined, Self::Altered, Self::Unjudged, Self::Unregistered, Self::Scanned, Self::Known];

    /// The lower-case word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Scanned => "scanned",
            Self::Unregistered => "unregistered",
            Self::Unjudged => "unjudged",
            Self::Altered => "altered",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Where the project stands.
#[derive(Clone, Debug, Serialize)]
pub struct Posture {
    /// The score with what must stand beside it.
    pub score: casemate_assess::score::Score,
    /// Risk per category.
    pub categories: Vec<casemate_assess::score::CategoryRisk>,
    /// Every control of the scored model.
    pub controls: Vec<casemate_assess::assessment::ControlReport>,
    /// Name of the model whose score is the project's.
    pub scored_model: Option<String>,
    /// Every model.
    pub models: Vec<ModelAssessment>,
    /// What is known about the system.
    pub facts: casemate_assess::facts::SystemFacts,
    /// What the gate says, where one was asked.
    pub gate: Option<GateVerdict>,
    /// What to do first.
    pub next_actions: Vec<Action>,
    /// What is unknown, by capability.
    pub unknown: Vec<CapabilityGap>,
    /// Framework tables.
    pub frameworks: Vec<FrameworkCoverage>,
    /// Title, stage and category of every control, for renderers.
    #[serde(skip)]
    pub titles: BTreeMap<String, ControlTitle>,
    /// The states behind `controls`, for renderers.
    #[serde(skip)]
    pub states: Vec<ControlState>,
}

/// What renderers print of a control besides its state.
#[derive(Clone, Debug)]
pub struct ControlTitle {
    /// Title.
    pub title: String,
    /// Life-cycle stage.
    pub stage: &'static str,
    /// Report category.
    pub category: &'static str,
    /// The command that gathers its evidence or mends it.
    pub command: String,
}

impl Report {
    /// A report of `command` about `subject`, with nothing found yet.
    pub fn new(command: &'static str, subject: ReportSubject, started_at: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            tool: Tool { name: "casemate", version: env!("CARGO_PKG_VERSION") },
            command,
            started_at,
            finished_at: started_at,
            subject,
            outcome: Outcome::Unknown,
            artifacts: Vec::new(),
            findings: Vec::new(),
            measurements: Vec::new(),
            evidence: Vec::new(),
            summary: BTreeMap::new(),
            remarks: Vec::new(),
            fail_on: Severity::High,
            at: String::new(),
            posture: None,
        }
    }
}

impl Posture {
    /// The posture in `assessment`, with titles from `catalogue`.
    pub fn new(assessment: Assessment, catalogue: &casemate_assess::Catalogue) -> Self {
        let frameworks = assessment.framework_coverage(catalogue);
        let titles = catalogue.controls().map(|control| {
            let title = ControlTitle {
                title: control.title.clone(),
                stage: control.stage.as_str(),
                category: control.category.as_str(),
                command: control.remediation.command.clone(),
            };
            (control.id.clone(), title)
        });
        Self {
            titles: titles.collect(),
            states: assessment.states().to_vec(),
            score: assessment.score,
            categories: assessment.categories,
            controls: assessment.controls,
            scored_model: assessment.scored_model,
            models: assessment.models,
            facts: assessment.facts,
            gate: None,
            next_actions: Vec::new(),
            unknown: Vec::new(),
            frameworks,
        }
    }

    /// Number of controls in `state`.
    pub fn count(&self, state: State) -> usize {
        self.controls.iter().filter(|control| control.state == state).count()
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
