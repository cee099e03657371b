//! Reading records back: entry, envelope, signature and statement agree, or there is a problem to report.

use casemate_core::{Digest, Evidence, Record};
use rayon::prelude::*;

use super::defect::{Defect, Problem};
use super::event::Event;
use super::tree::Tree;
use super::{ENVELOPE_BYTES_MAX, Error, Ledger, Storage, Trust};
use crate::dsse::{self, SignatureStatus};
use crate::hash::sha256;
use crate::merkle::{self, Frontier};
use crate::statement;
use crate::tiles::{Kind, Tile, WIDTH};

/// A record and the envelope it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRecord {
    /// Id, index and evidence.
    pub record: Record,
    /// SHA-256 of the envelope.
    pub envelope: Digest,
}

/// All that can be read, and why the rest cannot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// Records whose envelope, signature and statement are in order, by index.
    pub records: Vec<LedgerRecord>,
    /// What is wrong; while there is anything, the records may not be all there were.
    pub problems: Vec<Problem>,
}

impl Ledger {
    /// All records under the signed head, each checked against its envelope, and all together against the head.
    ///
    /// Holds all evidence in memory at once.
    ///
    /// # Errors
    /// Those of [`Ledger::checkpoint`].
    pub fn records(&self) -> Result<Records, Error> {
        let _lock = self.read_lock()?;
        let head = self.checkpoint()?;
        let storage = self.storage.as_ref();
        let tree = Tree::new(storage, head.size);
        let mut all = Records::default();
        let mut frontier = Frontier::default();
        for bundle in 0..head.size.div_ceil(WIDTH) {
            let entries = match tree.entries(bundle) {
                Ok(entries) => entries,
                Err(error) => {
                    all.problems.push(problem_of(&error, &bundle_path(bundle, head.size)));
                    return Ok(all);
                }
            };
            entries.iter().for_each(|entry| frontier.push(0, merkle::leaf_hash(entry)));
            let first = bundle * WIDTH;
            let file = bundle_path(bundle, head.size);
            let checked: Vec<_> = entries
                .par_iter()
                .enumerate()
                .map(|(at, entry)| check(storage, &self.trust, &file, first + at as u64, entry))
                .collect();
            for result in checked {
                match result {
                    Ok(record) => all.records.push(record),
                    Err(problem) => all.problems.push(problem),
                }
            }
        }
        if frontier.root() != head.root {
            all.problems.push(Problem {
                defect: Defect::Rewritten,
                file: "tile/entries".into(),
                record: None,
                what: "the entries do not lead to the signed head".into(),
            });
        }
        Ok(all)
    }
}

/// The record behind entry `index`, when everything about it is in order; `file` is the bundle it stands in.
pub(super) fn check(
    storage: &dyn Storage,
    trust: &Trust,
    file: &str,
    index: u64,
    entry: &[u8],
) -> Result<LedgerRecord, Problem> {
    let problem = |defect, file: &str, what: String| Problem { defect, file: file.into(), record: Some(index), what };
    let Some(event) = Event::parse(entry) else {
        return Err(problem(Defect::MalformedEntry, file, "not an event in canonical form".into()));
    };
    let path = event.envelope.path();
    let bytes = match storage.read(&path, ENVELOPE_BYTES_MAX as u64) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(problem(Defect::MissingFile, &path, "missing".into())),
        Err(error) => return Err(problem(Defect::Unreadable, &path, error.to_string())),
    };
    if sha256(&bytes) != event.envelope.sha256 || bytes.len() as u64 != event.envelope.size {
        return Err(problem(Defect::EditedEnvelope, &path, "its contents are not those the entry names".into()));
    }
    let evidence = open(&bytes, trust).map_err(|(defect, what)| problem(defect, &path, what))?;
    if Event::of(&evidence, &bytes) != event {
        let what = "kind, actor, outcome, subject or time differ from the signed statement";
        return Err(problem(Defect::EntryContradictsStatement, file, what.into()));
    }
    let id = merkle::leaf_hash(entry).to_string();
    Ok(LedgerRecord { record: Record { id, index, evidence }, envelope: event.envelope.sha256 })
}

/// The evidence in an envelope: at least one signature of a known key, and none of a known key that is bad.
fn open(bytes: &[u8], trust: &Trust) -> Result<Evidence, (Defect, String)> {
    let unsigned = |error: dsse::Error| (Defect::BadSignature, error.to_string());
    let envelope = dsse::parse(bytes, ENVELOPE_BYTES_MAX).map_err(unsigned)?;
    let checked = envelope.verify(statement::PAYLOAD_TYPE, &trust.evidence).map_err(unsigned)?;
    if let Some(bad) = checked.iter().find(|signature| signature.status == SignatureStatus::Bad) {
        return Err((Defect::BadSignature, format!("the signature of key `{}` is bad", bad.keyid)));
    }
    if !checked.iter().any(|signature| signature.status == SignatureStatus::Good) {
        return Err((Defect::BadSignature, "signed by no known key".into()));
    }
    statement::parse(&envelope.payload).map_err(|error| (Defect::BadStatement, error.to_string()))
}

/// The path of bundle `index` in a tree of `size`.
pub(super) fn bundle_path(index: u64, size: u64) -> String {
    Tile::in_tree(Kind::Entries, index, size).map_or_else(|| "tile/entries".into(), |tile| tile.to_string())
}

/// What a failed read means for `file`.
pub(super) fn problem_of(error: &Error, file: &str) -> Problem {
    let defect = match error {
        Error::Damaged { what, .. } if what == "missing" => Defect::MissingFile,
        Error::Damaged { file, .. } if file.starts_with("tile/entries/") => Defect::EditedEntry,
        Error::Damaged { .. } => Defect::EditedTile,
        _ => Defect::Unreadable,
    };
    let what = match error {
        Error::Damaged { what, .. } => what.clone(),
        error => error.to_string(),
    };
    Problem { defect, file: file.into(), record: None, what }
}
