//! Watching models: what a model is held against, and what is said of it now.
//!
//! The threat is a file replaced between the release and its next load. One judgement is a whole verification: the signature,
//! whom it must be of, and every file. [`event`] says what changed since the last one, [`sinks`] tell whom it concerns,
//! [`watcher`] decides when to judge again. Between two judgements a loader may still read something else: what is to be loaded
//! safely is verified in a private copy.

pub mod event;
pub mod sinks;
pub mod watcher;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use casemate_core::{Clock as _, Digest, SystemClock};
use casemate_provenance::keys::certificate::Certificate;
use casemate_provenance::keys::signing::VerifyingKey;
use casemate_provenance::oms::chain::TrustedRoots;
use casemate_provenance::oms::compare::{CompareSettings, Comparison, compare_manifest};
use casemate_provenance::oms::payload::{HashType, Signed};
use casemate_provenance::oms::{self, Opened, Signer, Trusted};
use casemate_provenance::{Manifest, Remembered, manifest, sha256};

use crate::context::Project;
use crate::exit::{Exit, Failure};
use crate::verifying::{SignatureFiles, is_loadable, key_failure, read_signature};

/// Files named one by one in a judgement; a model with more differences has said enough.
const FILES_NAMED_MAX: usize = 100;

/// A model, its signature, and whom that must be of.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name of the model.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its signature.
    pub signature: PathBuf,
    /// Whom to believe.
    pub trust: Believed,
    /// Whether files that no signature covers are a difference, loadable or not.
    pub strict: bool,
}

/// Whom to believe, and the files that say so, as they were when watching began.
#[derive(Clone, Debug)]
pub struct Believed {
    signers: Vec<Signer>,
    pq_key: Option<VerifyingKey>,
    require_pq: bool,
    allow_legacy: bool,
    /// A key that is replaced would make the replaced model verify.
    pinned: Vec<(PathBuf, Digest)>,
}

/// What is true of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As signed.
    Intact,
    /// Could not be verified: something is missing or cannot be read.
    Unverifiable,
    /// Not as signed, or its signature does not hold.
    Altered,
}

/// One file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDifference {
    /// Its name in the model.
    pub path: String,
    /// `changed`, `missing`, `added`, `uncovered-loadable`, `uncovered`.
    pub how: &'static str,
    /// Digest that was signed, with its function.
    pub expected: Option<String>,
    /// Digest of what is there.
    pub found: Option<String>,
}

/// What one verification came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The state.
    pub state: State,
    /// Why it is not intact.
    pub reason: Option<String>,
    /// What differs, up to [`FILES_NAMED_MAX`].
    pub files: Vec<FileDifference>,
    /// Differences beyond those named.
    pub files_left_out: usize,
    /// Files that are as signed.
    pub files_equal: usize,
    /// SHA-256 of the signature file, where it could be read.
    pub signature: Option<Digest>,
    /// Digest of the model's manifest, where all of it could be read.
    pub digest: Option<Digest>,
}

impl State {
    /// How a run that ends in this state exits.
    pub fn exit(self) -> Exit {
        match self {
            Self::Intact => Exit::Passed,
            Self::Unverifiable => Exit::NotEvaluated,
            Self::Altered => Exit::Integrity,
        }
    }
}

impl Believed {
    /// Believes the holders of the keys in `files`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn keys(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut believed = Self::nobody();
        for file in files {
            let key = believed.pin(file, VerifyingKey::load)?;
            believed.signers.push(Signer::Key(key));
        }
        Ok(believed)
    }

    /// Believes whoever the certificates in `roots` say is called `identity`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn certified(roots: &Path, identity: &str) -> Result<Self, Failure> {
        let mut believed = Self::nobody();
        let roots = believed.pin(roots, Certificate::load)?;
        let roots = TrustedRoots { roots, identity: identity.into(), now: SystemClock.now() };
        believed.signers.push(Signer::Certified(roots));
        Ok(believed)
    }

    /// Believes the holder of this key, which stands in no file.
    pub fn key(key: VerifyingKey) -> Self {
        Self { signers: vec![Signer::Key(key)], ..Self::nobody() }
    }

    /// Believes whom `[trust]` of the project names; nobody is left to be believed where it names no key.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn of(project: &Project) -> Result<Self, Failure> {
        let trust = &project.config.trust;
        let keys: Vec<PathBuf> = trust.keys.iter().map(|key| project.root.join(key)).collect();
        let second = trust.pq_key.as_ref().map(|key| project.root.join(key));
        Self::keys(&keys)?.with_second(second.as_deref(), second.is_some())
    }

    /// Whether nobody is believed: then nothing verifies.
    pub fn is_nobody(&self) -> bool {
        self.signers.is_empty()
    }

    /// Reads the second signature with the key in `file`, and demands it if told to.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn with_second(mut self, file: Option<&Path>, require: bool) -> Result<Self, Failure> {
        self.pq_key = file.map(|file| self.pin(file, VerifyingKey::load)).transpose()?;
        self.require_pq = require;
        Ok(self)
    }

    /// Reads the forms of releases before v1.0 if told to.
    #[must_use]
    pub fn with_legacy(mut self, allow: bool) -> Self {
        self.allow_legacy = allow;
        self
    }

    fn nobody() -> Self {
        Self { signers: Vec::new(), pq_key: None, require_pq: false, allow_legacy: false, pinned: Vec::new() }
    }

    fn pin<T>(
        &mut self,
        file: &Path,
        load: impl Fn(&Path) -> Result<T, casemate_provenance::keys::Error>,
    ) -> Result<T, Failure> {
        let loaded = load(file).map_err(|error| key_failure(&error))?;
        self.pinned.push((file.to_owned(), sha256(&read_signature(file)?)));
        Ok(loaded)
    }

    /// The files that say whom to believe.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.pinned.iter().map(|(file, _)| file.as_path())
    }

    /// # Errors
    /// The state and reason when a key file is no longer what it was.
    fn still_holds(&self) -> Result<(), (State, String)> {
        for (file, digest) in &self.pinned {
            let bytes = read_signature(file).map_err(|failure| (State::Unverifiable, failure.message))?;
            if sha256(&bytes) != *digest {
                let what = format!(
                    "`{}` is not the key it was when watching began; put it back, or begin anew if that was meant",
                    file.display()
                );
                return Err((State::Altered, what));
            }
        }
        Ok(())
    }

    /// The signature in `files`, checked now with everyone who is believed.
    ///
    /// # Errors
    /// What the last of them said against it.
    pub fn open(&self, files: &SignatureFiles) -> Result<Opened, oms::Error> {
        let mut last = oms::Error::Signature("no key is given to check the signature with".into());
        for signer in &self.signers {
            let signer = match signer {
                Signer::Certified(roots) => Signer::Certified(TrustedRoots { now: SystemClock.now(), ..roots.clone() }),
                Signer::Key(key) => Signer::Key(key.clone()),
            };
            let (pq_key, require_pq, allow_legacy) = (self.pq_key.clone(), self.require_pq, self.allow_legacy);
            match files.open(&Trusted { signer, pq_key, require_pq, allow_legacy }) {
                Ok(opened) => return Ok(opened),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Target {
    /// Verifies the model now; files that did not change since `remembered` are not read again.
    pub fn judge(&self, remembered: &mut Remembered) -> Judgement {
        if let Err((state, reason)) = self.trust.still_holds() {
            return Judgement::of(state, reason);
        }
        let files = match SignatureFiles::read(&self.signature, None) {
            Ok(files) => files,
            Err(failure) => return Judgement::of(State::Unverifiable, failure.message),
        };
        let manifest = remembered.manifest(&self.path, SystemTime::now(), &|_| ());
        self.judged(&files, manifest.as_ref())
    }

    /// What the signature `files` say of a model that is `manifest`.
    pub fn judged(&self, files: &SignatureFiles, manifest: Result<&Manifest, &manifest::Error>) -> Judgement {
        let judgement = match (self.trust.open(files), manifest) {
            (Err(error), _) => Judgement::of(State::Altered, format!("`{}`: {error}", self.signature.display())),
            (Ok(_), Err(error)) => Judgement::of(State::Unverifiable, error.to_string()),
            (Ok(opened), Ok(manifest)) => self.compared(&opened.signed, files, manifest),
        };
        Judgement { signature: Some(sha256(&files.bundle)), digest: manifest.ok().map(Manifest::digest), ..judgement }
    }

    /// What `manifest` is, held against a list that was signed.
    fn compared(&self, signed: &Signed, files: &SignatureFiles, manifest: &Manifest) -> Judgement {
        // What cannot be resolved is no place a signature file may be left out at.
        let root = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let names = files.names(&root, &self.signature);
        let settings = CompareSettings {
            partial: &[],
            signature_names: &names,
            is_loadable: &is_loadable,
            known: None,
            progress: &|_| (),
        };
        let compared = compare_manifest(signed, manifest, &root, &settings);
        let holds = compared.holds() && (!self.strict || compared.uncovered.is_empty());
        let (state, reason) = match holds {
            true => (State::Intact, None),
            false => (State::Altered, Some(words(&compared))),
        };
        let mut files = if holds { Vec::new() } else { differences(&compared, signed, manifest, self.strict) };
        let files_left_out = files.len().saturating_sub(FILES_NAMED_MAX);
        files.truncate(FILES_NAMED_MAX);
        Judgement { files, files_left_out, files_equal: compared.equal, reason, ..Judgement::of(state, String::new()) }
    }
}

impl Judgement {
    /// A judgement without anything about single files.
    pub fn of(state: State, reason: String) -> Self {
        Self {
            state,
            reason: Some(reason),
            files: Vec::new(),
            files_left_out: 0,
            files_equal: 0,
            signature: None,
            digest: None,
        }
    }

    /// Whether somebody who knows the other has to be told of this one: a new state, other files, another signature.
    fn is_news_after(&self, other: &Self) -> bool {
        let said = |judgement: &Self| (judgement.state, judgement.reason.clone(), judgement.signature);
        said(self) != said(other) || self.files != other.files
    }
}

fn words(compared: &Comparison) -> String {
    let counts = [
        (compared.changed.len(), "changed"),
        (compared.missing.len(), "missing"),
        (compared.added.len(), "added"),
        (compared.uncovered_loadable.len(), "loadable and not covered"),
        (compared.uncovered.len(), "not covered"),
    ];
    let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if counts.is_empty() { "no file is as signed".into() } else { format!("files: {}", counts.join(", ")) }
}

fn differences(compared: &Comparison, signed: &Signed, manifest: &Manifest, strict: bool) -> Vec<FileDifference> {
    let function = signed.hash_type.as_str();
    let expected = |path: &str| {
        let mut listed = signed.resources.iter().chain(&signed.also_covers);
        listed.find(|one| one.name == path).map(|one| format!("{function}:{}", one.digest))
    };
    let found = |path: &str| {
        let entry = manifest.entries.iter().find(|entry| entry.path == path)?;
        let digest = if signed.hash_type == HashType::Blake3 { entry.blake3 } else { entry.sha256 };
        Some(format!("{function}:{digest}"))
    };
    let none = Vec::new();
    let kinds = [
        ("changed", &compared.changed),
        ("missing", &compared.missing),
        ("added", &compared.added),
        ("uncovered-loadable", &compared.uncovered_loadable),
        ("uncovered", if strict { &compared.uncovered } else { &none }),
    ];
    let named = kinds.iter().flat_map(|(how, names)| names.iter().map(move |name| (*how, name)));
    // Beyond what is named only the number counts, and every one looked up would take its time.
    named
        .enumerate()
        .map(|(i, (how, path))| FileDifference {
            path: path.clone(),
            how,
            expected: if i < FILES_NAMED_MAX { expected(path) } else { None },
            found: if i < FILES_NAMED_MAX { found(path) } else { None },
        })
        .collect()
}

#[cfg(test)]
mod tests;
