//! Scanning files: from paths to artifacts, in parallel, each file read once for its digest and by ranges for its content.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use casemate_artifact::weights::WeightObject;
use casemate_artifact::{Beside, RULE_FILES, Scan, Scanner, Verdict, detectors::DETECTORS, formats_of};
use casemate_core::{Confidence, Digest, FileSource, Finding, Limits, Location, Severity, SharedSource};
use casemate_provenance::manifest::Error as ManifestError;
use casemate_provenance::{Account, KnownDigests, Manifest, Snapshot, Stamp, hash, sha256};
use rayon::prelude::*;

use crate::cache::Cache;
use crate::context::Context;
use crate::exit::{Failure, last_fault};
use crate::filters::{Filters, LeftOut};
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
    /// What was left out because somebody asked for it.
    pub left_out: Vec<LeftOut>,
    /// Whether the work was interrupted before its end.
    pub incomplete: bool,
    /// Whether weights were read.
    pub weights_read: bool,
    /// How many of the files were read for their digests, where the model was scanned whole.
    pub hashing: Account,
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
    /// Whether the verdict rests on files beside it too, and so may not be kept under its own digest.
    pub rests_on_others: bool,
    /// How long it took to scan, where the verdict may be kept for later runs.
    pub keep: Option<Duration>,
}

/// How to scan.
#[derive(Clone, Copy)]
pub struct ScanSettings<'a> {
    /// Bounds.
    pub limits: &'a Limits,
    /// Whether to compute digests.
    pub hash: bool,
    /// Whether to read every tensor: its digest and what its numbers come to.
    pub weights: bool,
    /// Verdicts of earlier runs, for files whose digest is known; not to be given where the tensors themselves are wanted.
    pub cache: Option<&'a Cache>,
    /// Digests that are known already, by path as shown. Whoever knows them answers for it that the files hold still.
    pub known: Option<&'a HashMap<&'a str, Digest>>,
}

/// How to scan a whole model.
#[derive(Clone, Copy)]
pub struct ModelScan<'a> {
    /// Bounds.
    pub limits: &'a Limits,
    /// Verdicts of earlier runs; not to be given where the tensors themselves are wanted.
    pub cache: Option<&'a Cache>,
    /// Weights of a model with at most so many bytes are read.
    pub weights_bytes_max: u64,
    /// Digests of earlier runs, which must be drawn whole: verdicts are about bytes that were read.
    pub known: &'a KnownDigests,
}

/// Digest over everything a scan verdict rests on besides the bytes: rule files, detectors, formats, version.
pub fn rules_digest() -> Digest {
    digest_of_rules(RULE_FILES)
}

/// [`rules_digest`] with these rule files.
pub fn digest_of_rules(files: &[(&str, &str)]) -> Digest {
    let mut text = format!("casemate-rules-v1\0{PROBE_VERSION}\0{}\0", env!("CARGO_PKG_VERSION"));
    for (name, content) in files {
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

/// Scans every file at or under `paths`, each given as shown and where it is, that `filters` let through.
pub fn scan_paths(
    context: &Context,
    paths: &[(String, PathBuf)],
    filters: &Filters,
    settings: ScanSettings<'_>,
) -> Scanned {
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    for (shown, path) in paths {
        let walked = walk(shown, path);
        files.extend(walked.files);
        skipped.extend(walked.skipped);
    }
    let mut left_out = Vec::new();
    files.retain(|(shown, _)| match filters.leaves_out(shown) {
        Some(reason) => {
            left_out.push(LeftOut { path: shown.clone(), reason });
            false
        }
        None => true,
    });
    // One file under several spellings is looked at once.
    let mut seen = HashSet::new();
    files.retain(|(_, path)| seen.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Scanned { skipped, left_out, ..scan_files(context, &files, settings) }
}

/// Scans exactly `files`, each given as shown and where it is.
pub fn scan_files(context: &Context, files: &[(String, PathBuf)], settings: ScanSettings<'_>) -> Scanned {
    let scanner = scanner(settings);
    let results = each_file(context, "scanning", files, &|shown, path| scan_file(&scanner, shown, path, settings));
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

/// What `look` says of each of `files`, in parallel, under a progress bar; `None` for those after an interruption.
pub fn each_file<T: Send>(
    context: &Context,
    what: &str,
    files: &[(String, PathBuf)],
    look: &(dyn Fn(&str, &Path) -> T + Sync),
) -> Vec<Option<T>> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bar = progress::bar(context, what, files.iter().map(|(_, path)| size(path)).sum());
    let one = |(shown, path): &(String, PathBuf)| {
        if context.is_interrupted() {
            return None;
        }
        bar.set_message(shown.clone());
        let result = look(shown, path);
        bar.inc(size(path));
        Some(result)
    };
    // One file needs no second thread, and starting threads costs more than scanning it.
    let results = if files.len() > 1 { files.par_iter().map(one).collect() } else { files.iter().map(one).collect() };
    bar.finish_and_clear();
    results
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
    with: ModelScan<'_>,
) -> Result<(Manifest, Scanned), ManifestError> {
    let snapshot = Snapshot::take(path, Some(with.known), &|_| ())?;
    let weights = snapshot.manifest.size_bytes() <= with.weights_bytes_max;
    let cache = with.cache;
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
    let digests: HashMap<&str, Digest> = files
        .iter()
        .zip(&snapshot.manifest.entries)
        .map(|((shown, _), entry)| (shown.as_str(), entry.sha256))
        .collect();
    let settings = ScanSettings { limits: with.limits, hash: false, weights, cache, known: Some(&digests) };
    let mut scanned = scan_files(context, &files, settings);
    snapshot.still_holds()?;
    scanned.hashing = with.known.account();
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
    for file in &mut scanned.files {
        // Now it is known that what was judged is what was hashed.
        if let Some((cache, digest)) = cache.zip(digests.get(file.report.path.as_str())) {
            cache.put(file, *digest, weights);
        }
        file.report.digest = digests.get(file.report.path.as_str()).map(|sha256| DigestSet { sha256: *sha256 });
    }
    Ok((snapshot.manifest, scanned))
}

fn scan_file(scanner: &Scanner, shown: &str, path: &Path, settings: ScanSettings<'_>) -> ScannedFile {
    let stamp = || std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
    let before = stamp();
    let opened = FileSource::open(path).map(Arc::new);
    let source: SharedSource = match opened {
        Ok(source) => source,
        Err(error) => {
            let mut file = not_judged(shown, 0, format!("cannot be read: {error}"));
            file.report.format = UNREAD.into();
            file.place = Some(path.to_owned());
            return file;
        }
    };
    let size = source.size_bytes();
    let known = settings.known.and_then(|known| known.get(shown)).copied();
    let digest = match (known, settings.hash) {
        (None, true) => match sha256_of(&source) {
            Ok(digest) => Some(digest),
            Err(why) => return ScannedFile { place: Some(path.to_owned()), ..not_judged(shown, size, why) },
        },
        (known, _) => known,
    };
    let cached = settings.cache.zip(digest);
    if let Some(file) = cached.and_then(|(cache, digest)| cache.get(shown, size, digest, settings.weights)) {
        return ScannedFile { place: Some(path.to_owned()), ..file };
    }
    let began = Instant::now();
    let mut file =
        ScannedFile { place: Some(path.to_owned()), ..judged(scanner, shown, source, digest, &beside(path)) };
    file.keep = cached.filter(|_| !file.rests_on_others && may_be_kept(before.as_ref())).map(|_| began.elapsed());
    // What was judged must be what was hashed: a file swapped between the two would leave its verdict to the other. Where the
    // digest was known before, only whoever knew it can tell.
    if let Some((cache, digest)) = cached.filter(|_| known.is_none() && before == stamp()) {
        cache.put(&file, digest, settings.weights);
    }
    file
}

/// Whether a change of the file from now on would show in its stamp. Writes through a mapping show when the system writes them
/// back, which is the one change this does not see.
fn may_be_kept(stamp: Option<&Stamp>) -> bool {
    const LEFT_ALONE_MIN: Duration = Duration::from_secs(2);
    stamp.is_some_and(|stamp| stamp.is_settled(SystemTime::now(), LEFT_ALONE_MIN))
}

/// Scans one source, called `shown`.
pub fn scan_source(scanner: &Scanner, shown: &str, source: SharedSource, settings: ScanSettings<'_>) -> ScannedFile {
    match settings.hash.then(|| sha256_of(&source)).transpose() {
        Ok(digest) => judged(scanner, shown, source, digest, &|_| None),
        Err(why) => not_judged(shown, source.size_bytes(), why),
    }
}

fn sha256_of(source: &SharedSource) -> Result<Digest, String> {
    hash::sha256_of(source.as_ref(), &|_| ()).map_err(|error| format!("cannot be read: {error}"))
}

/// Opens files in the folder of `path` by their names.
pub fn beside(path: &Path) -> impl Fn(&str) -> Option<SharedSource> {
    let folder = path.parent().map(Path::to_owned);
    move |name| {
        let source = FileSource::open(&folder.as_ref()?.join(name)).ok()?;
        Some(Arc::new(source))
    }
}

fn judged(
    scanner: &Scanner,
    shown: &str,
    source: SharedSource,
    digest: Option<Digest>,
    beside: &Beside<'_>,
) -> ScannedFile {
    let size = source.size_bytes();
    // A fault of ours in one file must neither end the run nor pass as clean.
    match catch_unwind(AssertUnwindSafe(|| scanner.scan_beside(shown, source, beside))) {
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
        rests_on_others: scan.rests_on_others,
        keep: None,
        report: ArtifactReport {
            path: scan.path,
            member: None,
            size: scan.size_bytes,
            digest: digest.map(|sha256| DigestSet { sha256 }),
            format: scan.format.into(),
            verdict: scan.verdict,
            findings: scan.findings,
            findings_left_out: scan.findings_left_out,
            imports: scan.imports.into_iter().collect(),
            objects: objects.into_iter().map(|(format, n)| (format.into(), n)).collect(),
            tensors: scan.tensors,
            registration: None,
            bytes_fetched: None,
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
        rests_on_others: false,
        keep: None,
        report: ArtifactReport {
            path: shown.into(),
            member: None,
            size,
            digest: None,
            format: "unknown".into(),
            verdict: Verdict::Unscannable,
            findings: vec![finding],
            findings_left_out: 0,
            imports: Vec::new(),
            objects: std::collections::BTreeMap::new(),
            tensors: 0,
            registration: None,
            bytes_fetched: None,
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
