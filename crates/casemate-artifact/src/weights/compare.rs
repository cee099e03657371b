//! Two tables of weights held against each other: what was added, removed and changed, tensor by tensor.
//!
//! Equal digests of a file settle it whole. Where they differ, its tensors are compared one by one, then what is not
//! tensors; whatever neither explains counts as a change outside of the tensors, so no change is without a name.

use std::collections::{BTreeMap, BTreeSet};

use casemate_core::{Digest, Hasher};
use serde::{Deserialize, Serialize};

use super::{Statistics, TensorSummary, WeightObject};
use crate::formats::reading::{plain, quote};

/// Schema id of [`WeightTable`].
pub const SCHEMA: &str = "casemate.tensors/v1";

/// A model's files with their tensors: what a baseline file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightTable {
    /// [`SCHEMA`].
    pub schema: String,
    /// The model.
    pub subject: TableSubject,
    /// Every file of its manifest, by path.
    pub artifacts: Vec<FileTable>,
}

/// The model a table is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSubject {
    /// Name, for people.
    pub name: String,
    /// Digest of the full manifest.
    pub sha256: Digest,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTable {
    /// Path inside the model; `.` for a model of one file.
    pub path: String,
    /// Format.
    pub format: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the whole file.
    pub sha256: Digest,
    /// Digest of what is not tensors: header, graph, metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_sha256: Option<Digest>,
    /// Its tensors, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<TensorRow>,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRow {
    /// Path inside the file; none for the file's own tensors.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub member: String,
    /// Name.
    pub name: String,
    /// Element type in the format's own word.
    pub dtype: String,
    /// Shape.
    pub shape: Vec<u64>,
    /// Digest of its bytes; none where they do not lie in the file in one piece.
    pub sha256: Option<Digest>,
    /// What its numbers come to, where they are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Tensors in the model now.
    pub tensors: u64,
    /// Tensors that were not there.
    pub added: Vec<Change>,
    /// Tensors that are gone.
    pub removed: Vec<Change>,
    /// Tensors of the same name with other bytes, type or shape.
    pub changed: Vec<Change>,
    /// Files whose content outside of tensors differs, files added and files gone.
    pub metadata: Vec<Change>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path of the file inside the model.
    pub path: String,
    /// Path inside the file; empty for the file itself.
    pub member: String,
    /// What differs, in one line.
    pub what: String,
}

impl Difference {
    /// Whether nothing differs.
    pub fn is_none(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.metadata.is_empty()
    }
}

impl FileTable {
    /// The file with its tensors; `hasher` makes one digest of its headers, where it has several.
    #[must_use]
    pub fn with_weights(self, objects: &[WeightObject], mut hasher: Box<dyn Hasher>) -> Self {
        let row = |member: &str, tensor: &TensorSummary| TensorRow {
            member: member.into(),
            name: tensor.name.clone(),
            dtype: tensor.dtype.clone(),
            shape: tensor.shape.clone(),
            sha256: tensor.sha256,
            statistics: tensor.statistics.clone(),
        };
        let rows = |object: &WeightObject| object.tensors.iter().map(|tensor| row(&object.member, tensor)).collect();
        let tensors: Vec<TensorRow> = objects.iter().flat_map(|object| -> Vec<_> { rows(object) }).collect();
        let headers: Vec<(&str, Digest)> =
            objects.iter().filter_map(|object| Some((object.member.as_str(), object.rest?))).collect();
        let header_sha256 = match headers.as_slice() {
            _ if tensors.is_empty() => None,
            [] => None,
            [("", only)] => Some(*only),
            several => {
                for (member, digest) in several {
                    hasher.update(&(member.len() as u64).to_le_bytes());
                    hasher.update(member.as_bytes());
                    hasher.update(&digest.0);
                }
                Some(hasher.finish())
            }
        };
        Self { header_sha256, tensors, ..self }
    }
}

/// Holds `current` against `baseline`.
pub fn compare(baseline: &WeightTable, current: &WeightTable) -> Difference {
    let (before, after) = (by_path(baseline), by_path(current));
    let mut found = Difference {
        tensors: current.artifacts.iter().map(|file| file.tensors.len() as u64).sum(),
        ..Difference::default()
    };
    let paths: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    for path in paths {
        match (before.get(path).map(Vec::as_slice), after.get(path).map(Vec::as_slice)) {
            (Some([before]), Some([after])) if before.sha256 == after.sha256 => {}
            (Some([before]), Some([after])) => found.file(before, after),
            (None, Some([after])) => {
                found.metadata.push(Change::of(path, "", "the file is new".into()));
                found.added.extend(after.tensors.iter().map(|row| Change::of(path, &row.member, added(row, None))));
            }
            (Some([before]), None) => {
                found.metadata.push(Change::of(path, "", "the file is gone".into()));
                found.removed.extend(before.tensors.iter().map(|row| Change::of(path, &row.member, removed(row))));
            }
            // A file cannot stand twice in a manifest; a baseline in which it does was not written by us.
            _ => found.metadata.push(Change::of(path, "", "the file stands twice in a table".into())),
        }
    }
    found
}

fn by_path(table: &WeightTable) -> BTreeMap<&str, Vec<&FileTable>> {
    let mut files: BTreeMap<&str, Vec<&FileTable>> = BTreeMap::new();
    for file in &table.artifacts {
        files.entry(&file.path).or_default().push(file);
    }
    files
}

impl Change {
    fn of(path: &str, member: &str, what: String) -> Self {
        Self { path: path.into(), member: member.into(), what }
    }
}

impl Difference {
    /// One file whose digest changed.
    fn file(&mut self, before: &FileTable, after: &FileTable) {
        let path = &after.path;
        let (old, new) = (keyed(&before.tensors), keyed(&after.tensors));
        let gone: Vec<&TensorRow> =
            old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(_, row)| *row).collect();
        let twins: BTreeMap<Digest, &TensorRow> = gone.iter().filter_map(|row| Some((row.sha256?, *row))).collect();
        let named = self.added.len() + self.removed.len() + self.changed.len();
        let mut untold = 0;
        for (key, row) in &new {
            match old.get(key) {
                None => {
                    let twin = row.sha256.and_then(|digest| twins.get(&digest).copied());
                    self.added.push(Change::of(path, &row.member, added(row, twin)));
                }
                Some(was) if was.dtype != row.dtype || was.shape != row.shape || was.sha256 != row.sha256 => {
                    self.changed.push(Change::of(path, &row.member, changed(was, row)));
                }
                Some(was) => untold += u64::from(was.sha256.is_none()),
            }
        }
        self.removed.extend(gone.iter().map(|row| Change::of(path, &row.member, removed(row))));
        let explained = self.added.len() + self.removed.len() + self.changed.len() > named;
        let headers = before.header_sha256.zip(after.header_sha256);
        let what = match headers {
            _ if before.format != after.format => format!("it was {}, and is {} now", before.format, after.format),
            Some((before, after)) if before != after => "its header or metadata changed".into(),
            _ if untold > 0 => format!("it changed, and {untold} of its tensors have no digest to compare"),
            Some(_) if explained => return,
            _ if before.tensors.is_empty() && after.tensors.is_empty() => "the file changed".into(),
            _ => "it changed outside of its tensors".into(),
        };
        self.metadata.push(Change::of(path, "", what));
    }
}

/// Rows by member, name and, for names that stand more than once, how many stood before.
fn keyed(rows: &[TensorRow]) -> BTreeMap<(&str, &str, usize), &TensorRow> {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut keyed = BTreeMap::new();
    for row in rows {
        let count = seen.entry((&row.member, &row.name)).or_default();
        keyed.insert((row.member.as_str(), row.name.as_str(), *count), row);
        *count += 1;
    }
    keyed
}

fn added(row: &TensorRow, twin: Option<&TensorRow>) -> String {
    let name = quote(&row.name);
    match twin {
        Some(twin) => format!("tensor {name} is new, with the bytes of {}, which is gone", quote(&twin.name)),
        None => format!("tensor {name} is new: {}", described(row)),
    }
}

fn removed(row: &TensorRow) -> String {
    format!("tensor {} is gone: {}", quote(&row.name), described(row))
}

fn changed(was: &TensorRow, is: &TensorRow) -> String {
    let mut how = Vec::new();
    if was.dtype != is.dtype {
        how.push(format!("type {} was {}", plain(&is.dtype), plain(&was.dtype)));
    }
    if was.shape != is.shape {
        how.push(format!("shape {:?} was {:?}", is.shape, was.shape));
    }
    if was.sha256 != is.sha256 {
        let norm = |row: &TensorRow| row.statistics.as_ref().and_then(|statistics| statistics.l2_norm);
        how.push(match norm(was).zip(norm(is)) {
            Some((was, is)) if was > 0.0 => {
                format!("other bytes, norm {is:.6} was {was:.6} ({:+.2e} of it)", (is - was) / was)
            }
            Some((was, is)) => format!("other bytes, norm {is:.6} was {was:.6}"),
            None => "other bytes".into(),
        });
    }
    format!("tensor {} changed: {}", quote(&is.name), how.join(", "))
}

fn described(row: &TensorRow) -> String {
    format!("{} {:?}", plain(&row.dtype), row.shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, bytes: u8) -> TensorRow {
        TensorRow {
            member: String::new(),
            name: name.into(),
            dtype: "F32".into(),
            shape: vec![2],
            sha256: Some(Digest([bytes; 32])),
            statistics: None,
        }
    }

    fn table(file: u8, header: u8, tensors: Vec<TensorRow>) -> WeightTable {
        WeightTable {
            schema: SCHEMA.into(),
            subject: TableSubject { name: "m".into(), sha256: Digest([file; 32]) },
            artifacts: vec![FileTable {
                path: "a".into(),
                format: "safetensors".into(),
                size: 1,
                sha256: Digest([file; 32]),
                header_sha256: Some(Digest([header; 32])),
                tensors,
            }],
        }
    }

    fn counts(found: &Difference) -> (usize, usize, usize, usize) {
        (found.added.len(), found.removed.len(), found.changed.len(), found.metadata.len())
    }

    #[test]
    fn each_kind_of_change_is_told_from_the_others() {
        let base = table(0, 0, vec![row("a", 1), row("b", 2)]);
        let against = |current: &WeightTable| counts(&compare(&base, current));
        assert!(compare(&base, &base).is_none());
        assert_eq!(against(&table(1, 0, vec![row("a", 1), row("b", 3)])), (0, 0, 1, 0));
        assert_eq!(against(&table(1, 1, vec![row("a", 1), row("b", 2)])), (0, 0, 0, 1));
        assert_eq!(against(&table(1, 1, vec![row("a", 1)])), (0, 1, 0, 1));
        let renamed = compare(&base, &table(1, 1, vec![row("a", 1), row("c", 2)]));
        assert_eq!(counts(&renamed), (1, 1, 0, 1));
        assert!(renamed.added[0].what.contains("bytes of `b`"), "{}", renamed.added[0].what);
    }

    #[test]
    fn a_change_nothing_explains_is_a_change_all_the_same() {
        let base = table(0, 0, vec![row("a", 1)]);
        assert_eq!(counts(&compare(&base, &table(1, 0, vec![row("a", 1)]))), (0, 0, 0, 1));
        let without = |file| table(file, 0, vec![TensorRow { sha256: None, ..row("a", 1) }]);
        assert_eq!(counts(&compare(&without(0), &without(1))), (0, 0, 0, 1));
        let mut twice = base.clone();
        twice.artifacts.push(base.artifacts[0].clone());
        assert_eq!(counts(&compare(&twice, &base)), (0, 0, 0, 1));
    }

    #[test]
    fn two_tensors_of_one_name_are_two() {
        let base = table(0, 0, vec![row("a", 1), row("a", 2)]);
        assert_eq!(counts(&compare(&base, &table(1, 0, vec![row("a", 1), row("a", 3)]))), (0, 0, 1, 0));
    }

    #[test]
    fn files_added_and_gone_take_their_tensors_with_them() {
        let base = table(0, 0, vec![row("a", 1)]);
        let mut other = base.clone();
        other.artifacts[0].path = "b".into();
        assert_eq!(counts(&compare(&base, &other)), (1, 1, 0, 2));
    }
}
