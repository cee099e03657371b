//! What making and checking attestations share: which model, which keys, which file, and what the newest ones say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use casemate_core::{Digest, Timestamp};
use casemate_provenance::attestation::ModelSubject;
use casemate_provenance::attestation::judge::{Judged, Keyring, Standing, judge_all};
use casemate_provenance::attestation::predicate::{Kind, Predicate, Role};
use casemate_provenance::attestation::store;
use casemate_provenance::keys::attesting::{AttestingKey, TrustedKey};
use casemate_provenance::{Manifest, sha256};

use crate::commands::keygen::password;
use crate::config::ModelConfig;
use crate::context::{Context, Project};
use crate::exit::Failure;
use crate::progress;
use crate::verifying::{bytes_under, key_failure, read_signature, signature_name};

/// Where attestations go and come from when nothing else is said.
const FILE: &str = "attestations.jsonl";

/// A model somebody named.
pub struct Target {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What casemate.toml says of it.
    pub declared: Option<ModelConfig>,
}

/// Attestations of a model, judged.
pub struct Attested {
    /// The lines.
    pub lines: Vec<Vec<u8>>,
    /// What is to be thought of each.
    pub judged: Vec<Judged>,
    /// What they were held against.
    pub subject: ModelSubject,
    /// Whom it was believed.
    pub keyring: Keyring,
}

impl Target {
    /// The model at a path, or the declared one of that name.
    ///
    /// # Errors
    /// When there is neither.
    pub fn find(project: &Project, model: &str) -> Result<Self, Failure> {
        let declared =
            |wanted: &dyn Fn(&ModelConfig) -> bool| project.config.models.iter().find(|m| wanted(m)).cloned();
        let given = Path::new(model);
        if given.exists() {
            let real = std::fs::canonicalize(given).ok();
            let is_it = |model: &ModelConfig| real == std::fs::canonicalize(project.root.join(&model.path)).ok();
            let declared = declared(&is_it).filter(|_| real.is_some());
            let file_name = real.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
            let name = declared.as_ref().map(|model| model.name.clone()).or(file_name).unwrap_or_else(|| model.into());
            return Ok(Self { name, path: given.to_owned(), declared });
        }
        match declared(&|declared| declared.name == model) {
            Some(found) => {
                Ok(Self { name: found.name.clone(), path: project.root.join(&found.path), declared: Some(found) })
            }
            None => Err(Failure::usage(format!("`{model}` is neither a path nor a model that casemate.toml declares"))),
        }
    }

    /// Its digests, by reading every file, and that of its signature file where there is one.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn subject(&self, context: &Context, signature: Option<&Path>) -> Result<ModelSubject, Failure> {
        let bar = progress::bar(context, "hashing", bytes_under(&self.path));
        let manifest = Manifest::of_path(&self.path, &|done| bar.set_position(done)).map_err(Failure::not_evaluated)?;
        bar.finish_and_clear();
        let signature = signature.map(|path| read_signature(path).map(|bytes| sha256(&bytes))).transpose()?;
        Ok(subject_of(&self.name, &manifest, signature))
    }

    /// The file of its attestations: the one given, the one it names, or one in the working directory.
    ///
    /// # Errors
    /// When it would lie inside the model, which would change with it.
    pub fn file(&self, project: &Project, given: Option<&Path>) -> Result<PathBuf, Failure> {
        let named = self.declared.as_ref().and_then(|model| model.attestations.as_ref());
        let file = given.map(Path::to_owned).or_else(|| named.map(|named| project.root.join(named)));
        let file = file.unwrap_or_else(|| PathBuf::from(FILE));
        let root = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        match root.is_dir() && signature_name(&root, &file).is_some() {
            true => Err(Failure::usage(format!(
                "`{}` lies inside the model, which would change with it; keep it outside (--attestations FILE)",
                file.display()
            ))),
            false => Ok(file),
        }
    }
}

/// The digests of a model with this manifest.
pub fn subject_of(name: &str, manifest: &Manifest, signature: Option<Digest>) -> ModelSubject {
    let file = match manifest.entries.as_slice() {
        [only] if only.path == "." => Some((manifest.name.clone(), only.sha256)),
        _ => None,
    };
    ModelSubject { name: name.into(), manifest: manifest.digest(), file, signature }
}

/// The keys to sign with: one, and a post-quantum one behind it.
///
/// # Errors
/// When one cannot be read.
pub fn signing_keys(
    key: &Path,
    pq_key: Option<&Path>,
    password_file: Option<&Path>,
) -> Result<Vec<AttestingKey>, Failure> {
    let password = password_file.map(password).transpose()?;
    let load = |path: &Path| AttestingKey::load(path, password.as_ref()).map_err(|error| key_failure(&error));
    let first = load(key)?;
    let second = pq_key.map(load).transpose()?;
    if second.as_ref().is_some_and(|key| !key.public().is_post_quantum()) {
        return Err(Failure::usage("the second signature must be ML-DSA-65"));
    }
    Ok(std::iter::once(first).chain(second).collect())
}

/// The keys under `[trust.roles]`.
///
/// # Errors
/// When one cannot be read.
pub fn keyring(project: &Project) -> Result<Keyring, Failure> {
    let mut keyring = Keyring::default();
    for (role, paths) in &project.config.trust.roles {
        for path in paths {
            let key = TrustedKey::load(&project.root.join(path)).map_err(|error| key_failure(&error))?;
            keyring.trust(key, [*role]);
        }
    }
    Ok(keyring)
}

/// These keys, for everything.
///
/// # Errors
/// When one cannot be read.
pub fn keyring_of(keys: &[PathBuf]) -> Result<Keyring, Failure> {
    let mut keyring = Keyring::default();
    for path in keys {
        keyring.trust(TrustedKey::load(path).map_err(|error| key_failure(&error))?, Role::ALL);
    }
    Ok(keyring)
}

impl Attested {
    /// Reads and judges the attestations in `file`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(file: &Path, keyring: Keyring, subject: ModelSubject, now: Timestamp) -> Result<Self, Failure> {
        let lines = store::read(file).map_err(|error| match error {
            store::Error::Io { .. } => Failure::not_evaluated(error),
            error => Failure::integrity(error),
        })?;
        let judged = judge_all(&lines, &keyring, &subject, now);
        Ok(Self { lines, judged, subject, keyring })
    }

    /// The newest of each kind and source. Older ones of the same were overtaken: a test that failed and then passed has passed.
    pub fn newest(&self) -> Vec<&Judged> {
        let mut newest: BTreeMap<(Kind, String), &Judged> = BTreeMap::new();
        for judged in &self.judged {
            let counts = matches!(judged.standing, Standing::Good | Standing::Expired);
            let Some(statement) = judged.statement.as_ref().filter(|_| counts) else { continue };
            let key = (statement.predicate.kind(), source(&statement.predicate));
            let older = newest.get(&key).and_then(|other| other.statement.as_ref());
            if older.is_none_or(|older| older.time() <= statement.time()) {
                newest.insert(key, judged);
            }
        }
        let mut newest: Vec<_> = newest.into_values().collect();
        newest.sort_by_key(|judged| judged.line);
        newest
    }
}

/// Which of the statements of one kind continue each other: those of one approver, one suite, one stage, one verifier.
fn source(predicate: &Predicate) -> String {
    match predicate {
        Predicate::Approval(approval) => approval.approver.clone(),
        Predicate::Stage(stage) => stage.stage.as_str().into(),
        Predicate::Summary(summary) => format!("{} {}", summary.verifier.id, summary.policy.uri),
        Predicate::TestResult(test) => {
            test.configuration.iter().map(|thing| format!("{} {:?}\n", thing.name, thing.digest)).collect()
        }
        Predicate::Provenance(_) | Predicate::Scan(_) | Predicate::Bom(_) => String::new(),
    }
}
