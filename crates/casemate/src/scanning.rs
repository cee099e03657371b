//! Scanning files: from paths to artifacts, in parallel, each file read once for its digest and by ranges for its content.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use casemate_artifact::weights::WeightObject;
use casemate_artifact::{RULE_FILES, Scan, Scanner, Verdict, detectors::DETECTORS, formats_of};
use casemate_core::{Confidence, Digest, FileSource, Finding, Limits, Location, Severity, SharedSource};
use casemate_provenance::manifest::Error as ManifestError;
use casemate_provenance::{HashChoice, Manifest, Snapshot, hash, sha256};
use rayon::prelude::*;

use crate::context::Context;
use crate::exit::{Failure, last_fault};
use crate::models::UNREAD;
use crate::progress;
use crate::report::{ArtifactReport, DigestSet};
use crate::walk::{Skipped, walk};

/// Version of what the scanner can see; a change makes earlier evidence stale through [`rules_digest`].
pub const PROBE_VERSION: &str = "1";

/// What scanning a set of paths gave.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Every file, in order of path.
    pub files: Vec<ScannedFile>,
    /// What was not looked at.
    pub skipped: Vec<Skipped>,
    /// Whether the work was interrupted before its end.
    pub incomplete: bool,
    /// Whether weights were read.
    pub weights_read: bool,
    /// Findings about the whole, from a comparison; they change no file's verdict, which is about its content.
    pub others: Vec<Finding>,
}

/// One scanned file.
#[derive(Debug)]
pub struct ScannedFile {
    /// What reports show of it.
    pub report: ArtifactReport,
    /// Non-zero bytes no format accounts for.
    pub bytes_unclaimed: u64,
    /// Whether it, or anything in it, is of a format that can run code by design.
    pub runs_code_by_design: bool,
    /// Whether it carries a chat template.
    pub has_template: bool,
    /// Whether it holds a model.
    pub is_model: bool,
    /// Its tensors, where weights were read.
    pub weights: Vec<WeightObject>,
    /// Where it is, unless it came from elsewhere.
    pub place: Option<PathBuf>,
}

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanSettings<'a> {
    /// Bounds.
    pub limits: &'a Limits,
    /// Whether to compute digests.
    pub hash: bool,
    /// Whether to read every tensor: its digest and what its numbers come to.
    pub weights: bool,
}

/// Digest over everything a scan verdict rests on besides the bytes: rule files, detectors, formats, version.
pub fn rules_digest() -> Digest {
    let mut text = format!("casemate-rules-v1\0{PROBE_VERSION}\0{}\0", env!("CARGO_PKG_VERSION"));
    for (name, content) in RULE_FILES {
        text.extend([name, "\0", content, "\0"]);
    }
    DETECTORS.iter().for_each(|detector| text.extend([detector.meta().id, "\0"]));
    casemate_artifact::formats::FORMATS.iter().for_each(|format| text.extend([format.meta().id, "\0"]));
    sha256(text.as_bytes())
}

/// Reads limits from a TOML file, or the default.
///
/// # Errors
/// When the file cannot be read or would let nothing through.
pub fn limits(path: Option<&Path>) -> Result<Limits, Failure> {
    let Some(path) = path else { return Ok(Limits::default()) };
    let at = |what: &dyn std::fmt::Display| Failure::usage(format!("`{}`: {what}", path.display()));
    let text = crate::small_file::read(path).map_err(Failure::usage)?;
    let limits: Limits = toml::from_str(&text).map_err(|error| at(&crate::config::at_line(&text, &error)))?;
    limits.check().map_err(|error| at(&error))?;
    Ok(limits)
}

/// Scans every file at or under `paths`, each given as shown and where it is.
pub fn scan_paths(context: &Context, paths: &[(String, PathBuf)], settings: ScanSettings<'_>) -> Scanned {
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    for (shown, path) in paths {
        let walked = walk(shown, path);
        files.extend(walked.files);
        skipped.extend(walked.skipped);
    }
    // One file under several spellings is looked at once.
    let mut seen = HashSet::new();
    files.retain(|(_, path)| seen.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Scanned { skipped, ..scan_files(context, &files, settings) }
}

/// Scans exactly `files`, each given as shown and where it is.
pub fn scan_files(context: &Context, files: &[(String, PathBuf)], settings: ScanSettings<'_>) -> Scanned {
    let bytes = files.iter().filter_map(|(_, path)| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum();
    let bar = progress::bar(context, "scanning", bytes);
    let scanner = scanner(settings);
    let one = |(shown, path): &(String, PathBuf)| {
        if context.is_interrupted() {
            return None;
        }
        bar.set_message(shown.clone());
        let file = scan_file(&scanner, shown, path, settings);
        bar.inc(file.report.size);
        Some(file)
    };
    // One file needs no second thread, and starting threads costs more than scanning it.
    let results: Vec<_> =
        if files.len() > 1 { files.par_iter().map(one).collect() } else { files.iter().map(one).collect() };
    bar.finish_and_clear();
    let incomplete = results.iter().any(Option::is_none);
    let files = results.into_iter().flatten().collect();
    Scanned { files, incomplete, weights_read: settings.weights, ..Scanned::default() }
}

/// A scanner as the settings ask for.
pub fn scanner(settings: ScanSettings<'_>) -> Scanner {
    let scanner = Scanner::new(settings.limits.clone());
    match settings.weights {
        true => scanner.with_weights(&crate::weights::READER),
        false => scanner,
    }
}

/// A model hashed and scanned: verdict and digest are about the same bytes, and about all of them.
///
/// The manifest lists the files, exactly those are scanned, and at the end nothing may have been added, taken away or
/// written to since. Weights are read where the model has at most `weights_bytes_max` bytes.
///
/// # Errors
/// When there is no manifest, or something changed meanwhile.
pub fn scan_model(
    context: &Context,
    shown: &str,
    path: &Path,
    limits: &Limits,
    weights_bytes_max: u64,
) -> Result<(Manifest, Scanned), ManifestError> {
    let snapshot = Snapshot::take(path, &|_| ())?;
    let root = shown.trim_end_matches('/');
    let files: Vec<(String, PathBuf)> = snapshot
        .files()
        .iter()
        .map(|(name, file)| match (name.as_str(), root) {
            (".", root) => (root.to_owned(), file.clone()),
            (name, ".") => (name.to_owned(), file.clone()),
            (name, root) => (format!("{root}/{name}"), file.clone()),
        })
        .collect();
    let weights = snapshot.manifest.size_bytes() <= weights_bytes_max;
    let mut scanned = scan_files(context, &files, ScanSettings { limits, hash: false, weights });
    snapshot.still_holds()?;
    scanned.skipped = snapshot
        .manifest
        .skipped
        .iter()
        .map(|skipped| Skipped {
            path: format!("{root}/{}", skipped.path),
            reason: skipped.reason.clone(),
            matters: false,
        })
        .collect();
    let digests: HashMap<&str, Digest> = files
        .iter()
        .zip(&snapshot.manifest.entries)
        .map(|((shown, _), entry)| (shown.as_str(), entry.sha256))
        .collect();
    for file in &mut scanned.files {
        file.report.digest = digests.get(file.report.path.as_str()).map(|sha256| DigestSet { sha256: *sha256 });
    }
    Ok((snapshot.manifest, scanned))
}

fn scan_file(scanner: &Scanner, shown: &str, path: &Path, settings: ScanSettings<'_>) -> ScannedFile {
    let mut file = match FileSource::open(path) {
        Ok(source) => scan_source(scanner, shown, Arc::new(source), settings),
        Err(error) => {
            let mut file = not_judged(shown, 0, format!("cannot be read: {error}"));
            file.report.format = UNREAD;
            file
        }
    };
    file.place = Some(path.to_owned());
    file
}

/// Scans one source, called `shown`.
pub fn scan_source(scanner: &Scanner, shown: &str, source: SharedSource, settings: ScanSettings<'_>) -> ScannedFile {
    let size = source.size_bytes();
    let digest = match settings.hash {
        true => match hash::hash(source.as_ref(), HashChoice::Sha256, &|_| ()) {
            Ok(hashes) => Some(hashes.sha256),
            Err(error) => return not_judged(shown, size, format!("cannot be read: {error}")),
        },
        false => None,
    };
    // A fault of ours in one file must neither end the run nor pass as clean.
    match catch_unwind(AssertUnwindSafe(|| scanner.scan(shown, source))) {
        Ok(scan) => scanned(scan, digest),
        Err(_) => {
            not_judged(shown, size, format!("the scanner failed on this file at {}; please report it", last_fault()))
        }
    }
}

fn scanned(scan: Scan, digest: Option<Digest>) -> ScannedFile {
    let objects = formats_of(&scan);
    ScannedFile {
        bytes_unclaimed: scan.bytes_unclaimed,
        runs_code_by_design: scan.runs_code_by_design,
        has_template: scan.has_template,
        is_model: scan.is_model,
        weights: scan.weights,
        place: None,
        report: ArtifactReport {
            path: scan.path,
            size: scan.size_bytes,
            digest: digest.map(|sha256| DigestSet { sha256 }),
            format: scan.format,
            verdict: scan.verdict,
            findings: scan.findings,
            findings_left_out: scan.findings_left_out,
            imports: scan.imports.into_iter().collect(),
            objects,
            tensors: scan.tensors,
        },
    }
}

/// A file that could not be judged, and why.
pub fn not_judged(shown: &str, size: u64, what: String) -> ScannedFile {
    let finding = Finding {
        rule: "content-undecodable".into(),
        severity: Severity::Medium,
        confidence: Confidence::High,
        message: what,
        location: Location { path: shown.into(), ..Location::default() },
        controls: vec!["SUP-01".into()],
        references: Vec::new(),
        remediation: "make the file readable and scan it again".into(),
        accepted: None,
    };
    ScannedFile {
        bytes_unclaimed: 0,
        runs_code_by_design: false,
        has_template: false,
        is_model: false,
        weights: Vec::new(),
        place: None,
        report: ArtifactReport {
            path: shown.into(),
            size,
            digest: None,
            format: "unknown",
            verdict: Verdict::Unscannable,
            findings: vec![finding],
            findings_left_out: 0,
            imports: Vec::new(),
            objects: std::collections::BTreeMap::new(),
            tensors: 0,
        },
    }
}

impl Scanned {
    /// The worst verdict; unscannable when nothing was judged or something could not be looked at.
    pub fn verdict(&self) -> Verdict {
        let unseen = self.incomplete || self.files.is_empty() || self.skipped.iter().any(|skipped| skipped.matters);
        let floor = if unseen { Verdict::Unscannable } else { Verdict::Clean };
        self.files.iter().map(|file| file.report.verdict).fold(floor, Verdict::max)
    }

    /// Number of files with `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.files.iter().filter(|file| file.report.verdict == verdict).count()
    }

    /// All findings, the worst first, then by place.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> =
            self.files.iter().flat_map(|file| &file.report.findings).chain(&self.others).cloned().collect();
        findings.sort_by(|a, b| {
            b.severity.cmp(&a.severity).then_with(|| a.location.cmp(&b.location)).then_with(|| a.rule.cmp(&b.rule))
        });
        findings
    }
}
