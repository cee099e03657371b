//! `casemate scan`: judges model files and directories.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use casemate_artifact::weights::compare::compare;
use casemate_artifact::{Verdict, detectors::DETECTORS, self_test, weights};
use casemate_core::{Limits, MemorySource, Outcome, Severity};
use casemate_provenance::Manifest;
use serde_json::json;

use crate::cli::{Format, ScanArgs};
use crate::comparison::{self, Baseline, WeightBaseline};
use crate::context::{Context, Project, write_whole};
use crate::exit::{Exit, Failure};
use crate::gather;
use crate::policy::ScanPolicy;
use crate::render::{self, Style};
use crate::report::{Report, ReportSubject};
use crate::scanning::{ScanSettings, Scanned, limits, not_judged, scan_model, scan_paths, scan_source, scanner};
use crate::state::State;
use crate::walk::Skipped;

/// Most bytes taken from standard input: it cannot be read by ranges, so all of it is held.
const STDIN_BYTES_MAX: u64 = 1 << 30;

/// Columns of a text report.
const WIDTH: usize = 100;

/// Formats a scan comes in.
const FORMATS: &[Format] =
    &[Format::Text, Format::Json, Format::Markdown, Format::Html, Format::Sarif, Format::Csv, Format::Badge];

/// What was looked at, and what is to be said besides.
struct Looked {
    scanned: Scanned,
    evidence: Vec<String>,
    remarks: Vec<String>,
}

/// A ledger to record in, and what is recorded.
struct Recording<'a> {
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

/// Runs the command.
pub fn run(context: &Context, args: &ScanArgs) -> Result<Exit, Failure> {
    let started = context.now();
    let format = context.format(FORMATS)?;
    let policy = ScanPolicy::named(&args.policy)?;
    let limits = limits(args.limits.as_deref())?;
    let baseline = args.baseline.as_deref().map(|path| comparison::read(path, started)).transpose()?;
    let held_against = match &baseline {
        Some(Baseline::Weights(table)) => Some(table),
        _ => None,
    };
    let recording = recording_state(context, args)?;
    let Looked { mut scanned, evidence, mut remarks } = match whole_model(args, held_against)? {
        Some(path) => compared(context, args, (recording, path), &limits, held_against)?,
        None => match recording {
            Some(recording) => record(context, recording, args, &limits)?,
            None => Looked { scanned: plain(context, args, &limits)?, evidence: Vec::new(), remarks: Vec::new() },
        },
    };
    // Evidence holds what was found; a policy changes what this run says of it, no more. So does acceptance.
    policy.apply(&mut scanned);
    if let Some(Baseline::Accepted(accepted)) = &baseline {
        remarks.extend(accepted.apply(&mut scanned, started));
    }

    let mut report = Report::new("scan", ReportSubject { name: name(args), digest: None }, started);
    report.evidence = evidence;
    report.finished_at = context.now();
    report.remarks = self::remarks(&scanned.skipped, scanned.incomplete);
    report.remarks.extend(remarks);
    if args.policy != "standard" {
        report.remarks.push(format!("severities are those of the policy `{}`", args.policy));
    }
    let exit = exit(&scanned, args.fail_on);
    fill(&mut report, scanned, exit);
    Ok(emit(context, &report, format, exit))
}

/// Scans what the arguments name, without recording anything.
fn plain(context: &Context, args: &ScanArgs, limits: &Limits) -> Result<Scanned, Failure> {
    let settings = ScanSettings { limits, hash: !args.no_hash, weights: args.weights };
    let mut paths = Vec::new();
    let mut scanned = Scanned::default();
    for path in &args.paths {
        let shown = path.to_string_lossy().replace('\\', "/");
        match shown.as_str() {
            "-" => scanned.files.push(stdin(settings)?),
            _ => paths.push((shown, path.clone())),
        }
    }
    let walked = scan_paths(context, &paths, settings);
    scanned.files.extend(walked.files);
    scanned.skipped.extend(walked.skipped);
    scanned.incomplete |= walked.incomplete;
    scanned.weights_read = settings.weights;
    Ok(scanned)
}

fn name(args: &ScanArgs) -> String {
    let names: Vec<_> = args.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    names.join(" ")
}

fn stdin(settings: ScanSettings<'_>) -> Result<crate::scanning::ScannedFile, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(STDIN_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::not_evaluated(format!("standard input: {error}")))?;
    if bytes.is_empty() {
        // What a failed download pipes in.
        return Ok(not_judged("-", 0, "standard input was empty".into()));
    }
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        return Err(Failure::not_evaluated(
            "standard input holds more than 1 GiB; scan it as a file, which is read by ranges",
        ));
    }
    Ok(scan_source(&scanner(settings), "-", Arc::new(MemorySource::new(bytes)), settings))
}

/// The project's ledger and the path to record, where there is a ledger and what is scanned is one model.
///
/// # Errors
/// When an argument names nothing that can be scanned.
fn recording_state<'a>(context: &Context, args: &'a ScanArgs) -> Result<Option<Recording<'a>>, Failure> {
    for path in args.paths.iter().filter(|path| *path != Path::new("-")) {
        let shown = path.to_string_lossy();
        if shown.contains("://") {
            return Err(Failure::usage(format!("`{shown}`: this build reads files only; download it first")));
        }
        if std::fs::symlink_metadata(path).is_err() {
            return Err(Failure::usage(format!("`{shown}` does not exist")));
        }
    }
    let [path] = args.paths.as_slice() else { return Ok(None) };
    if args.no_record || args.no_hash || path == Path::new("-") {
        return Ok(None);
    }
    let project = context.project(None)?;
    match State::exists(&project) {
        true => Ok(Some(Recording { state: State::open_existing(&project)?, project, path })),
        false => Ok(None),
    }
}

/// Scans a path as a model and appends what was found to the ledger, under the digest of the whole manifest.
fn record(context: &Context, recording: Recording<'_>, args: &ScanArgs, limits: &Limits) -> Result<Looked, Failure> {
    let path = recording.path;
    let shown = path.to_string_lossy().replace('\\', "/");
    let weights = args.weights || recording.baseline()?.is_some();
    let started = context.now();
    match scan_model(context, &shown, path, limits, if weights { u64::MAX } else { 0 }) {
        Ok((manifest, mut scanned)) => {
            let evidence = append(context, recording, (&manifest, &mut scanned), started)?;
            Ok(Looked { scanned, evidence, remarks: Vec::new() })
        }
        Err(error) => {
            context.say(&format!("not recorded in the ledger: {error}"));
            let settings = ScanSettings { limits, hash: true, weights };
            let scanned = scan_paths(context, &[(shown, path.to_owned())], settings);
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
    started: casemate_core::Timestamp,
) -> Result<Vec<String>, Failure> {
    if scanned.incomplete {
        return Ok(Vec::new());
    }
    let span = (started, context.now());
    let mut batch = vec![gather::scan(&manifest.name, manifest.digest(), scanned, self_test(), span)];
    if let Some((model, baseline)) = recording.baseline()? {
        super::check::refuse_damaged(&recording.state.verify()?)?;
        let difference = compare(&baseline.table, &crate::weights::table(manifest, scanned));
        let findings = comparison::findings(&difference, &recording.path.to_string_lossy());
        scanned.others.clone_from(&findings);
        let diff = gather::WeightsDiff {
            model: &model,
            digest: manifest.digest(),
            approved: gather::is_approved(&recording.state.records()?, &model, &baseline),
            baseline: &baseline,
            difference: &difference,
            findings,
        };
        batch.push(gather::weights_diff(diff, weights::self_test(&crate::weights::READER), span));
    }
    recording.state.append(&batch)
}

/// The one path that is scanned as a whole model, where its table of tensors is wanted.
///
/// # Errors
/// When there are several paths, or the table would be written into the model it describes.
fn whole_model<'a>(args: &'a ScanArgs, held_against: Option<&WeightBaseline>) -> Result<Option<&'a Path>, Failure> {
    if held_against.is_none() && args.write_baseline.is_none() {
        return Ok(None);
    }
    let path = match args.paths.as_slice() {
        [path] if path != Path::new("-") && !args.no_hash => path,
        _ => {
            let message =
                "a baseline is the table of one model: give one file or directory, and its digests are needed";
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
fn compared(
    context: &Context,
    args: &ScanArgs,
    (recording, path): (Option<Recording<'_>>, &Path),
    limits: &Limits,
    held_against: Option<&WeightBaseline>,
) -> Result<Looked, Failure> {
    let started = context.now();
    let shown = path.to_string_lossy().replace('\\', "/");
    let (manifest, mut scanned) = scan_model(context, &shown, path, limits, u64::MAX)
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

/// What a reader has to know about what was not looked at.
pub fn remarks(skipped: &[Skipped], incomplete: bool) -> Vec<String> {
    const SHOWN_MAX: usize = 20;
    let line = |skipped: &Skipped| format!("not looked at: {} ({})", skipped.path, skipped.reason);
    let (matters, others): (Vec<&Skipped>, Vec<&Skipped>) = skipped.iter().partition(|skipped| skipped.matters);
    let mut remarks: Vec<String> =
        incomplete.then(|| "interrupted: not everything was looked at".into()).into_iter().collect();
    remarks.extend(matters.iter().chain(&others).take(SHOWN_MAX).map(|skipped| line(skipped)));
    let more = skipped.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        remarks.push(format!("not looked at: {more} more places, all of them in the JSON report"));
    }
    remarks
}

fn exit(scanned: &Scanned, fail_on: Severity) -> Exit {
    // What only says "not judged" never outranks what was judged.
    let objectionable = |finding: &casemate_core::Finding| {
        finding.severity >= fail_on && finding.accepted.is_none() && Verdict::of(finding) != Verdict::Unscannable
    };
    let mut findings = scanned.files.iter().flat_map(|file| &file.report.findings).chain(&scanned.others);
    match scanned.verdict() {
        _ if findings.any(objectionable) => Exit::PolicyFailed,
        Verdict::Unscannable => Exit::NotEvaluated,
        _ if scanned.files.iter().any(|file| file.report.verdict == Verdict::Unscannable) => Exit::NotEvaluated,
        _ => Exit::Passed,
    }
}

fn fill(report: &mut Report, scanned: Scanned, exit: Exit) {
    report.outcome = match exit {
        Exit::Passed => Outcome::Pass,
        Exit::NotEvaluated => Outcome::Unknown,
        _ => Outcome::Fail,
    };
    report.findings = scanned.findings();
    for verdict in [Verdict::Clean, Verdict::Unscannable, Verdict::Suspicious, Verdict::Malicious] {
        report.summary.insert(verdict.as_str(), json!(scanned.count(verdict)));
    }
    report.summary.insert("files", json!(scanned.files.len()));
    report.summary.insert("bytes", json!(scanned.files.iter().map(|file| file.report.size).sum::<u64>()));
    report.summary.insert("skipped", json!(scanned.skipped));
    report.summary.insert("incomplete", json!(scanned.incomplete));
    if scanned.weights_read {
        let weights = crate::weights::summary(&scanned);
        report.remarks.extend(equal_tensors(&weights));
        report.summary.insert("weights", weights);
    }
    report.artifacts = scanned.files.into_iter().map(|file| file.report).collect();
}

/// Tensors with the same bytes, in one line.
fn equal_tensors(weights: &serde_json::Value) -> Option<String> {
    const SHOWN_MAX: usize = 3;
    let groups = weights["equal"].as_array().filter(|groups| !groups.is_empty())?;
    let words = |group: &serde_json::Value| {
        group.as_array().into_iter().flatten().filter_map(|name| name.as_str()).take(4).collect::<Vec<_>>().join(" = ")
    };
    let shown: Vec<String> = groups.iter().take(SHOWN_MAX).map(words).collect();
    let more = weights["equal_groups"].as_u64().unwrap_or(0).saturating_sub(SHOWN_MAX as u64);
    let more = if more > 0 { format!("; and {more} groups more") } else { String::new() };
    Some(format!("tensors with the same bytes: {}{more}", shown.join("; ")))
}

/// Renders a report and writes it where it was asked to go; with `-o`, the terminal gets the text as well. Returns how the run
/// ends: a report that could not be written does not take away what was found.
pub fn emit(context: &Context, report: &Report, format: Format, exit: Exit) -> Exit {
    let rules: Vec<_> =
        DETECTORS.iter().map(|detector| detector.meta()).chain(comparison::RULES.iter().copied()).collect();
    let written = context.emit(&render::render(report, format, Style { color: context.color(), width: WIDTH }, &rules));
    let to_file = context.globals.output.as_deref().is_some_and(|path| path != Path::new("-"));
    let written = written.and_then(|()| match to_file && format != Format::Text && !context.globals.quiet {
        true => context.to_stdout(&render::render(report, Format::Text, Style { color: false, width: WIDTH }, &rules)),
        false => Ok(()),
    });
    match written {
        Ok(()) => exit,
        Err(failure) => {
            context.complain(&failure);
            exit.worse(failure.exit)
        }
    }
}
