//! `casemate scan`: judges model files and directories.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use casemate_artifact::{Scanner, Verdict, detectors::DETECTORS, self_test};
use casemate_core::{Limits, MemorySource, Outcome, Severity};
use casemate_provenance::Manifest;
use serde_json::json;

use crate::cli::{Format, ScanArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::gather;
use crate::policy::ScanPolicy;
use crate::render::{self, Style};
use crate::report::{Report, ReportSubject};
use crate::scanning::{ScanSettings, Scanned, limits, scan_paths, scan_source};
use crate::state::State;

/// Most bytes taken from standard input: it cannot be read by ranges, so all of it is held.
const STDIN_BYTES_MAX: u64 = 1 << 30;

/// Columns of a text report.
const WIDTH: usize = 100;

/// Runs the command.
pub fn run(context: &Context, args: &ScanArgs) -> Result<Exit, Failure> {
    let started = context.now();
    let policy = ScanPolicy::named(&args.policy)?;
    let limits = limits(args.limits.as_deref())?;
    let state = recording_state(context, args)?;
    // What is recorded is hashed as a whole model, so each file would be hashed twice.
    let settings = ScanSettings { limits: &limits, hash: !args.no_hash && state.is_none() };
    let mut paths = Vec::new();
    let mut scanned = Scanned::default();
    for path in &args.paths {
        let shown = path.to_string_lossy().replace('\\', "/");
        match shown.as_str() {
            "-" => scanned.files.push(stdin(&limits, settings)?),
            url if url.contains("://") => {
                return Err(Failure::usage(format!("`{url}`: this build reads files only; download it first")));
            }
            _ if !path.exists() => return Err(Failure::usage(format!("`{shown}` does not exist"))),
            _ => paths.push((shown, path.clone())),
        }
    }
    let walked = scan_paths(context, &paths, settings);
    scanned.files.extend(walked.files);
    scanned.skipped.extend(walked.skipped);
    scanned.incomplete |= walked.incomplete;
    policy.apply(&mut scanned);

    let mut report = Report::new("scan", ReportSubject { name: name(args), digest: None }, started);
    if let Some((state, path)) = state {
        report.evidence = record(context, state, path, &mut scanned, started)?;
    }
    report.finished_at = context.now();
    let exit = exit(&scanned, args.fail_on);
    fill(&mut report, scanned, exit);
    emit(context, &report)?;
    Ok(exit)
}

fn name(args: &ScanArgs) -> String {
    let names: Vec<_> = args.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    names.join(" ")
}

fn stdin(limits: &Limits, settings: ScanSettings<'_>) -> Result<crate::scanning::ScannedFile, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(STDIN_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::not_evaluated(format!("standard input: {error}")))?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        return Err(Failure::not_evaluated(
            "standard input holds more than 1 GiB; scan it as a file, which is read by ranges",
        ));
    }
    Ok(scan_source(&Scanner::new(limits.clone()), "-", Arc::new(MemorySource::new(bytes)), settings))
}

/// The project's ledger and the path to record, where there is a ledger and what is scanned is one model.
fn recording_state<'a>(context: &Context, args: &'a ScanArgs) -> Result<Option<(State, &'a Path)>, Failure> {
    let [path] = args.paths.as_slice() else { return Ok(None) };
    let project = context.project(None)?;
    if args.no_record || args.no_hash || path == Path::new("-") || !State::exists(&project) {
        return Ok(None);
    }
    Ok(Some((State::open_existing(&project)?, path)))
}

/// Appends the scan to the ledger, under the digest of the whole manifest.
fn record(
    context: &Context,
    mut state: State,
    path: &Path,
    scanned: &mut Scanned,
    started: casemate_core::Timestamp,
) -> Result<Vec<String>, Failure> {
    let manifest = match Manifest::of_path(path, &|_| ()) {
        Ok(manifest) => manifest,
        Err(error) => {
            context.say(&format!("not recorded in the ledger, and without digests: {error}"));
            return Ok(Vec::new());
        }
    };
    scanned.take_digests(&path.to_string_lossy().replace('\\', "/"), &manifest)?;
    if scanned.incomplete {
        return Ok(Vec::new());
    }
    let evidence = gather::scan(&manifest.name, manifest.digest(), scanned, self_test(), (started, context.now()));
    state.append(&[evidence])
}

fn exit(scanned: &Scanned, fail_on: Severity) -> Exit {
    let objectionable = |file: &crate::scanning::ScannedFile| {
        // What only says "not judged" never outranks what was judged.
        file.report
            .findings
            .iter()
            .any(|finding| finding.severity >= fail_on && Verdict::of(finding) != Verdict::Unscannable)
    };
    match scanned.verdict() {
        _ if scanned.files.iter().any(objectionable) => Exit::PolicyFailed,
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
    report.artifacts = scanned.files.into_iter().map(|file| file.report).collect();
}

/// Renders a report in the format asked for and writes it where it was asked to go.
///
/// # Errors
/// When it cannot be written. With `-o`, the terminal still gets the text.
pub fn emit(context: &Context, report: &Report) -> Result<(), Failure> {
    let format = context.format();
    let rules: Vec<_> = DETECTORS.iter().map(|detector| detector.meta()).collect();
    context.emit(&render::render(report, format, Style { color: context.color(), width: WIDTH }, &rules))?;
    if context.globals.output.is_some() && format != Format::Text && !context.globals.quiet {
        context.to_stdout(&render::render(report, Format::Text, Style { color: false, width: WIDTH }, &rules))?;
    }
    Ok(())
}
