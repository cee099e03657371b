//! The self-test of the comparison: changes planted in a small model, each of which must be found and named.

use std::sync::Arc;

use casemate_core::{Digest, Limits, MemorySource};

use super::WeightReader;
use super::compare::{self, Change, Difference, FileTable, TableSubject, WeightTable, compare};
use crate::Scanner;

const HEADER: &str = concat!(
    r#"{"__metadata__":{"epoch":"3"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#,
    r#""b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#
);

/// A change to header and data, and the list it must appear in, with the tensor it must name.
type Planted = (fn(&str) -> String, fn(&mut [u8]), fn(&Difference) -> &[Change], &'static str);

const PLANTED: &[Planted] = &[
    (str::to_owned, |data| flip(data, 12), |found| &found.changed, "`b`"),
    (|header| header.replacen("F32", "I32", 1), |_| (), |found| &found.changed, "`a`"),
    (|header| header.replace("\"b\"", "\"c\""), |_| (), |found| &found.added, "`c`"),
    (|header| header.replace("\"b\"", "\"c\""), |_| (), |found| &found.removed, "`b`"),
    (|header| header.replace("\"3\"", "\"4\""), |_| (), |found| &found.metadata, "header"),
];

/// How many changes were planted in a model read by `reader`, and how many the comparison found by name.
pub fn self_test(reader: &'static dyn WeightReader) -> (u64, u64) {
    let data: Vec<u8> = [0.5f32, -1.0, 2.0, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect();
    let Some(sound) = table(reader, HEADER, &data) else { return (PLANTED.len() as u64, 0) };
    let is_caught = |(header, edit, list, name): &&Planted| {
        let mut data = data.clone();
        edit(&mut data);
        let found = table(reader, &header(HEADER), &data).map(|altered| compare(&sound, &altered));
        found.is_some_and(|found| list(&found).iter().any(|change| change.what.contains(name)))
    };
    // What is the same must pass for the same, or finding everything would be no feat.
    let same = compare(&sound, &sound).is_none();
    (PLANTED.len() as u64, if same { PLANTED.iter().filter(is_caught).count() as u64 } else { 0 })
}

fn flip(data: &mut [u8], at: usize) {
    if let Some(byte) = data.get_mut(at) {
        *byte ^= 1;
    }
}

/// The table of a file; `None` where the reader computes no digests.
fn table(reader: &'static dyn WeightReader, header: &str, data: &[u8]) -> Option<WeightTable> {
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
    let mut hasher = reader.hasher()?;
    hasher.update(&bytes);
    let sha256: Digest = hasher.finish();
    let scanner = Scanner::new(Limits::default()).with_weights(reader);
    let scan = scanner.scan("planted.safetensors", Arc::new(MemorySource::new(bytes)));
    let (path, format, size) = (".".into(), scan.format.into(), scan.size_bytes);
    let file = FileTable { path, format, size, sha256, header_sha256: None, tensors: Vec::new() };
    let file = file.with_weights(&scan.weights, reader.hasher()?);
    let subject = TableSubject { name: "planted".into(), sha256 };
    Some(WeightTable { schema: compare::SCHEMA.into(), subject, artifacts: vec![file] })
}
