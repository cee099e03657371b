//! What is being assessed, and when: everything besides catalogue and evidence that a verdict depends on.

use std::collections::{BTreeMap, BTreeSet};

use casemate_core::{Digest, Timestamp};

use crate::waiver::Waiver;
use crate::words::words;

/// Names of inputs whose change makes evidence stale at once.
pub const INPUTS_BINDING: [&str; 4] = ["rules", "catalogue", "advisories", "baseline"];

/// What is being assessed, and when.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The time of the assessment.
    pub now: Timestamp,
    /// The project's models, each with its current digest.
    pub models: Vec<Model>,
    /// The project's datasets, each with its current digest. A check of datasets passes when it passes on every one.
    pub datasets: Vec<Dataset>,
    /// Current digests by input name ([`INPUTS_BINDING`]); several where several parts have rules of their own.
    pub inputs: BTreeMap<String, BTreeSet<Digest>>,
    /// Waivers, as parsed; those that do not hold open nothing.
    pub waivers: Vec<Waiver>,
    /// Kinds of evidence this build can gather.
    pub kinds_available: BTreeSet<String>,
    /// Why ledger or signatures did not verify, if they did not.
    pub integrity_failure: Option<String>,
}

impl Situation {
    /// A situation at `now` with nothing in it.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            models: Vec::new(),
            datasets: Vec::new(),
            inputs: BTreeMap::new(),
            waivers: Vec::new(),
            kinds_available: BTreeSet::new(),
            integrity_failure: None,
        }
    }
}

/// A model of the project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Digest of its full manifest, now.
    pub digest: Digest,
    /// Where it stands in its life, if anybody said so.
    pub stage: Option<ModelStage>,
}

/// A dataset of the project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Digest of its manifest, now.
    pub digest: Digest,
}

words! {
    /// Where a model version stands in its life.
    ModelStage {
        /// Just registered.
        Draft = "draft",
        /// Tested.
        Evaluated = "evaluated",
        /// Released by a person.
        Approved = "approved",
        /// Ready to serve.
        Staged = "staged",
        /// Answering requests.
        Serving = "serving",
        /// To be replaced.
        Deprecated = "deprecated",
        /// Out of use.
        Retired = "retired",
        /// Held back.
        Quarantined = "quarantined",
        /// Never to be used again.
        Revoked = "revoked",
    }
}

impl Model {
    /// True for a model that is in use or about to be: staged, serving, or of a stage nobody declared.
    pub fn is_in_use(&self) -> bool {
        matches!(self.stage, None | Some(ModelStage::Staged | ModelStage::Serving))
    }
}
