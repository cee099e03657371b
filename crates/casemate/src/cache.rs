//! Verdicts kept from one run to the next, for files whose scan costs more than their digest.
//!
//! A kept verdict is found under everything it rests on: the bytes' digest, the path as shown (findings carry it, and detectors
//! may read any of it), the rules, the limits, and the very executable. It can never be weaker than a scan:
//! - entries are authenticated with a key of this project's state ([`MacKey`]) and bound to what they are about, so neither an
//!   edited entry, nor one put in another's place, nor one that came with a repository is believed;
//! - a file that changed while it was looked at, or just before, is not kept, nor is anything that could not be judged: that may
//!   end otherwise;
//! - what cannot be believed is scanned, and said.
//!
//! Without a state directory there is no cache. Entries are written beside their place and renamed, so runs may overlap.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use casemate_artifact::Verdict;
use casemate_core::{Digest, FileSource, Finding, Limits, Source as _, SourceExt as _};
use casemate_provenance::files::{create_anew, open_lock};
use casemate_provenance::{MacKey, sha256};
use serde::{Deserialize, Serialize};

use crate::context::{Context, Project};
use crate::report::{ArtifactReport, DigestSet};
use crate::scanning::{ScannedFile, rules_digest};
use crate::state::State;

/// Entries kept, and their bytes together; beyond either the oldest go.
const BOUND: Bound = Bound { entries: 20_000, bytes: 64 << 20 };

/// A larger entry is not kept: reading it would cost what it saves.
const ENTRY_BYTES_MAX: u64 = 1 << 20;

/// A scan that took less is not worth an entry. Measured with 1,000 pickles of 55 kB: 0.34 s to scan, 0.06 s from entries, hashing
/// included in both; with 1,000 of 4 kB there is nothing to gain, looking for entries cost 6 ms.
const SCAN_TIME_MIN: Duration = Duration::from_micros(250);

/// Verdicts of earlier runs.
pub struct Cache {
    directory: PathBuf,
    key: MacKey,
    /// What every verdict of this run rests on besides the file.
    basis: Digest,
    taken: AtomicU64,
    kept: AtomicU64,
    disbelieved: AtomicU64,
}

/// How much is kept.
struct Bound {
    entries: usize,
    bytes: u64,
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
        let directory = state.join("cache").join("verdicts");
        for path in [state, &state.join("keys"), &state.join("cache"), &directory] {
            if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(format!("`{}` is a link", path.display()));
            }
        }
        let build = build().ok_or("this build cannot be told from another")?;
        fs::create_dir_all(&directory).map_err(|error| format!("`{}`: {error}", directory.display()))?;
        // Two first runs at once must end up with one key.
        let lock = open_lock(&state.join("create.lock")).map_err(|error| error.to_string())?;
        lock.lock().map_err(|error| error.to_string())?;
        let key = MacKey::load_or_create(&state.join("keys").join("cache.key")).map_err(|error| error.to_string())?;
        let basis = basis(rules_digest(), limits, &build);
        let none = AtomicU64::default;
        Ok(Self { directory, key, basis, taken: none(), kept: none(), disbelieved: none() })
    }

    /// What an earlier scan, that read `weights` or not, said of the file shown as `path` with this content, if it is to be
    /// believed. The tensors themselves are not kept.
    pub fn get(&self, path: &str, size: u64, sha256: Digest, weights: bool) -> Option<ScannedFile> {
        let about = about(self.basis, path, size, sha256, weights);
        let source = FileSource::open(&self.directory.join(about.to_string())).ok()?;
        let entry = self.read(&source, about).filter(|entry| entry.is_about(path, size, sha256));
        match entry {
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

    fn read(&self, source: &FileSource, about: Digest) -> Option<Entry> {
        if source.size_bytes() > ENTRY_BYTES_MAX {
            return None;
        }
        let bytes = source.bytes_at(0, ENTRY_BYTES_MAX).ok()?;
        let (tag, body) = bytes.split_at_checked(64)?;
        let tag: Digest = std::str::from_utf8(tag).ok()?.parse().ok()?;
        self.key.verifies(&sealed(about, body), &tag).then(|| serde_json::from_slice(body).ok())?
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
        let mut bytes = self.key.tag(&sealed(about, &body)).to_string().into_bytes();
        bytes.extend(body);
        if bytes.len() as u64 > ENTRY_BYTES_MAX {
            return;
        }
        let n = self.kept.fetch_add(1, Relaxed);
        let temporary = self.directory.join(format!("{}-{n}.tmp", std::process::id()));
        let written = create_anew(&temporary)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
            .and_then(|()| fs::rename(&temporary, self.directory.join(about.to_string())));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
    }

    /// Ends the run: lets the oldest entries go where there are too many, and says what a reader has to know.
    pub fn close(&self, context: &Context) -> Option<String> {
        let (taken, kept) = (self.taken.load(Relaxed), self.kept.load(Relaxed));
        context.mention(&format!("{taken} verdicts taken from earlier runs, {kept} kept"));
        if kept > 0 {
            evict(&self.directory, &BOUND);
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

/// The digest of all parts, each behind its length.
fn digest(parts: &[&[u8]]) -> Digest {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    sha256(&bytes)
}

fn sealed(about: Digest, body: &[u8]) -> Vec<u8> {
    [about.0.as_slice(), body].concat()
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

/// Removes the oldest files of `directory` until three quarters of the bound are left, where it is passed.
fn evict(directory: &Path, bound: &Bound) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
    if files.len() <= bound.entries && bytes <= bound.bytes {
        return;
    }
    files.sort();
    let mut left = files.len();
    for (_, size, path) in files {
        if left <= bound.entries / 4 * 3 && bytes <= bound.bytes / 4 * 3 {
            return;
        }
        // Another run may have removed it already.
        let _ = fs::remove_file(path);
        left -= 1;
        bytes -= size;
    }
}

#[cfg(test)]
mod tests;
