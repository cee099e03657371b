//! What a gate said, as a signed SLSA verification summary about each model it looked at.
//!
//! PASSED only where the gate opens: what is unknown, and a ledger that does not hold, are FAILED. The levels are the ones this
//! build can answer for: a provenance that verifies is build level 1; who ran the builder it cannot see.

use std::collections::BTreeMap;
use std::path::Path;

use casemate_assess::gate::{GateOutcome, Status};
use casemate_core::Digest;
use casemate_provenance::attestation::descriptor::ResourceDescriptor;
use casemate_provenance::attestation::judge::Judged;
use casemate_provenance::attestation::predicate::{Kind, Predicate, Role};
use casemate_provenance::attestation::summary::{LEVEL_FAILED, SLSA_VERSION, Summary, VerificationResult, Verifier};
use casemate_provenance::{Manifest, sha256};
use serde_json::json;

use crate::attesting::{Attested, keyring, signing_keys, subject_of};
use crate::cli::GateArgs;
use crate::commands::assess::Assessed;
use crate::commands::attest::{append, signed, warn_of_roles};
use crate::context::Context;
use crate::exit::Failure;
use crate::models::FoundModel;

/// Signs what the gate said and appends it to `file`.
///
/// # Errors
/// When a key, the ledger or the file fails.
pub fn attest(
    context: &Context,
    assessed: &Assessed,
    args: &GateArgs,
    (file, key): (&Path, &Path),
) -> Result<(), Failure> {
    let keys = signing_keys(key, args.pq_key.as_deref(), args.password_file.as_deref())?;
    let Some(posture) = &assessed.report.posture else { return Ok(()) };
    let counts = |model: &FoundModel, digest: Digest| {
        posture.models.iter().any(|m| m.counts && m.digest == Some(digest) && m.name.as_deref() == Some(&model.name))
    };
    let envelopes = envelopes(assessed)?;
    let mut lines = Vec::new();
    for (model, manifest) in assessed.models.iter().filter(|(model, manifest)| counts(model, manifest.digest())) {
        refuse_inside(model, file)?;
        let subject = subject_of(&model.name, manifest, None);
        let summary = summary(context, assessed, args, (model, manifest), &envelopes)?;
        let predicate = Predicate::Summary(Box::new(summary));
        let line = signed(context, &subject, predicate, (&keys, remarks(assessed)))?;
        lines.push((subject, Kind::Summary.predicate_type(), line));
    }
    if lines.is_empty() {
        return Err(Failure::not_evaluated("no model is in use, so there is nothing to sign a summary about"));
    }
    append(context, &assessed.project, file, &lines, &keys)?;
    context.say(&format!("signed {} summaries into {}", lines.len(), file.display()));
    warn_of_roles(context, &assessed.project, Role::Release, &keys)
}

fn refuse_inside(model: &FoundModel, file: &Path) -> Result<(), Failure> {
    let root = std::fs::canonicalize(&model.path).unwrap_or_else(|_| model.path.clone());
    match root.is_dir() && crate::verifying::signature_name(&root, file).is_some() {
        true => {
            Err(Failure::usage(format!("`{}` lies inside model `{}`; keep it outside", file.display(), model.name)))
        }
        false => Ok(()),
    }
}

/// Digest of the envelope of each record, by ledger id.
fn envelopes(assessed: &Assessed) -> Result<BTreeMap<String, Digest>, Failure> {
    let all = assessed.state.ledger().records().map_err(Failure::integrity)?;
    Ok(all.records.into_iter().map(|record| (record.record.id, record.envelope)).collect())
}

fn summary(
    context: &Context,
    assessed: &Assessed,
    args: &GateArgs,
    (model, manifest): (&FoundModel, &Manifest),
    envelopes: &BTreeMap<String, Digest>,
) -> Result<Summary, Failure> {
    let gate = assessed.report.posture.as_ref().and_then(|posture| posture.gate.as_ref());
    let passed = gate.is_some_and(|gate| gate.outcome == GateOutcome::Pass);
    let good = attestations(context, assessed, model, manifest)?;
    let has_provenance =
        good.iter().any(|judged| judged.good().is_some_and(|statement| statement.predicate.kind() == Kind::Provenance));
    let level = match (passed, has_provenance) {
        (false, _) => LEVEL_FAILED,
        (true, true) => "SLSA_BUILD_LEVEL_1",
        (true, false) => "SLSA_BUILD_LEVEL_0",
    };
    let digest = |uri: String, sha256: Digest| ResourceDescriptor { uri, ..ResourceDescriptor::of("", sha256) };
    let of_ledger = assessed.report.evidence.iter().filter_map(|id| Some((id, *envelopes.get(id)?)));
    let mut inputs: Vec<_> =
        of_ledger.map(|(id, envelope)| digest(format!("urn:casemate:record:{id}"), envelope)).collect();
    inputs.extend(good.iter().map(|judged| digest(format!("urn:casemate:line:{}", judged.line), judged.digest)));
    let result = if passed { VerificationResult::Passed } else { VerificationResult::Failed };
    Ok(Summary {
        // Readers that go by the schema of in-toto know no versions here.
        verifier: Verifier { id: args.verifier.clone(), version: BTreeMap::new() },
        time_verified: context.now(),
        resource_uri: format!("urn:casemate:model:{}", percent_encoded(&model.name)),
        policy: policy(assessed, &args.stage)?,
        input_attestations: inputs,
        verification_result: result,
        verified_levels: vec![level.into()],
        dependency_levels: BTreeMap::new(),
        slsa_version: Some(SLSA_VERSION.into()),
    })
}

/// The good attestations of the file the model names; none where it names none.
fn attestations(
    context: &Context,
    assessed: &Assessed,
    model: &FoundModel,
    manifest: &Manifest,
) -> Result<Vec<Judged>, Failure> {
    let named = model.declared.as_ref().and_then(|declared| declared.attestations.as_ref());
    let path = named.map(|named| assessed.project.root.join(named)).filter(|path| path.exists());
    let Some(path) = path else { return Ok(Vec::new()) };
    let subject = subject_of(&model.name, manifest, None);
    let attested = Attested::read(&path, keyring(&assessed.project)?, subject, context.now())?;
    // A summary that rests on earlier summaries would vouch for itself.
    let counts = |judged: &Judged| judged.good().is_some_and(|statement| statement.predicate.kind() != Kind::Summary);
    Ok(attested.judged.into_iter().filter(counts).collect())
}

/// Gates, catalogue and waivers by one digest.
fn policy(assessed: &Assessed, stage: &str) -> Result<ResourceDescriptor, Failure> {
    let rules = &assessed.rules;
    let gates = serde_json::to_value(&rules.gates).map_err(Failure::not_evaluated)?;
    let waivers = serde_json::to_value(&rules.waivers).map_err(Failure::not_evaluated)?;
    let text = json!({"gate": stage, "gates": gates, "catalogue": rules.digest, "waivers": waivers}).to_string();
    let uri = format!("urn:casemate:gate:{stage}");
    Ok(ResourceDescriptor { uri, ..ResourceDescriptor::of("", sha256(text.as_bytes())) })
}

/// In which ways the gate asked for less than the shipped one, and what was waived.
fn remarks(assessed: &Assessed) -> Vec<String> {
    let gate = assessed.report.posture.as_ref().and_then(|posture| posture.gate.as_ref());
    let Some(gate) = gate else { return Vec::new() };
    let waived = gate.requirements.iter().filter(|requirement| requirement.status == Status::Waived);
    let loosened = gate.loosened.iter().map(|how| format!("the policy asks for less: {how}"));
    loosened.chain(waived.map(|requirement| format!("waived: {}", requirement.name))).collect()
}

/// A name as part of a URI (RFC 3986, section 2.1).
fn percent_encoded(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}
