//! `casemate scan`: judges model files and directories.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use casemate_artifact::{Scanner, Verdict, detectors::DETECTORS, self_test};
use casemate_core::{Limits, MemorySource, Outcome, Severity};
use serde_json::json;

use crate::cache::Cache;
use crate::cli::{Format, ScanArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::filters::{self, Filters};
use crate::gather;
use crate::policy::ScanPolicy;
use crate::remote::{self, RemoteScan, RemoteSettings};
use crate::render::{self, Style};
use crate::report::{Report, ReportSubject};
use crate::scanning::{ScanSettings, Scanned, limits, not_judged, scan_model, scan_paths, scan_source};
use crate::state::State;
use crate::walk::Skipped;

/// Most bytes taken from standard input: it cannot be read by ranges, so all of it is held.
const STDIN_BYTES_MAX: u64 = 1 << 30;

/// Columns of a text report.
const WIDTH: usize = 100;

/// Formats a scan comes in.
const FORMATS: &[Format] = &[
    Format::Text,
    Format::Json,
    Format::Markdown,
    Format::Html,
    Format::Sarif,
    Format::Csv,
    Format::Junit,
    Format::Github,
    Format::Badge,
];

/// Runs the command.
pub fn run(context: &Context, args: &ScanArgs) -> Result<Exit, Failure> {
    let started = context.now();
    let format = context.format(FORMATS)?;
    let policy = ScanPolicy::named(&args.policy)?;
    let limits = limits(args.limits.as_deref())?;
    let addresses = addresses(args);
    let recording = recording_state(context, args)?;
    // Before the files: an address that is none is said at once.
    let remote = match addresses.is_empty() {
        true => RemoteScan::default(),
        false => remote::scan(context, &addresses, remote_settings(args, &limits, &args.filters.filters()))?,
    };
    // A configuration that cannot be read is the business of commands that need one.
    let project = (!args.no_cache && !args.no_hash).then(|| context.project(None).ok()).flatten();
    let cache = project.and_then(|project| Cache::open(context, &project, &limits));
    let settings = ScanSettings { limits: &limits, hash: !args.no_hash, cache: cache.as_ref(), known: None };
    let (mut scanned, evidence) = match recording {
        Some((state, path)) => record(context, state, path, settings, started)?,
        None => (plain(context, args, settings)?, Vec::new()),
    };
    scanned.files.extend(remote.scanned.files);
    scanned.skipped.extend(remote.scanned.skipped);
    scanned.left_out.extend(remote.scanned.left_out);
    scanned.incomplete |= remote.scanned.incomplete;
    // Evidence holds what was found; a policy changes what this run says of it, no more.
    policy.apply(&mut scanned);

    let mut report = Report::new("scan", ReportSubject { name: name(args), digest: None }, started);
    report.evidence = evidence;
    report.fail_on = args.fail_on;
    report.finished_at = context.now();
    report.remarks = remarks(&scanned.skipped, scanned.incomplete);
    report.remarks.extend(filters::remark(&scanned.left_out));
    report.remarks.extend(cache.as_ref().and_then(|cache| cache.close(context)));
    report.summary.insert("from_cache", json!(cache.as_ref().map_or(0, Cache::taken)));
    if args.policy != "standard" {
        report.remarks.push(format!("severities are those of the policy `{}`", args.policy));
    }
    report.remarks.extend(remote.remarks);
    report.measurements = remote.measurements;
    let exit = match remote.is_broken {
        true => exit(&scanned, args.fail_on).worse(Exit::Integrity),
        false => exit(&scanned, args.fail_on),
    };
    fill(&mut report, scanned, exit);
    Ok(emit(context, &report, format, exit))
}

/// Scans what the arguments name, without recording anything.
fn plain(context: &Context, args: &ScanArgs, settings: ScanSettings<'_>) -> Result<Scanned, Failure> {
    let mut paths = Vec::new();
    let mut scanned = Scanned::default();
    for path in &args.paths {
        let shown = path.to_string_lossy().replace('\\', "/");
        match shown.as_str() {
            "-" => scanned.files.push(stdin(settings)?),
            shown if remote::is_address(shown) => {}
            _ => paths.push((shown, path.clone())),
        }
    }
    let walked = scan_paths(context, &paths, &args.filters.filters(), settings);
    scanned.files.extend(walked.files);
    scanned.skipped.extend(walked.skipped);
    scanned.left_out.extend(walked.left_out);
    scanned.incomplete |= walked.incomplete;
    Ok(scanned)
}

fn name(args: &ScanArgs) -> String {
    let name = |path: &std::path::PathBuf| match path.to_string_lossy() {
        address if remote::is_address(&address) => remote::shown(&address),
        path => path.into_owned(),
    };
    args.paths.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// The arguments that are addresses.
fn addresses(args: &ScanArgs) -> Vec<String> {
    let shown = args.paths.iter().map(|path| path.to_string_lossy().into_owned());
    shown.filter(|shown| remote::is_address(shown)).collect()
}

fn remote_settings<'a>(args: &ScanArgs, limits: &'a Limits, filters: &'a Filters) -> RemoteSettings<'a> {
    RemoteSettings {
        filters,
        scan: ScanSettings { limits, hash: args.hash, cache: None, known: None },
        is_alone: args.paths.len() == 1,
        check_layout: !args.no_hash,
        allow_http: args.allow_http,
        timeout: Duration::from_secs(args.timeout),
    }
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
    Ok(scan_source(&Scanner::new(settings.limits.clone()), "-", Arc::new(MemorySource::new(bytes)), settings))
}

/// The project's ledger and the path to record, where there is a ledger and what is scanned is one model.
///
/// # Errors
/// When an argument names nothing that can be scanned.
fn recording_state<'a>(context: &Context, args: &'a ScanArgs) -> Result<Option<(State, &'a Path)>, Failure> {
    for path in args.paths.iter().filter(|path| *path != Path::new("-")) {
        let shown = path.to_string_lossy();
        if remote::is_address(&shown) {
            continue;
        }
        if std::fs::symlink_metadata(path).is_err() {
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
        true => Ok(Some((State::open_existing(&project)?, path))),
        false => Ok(None),
    }
}

/// Scans `path` as a model and appends what was found to the ledger, under the digest of the whole manifest.
fn record(
    context: &Context,
    mut state: State,
    path: &Path,
    settings: ScanSettings<'_>,
    started: casemate_core::Timestamp,
) -> Result<(Scanned, Vec<String>), Failure> {
    let shown = path.to_string_lossy().replace('\\', "/");
    let (manifest, scanned) = match scan_model(context, &shown, path, settings.limits, settings.cache) {
        Ok(scanned) => scanned,
        Err(error) => {
            context.say(&format!("not recorded in the ledger: {error}"));
            return Ok((scan_paths(context, &[(shown, path.to_owned())], &Filters::default(), settings), Vec::new()));
        }
    };
    if scanned.incomplete {
        return Ok((scanned, Vec::new()));
    }
    let evidence = gather::scan(&manifest.name, manifest.digest(), &scanned, self_test(), (started, context.now()));
    let ids = state.append(&[evidence])?;
    Ok((scanned, ids))
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
    report.summary.insert("left_out", json!(scanned.left_out));
    report.summary.insert("incomplete", json!(scanned.incomplete));
    report.artifacts = scanned.files.into_iter().map(|file| file.report).collect();
}

/// Renders a report and writes it where it was asked to go; with `-o`, the terminal gets the text as well. Returns how the run
/// ends: a report that could not be written does not take away what was found.
pub fn emit(context: &Context, report: &Report, format: Format, exit: Exit) -> Exit {
    let rules: Vec<_> = DETECTORS.iter().map(|detector| detector.meta()).collect();
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
