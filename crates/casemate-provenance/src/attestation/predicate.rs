//! What can be said of a model, and which role may say it.

use casemate_core::{Evidence, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Error;
use super::approval::{Approval, Stage, StageReached};
use super::bom::Bom;
use super::provenance::Provenance;
use super::results::TestResult;
use super::summary::Summary;
use crate::statement;

/// What one statement says.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// How the model was trained: SLSA provenance v1.
    Provenance(Box<Provenance>),
    /// What a scan found: a record of evidence, as ledgers hold it. The vulnerability and SCAI predicates of in-toto have no place for
    /// rules, self-tests and what could not be judged, and a second spelling of the same record could differ from the first.
    Scan(Box<Evidence>),
    /// What tests gave: in-toto test result v0.1.
    TestResult(TestResult),
    /// A bill of materials: CycloneDX, the document itself.
    Bom(Box<Bom>),
    /// A person's decision.
    Approval(Approval),
    /// A stage of its life.
    Stage(StageReached),
    /// What a verifier concluded: SLSA verification summary v1.
    Summary(Box<Summary>),
}

/// Kinds of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Predicate::Provenance`]
    Provenance,
    /// [`Predicate::Scan`]
    Scan,
    /// [`Predicate::TestResult`]
    TestResult,
    /// [`Predicate::Bom`]
    Bom,
    /// [`Predicate::Approval`]
    Approval,
    /// [`Predicate::Stage`]
    Stage,
    /// [`Predicate::Summary`]
    Summary,
}

/// Who may say what: a key is trusted for roles, and each statement needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Provenance, and the stage `after-training`.
    Training,
    /// The stage `before-storage`.
    Storage,
    /// The stage `before-deployment`.
    Deployment,
    /// Scans.
    Scan,
    /// Test results.
    Test,
    /// Bills of materials.
    Bom,
    /// Approvals.
    Approval,
    /// Verification summaries.
    Release,
}

/// Whether what is said speaks for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenor {
    /// It does, or says nothing about good or bad.
    For,
    /// It says that something failed or was refused.
    Against,
    /// It says that something could not be told.
    Undecided,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Provenance, Self::Scan, Self::TestResult, Self::Bom, Self::Approval, Self::Stage, Self::Summary];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provenance => "provenance",
            Self::Scan => "scan",
            Self::TestResult => "test-result",
            Self::Bom => "bom",
            Self::Approval => "approval",
            Self::Stage => "stage",
            Self::Summary => "summary",
        }
    }

    /// The `predicateType` of its statements.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Provenance => "https://slsa.dev/provenance/v1",
            Self::Scan => statement::PREDICATE_TYPE,
            Self::TestResult => "https://in-toto.io/attestation/test-result/v0.1",
            Self::Bom => "https://cyclonedx.org/bom",
            Self::Approval => "urn:casemate:approval:v1",
            Self::Stage => "urn:casemate:stage:v1",
            Self::Summary => "https://slsa.dev/verification_summary/v1",
        }
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 8] = [
        Self::Training,
        Self::Storage,
        Self::Deployment,
        Self::Scan,
        Self::Test,
        Self::Bom,
        Self::Approval,
        Self::Release,
    ];

    /// Its name in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Storage => "storage",
            Self::Deployment => "deployment",
            Self::Scan => "scan",
            Self::Test => "test",
            Self::Bom => "bom",
            Self::Approval => "approval",
            Self::Release => "release",
        }
    }
}

impl Predicate {
    /// Reads the predicate of the given type.
    pub(super) fn parse(predicate_type: &str, value: Value) -> Result<Self, Error> {
        fn of<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Error> {
            serde_json::from_value(value).map_err(Error::Json)
        }
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.predicate_type() == predicate_type) else {
            return Err(Error::PredicateType(predicate_type.chars().take(120).flat_map(char::escape_debug).collect()));
        };
        Ok(match kind {
            Kind::Provenance => Self::Provenance(Box::new(of::<Provenance>(value)?.checked()?)),
            Kind::Scan => Self::Scan(Box::new(of(value)?)),
            Kind::TestResult => Self::TestResult(of::<TestResult>(value)?.checked()?),
            Kind::Bom => Self::Bom(Box::new(Bom::of(value)?)),
            Kind::Approval => Self::Approval(of::<Approval>(value)?.checked()?),
            Kind::Stage => Self::Stage(of(value)?),
            Kind::Summary => Self::Summary(Box::new(of::<Summary>(value)?.checked()?)),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Provenance(_) => Kind::Provenance,
            Self::Scan(_) => Kind::Scan,
            Self::TestResult(_) => Kind::TestResult,
            Self::Bom(_) => Kind::Bom,
            Self::Approval(_) => Kind::Approval,
            Self::Stage(_) => Kind::Stage,
            Self::Summary(_) => Kind::Summary,
        }
    }

    /// The `predicateType` of its statement.
    pub fn predicate_type(&self) -> &'static str {
        self.kind().predicate_type()
    }

    /// The role its signer needs.
    pub fn role(&self) -> Role {
        match self {
            Self::Provenance(_) => Role::Training,
            Self::Scan(_) => Role::Scan,
            Self::TestResult(_) => Role::Test,
            Self::Bom(_) => Role::Bom,
            Self::Approval(_) => Role::Approval,
            Self::Stage(stage) => match stage.stage {
                Stage::AfterTraining => Role::Training,
                Stage::BeforeStorage => Role::Storage,
                Stage::BeforeDeployment => Role::Deployment,
            },
            Self::Summary(_) => Role::Release,
        }
    }

    /// When what it says took place, where it says.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Provenance(provenance) => provenance.run_details.metadata.as_ref().and_then(|m| m.finished_on),
            Self::Scan(evidence) => Some(evidence.finished_at),
            Self::TestResult(_) | Self::Bom(_) => None,
            Self::Approval(approval) => Some(approval.decided_at),
            Self::Stage(stage) => Some(stage.reached_at),
            Self::Summary(summary) => Some(summary.time_verified),
        }
    }

    /// From when on it no longer counts, where it says.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Approval(approval) => approval.expires_at,
            _ => None,
        }
    }

    /// Whether it speaks for the model.
    pub fn tenor(&self) -> Tenor {
        match self {
            Self::Provenance(_) | Self::Bom(_) | Self::Stage(_) => Tenor::For,
            Self::Scan(evidence) => match evidence.outcome {
                casemate_core::Outcome::Pass => Tenor::For,
                casemate_core::Outcome::Fail => Tenor::Against,
                casemate_core::Outcome::Unknown => Tenor::Undecided,
            },
            Self::TestResult(test) => test.tenor(),
            Self::Approval(approval) => approval.tenor(),
            Self::Summary(summary) => summary.tenor(),
        }
    }
}

impl Serialize for Predicate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Provenance(predicate) => predicate.serialize(serializer),
            Self::Scan(predicate) => predicate.serialize(serializer),
            Self::TestResult(predicate) => predicate.serialize(serializer),
            Self::Bom(predicate) => predicate.serialize(serializer),
            Self::Approval(predicate) => predicate.serialize(serializer),
            Self::Stage(predicate) => predicate.serialize(serializer),
            Self::Summary(predicate) => predicate.serialize(serializer),
        }
    }
}
