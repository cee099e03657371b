//! The project's state directory: signing keys, the ledger, and the largest ledger head seen.
//!
//! Keys that lie beside the ledger prove nothing against whoever holds both; they make accidents and later edits visible.
//! Keeping `checkpoint.seen`, or a copy of it, elsewhere is what binds the owner too.

use std::fs;
use std::path::{Path, PathBuf};

use casemate_core::{Evidence, EvidenceSink, Record};
use casemate_provenance::ledger::{self, Problem};
use casemate_provenance::{Checkpoint, KeyPair, Ledger, LedgerSink, NoteKey, Trust, VerifyReport};

use crate::context::Project;
use crate::exit::Failure;

/// An opened ledger with the keys to append to it.
pub struct State {
    directory: PathBuf,
    sink: LedgerSink,
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
        let fail = |error: std::io::Error| Failure::not_evaluated(format!("`{}`: {error}", directory.display()));
        fs::create_dir_all(directory).map_err(fail)?;
        // Two first runs at once must not make two sets of keys.
        let lock = fs::File::create(directory.join("create.lock")).map_err(fail)?;
        lock.lock().map_err(fail)?;
        let created = !Self::exists(project);
        if created {
            create(project)?;
        }
        Self::open(directory, created)
    }

    /// Opens the project's ledger.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open_existing(project: &Project) -> Result<Self, Failure> {
        match Self::exists(project) {
            true => Self::open(&project.state, false),
            false => {
                let message =
                    format!("there is no ledger in `{}`; run `casemate check` first", project.state.display());
                Err(Failure::not_evaluated(message))
            }
        }
    }

    fn open(directory: &Path, created: bool) -> Result<Self, Failure> {
        let key = |role: &str| {
            let path = key_path(directory, role);
            KeyPair::load(&path).map_err(|error| Failure::not_evaluated(format!("signing key: {error}")))
        };
        let (evidence_key, ledger_key) = (key("evidence")?, key("ledger")?);
        let origin_path = directory.join("origin");
        let origin = fs::read_to_string(&origin_path)
            .map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", origin_path.display())))?;
        let note_key = NoteKey::new(origin.trim_end(), ledger_key.public()).map_err(Failure::integrity)?;
        let trust = Trust { ledger: note_key.clone(), evidence: vec![evidence_key.public()] };
        let ledger = Ledger::open(&directory.join("ledger"), trust).map_err(failure)?;
        let sink = LedgerSink { ledger, evidence_key, ledger_key };
        Ok(Self { directory: directory.to_owned(), sink, key: note_key, created })
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.sink.ledger
    }

    /// The key its heads are signed with.
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// The largest head seen here before.
    ///
    /// # Errors
    /// When the file is there and cannot be believed.
    pub fn remembered(&self) -> Result<Option<Checkpoint>, Failure> {
        ledger::remembered(&self.seen_path(), &self.key).map_err(failure)
    }

    fn seen_path(&self) -> PathBuf {
        self.directory.join("checkpoint.seen")
    }

    /// Recomputes everything against the largest head seen, and remembers the present one where it holds.
    ///
    /// # Errors
    /// When the remembered head cannot be read or kept.
    pub fn verify(&self) -> Result<VerifyReport, Failure> {
        let report = self.ledger().verify(self.remembered()?.as_ref());
        if report.is_intact() {
            self.ledger().remember(&self.seen_path()).map_err(failure)?;
        }
        Ok(report)
    }

    /// Appends evidence, all of it or nothing, and returns the ledger ids.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn append(&mut self, batch: &[Evidence]) -> Result<Vec<String>, Failure> {
        let ids = self.sink.append(batch).map_err(Failure::not_evaluated)?;
        self.ledger().remember(&self.seen_path()).map_err(failure)?;
        Ok(ids)
    }

    /// Every record, checked.
    ///
    /// # Errors
    /// Exit 4 with the first problem when any record does not verify.
    pub fn records(&self) -> Result<Vec<Record>, Failure> {
        let all = self.ledger().records().map_err(failure)?;
        match all.problems.first() {
            Some(problem) => Err(Failure::integrity(describe(problem))),
            None => Ok(all.records.into_iter().map(|record| record.record).collect()),
        }
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

fn failure(error: ledger::Error) -> Failure {
    match error {
        ledger::Error::Storage(_) | ledger::Error::Exists { .. } | ledger::Error::NotALedger { .. } => {
            Failure::not_evaluated(error)
        }
        ledger::Error::UnknownRecord { .. } => Failure::usage(error),
        error => Failure::integrity(error),
    }
}
