//! The project's state directory: signing keys, the ledger, and the largest ledger head seen.
//!
//! Keys that lie beside the ledger prove nothing against whoever holds both; they make accidents and later edits visible.
//! Keeping `checkpoint.seen`, or a copy of it, elsewhere is what binds the owner too.

use std::fs;
use std::path::{Path, PathBuf};

use casemate_core::{Evidence, EvidenceSink, Record};
use casemate_provenance::cosignature::WitnessKey;
use casemate_provenance::files::open_lock;
use casemate_provenance::ledger::{self, Cosigning, Problem};
use casemate_provenance::{KeyPair, Ledger, LedgerSink, NoteKey, PublicKey, Trust, VerifyReport};

use crate::context::Project;
use crate::exit::Failure;
use crate::small_file;

/// An opened ledger. Reading it needs public keys only; the private ones are read when something is appended.
pub struct State {
    directory: PathBuf,
    ledger: Ledger,
    key: NoteKey,
    /// Whether keys and ledger were made just now.
    pub created: bool,
}

impl State {
    /// Whether the project has a ledger.
    pub fn exists(project: &Project) -> bool {
        project.state.join("ledger").is_dir()
    }

    /// Opens the project's ledger; makes keys and ledger where there are none.
    ///
    /// # Errors
    /// When they cannot be read or made.
    pub fn open_or_create(project: &Project) -> Result<Self, Failure> {
        let directory = &project.state;
        refuse_link(directory)?;
        let fail = |error: std::io::Error| Failure::not_evaluated(format!("`{}`: {error}", directory.display()));
        fs::create_dir_all(directory).map_err(fail)?;
        // Two first runs at once must not make two sets of keys.
        let lock = open_lock(&directory.join("create.lock")).map_err(Failure::not_evaluated)?;
        lock.lock().map_err(fail)?;
        let created = !Self::exists(project);
        if created {
            create(project)?;
        }
        Self::open(project, created)
    }

    /// Opens the project's ledger.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open_existing(project: &Project) -> Result<Self, Failure> {
        match Self::exists(project) {
            true => {
                refuse_link(&project.state)?;
                Self::open(project, false)
            }
            false => {
                let message =
                    format!("there is no ledger in `{}`; run `casemate check` there first", project.state.display());
                Err(Failure::not_evaluated(message))
            }
        }
    }

    fn open(project: &Project, created: bool) -> Result<Self, Failure> {
        let directory = project.state.as_path();
        let key = |role: &str| {
            let path = directory.join("keys").join(format!("{role}.pub.pem"));
            PublicKey::load(&path).map_err(|error| {
                Failure::not_evaluated(format!(
                    "public key: {error}; restore the state directory from a copy, or move it away to begin anew"
                ))
            })
        };
        let (evidence_key, ledger_key) = (key("evidence")?, key("ledger")?);
        let origin = small_file::read(&directory.join("origin"))
            .map_err(|error| Failure::not_evaluated(format!("{error}; restore the state directory from a copy")))?;
        let note_key = NoteKey::new(origin.trim_end(), ledger_key).map_err(|error| {
            Failure::integrity(format!("the ledger's name in `{}`: {error}", directory.join("origin").display()))
        })?;
        let witness = |text: &String| {
            WitnessKey::parse(text).map_err(|error| Failure::usage(format!("`[trust]` witnesses: {error}")))
        };
        let witnesses = project.config.trust.witnesses.iter().map(witness).collect::<Result<_, _>>()?;
        let trust = Trust { ledger: note_key.clone(), evidence: vec![evidence_key], witnesses };
        let ledger = Ledger::open(&directory.join("ledger"), trust).map_err(failure)?;
        Ok(Self { directory: directory.to_owned(), ledger, key: note_key, created })
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The key its heads are signed with.
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    fn seen_path(&self) -> PathBuf {
        self.directory.join("checkpoint.seen")
    }

    /// Where cosigned heads and time stamps are kept.
    pub fn anchors_path(&self) -> PathBuf {
        self.directory.join("anchors")
    }

    /// Takes up the cosignatures in `bytes`.
    ///
    /// # Errors
    /// Exit 4 when they are not to be believed.
    pub fn cosign(&mut self, bytes: &[u8]) -> Result<Cosigning, Failure> {
        self.ledger.cosign(bytes).map_err(failure)
    }

    /// Recomputes everything against the largest head seen, and remembers the present one where it holds.
    ///
    /// # Errors
    /// When the remembered head cannot be believed.
    pub fn verify(&self) -> Result<VerifyReport, Failure> {
        let remembered = ledger::remembered(&self.seen_path(), &self.key).map_err(failure)?;
        let mut report = self.ledger.verify(remembered.as_ref());
        if remembered.is_none() && report.tree_size > 0 {
            report.notes.push("no head was remembered here before, so a rollback could not be seen".into());
        }
        if report.is_intact()
            && let Err(error) = self.ledger.remember(&self.seen_path())
        {
            // Reading needs no place to write; what was seen is then not kept.
            report.notes.push(format!("the head seen could not be remembered: {error}"));
        }
        Ok(report)
    }

    /// Appends evidence, all of it or nothing, and returns the ledger ids.
    ///
    /// # Errors
    /// When the private keys cannot be read, or it could not be made durable.
    pub fn append(&mut self, batch: &[Evidence]) -> Result<Vec<String>, Failure> {
        let key = |role: &str| {
            let path = key_path(&self.directory, role);
            KeyPair::load(&path).map_err(|error| Failure::not_evaluated(format!("signing key: {error}")))
        };
        let (evidence_key, ledger_key) = (key("evidence")?, key("ledger")?);
        let mut sink = LedgerSink { ledger: &mut self.ledger, evidence_key: &evidence_key, ledger_key: &ledger_key };
        let ids = sink.append(batch).map_err(|error| match error.damaged {
            true => Failure::integrity(error),
            false => Failure::not_evaluated(error),
        })?;
        self.ledger.remember(&self.seen_path()).map_err(failure)?;
        Ok(ids)
    }

    /// Every record, checked.
    ///
    /// # Errors
    /// Exit 4 with the first problem when any record does not verify.
    pub fn records(&self) -> Result<Vec<Record>, Failure> {
        let all = self.ledger.records().map_err(failure)?;
        match all.problems.first() {
            Some(problem) => Err(Failure::integrity(describe(problem))),
            None => Ok(all.records.into_iter().map(|record| record.record).collect()),
        }
    }
}

/// A state directory that is a link leads keys and ledger wherever a repository wants them.
fn refuse_link(directory: &Path) -> Result<(), Failure> {
    let links = [directory.to_owned(), directory.join("keys"), directory.join("ledger")];
    match links.iter().find(|path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())) {
        Some(path) => {
            let message = format!("`{}` is a link; name the directory it stands for with --state", path.display());
            Err(Failure::not_evaluated(message))
        }
        None => Ok(()),
    }
}

/// One problem of a ledger in one line.
pub fn describe(problem: &Problem) -> String {
    format!("ledger: `{}`: {}", problem.file, problem.what)
}

fn create(project: &Project) -> Result<(), Failure> {
    let directory = &project.state;
    let fail = |error: std::io::Error| Failure::not_evaluated(format!("`{}`: {error}", directory.display()));
    fs::create_dir_all(directory.join("keys")).map_err(fail)?;
    let mut pairs = Vec::new();
    for role in ["evidence", "ledger"] {
        let path = key_path(directory, role);
        // A key left by an interrupted run is used, not replaced: something may be signed with it already.
        let pair = match path.exists() {
            true => KeyPair::load(&path),
            false => KeyPair::generate().and_then(|pair| pair.save(&path).map(|()| pair)),
        };
        let pair = pair.map_err(|error| Failure::not_evaluated(format!("signing key: {error}")))?;
        let public = directory.join("keys").join(format!("{role}.pub.pem"));
        if !public.exists() {
            pair.public().save(&public).map_err(|error| Failure::not_evaluated(format!("public key: {error}")))?;
        }
        pairs.push(pair);
    }
    // Keys and records of a machine do not belong in version control.
    let ignore = directory.join(".gitignore");
    if !ignore.exists() {
        crate::context::write_whole(&ignore, b"*\n")?;
    }
    let origin = origin(&project.name);
    crate::context::write_whole(&directory.join("origin"), format!("{origin}\n").as_bytes())?;
    match pairs.last() {
        Some(ledger_key) => Ledger::create(&directory.join("ledger"), &origin, ledger_key).map_err(failure),
        None => Ok(()),
    }
}

/// Name of a project's ledger: no spaces and no `+`, as checkpoints demand.
fn origin(name: &str) -> String {
    let word = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    format!("casemate/{}", name.chars().take(100).map(word).collect::<String>())
}

fn key_path(directory: &Path, role: &str) -> PathBuf {
    directory.join("keys").join(format!("{role}.pem"))
}

/// What an error of the ledger means for the run.
pub fn failure(error: ledger::Error) -> Failure {
    match error {
        ledger::Error::Storage(_) | ledger::Error::Exists { .. } | ledger::Error::NotALedger { .. } => {
            Failure::not_evaluated(error)
        }
        ledger::Error::UnknownRecord { .. } | ledger::Error::SeveralRecords { .. } => Failure::usage(error),
        error => Failure::integrity(error),
    }
}
