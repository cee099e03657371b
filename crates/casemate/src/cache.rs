//! Verdicts kept from one run to the next, for files whose scan costs more than their digest.
//!
//! A kept verdict is found under everything it rests on: the bytes' digest, the path as shown (findings carry it, and detectors
//! may read any of it), the rules, the limits, and the very executable. It can never be weaker than a scan:
//! - entries are believed only where this state's own key says so ([`store`]);
//! - a file that changed while it was looked at, or just before, is not kept, nor is anything that could not be judged: that may
//!   end otherwise;
//! - what cannot be believed is scanned, and said.
//!
//! Without a state directory there is no cache. Digests of whole files are kept likewise ([`digests`]).

pub mod digests;
mod store;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use casemate_artifact::Verdict;
use casemate_core::{Digest, Finding, Limits};
use serde::{Deserialize, Serialize};

use crate::context::{Context, Project};
use crate::report::{ArtifactReport, DigestSet};
use crate::scanning::{ScannedFile, rules_digest};
use crate::state::State;
use store::{Bound, Kept, Store, digest};

/// Entries kept, and their bytes together; beyond either the oldest go.
const BOUND: Bound = Bound { entries: 20_000, bytes: 64 << 20 };

/// A larger entry is not kept: reading it would cost what it saves.
const ENTRY_BYTES_MAX: u64 = 1 << 20;

/// A scan that took less is not worth an entry. Measured with 1,000 pickles of 55 kB: 0.34 s to scan, 0.06 s from entries, hashing
/// included in both; with 1,000 of 4 kB there is nothing to gain, looking for entries cost 6 ms.
const SCAN_TIME_MIN: Duration = Duration::from_micros(250);

/// Verdicts of earlier runs.
pub struct Cache {
    store: Store,
    /// What every verdict of this run rests on besides the file.
    basis: Digest,
    taken: AtomicU64,
    kept: AtomicU64,
    disbelieved: AtomicU64,
}

/// One verdict as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    size: u64,
    sha256: Digest,
    format: String,
    verdict: Verdict,
    findings: Vec<Finding>,
    imports: Vec<String>,
    objects: BTreeMap<String, u64>,
    tensors: u64,
    bytes_unclaimed: u64,
    runs_code_by_design: bool,
    has_template: bool,
    is_model: bool,
}

impl Cache {
    /// The cache of `project`, unless it has no state, or the cache cannot be used, which is said.
    pub fn open(context: &Context, project: &Project, limits: &Limits) -> Option<Self> {
        if !State::exists(project) {
            return None;
        }
        match Self::open_in(&project.state, limits) {
            Ok(cache) => Some(cache),
            Err(why) => {
                context.say(&format!("no verdicts are kept or taken from earlier runs: {why}"));
                None
            }
        }
    }

    fn open_in(state: &Path, limits: &Limits) -> Result<Self, String> {
        let build = build().ok_or("this build cannot be told from another")?;
        let store = Store::open(state, "verdicts", ENTRY_BYTES_MAX)?;
        let basis = basis(rules_digest(), limits, &build);
        let none = AtomicU64::default;
        Ok(Self { store, basis, taken: none(), kept: none(), disbelieved: none() })
    }

    /// What an earlier scan, that read `weights` or not, said of the file shown as `path` with this content, if it is to be
    /// believed. The tensors themselves are not kept.
    pub fn get(&self, path: &str, size: u64, sha256: Digest, weights: bool) -> Option<ScannedFile> {
        let about = about(self.basis, path, size, sha256, weights);
        let entry = match self.store.get(about) {
            Kept::Nothing => return None,
            Kept::Disbelieved => None,
            Kept::Bytes(body) => serde_json::from_slice::<Entry>(&body).ok(),
        };
        match entry.filter(|entry| entry.is_about(path, size, sha256)) {
            Some(entry) => {
                self.taken.fetch_add(1, Relaxed);
                Some(entry.into_file())
            }
            None => {
                self.disbelieved.fetch_add(1, Relaxed);
                None
            }
        }
    }

    /// Keeps what a scan said of a file with this content, where that may be kept and is worth it. What cannot be written is
    /// scanned again next time.
    pub fn put(&self, file: &ScannedFile, sha256: Digest, weights: bool) {
        if file.keep.is_none_or(|took| took < SCAN_TIME_MIN) {
            return;
        }
        let Some(entry) = Entry::of(file, sha256) else { return };
        let Ok(body) = serde_json::to_vec(&entry) else { return };
        let about = about(self.basis, &entry.path, entry.size, sha256, weights);
        if self.store.put(about, &body) {
            self.kept.fetch_add(1, Relaxed);
        }
    }

    /// Ends the run: lets the oldest entries go where there are too many, and says what a reader has to know.
    pub fn close(&self, context: &Context) -> Option<String> {
        let (taken, kept) = (self.taken.load(Relaxed), self.kept.load(Relaxed));
        context.mention(&format!("{taken} verdicts taken from earlier runs, {kept} kept"));
        if kept > 0 {
            self.store.evict(&BOUND);
        }
        let disbelieved = self.disbelieved.load(Relaxed);
        (disbelieved > 0).then(|| {
            format!("{disbelieved} kept verdicts could not be believed and were ignored; their files were scanned")
        })
    }

    /// How many verdicts came from earlier runs.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }
}

impl Entry {
    /// `file` as an entry, unless a scan might end otherwise the next time or its findings were cut.
    fn of(file: &ScannedFile, sha256: Digest) -> Option<Self> {
        let report = &file.report;
        let unjudged = |finding: &Finding| Verdict::of(finding) == Verdict::Unscannable;
        let certain = report.verdict != Verdict::Unscannable && !report.findings.iter().any(unjudged);
        (certain && report.findings_left_out == 0).then(|| Self {
            path: report.path.clone(),
            size: report.size,
            sha256,
            format: report.format.clone().into_owned(),
            verdict: report.verdict,
            findings: report.findings.clone(),
            imports: report.imports.clone(),
            objects: report.objects.iter().map(|(format, n)| (format.clone().into_owned(), *n)).collect(),
            tensors: report.tensors,
            bytes_unclaimed: file.bytes_unclaimed,
            runs_code_by_design: file.runs_code_by_design,
            has_template: file.has_template,
            is_model: file.is_model,
        })
    }

    /// Whether it says what it was asked for, and no less than its findings do.
    fn is_about(&self, path: &str, size: u64, sha256: Digest) -> bool {
        let worst = self.findings.iter().map(Verdict::of).max().unwrap_or(Verdict::Clean);
        (self.path.as_str(), self.size, self.sha256) == (path, size, sha256) && self.verdict >= worst
    }

    fn into_file(self) -> ScannedFile {
        ScannedFile {
            report: ArtifactReport {
                path: self.path,
                member: None,
                size: self.size,
                digest: Some(DigestSet { sha256: self.sha256 }),
                format: Cow::Owned(self.format),
                verdict: self.verdict,
                findings: self.findings,
                findings_left_out: 0,
                imports: self.imports,
                objects: self.objects.into_iter().map(|(format, n)| (Cow::Owned(format), n)).collect(),
                tensors: self.tensors,
                registration: None,
                bytes_fetched: None,
            },
            bytes_unclaimed: self.bytes_unclaimed,
            runs_code_by_design: self.runs_code_by_design,
            has_template: self.has_template,
            is_model: self.is_model,
            weights: Vec::new(),
            place: None,
            rests_on_others: false,
            keep: None,
        }
    }
}

/// Everything a verdict rests on besides the file. `rules` covers the rule files, not the code that reads them, so two builds
/// of one version share nothing.
fn basis(rules: Digest, limits: &Limits, build: &[u8]) -> Digest {
    // Limits are plain numbers under names.
    let limits = serde_json::to_vec(limits).unwrap_or_default();
    digest(&[b"casemate-verdict-basis-v1", &rules.0, &limits, build])
}

/// The name of the entry about one file.
fn about(basis: Digest, path: &str, size: u64, sha256: Digest, weights: bool) -> Digest {
    digest(&[b"casemate-verdict-v2", &basis.0, path.as_bytes(), &size.to_be_bytes(), &sha256.0, &[u8::from(weights)]])
}

/// What tells this executable from every other: where and when its file came to be.
#[cfg(unix)]
fn build() -> Option<Vec<u8>> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(std::env::current_exe().ok()?).ok()?;
    let numbers = [metadata.size(), metadata.ino(), metadata.mtime().cast_unsigned(), metadata.ctime().cast_unsigned()];
    let parts = [metadata.mtime_nsec().cast_unsigned(), metadata.ctime_nsec().cast_unsigned()];
    Some(numbers.iter().chain(&parts).flat_map(|number| number.to_be_bytes()).collect())
}

#[cfg(not(unix))]
fn build() -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests;
