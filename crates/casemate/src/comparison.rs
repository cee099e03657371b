//! A model held against its baseline: reading baseline files, and findings from what differs.
//!
//! A file of tensors and a file of accepted findings come through the same flag and are told apart by what is in them.

use std::path::Path;

use casemate_artifact::weights::compare::{Change, Difference, SCHEMA, WeightTable};
use casemate_core::{Digest, FileSource, Finding, Location, Meta, Timestamp};
use casemate_provenance::{hash, sha256};

use crate::accepted::AcceptedFile;
use crate::exit::Failure;
use crate::small_file;

mod metadata_changed;
mod weights_changed;

/// The rules whose findings come from a comparison, not from a detector.
pub static RULES: &[&Meta] = &[&metadata_changed::META, &weights_changed::META];

/// Differences named one by one; the others are counted.
const NAMED_MAX: usize = 1000;

/// The table of a model of 100,000 tensors with long names.
const TABLE_BYTES_MAX: u64 = 256 << 20;

/// A baseline file.
pub enum Baseline {
    /// The tensors of a model as it was.
    Weights(WeightBaseline),
    /// Findings somebody accepted.
    Accepted(AcceptedFile),
}

/// The tensors of a model as it was, and the digest of the file that says so.
pub struct WeightBaseline {
    /// The table.
    pub table: WeightTable,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// Reads a baseline of either kind.
///
/// # Errors
/// When it cannot be read as one, with the place.
pub fn read(path: &Path, now: Timestamp) -> Result<Baseline, Failure> {
    let text = small_file::read_up_to(path, TABLE_BYTES_MAX).map_err(Failure::usage)?;
    match text.trim_start().starts_with('{') {
        true => table(path, &text).map(Baseline::Weights),
        false => AcceptedFile::parse(&path.display().to_string(), &text, now).map(Baseline::Accepted),
    }
}

/// Reads a file of tensors.
///
/// # Errors
/// When it is none.
pub fn read_weights(path: &Path) -> Result<WeightBaseline, Failure> {
    let text = small_file::read_up_to(path, TABLE_BYTES_MAX).map_err(Failure::usage)?;
    table(path, &text)
}

/// The digest of a baseline file, if it can be read.
pub fn digest(path: &Path) -> Option<Digest> {
    let source = FileSource::open(path).ok()?;
    hash::sha256_of(&source, &|_| ()).ok()
}

fn table(path: &Path, text: &str) -> Result<WeightBaseline, Failure> {
    let at = |what: &dyn std::fmt::Display| {
        let how = "`casemate scan MODEL --write-baseline FILE` writes one";
        Failure::usage(format!("baseline `{}`: {what}; {how}", path.display()))
    };
    let table: WeightTable = serde_json::from_str(text).map_err(|error| at(&error))?;
    match table.schema == SCHEMA {
        true => Ok(WeightBaseline { table, digest: sha256(text.as_bytes()) }),
        false => Err(at(&format!("its schema is `{}`, not `{SCHEMA}`", table.schema.escape_debug()))),
    }
}

/// What differs, as findings about the files of the model shown as `root`; the first [`NAMED_MAX`] of each rule by name.
pub fn findings(difference: &Difference, root: &str) -> Vec<Finding> {
    let tensors = difference.changed.iter().chain(&difference.added).chain(&difference.removed);
    let mut found = of(&weights_changed::META, tensors, root, "tensors");
    found.extend(of(&metadata_changed::META, difference.metadata.iter(), root, "files"));
    found
}

fn of<'a>(meta: &Meta, changes: impl Iterator<Item = &'a Change>, root: &str, noun: &str) -> Vec<Finding> {
    let root = root.trim_end_matches('/');
    let mut changes = changes;
    let finding = |change: &Change| {
        let path = match (change.path.as_str(), root) {
            (".", root) => root.to_owned(),
            (path, ".") => path.to_owned(),
            (path, root) => format!("{root}/{path}"),
        };
        let member = (!change.member.is_empty()).then(|| change.member.clone());
        meta.finding(change.what.clone(), Location { path, member, ..Location::default() })
    };
    let mut found: Vec<Finding> = changes.by_ref().take(NAMED_MAX).map(finding).collect();
    let more = changes.count();
    if more > 0 {
        let location = Location { path: root.into(), ..Location::default() };
        found.push(meta.finding(format!("{more} more {noun} differ from the baseline"), location));
    }
    found
}

/// What differs, in words for one line.
pub fn words(difference: &Difference) -> String {
    let counts = [
        (difference.changed.len(), "tensors changed"),
        (difference.added.len(), "added"),
        (difference.removed.len(), "removed"),
        (difference.metadata.len(), "files changed outside of tensors"),
    ];
    counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
}
