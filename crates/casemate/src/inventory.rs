//! Where models are: every file under some roots, and everything inside of archives, looked at by content.
//!
//! A model nobody listed is also not scanned, monitored or patched, and an altered copy in a cache serves on after the original
//! was mended. Names and endings play no part in finding one; hidden directories, layers of container images, wheels and links
//! are looked into. What cannot be told is named, never passed over. Not seen are models in the history of version control
//! (large files kept by git LFS are), behind a format this build does not read, and on the network.

mod media;
mod reference;
mod self_test;

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use casemate_artifact::{Scan, ScannedObject, Scanner, Verdict, formats_of};
use casemate_core::{Digest, FileSource, Finding, Limits, SharedSource};
use casemate_provenance::hash;

pub use reference::{Reference, records};
pub use self_test::self_test;

use crate::context::Context;
use crate::exit::last_fault;
use crate::filters::{Filters, LeftOut};
use crate::report::{ArtifactReport, DigestSet, Registration, RegistrationStatus};
use crate::scanning::{beside, each_file, not_judged};
use crate::walk::{Skipped, walk_but};

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Every model, and every file of which it could not be told, in order of path.
    pub models: Vec<ArtifactReport>,
    /// Files looked at.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What was not looked at.
    pub skipped: Vec<Skipped>,
    /// What was left out because somebody asked for it.
    pub left_out: Vec<LeftOut>,
    /// Whether the work was interrupted.
    pub incomplete: bool,
}

/// How to sweep.
pub struct Sweep<'a> {
    /// What is known.
    pub reference: &'a Reference,
    /// Bounds.
    pub limits: &'a Limits,
    /// Which files are looked at.
    pub filters: &'a Filters,
    /// The tool's own state, which is left out wherever it lies.
    pub state: Option<&'a Path>,
}

/// One file under all names it was met by.
struct Place {
    names: Vec<String>,
    path: PathBuf,
}

impl Inventory {
    /// Sweeps `roots`, each given as shown and where it is.
    pub fn take(context: &Context, roots: &[(String, PathBuf)], sweep: &Sweep<'_>) -> Self {
        let mut inventory = Self::default();
        let places = inventory.places(roots, sweep);
        let files: Vec<(String, PathBuf)> =
            places.iter().map(|place| (place.shown().to_owned(), place.path.clone())).collect();
        let scanner = Scanner::new(sweep.limits.clone());
        let by_path: BTreeMap<&Path, &Place> = places.iter().map(|place| (place.path.as_path(), place)).collect();
        let swept = each_file(context, "sweeping", &files, &|shown, path| {
            let names = by_path.get(path).map(|place| place.names.as_slice()).unwrap_or_default();
            file(&scanner, shown, path, names, sweep.reference)
        });
        inventory.incomplete = swept.iter().any(Option::is_none);
        for (size, models) in swept.into_iter().flatten() {
            inventory.files += 1;
            inventory.bytes = inventory.bytes.saturating_add(size);
            inventory.models.extend(models);
        }
        inventory
    }

    fn places(&mut self, roots: &[(String, PathBuf)], sweep: &Sweep<'_>) -> Vec<Place> {
        let own = sweep.state.and_then(|state| std::fs::canonicalize(state).ok());
        let mut files = Vec::new();
        let mut waiting = roots.to_vec();
        while let Some((shown, root)) = waiting.pop() {
            let walked = walk_but(&shown, &root, &mut |name, child, _| {
                let is_repository = name == ".git" && child.join("HEAD").is_file();
                if is_repository && child.join("lfs/objects").is_dir() {
                    let store = child.join("lfs/objects");
                    let name = store.to_string_lossy().replace('\\', "/");
                    waiting.push((name.strip_prefix("./").unwrap_or(&name).to_owned(), store));
                }
                is_repository || own.is_some() && std::fs::canonicalize(child).ok() == own
            });
            files.extend(walked.files);
            self.skipped.extend(walked.skipped);
        }
        files.sort();
        let mut places: BTreeMap<PathBuf, Place> = BTreeMap::new();
        for (shown, path) in files {
            if let Some(reason) = sweep.filters.leaves_out(&shown) {
                self.left_out.push(LeftOut { path: shown, reason });
                continue;
            }
            let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            places.entry(real).or_insert_with(|| Place { names: Vec::new(), path }).names.push(shown);
        }
        places.into_values().collect()
    }

    /// Number of models and files with this status.
    pub fn count(&self, status: RegistrationStatus) -> usize {
        let has = |file: &&ArtifactReport| file.registration.as_ref().is_some_and(|it| it.status == status);
        self.models.iter().filter(has).count()
    }

    /// Number of models, whatever their status.
    pub fn models(&self) -> usize {
        self.models.len() - self.count(RegistrationStatus::Unjudged)
    }

    /// Whether something could not be seen or told.
    pub fn has_gaps(&self) -> bool {
        self.incomplete
            || self.skipped.iter().any(|skipped| skipped.matters)
            || self.models.iter().any(|file| file.verdict == Verdict::Unscannable)
    }

    /// Places that hold the same content, by digest, where there is more than one.
    pub fn duplicates(&self) -> Vec<(Digest, Vec<String>)> {
        let mut places: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for file in &self.models {
            let place =
                file.member.as_ref().map_or_else(|| file.path.clone(), |inner| format!("{}!{inner}", file.path));
            if let Some(digest) = file.digest {
                places.entry(digest.sha256).or_default().push(place);
            }
        }
        places.into_iter().filter(|(_, places)| places.len() > 1).collect()
    }
}

impl Place {
    /// The name reports show: one with an ending, where links give the same file several. Caches keep content under its digest.
    fn shown(&self) -> &str {
        let has_ending =
            |name: &&String| name.rsplit('/').next().is_some_and(|name| name.trim_start_matches('.').contains('.'));
        self.names.iter().find(has_ending).or(self.names.first()).map_or("", String::as_str)
    }
}

/// What the objects of a file turned out to be.
#[derive(Default)]
struct Seen {
    models: Vec<Model>,
    /// How deep the model lies whose insides are being visited.
    inside: Option<u32>,
    /// Names of objects of unknown format that are media.
    media: HashSet<String>,
    /// Names of objects of unknown format that are not: an archive may hold both under one name.
    strange: HashSet<String>,
}

struct Model {
    object: ScannedObject,
    sha256: Result<Digest, String>,
}

impl Seen {
    /// Takes the next object: a parent comes before what is in it, so depth tells where a model ends, whatever the names say.
    fn visit(&mut self, object: &ScannedObject, source: &SharedSource) {
        if self.inside.is_some_and(|depth| object.depth <= depth) {
            self.inside = None;
        }
        // What is inside of a model is part of it.
        if object.is_model && self.inside.is_none() {
            self.inside = Some(object.depth);
            self.models.push(Model { object: object.clone(), sha256: sha256(source) });
        }
        if object.format == "unknown" {
            let is_media = media::holds_no_model(source.as_ref());
            let names = if is_media { &mut self.media } else { &mut self.strange };
            names.insert(object.member.clone());
        }
    }
}

/// The models in the file at `path`, and its size. A file of which it cannot be told is listed itself.
fn file(
    scanner: &Scanner,
    shown: &str,
    path: &Path,
    names: &[String],
    reference: &Reference,
) -> (u64, Vec<ArtifactReport>) {
    let source: SharedSource = match FileSource::open(path) {
        Ok(source) => Arc::new(source),
        Err(error) => return (0, vec![unjudged(not_judged(shown, 0, format!("cannot be read: {error}")).report)]),
    };
    let size = source.size_bytes();
    let mut seen = Seen::default();
    let mut visit = |object: &ScannedObject, source: &SharedSource| seen.visit(object, source);
    let beside = beside(path);
    let scan = catch_unwind(AssertUnwindSafe(|| scanner.scan_each(shown, Arc::clone(&source), &beside, &mut visit)));
    let Ok(scan) = scan else {
        let what = format!("the scanner failed on this file at {}; please report it", last_fault());
        return (size, vec![unjudged(not_judged(shown, size, what).report)]);
    };
    let Seen { models, media, strange, .. } = seen;
    // An archive that is registered whole makes what is inside known as well.
    let whole = models.iter().any(|model| !model.object.member.is_empty()).then(|| sha256(&source).ok()).flatten();
    let mut reports: Vec<ArtifactReport> = models
        .iter()
        .map(|model| of_model(&scan, model, names, whole.map(|sha256| (size, sha256)), reference))
        .collect();
    let is_media = |member: &str| media.contains(member) && !strange.contains(member);
    let gaps = gaps(&scan, &models, &is_media);
    if !gaps.is_empty() {
        let mut report = not_judged(shown, size, String::new()).report;
        report.format = scan.format.into();
        report.findings = gaps;
        reports.push(unjudged(report));
    }
    (size, reports)
}

/// Whether `member` is `model` or lies in it; the file itself is the empty name.
fn is_inside(member: &str, model: &str) -> bool {
    model.is_empty() || member == model || member.strip_prefix(model).is_some_and(|rest| rest.starts_with('!'))
}

fn of_model(
    scan: &Scan,
    model: &Model,
    names: &[String],
    whole: Option<(u64, Digest)>,
    reference: &Reference,
) -> ArtifactReport {
    let object = &model.object;
    let is_file = object.member.is_empty();
    let about = |finding: &&Finding| is_inside(finding.location.member.as_deref().unwrap_or_default(), &object.member);
    let findings: Vec<Finding> = scan.findings.iter().filter(about).cloned().collect();
    let verdict = findings.iter().map(Verdict::of).max().unwrap_or(Verdict::Clean);
    // Findings that were cut may be about this one.
    let verdict = if is_file || scan.findings_left_out > 0 { verdict.max(scan.verdict) } else { verdict };
    let sha256 = match is_cut(scan, &object.member) {
        true => {
            Err("it lies in an archive that was read in part, so its content is not known; unpack it and sweep again"
                .to_owned())
        }
        false => model.sha256.clone(),
    };
    let registration = match &sha256 {
        Ok(digest) => {
            let inner = object.member.rsplit('!').next().unwrap_or_default();
            let member = [inner.to_owned()];
            let names = if is_file { names } else { &member };
            reference.judge((object.size_bytes, *digest), whole, names)
        }
        Err(why) => Registration { status: RegistrationStatus::Unjudged, model: None, basis: why.clone() },
    };
    let verdict = if sha256.is_err() { verdict.max(Verdict::Unscannable) } else { verdict };
    let objects = match is_file {
        true => formats_of(scan).into_iter().map(|(format, n)| (format.into(), n)).collect(),
        false => BTreeMap::from([(object.format.into(), 1)]),
    };
    ArtifactReport {
        path: scan.path.clone(),
        member: (!is_file).then(|| object.member.clone()),
        size: object.size_bytes,
        digest: sha256.ok().map(|sha256| DigestSet { sha256 }),
        format: object.format.into(),
        verdict,
        findings,
        findings_left_out: scan.findings_left_out,
        imports: if is_file { scan.imports.iter().cloned().collect() } else { Vec::new() },
        objects,
        tensors: if is_file { scan.tensors } else { 0 },
        registration: Some(registration),
        bytes_fetched: None,
    }
}

/// Whether an archive around `member` was read in part only: the bytes at hand may then not be all of the member's.
fn is_cut(scan: &Scan, member: &str) -> bool {
    let is_around = |finding: &Finding| {
        let outer = finding.location.member.as_deref().unwrap_or_default();
        outer != member && is_inside(member, outer)
    };
    let in_part = |finding: &Finding| matches!(finding.rule.as_str(), "limit-reached" | "content-undecodable");
    let seen = scan.findings.iter().any(|finding| in_part(finding) && is_around(finding));
    !member.is_empty() && (seen || scan.findings_left_out > 0)
}

/// What keeps one from telling whether there are more models in a file: everything that could not be judged outside of those
/// found, apart from media.
fn gaps(scan: &Scan, models: &[Model], is_media: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let is_gap = |finding: &&Finding| {
        let member = finding.location.member.as_deref().unwrap_or_default();
        let in_model = models.iter().any(|model| is_inside(member, &model.object.member));
        let is_media = finding.rule == "unknown-format" && is_media(member);
        Verdict::of(finding) == Verdict::Unscannable && !in_model && !is_media
    };
    let mut gaps: Vec<Finding> = scan.findings.iter().filter(is_gap).cloned().collect();
    let cut = scan.findings_left_out > 0 && !models.iter().any(|model| model.object.member.is_empty());
    if cut && gaps.is_empty() {
        let what = format!("{} findings were left out above the limit", scan.findings_left_out);
        gaps.extend(not_judged(&scan.path, 0, what).report.findings);
    }
    gaps
}

fn unjudged(mut report: ArtifactReport) -> ArtifactReport {
    let why = report.findings.first().map(|finding| finding.message.clone());
    let basis = format!("it could not be told whether it holds a model: {}", why.unwrap_or_default());
    report.verdict = Verdict::Unscannable;
    report.registration = Some(Registration { status: RegistrationStatus::Unjudged, model: None, basis });
    report
}

fn sha256(source: &SharedSource) -> Result<Digest, String> {
    hash::sha256_of(source.as_ref(), &|_| ()).map_err(|error| format!("its bytes cannot be read to the end: {error}"))
}
