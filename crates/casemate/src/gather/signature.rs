//! Evidence about signatures: a model against the signature it names, with a key that must be refused.

use std::path::Path;

use casemate_core::{Digest, Evidence, Fact, Input, Outcome};
use casemate_provenance::Manifest;
use casemate_provenance::keys::signing::{SigningKey, VerifyingKey};
use casemate_provenance::oms::bundle::{Bundle, Material};
use casemate_provenance::oms::compare::{CompareSettings, Comparison, compare_manifest};
use casemate_provenance::oms::{Opened, Signer, Trusted};

use super::{ModelProbe, count, record};
use crate::context::Project;
use crate::exit::Failure;
use crate::models::FoundModel;
use crate::verifying::{SignatureFiles, is_loadable, key_failure};

/// The keys that `[trust]` names.
struct Keys {
    first: Vec<VerifyingKey>,
    second: Option<VerifyingKey>,
}

/// The record of a model held against its signature; without a signature, a record that says what to do.
///
/// # Errors
/// When a key of `[trust]` cannot be read.
pub fn signature(probe: &ModelProbe<'_>) -> Result<Evidence, Failure> {
    let (model, manifest) = (probe.model, probe.manifest);
    let mut evidence = record("provenance.signature", "signature", probe.subject(), probe.project.span());
    let Some(path) = &model.signature else {
        evidence.reason = Some(format!(
            "the model names no signature; sign it with `casemate sign {}`, name the file as `signature` in its `[[model]]` \
             and the public key under `[trust]`",
            model.shown
        ));
        return Ok(evidence);
    };
    let keys = keys(probe.project.project)?;
    if keys.first.is_empty() {
        evidence.reason = Some("`[trust]` of casemate.toml names no key to check the signature with".into());
        return Ok(evidence);
    }
    let files = match SignatureFiles::read(path, None) {
        Ok(files) => files,
        Err(failure) => {
            evidence.reason = Some(failure.message);
            return Ok(evidence);
        }
    };
    let apart = files.pq.as_ref().map(|(_, bytes)| ("signature-post-quantum", bytes));
    let read = [("signature", &files.bundle)].into_iter().chain(apart);
    let input =
        |(name, bytes): (&str, &Vec<u8>)| Input { name: name.into(), digest: casemate_provenance::sha256(bytes) };
    evidence.inputs = read.map(input).collect();
    evidence.inputs.extend(keys.first.iter().chain(&keys.second).map(key_input));
    let wrong_refused = wrong_key_is_refused(&files, &keys);
    let opened = keys.first.iter().map(|key| files.open(&keys.trusted(key))).collect::<Vec<_>>();
    let last_error = opened.iter().filter_map(|opened| opened.as_ref().err()).next_back().map(ToString::to_string);
    let opened = opened.into_iter().find_map(Result::ok);
    if opened.as_ref().is_some_and(|opened| opened.signed.sharded.is_some()) {
        evidence.reason = Some(format!(
            "the signature hashes the files in shards, which the scan does not; hold the model against it with `casemate verify`, \
             then sign it anew with `casemate sign {}`",
            model.shown
        ));
        return Ok(evidence);
    }
    let compared = opened.as_ref().map(|opened| compared(opened, &files, model, manifest, path));
    let facts = facts(compared.as_ref(), wrong_refused);
    let facts = facts.into_iter().chain(super::read_facts(probe.hashing));
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).collect();
    let from_cache = probe.hashing.files_from_cache;
    (evidence.outcome, evidence.reason) = match compared {
        _ if !wrong_refused => (Outcome::Unknown, Some("a key made up for the purpose verified the signature".into())),
        None => (Outcome::Fail, last_error),
        // A signature holds for bytes that were read. `check` reads all; this stands in case it ever does not.
        Some(_) if from_cache > 0 => (Outcome::Unknown, Some(format!("{from_cache} files were not read"))),
        Some(compared) if compared.holds() => (Outcome::Pass, None),
        Some(compared) => {
            let differ = compared.changed.len() + compared.missing.len();
            let uncovered = compared.added.len() + compared.uncovered_loadable.len();
            (Outcome::Fail, Some(format!("{differ} files are not as signed, {uncovered} are not covered")))
        }
    };
    Ok(evidence)
}

fn facts(compared: Option<&Comparison>, wrong_refused: bool) -> [(&'static str, Fact); 7] {
    let n = |of: &dyn Fn(&Comparison) -> usize| count(compared.map_or(0, of));
    [
        ("signature_valid", Fact::Bool(compared.is_some())),
        // Only keys of `[trust]` are tried.
        ("signer_trusted", Fact::Bool(compared.is_some())),
        ("files", n(&|compared| compared.equal)),
        ("files_unsigned", n(&|compared| compared.added.len() + compared.uncovered_loadable.len())),
        ("files_changed", n(&|compared| compared.changed.len() + compared.missing.len())),
        ("files_unchecked", n(&|compared| compared.unchecked.len())),
        ("key_wrong_refused", Fact::Bool(wrong_refused)),
    ]
}

fn compared(opened: &Opened, files: &SignatureFiles, model: &FoundModel, manifest: &Manifest, at: &Path) -> Comparison {
    // What cannot be resolved is no place a signature file may be left out at.
    let root = std::fs::canonicalize(&model.path).unwrap_or_else(|_| model.path.clone());
    let names = files.names(&root, at);
    let settings = CompareSettings {
        partial: &[],
        signature_names: &names,
        is_loadable: &is_loadable,
        known: None,
        progress: &|_| (),
    };
    compare_manifest(&opened.signed, manifest, &root, &settings)
}

/// Whether a fresh key of every kind that is trusted fails to verify, also where the file claims to be signed with it: a check
/// that anything passes shows nothing.
fn wrong_key_is_refused(files: &SignatureFiles, keys: &Keys) -> bool {
    keys.first.iter().all(|key| {
        let Ok(wrong) = SigningKey::generate(key.key_type) else { return false };
        let claims = |mut bundle: Bundle| {
            bundle.material = Material::PublicKey { hint: Some(wrong.public().hint()) };
            bundle.to_json()
        };
        let bundle = Bundle::parse(&files.bundle).map_or_else(|_| files.bundle.clone(), claims);
        let claiming = SignatureFiles { bundle, pq: files.pq.clone() };
        [files, &claiming].iter().all(|files| files.open(&keys.trusted(wrong.public())).is_err())
    })
}

fn keys(project: &Project) -> Result<Keys, Failure> {
    let load = |path: &String| VerifyingKey::load(&project.root.join(path)).map_err(|error| key_failure(&error));
    let trust = &project.config.trust;
    Ok(Keys {
        first: trust.keys.iter().map(load).collect::<Result<_, _>>()?,
        second: trust.pq_key.as_ref().map(load).transpose()?,
    })
}

fn key_input(key: &VerifyingKey) -> Input {
    let digest: Digest = casemate_provenance::sha256(key.to_pem().as_bytes());
    Input { name: "key".into(), digest }
}

impl Keys {
    fn trusted(&self, key: &VerifyingKey) -> Trusted {
        Trusted {
            signer: Signer::Key(key.clone()),
            pq_key: self.second.clone(),
            require_pq: self.second.is_some(),
            allow_legacy: false,
        }
    }
}
