//! Reading the weights of scanned models: SHA-256 and threads for the scanner, and the table of a whole model.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use casemate_artifact::Tensor;
use casemate_artifact::weights::compare::{FileTable, SCHEMA, TableSubject, WeightTable};
use casemate_artifact::weights::{TensorSummary, WeightReader, summarize};
use casemate_core::{Hasher, Source};
use casemate_provenance::{Manifest, Sha256};
use serde_json::{Value, json};

use crate::scanning::Scanned;

/// The reader every scan uses.
pub static READER: Reader = Reader;

/// Below this a thread costs more than it saves.
const PARALLEL_BYTES_MIN: u64 = 16 << 20;

/// Groups of equal tensors named in a report.
const EQUAL_SHOWN_MAX: usize = 20;

/// Equal tensors below this are biases of zeros, scalars, masks.
const EQUAL_BYTES_MIN: u64 = 1024;

/// Reads tensors on as many threads as the machine has, all files together.
#[derive(Debug)]
pub struct Reader;

/// Threads that help at the moment, over all files: files are scanned in parallel already.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

struct Helpers(usize);

impl Helpers {
    /// As many as are free, at most `wanted`.
    fn take(wanted: usize) -> Self {
        let max = thread::available_parallelism().map_or(1, usize::from) - 1;
        let grant = |taken: usize| Some(taken + wanted.min(max.saturating_sub(taken)));
        let taken = HELPERS.fetch_update(Relaxed, Relaxed, grant).unwrap_or(max);
        Self(wanted.min(max.saturating_sub(taken)))
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Relaxed);
    }
}

impl WeightReader for Reader {
    fn tensors(&self, source: &dyn Source, format: &str, tensors: &[Tensor]) -> io::Result<Vec<TensorSummary>> {
        let one = |tensor: &Tensor| summarize(source, format, tensor, self.hasher());
        let bytes = tensors.iter().filter_map(|tensor| tensor.span.as_ref()).map(|span| span.end - span.start).sum();
        if tensors.len() < 2 || u64::min(bytes, PARALLEL_BYTES_MIN) < PARALLEL_BYTES_MIN {
            return tensors.iter().map(one).collect();
        }
        let helpers = Helpers::take(tensors.len() - 1);
        let next = AtomicUsize::new(0);
        let read = Mutex::new(Vec::with_capacity(tensors.len()));
        let work = || {
            while let Some((n, tensor)) = Some(next.fetch_add(1, Relaxed)).and_then(|n| Some((n, tensors.get(n)?))) {
                let summary = one(tensor);
                read.lock().unwrap_or_else(PoisonError::into_inner).push((n, summary));
            }
        };
        thread::scope(|scope| {
            (0..helpers.0).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let mut read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        read.sort_by_key(|(n, _)| *n);
        read.into_iter().map(|(_, summary)| summary).collect()
    }

    fn hasher(&self) -> Option<Box<dyn Hasher>> {
        Some(Box::new(Sha256::default()))
    }
}

/// The table of a whole model: every file of its manifest, with the tensors that were read.
pub fn table(manifest: &Manifest, scanned: &Scanned) -> WeightTable {
    let file = |(entry, file): (&casemate_provenance::manifest::Entry, &crate::scanning::ScannedFile)| {
        let table = FileTable {
            path: entry.path.clone(),
            format: file.report.format.clone().into_owned(),
            size: entry.size_bytes,
            sha256: entry.sha256,
            header_sha256: None,
            tensors: Vec::new(),
        };
        table.with_weights(&file.weights, Box::new(Sha256::default()))
    };
    WeightTable {
        schema: SCHEMA.into(),
        subject: TableSubject { name: manifest.name.clone(), sha256: manifest.digest() },
        artifacts: manifest.entries.iter().zip(&scanned.files).map(file).collect(),
    }
}

/// How many tensors were read, and which have the same bytes as others of their file: two files may well be one model.
pub fn summary(scanned: &Scanned) -> Value {
    let mut tensors: u64 = 0;
    let mut digested: u64 = 0;
    let mut by_digest = std::collections::BTreeMap::new();
    for file in &scanned.files {
        for (object, tensor) in
            file.weights.iter().flat_map(|object| object.tensors.iter().map(move |one| (object, one)))
        {
            tensors += 1;
            let Some(digest) = tensor.sha256 else { continue };
            digested += 1;
            if tensor.bytes.is_some_and(|bytes| bytes >= EQUAL_BYTES_MIN) {
                let name = match object.member.is_empty() {
                    true => format!("{}: {}", file.report.path, tensor.name),
                    false => format!("{}!{}: {}", file.report.path, object.member, tensor.name),
                };
                by_digest.entry((&file.report.path, digest)).or_insert_with(Vec::new).push(name);
            }
        }
    }
    let mut equal: Vec<Vec<String>> = by_digest.into_values().filter(|names| names.len() > 1).collect();
    equal.sort();
    let groups = equal.len();
    equal.truncate(EQUAL_SHOWN_MAX);
    json!({"tensors": tensors, "digested": digested, "equal_groups": groups, "equal": equal})
}

#[cfg(test)]
mod tests {
    use casemate_artifact::weights::self_test;
    use casemate_core::MemorySource;

    use super::*;

    #[test]
    fn threads_do_not_show_in_the_result() {
        let floats: Vec<u8> = (0..5_000_000u32).flat_map(|i| f32::from_bits(0x3f00_0000 | i).to_le_bytes()).collect();
        let source = MemorySource::new(floats);
        let tensor = |n: u64| Tensor {
            name: format!("t{n}"),
            dtype: "F32".into(),
            shape: vec![10, 50_000],
            span: Some(n * 2_000_000..(n + 1) * 2_000_000),
        };
        let tensors: Vec<Tensor> = (0..10).map(tensor).collect();
        let read = READER.tensors(&source, "safetensors", &tensors).unwrap();
        let one_by_one: Vec<_> =
            tensors.iter().map(|tensor| summarize(&source, "safetensors", tensor, READER.hasher()).unwrap()).collect();
        assert_eq!(read, one_by_one);
        assert_eq!(HELPERS.load(Relaxed), 0);
    }

    #[test]
    fn the_comparison_catches_every_planted_change() {
        let (planted, caught) = self_test(&READER);
        assert!(planted > 0 && planted == caught, "{caught} of {planted}");
    }
}
