//! What can be wrong with a ledger, and in whose words it is reported.

use std::collections::HashMap;

use casemate_core::Digest;
use serde::Serialize;

/// What is wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defect {
    /// An entry is not the one that was appended.
    EditedEntry,
    /// An entry that was appended is gone.
    DeletedEntry,
    /// An entry that was never appended.
    InsertedEntry,
    /// Entries stand in another order than they were appended.
    ReorderedEntries,
    /// An entry is not an event in canonical form.
    MalformedEntry,
    /// A tile does not hold the hashes of what lies below it.
    EditedTile,
    /// The checkpoint is not the one that was signed.
    EditedCheckpoint,
    /// An envelope does not have the digest its entry names.
    EditedEnvelope,
    /// The envelope is not signed by a key that is believed.
    BadSignature,
    /// The statement in the envelope cannot be read.
    BadStatement,
    /// Entry and statement say different things.
    EntryContradictsStatement,
    /// A file that belongs to the ledger is gone.
    MissingFile,
    /// A file that does not belong to the ledger.
    ExtraFile,
    /// A file that could not be read; nothing can be said of it.
    Unreadable,
    /// The ledger is shorter than a head seen before.
    Truncated,
    /// Entries and tiles do not lead to the signed head, or the signed head does not continue one seen before.
    Rewritten,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of thing.
    pub defect: Defect,
    /// Path below the ledger directory.
    pub file: String,
    /// Index of the record it concerns, where that is known.
    pub record: Option<u64>,
    /// One line for people.
    pub what: String,
}

/// What verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Records whose entry, envelope, signature and statement were checked and are in order.
    pub records: u64,
    /// Records the signed head counts; 0 when the checkpoint is not to be believed.
    pub tree_size: u64,
    /// The signed head.
    pub root: Option<Digest>,
    /// Everything wrong, files in order; at most [`VerifyReport::PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// What is unusual but harms nothing, such as an append that was interrupted.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// Problems listed before verification stops.
    pub const PROBLEMS_MAX: usize = 1000;

    /// Whether every byte of the ledger is accounted for.
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn add(&mut self, defect: Defect, file: &str, record: Option<u64>, what: impl Into<String>) {
        let problem = Problem { defect, file: file.into(), record, what: what.into() };
        if !self.is_full() && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= Self::PROBLEMS_MAX
    }
}

/// A position in the tree where stored entry and true hash differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) index: u64,
    /// Hash the tree has there, when it has one.
    pub(super) expected: Option<Digest>,
    /// Hash of the entry that stands there, when one does.
    pub(super) found: Option<Digest>,
}

/// Says what was done to the entries, given all positions that differ: index, defect, and a line for people.
pub(super) fn classify(mismatches: &[Mismatch]) -> Vec<(u64, Defect, String)> {
    let places: HashMap<_, _> = mismatches.iter().filter_map(|m| Some((m.expected?, m.index))).collect();
    let present: HashMap<_, _> = mismatches.iter().filter_map(|m| Some((m.found?, m.index))).collect();
    let mut named = Vec::new();
    let mut moved = Vec::new();
    for mismatch in mismatches {
        let index = mismatch.index;
        let gone = mismatch.expected.is_some_and(|hash| !present.contains_key(&hash));
        let strange = mismatch.found.is_some_and(|hash| !places.contains_key(&hash));
        match (gone, strange) {
            (true, true) => named.push((index, Defect::EditedEntry, format!("record {index} was edited"))),
            (true, false) => named.push((index, Defect::DeletedEntry, format!("record {index} was deleted"))),
            (false, true) => {
                named.push((index, Defect::InsertedEntry, format!("an entry was inserted at record {index}")));
            }
            (false, false) => {}
        }
        let place = mismatch.found.and_then(|hash| places.get(&hash)).filter(|place| **place != index);
        moved.extend(place.map(|place| (index, *place)));
    }
    // After a deletion or insertion all that follow are out of place; saying so for each would hide the one that matters.
    let shifted = named.iter().any(|(_, defect, _)| *defect != Defect::EditedEntry);
    match moved.first() {
        Some((index, place)) if shifted => {
            let what = format!("{} records are out of place, the first: record {place} stands at {index}", moved.len());
            named.push((*place, Defect::ReorderedEntries, what));
        }
        _ => named.extend(moved.iter().map(|(index, place)| {
            (*place, Defect::ReorderedEntries, format!("record {place} was moved to the place of record {index}"))
        })),
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(expected: &str, found: &str) -> Vec<(u64, Defect)> {
        let hash = |text: &str, at: usize| text.as_bytes().get(at).map(|byte| Digest([*byte; 32]));
        let all = (0..expected.len().max(found.len())).map(|at| Mismatch {
            index: at as u64,
            expected: hash(expected, at),
            found: hash(found, at),
        });
        let differing: Vec<_> = all.filter(|m| m.expected != m.found).collect();
        classify(&differing).into_iter().map(|(index, defect, _)| (index, defect)).collect()
    }

    #[test]
    fn what_was_done_to_entries_is_named() {
        use Defect::{DeletedEntry, EditedEntry, InsertedEntry, ReorderedEntries};
        assert_eq!(named("abcd", "abcd"), []);
        assert_eq!(named("abcd", "abXd"), [(2, EditedEntry)]);
        assert_eq!(named("abcd", "acbd"), [(2, ReorderedEntries), (1, ReorderedEntries)]);
        assert_eq!(named("abcd", "abc"), [(3, DeletedEntry)]);
        assert_eq!(named("abcd", "acd"), [(1, DeletedEntry), (2, ReorderedEntries)]);
        assert_eq!(named("abcd", "abcdX"), [(4, InsertedEntry)]);
        assert_eq!(named("abcd", "aXbcd"), [(1, InsertedEntry), (1, ReorderedEntries)]);
    }
}
