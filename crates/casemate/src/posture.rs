//! From the ledger to a posture: catalogue, policies and waivers read, evidence assessed, a gate asked.

use std::collections::BTreeMap;
use std::path::Path;

use casemate_assess::gate::{self, Gates};
use casemate_assess::waiver::{self, Waiver, WaiverFinding};
use casemate_assess::{Assessment, Catalogue, CatalogueError, Dataset, GateStage, Model, Situation, assess};
use casemate_core::{Digest, Record, Timestamp};
use casemate_provenance::{Manifest, sha256};

use crate::context::Project;
use crate::exit::Failure;
use crate::gather;
use crate::models::FoundModel;
use crate::report::Posture;
use crate::scanning::rules_digest;
use crate::small_file;

/// What verdicts are computed with.
pub struct Rules {
    /// The catalogue, overlay included.
    pub catalogue: Catalogue,
    /// Its digest.
    pub digest: Digest,
    /// The gates.
    pub gates: Gates,
    /// The waivers.
    pub waivers: Vec<Waiver>,
    /// What is wrong with waiver files.
    pub waiver_findings: Vec<WaiverFinding>,
}

impl Rules {
    /// Reads the built-in catalogue and what the project adds to it.
    ///
    /// # Errors
    /// Every mistake in the project's files, exit 2.
    pub fn load(project: &Project, now: Timestamp) -> Result<Self, Failure> {
        let mut catalogue =
            crate::catalogue::built_in().map_err(|errors| mistakes("the built-in catalogue", &errors))?;
        if let Some(overlay) = &project.config.policy.overlay {
            let files = toml_files(&project.root.join(overlay))?;
            catalogue = catalogue.with_overlay(&files).map_err(|errors| mistakes("the overlay", &errors))?;
        }
        let mut gates = catalogue.gates().clone();
        if let Some(path) = &project.config.policy.gates {
            let full = project.root.join(path);
            let text = small_file::read(&full).map_err(Failure::usage)?;
            gates = gates.with_policy(path, &text, &catalogue).map_err(|errors| mistakes("the gates", &errors))?;
        }
        let directory = project.root.join(project.config.policy.waivers.as_deref().unwrap_or("waivers"));
        let mut waivers = Vec::new();
        let mut waiver_findings = Vec::new();
        if directory.exists() || project.config.policy.waivers.is_some() {
            for (file, text) in toml_files(&directory)? {
                let (parsed, findings) = waiver::parse(&file, &text);
                waivers.extend(parsed);
                waiver_findings.extend(findings);
            }
        }
        waiver_findings.extend(waiver::lint(&waivers, &catalogue, now));
        let digest = sha256(&catalogue.canonical_bytes());
        Ok(Self { catalogue, digest, gates, waivers, waiver_findings })
    }

    /// The situation of `project` at `now`.
    pub fn situation(
        &self,
        now: Timestamp,
        models: &[(FoundModel, Digest)],
        datasets: &BTreeMap<String, Manifest>,
    ) -> Situation {
        let mut situation = Situation::at(now);
        situation.models = models
            .iter()
            .map(|(model, digest)| Model { name: model.name.clone(), digest: *digest, stage: model.stage })
            .collect();
        situation.datasets =
            datasets.iter().map(|(name, manifest)| Dataset { name: name.clone(), digest: manifest.digest() }).collect();
        situation.inputs = [("rules", rules_digest()), ("catalogue", self.digest)]
            .map(|(name, digest)| (name.to_owned(), [digest].into()))
            .into();
        // A diff against a table that was replaced since says nothing about the one there is now.
        let baselines = models.iter().filter_map(|(model, _)| crate::comparison::digest(model.baseline.as_deref()?));
        situation.inputs.insert("baseline".into(), baselines.collect());
        situation.waivers.clone_from(&self.waivers);
        situation.kinds_available = gather::KINDS.iter().map(|kind| (*kind).to_owned()).collect();
        situation
    }

    /// Assesses `records`, asks the gate at `stage`, and says what to do first.
    pub fn posture(&self, records: &[Record], situation: &Situation, stage: GateStage) -> Posture {
        let assessment = assess(&self.catalogue, records, situation);
        let verdict = gate::decide(&self.gates, stage, &assessment);
        let next_actions = assessment.next_actions(&self.catalogue, situation, 10);
        let unknown = assessment.unknown_by_capability(&self.catalogue, situation);
        let mut posture = Posture::new(assessment, &self.catalogue);
        posture.gate = Some(verdict);
        posture.next_actions = next_actions;
        posture.unknown = unknown;
        posture
    }

    /// Assesses `records` without asking a gate.
    pub fn assessment(&self, records: &[Record], situation: &Situation) -> Assessment {
        assess(&self.catalogue, records, situation)
    }
}

/// The stage called `name`.
///
/// # Errors
/// When there is none.
pub fn stage(name: &str) -> Result<GateStage, Failure> {
    GateStage::ALL.iter().copied().find(|stage| stage.as_str() == name).ok_or_else(|| {
        let names: Vec<_> = GateStage::ALL.iter().map(|stage| stage.as_str()).collect();
        Failure::usage(format!("`{name}` is no gate; use one of {}", names.join(", ")))
    })
}

fn mistakes(what: &str, errors: &[CatalogueError]) -> Failure {
    const SHOWN_MAX: usize = 10;
    let mut lines: Vec<String> = errors.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if errors.len() > SHOWN_MAX {
        lines.push(format!("and {} more", errors.len() - SHOWN_MAX));
    }
    Failure::usage(format!("{what} cannot be used: {}", lines.join("; ")))
}

/// The TOML files under `directory`, by path relative to it.
fn toml_files(directory: &Path) -> Result<Vec<(String, String)>, Failure> {
    if !directory.is_dir() {
        return Err(Failure::usage(format!("`{}` is no directory", directory.display())));
    }
    let walked = crate::walk::walk(".", directory);
    // A rule that cannot be read would be a rule that is not applied.
    if let Some(skipped) = walked.skipped.iter().find(|skipped| skipped.matters) {
        return Err(Failure::usage(format!("`{}` in `{}`: {}", skipped.path, directory.display(), skipped.reason)));
    }
    let is_toml = |path: &Path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    let files = walked.files.into_iter().filter(|(_, path)| is_toml(path));
    files.map(|(shown, path)| Ok((shown, small_file::read(&path).map_err(Failure::usage)?))).collect()
}
