//! Scanning what is one model: recorded in the ledger, held against its baseline.

use std::path::Path;
use std::time::SystemTime;

use casemate_artifact::weights::compare::compare;
use casemate_artifact::{self_test, weights};
use casemate_core::Timestamp;
use casemate_provenance::{Draw, KnownDigests, Manifest};

use super::Looked;
use crate::cli::ScanArgs;
use crate::commands::check::refuse_damaged;
use crate::comparison::{self, WeightBaseline};
use crate::context::{Context, Project, write_whole};
use crate::exit::Failure;
use crate::filters::Filters;
use crate::scanning::{ModelScan, ScanSettings, Scanned, scan_model, scan_paths};
use crate::state::State;
use crate::{gather, remote, render};

/// A ledger to record in, and what is recorded.
pub(super) struct Recording<'a> {
    state: State,
    project: Project,
    path: &'a Path,
}

impl Recording<'_> {
    /// Name and baseline of the declared model that lies at the path, where it names one.
    fn baseline(&self) -> Result<Option<(String, WeightBaseline)>, Failure> {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let is_it =
            |path: &str| real(&self.project.root.join(path)).is_some_and(|declared| real(self.path) == Some(declared));
        let Some(model) = self.project.config.models.iter().find(|model| is_it(&model.path)) else { return Ok(None) };
        let Some(path) = &model.baseline else { return Ok(None) };
        comparison::read_weights(&self.project.root.join(path)).map(|baseline| Some((model.name.clone(), baseline)))
    }
}

/// The project's ledger and the path to record, where there is a ledger and what is scanned is one model.
///
/// # Errors
/// When an argument names nothing that can be scanned.
pub(super) fn recording<'a>(context: &Context, args: &'a ScanArgs) -> Result<Option<Recording<'a>>, Failure> {
    for path in args.paths.iter().filter(|path| *path != Path::new("-")) {
        let shown = path.to_string_lossy();
        if !remote::is_address(&shown) && std::fs::symlink_metadata(path).is_err() {
            return Err(Failure::usage(format!("`{shown}` does not exist")));
        }
    }
    let [path] = args.paths.as_slice() else { return Ok(None) };
    if args.no_record || args.no_hash || path == Path::new("-") || remote::is_address(&path.to_string_lossy()) {
        return Ok(None);
    }
    let project = context.project(None)?;
    match State::exists(&project) {
        // Evidence is about a model whole, and this would not be.
        true if !args.filters.filters().is_empty() => {
            context.say("not recorded in the ledger: evidence is about a whole model, and globs choose files of it");
            Ok(None)
        }
        true => Ok(Some(Recording { state: State::open_existing(&project)?, project, path })),
        false => Ok(None),
    }
}

/// Scans a path as a model and appends what was found to the ledger, under the digest of the whole manifest.
///
/// # Errors
/// When the baseline or the ledger cannot be read or written.
pub(super) fn record(
    context: &Context,
    recording: Recording<'_>,
    settings: ScanSettings<'_>,
    started: Timestamp,
) -> Result<Looked, Failure> {
    let path = recording.path;
    let shown = path.to_string_lossy().replace('\\', "/");
    let weights = settings.weights || recording.baseline()?.is_some();
    let weights_bytes_max = if weights { u64::MAX } else { 0 };
    let cache = settings.cache.filter(|_| !weights);
    let known = KnownDigests::new([], Draw::all(), SystemTime::now());
    let with = ModelScan { limits: settings.limits, cache, weights_bytes_max, known: &known };
    match scan_model(context, &shown, path, with) {
        Ok((manifest, mut scanned)) => {
            let evidence = append(context, recording, (&manifest, &mut scanned), started)?;
            Ok(Looked { scanned, evidence, remarks: Vec::new() })
        }
        Err(error) => {
            context.say(&format!("not recorded in the ledger: {error}"));
            let settings = ScanSettings { weights, cache, ..settings };
            let scanned = scan_paths(context, &[(shown, path.to_owned())], &Filters::default(), settings);
            Ok(Looked { scanned, evidence: Vec::new(), remarks: Vec::new() })
        }
    }
}

/// Appends the evidence of a scan, and of a comparison where the project names a baseline for what was scanned; what
/// differs is added to what was found.
fn append(
    context: &Context,
    mut recording: Recording<'_>,
    (manifest, scanned): (&Manifest, &mut Scanned),
    started: Timestamp,
) -> Result<Vec<String>, Failure> {
    if scanned.incomplete {
        return Ok(Vec::new());
    }
    let span = (started, context.now());
    let mut batch = vec![gather::scan(&manifest.name, manifest.digest(), scanned, self_test(), span)];
    if let Some((model, baseline)) = recording.baseline()? {
        refuse_damaged(&recording.state.verify()?)?;
        let difference = compare(&baseline.table, &crate::weights::table(manifest, scanned));
        let findings = comparison::findings(&difference, &recording.path.to_string_lossy());
        scanned.others.clone_from(&findings);
        let diff = gather::weights::WeightsDiff {
            model: &model,
            digest: manifest.digest(),
            approved: gather::weights::is_approved(&recording.state.records()?, &model, &baseline),
            baseline: &baseline,
            difference: &difference,
            findings,
        };
        batch.push(gather::weights::weights_diff(diff, weights::self_test(&crate::weights::READER), span));
    }
    recording.state.append(&batch)
}

/// The one path that is scanned as a whole model, where its table of tensors is wanted.
///
/// # Errors
/// When there are several paths, or the table would be written into the model it describes.
pub(super) fn whole<'a>(
    args: &'a ScanArgs,
    held_against: Option<&WeightBaseline>,
) -> Result<Option<&'a Path>, Failure> {
    if held_against.is_none() && args.write_baseline.is_none() {
        return Ok(None);
    }
    let path = match args.paths.as_slice() {
        [path]
            if path != Path::new("-")
                && !args.no_hash
                && !remote::is_address(&path.to_string_lossy())
                && args.filters.filters().is_empty() =>
        {
            path
        }
        _ => {
            let message = "a baseline is the table of one model: give one file or directory, whole and on disk, and its digests are needed";
            return Err(Failure::usage(message));
        }
    };
    if let Some(file) = &args.write_baseline {
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (model, place) = (real(path), real(directory).join(file.file_name().unwrap_or_default()));
        if place.starts_with(&model) {
            let message =
                format!("`{}` lies inside the model, which would change with it; write it elsewhere", file.display());
            return Err(Failure::usage(message));
        }
    }
    Ok(Some(path))
}

/// Scans one model with its weights, writes its table and holds it against a baseline, as far as asked.
///
/// # Errors
/// When the model cannot be read whole, or a table cannot be written.
pub(super) fn compared(
    context: &Context,
    args: &ScanArgs,
    (recording, path): (Option<Recording<'_>>, &Path),
    settings: ScanSettings<'_>,
    held_against: Option<&WeightBaseline>,
) -> Result<Looked, Failure> {
    let started = context.now();
    let shown = path.to_string_lossy().replace('\\', "/");
    let known = KnownDigests::new([], Draw::all(), SystemTime::now());
    let with = ModelScan { limits: settings.limits, cache: None, weights_bytes_max: u64::MAX, known: &known };
    let (manifest, mut scanned) = scan_model(context, &shown, path, with)
        .map_err(|error| Failure::not_evaluated(format!("`{shown}`: {error}")))?;
    let evidence = match recording {
        Some(recording) => append(context, recording, (&manifest, &mut scanned), started)?,
        None => Vec::new(),
    };
    let mut remarks = Vec::new();
    if scanned.incomplete {
        remarks.push("no table of tensors was made or compared".into());
        return Ok(Looked { scanned, evidence, remarks });
    }
    let table = crate::weights::table(&manifest, &scanned);
    let tensors: usize = table.artifacts.iter().map(|file| file.tensors.len()).sum();
    if let Some(baseline) = held_against {
        let difference = compare(&baseline.table, &table);
        scanned.others = comparison::findings(&difference, &shown);
        let of = &baseline.table.subject.name;
        remarks.push(match difference.is_none() {
            true => format!("equal to the baseline of `{of}`: {tensors} tensors and everything beside them"),
            false => format!("differs from the baseline of `{of}`: {}", comparison::words(&difference)),
        });
        if !table.artifacts.iter().any(|file| baseline.table.artifacts.iter().any(|other| other.path == file.path)) {
            remarks.push("no file has the name of one in the baseline: it may be that of another model".into());
        }
    }
    if let Some(file) = &args.write_baseline {
        write_whole(file, render::json::pretty(&table).as_bytes())?;
        context.say(&format!("wrote {}: {tensors} tensors in {} files", file.display(), table.artifacts.len()));
    }
    Ok(Looked { scanned, evidence, remarks })
}
