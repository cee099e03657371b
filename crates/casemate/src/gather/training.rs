//! Evidence about a training run: an attestation that names its inputs, each of which resolves to something that is there (TRN-02).
//!
//! There is no registry yet, so an input resolves in the project: to a declared data set or model, to a file that still has the
//! digest, to a commit of its repository, or to a model or data set the ledger holds a record about.

use casemate_core::{Digest, Evidence, Fact, FileSource, Outcome, SubjectKind};
use casemate_provenance::Manifest;
use casemate_provenance::attestation::descriptor::ResourceDescriptor;
use casemate_provenance::attestation::predicate::{Kind, Predicate};
use casemate_provenance::hash::sha256_of;
use serde_json::Value;

use super::attestations::{DEFECT_MISSED, KIND_RECORDED, probed};
use super::{ModelProbe, ProjectProbe, count, record};
use crate::commands::attest::PATH;
use crate::config;
use crate::exit::Failure;
use crate::git::Repository;

/// Longest list of names in a reason.
const NAMED_MAX: usize = 5;

/// The record of the newest training run that is attested.
///
/// # Errors
/// When a trusted key cannot be read, or there is no randomness.
pub fn training(probe: &ModelProbe<'_>) -> Result<Evidence, Failure> {
    let mut evidence = record("provenance.training", "training", probe.subject(), probe.project.span());
    let probed = match probed(probe)? {
        Ok(probed) => probed,
        Err(reason) => {
            evidence.reason = Some(reason);
            return Ok(evidence);
        }
    };
    probed.begin(&mut evidence);
    let newest = probed.attested.newest();
    let run = newest.iter().filter_map(|judged| judged.good()).find_map(|statement| match &statement.predicate {
        Predicate::Provenance(provenance) => Some(provenance),
        _ => None,
    });
    let Some(run) = run else {
        evidence.facts.insert("attestation_valid".into(), Fact::Bool(false));
        evidence.facts.insert("inputs".into(), count(0));
        (evidence.outcome, evidence.reason) = match probed.self_test.holds() {
            true => {
                (Outcome::Fail, Some(format!("there is no good attestation of kind {}", Kind::Provenance.as_str())))
            }
            false => (Outcome::Unknown, Some(DEFECT_MISSED.into())),
        };
        return Ok(evidence);
    };
    let inputs = &run.build_definition.resolved_dependencies;
    let repository = Repository::around(&probe.project.project.root);
    let resolves = |input: &&ResourceDescriptor| resolves(input, probe, repository.as_ref());
    let unresolved: Vec<&str> =
        inputs.iter().filter(|input| !resolves(input)).map(|input| input.name.as_str()).collect();
    let missing = run.missing();
    let rerun = run.rerun_agrees();
    let facts = [
        ("attestation_valid", Fact::Bool(true)),
        ("inputs", count(inputs.len())),
        ("inputs_unresolved", count(unresolved.len())),
        ("fields_missing", count(missing.len())),
        ("rerun_done", Fact::Bool(rerun.is_some())),
        ("rerun_within_tolerance", Fact::Bool(rerun == Some(true))),
    ];
    evidence.facts.extend(facts.map(|(name, fact)| (name.to_owned(), fact)));
    let fail = |why: String| (Outcome::Fail, Some(why));
    (evidence.outcome, evidence.reason) = match () {
        () if !probed.self_test.holds() => (Outcome::Unknown, Some(DEFECT_MISSED.into())),
        () if inputs.is_empty() => fail("the attestation names no input".into()),
        () if !missing.is_empty() => fail(format!("the attestation says nothing about: {}", missing.join(", "))),
        () if !unresolved.is_empty() => fail(format!(
            "not found: {} (there is no registry: inputs are looked for among declared data sets and models, files, commits and \
             records of this project)",
            shown(&unresolved)
        )),
        () if rerun == Some(false) => fail("the repeated run gave other metrics".into()),
        () => (Outcome::Pass, None),
    };
    Ok(evidence)
}

fn shown(names: &[&str]) -> String {
    let first =
        names.iter().take(NAMED_MAX).map(|name| name.chars().take(80).flat_map(char::escape_debug).collect::<String>());
    let mut text = first.collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMED_MAX));
    }
    text
}

/// Whether what the input names is there, by its digest.
fn resolves(input: &ResourceDescriptor, probe: &ModelProbe<'_>, repository: Option<&Repository>) -> bool {
    if let Some(commit) = input.git_commit() {
        return repository.is_some_and(|repository| repository.has(commit));
    }
    let Some(digest) = input.sha256() else { return false };
    // A model is no input of its own making, though it is there.
    if digest == probe.manifest.digest() {
        return false;
    }
    let project = probe.project;
    project.datasets.values().any(|manifest| manifest.digest() == digest)
        || file_has(input, project, digest)
        || is_recorded(project, digest)
        || declared_model_has(project, digest)
}

/// Whether the file or directory the input was hashed from still has the digest.
fn file_has(input: &ResourceDescriptor, project: &ProjectProbe<'_>, digest: Digest) -> bool {
    let path = input.annotations.get(PATH).and_then(Value::as_str).and_then(config::inside);
    let Some(path) = path.map(|path| project.project.root.join(path)) else { return false };
    let plain = || FileSource::open(&path).ok().and_then(|source| sha256_of(&source, &|_| ()).ok());
    plain() == Some(digest) || Manifest::of_path(&path, &|_| ()).is_ok_and(|manifest| manifest.digest() == digest)
}

/// Whether the ledger holds a record about a model or data set with this digest; that an attestation was made says nothing.
fn is_recorded(project: &ProjectProbe<'_>, digest: Digest) -> bool {
    project.records.iter().map(|record| &record.evidence).any(|evidence| {
        evidence.subject.digest == digest
            && matches!(evidence.subject.kind, SubjectKind::Model | SubjectKind::Dataset)
            && evidence.kind != KIND_RECORDED
    })
}

fn declared_model_has(project: &ProjectProbe<'_>, digest: Digest) -> bool {
    let mut models = project.project.config.models.iter();
    models.any(|model| {
        let path = project.project.root.join(&model.path);
        Manifest::of_path(&path, &|_| ()).is_ok_and(|manifest| manifest.digest() == digest)
    })
}
