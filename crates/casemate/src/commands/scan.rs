//! `casemate scan`: judges model files and directories.

mod model;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use casemate_artifact::{Verdict, detectors::DETECTORS};
use casemate_core::{Limits, MemorySource, Outcome, Severity};
use serde_json::json;

use crate::cache::Cache;
use crate::cli::{Format, ScanArgs};
use crate::comparison::{self, Baseline};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::filters::{self, Filters};
use crate::policy::ScanPolicy;
use crate::remote::{self, RemoteScan, RemoteSettings};
use crate::render::{self, Style};
use crate::report::{Report, ReportSubject};
use crate::scanning::{ScanSettings, Scanned, limits, not_judged, scan_paths, scan_source, scanner};
use crate::walk::Skipped;

/// Most bytes taken from standard input: it cannot be read by ranges, so all of it is held.
const STDIN_BYTES_MAX: u64 = 1 << 30;

/// Columns of a text report.
const WIDTH: usize = 100;

/// What was looked at, and what is to be said besides.
#[derive(Default)]
struct Looked {
    scanned: Scanned,
    evidence: Vec<String>,
    remarks: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: &ScanArgs) -> Result<Exit, Failure> {
    let started = context.now();
    let format = context.format(super::check::FORMATS)?;
    let policy = ScanPolicy::named(&args.policy)?;
    let limits = limits(args.limits.as_deref())?;
    let baseline = args.baseline.as_deref().map(|path| comparison::read(path, started)).transpose()?;
    let held_against = match &baseline {
        Some(Baseline::Weights(table)) => Some(table),
        _ => None,
    };
    let addresses = addresses(args);
    let recording = model::recording(context, args)?;
    let whole = model::whole(args, held_against)?;
    // Before the files: an address that is none is said at once.
    let remote = match addresses.is_empty() {
        true => RemoteScan::default(),
        false => remote::scan(context, &addresses, remote_settings(args, &limits, &args.filters.filters()))?,
    };
    // A configuration that cannot be read is the business of commands that need one.
    let project = (!args.no_cache && !args.no_hash && !args.weights).then(|| context.project(None).ok()).flatten();
    let cache = project.and_then(|project| Cache::open(context, &project, &limits));
    let settings = ScanSettings {
        limits: &limits,
        hash: !args.no_hash,
        weights: args.weights,
        cache: cache.as_ref(),
        known: None,
    };
    let Looked { mut scanned, evidence, remarks: mut said } = match (whole, recording) {
        (Some(path), recording) => model::compared(context, args, (recording, path), settings, held_against)?,
        (None, Some(recording)) => model::record(context, recording, settings, started)?,
        (None, None) => Looked { scanned: plain(context, args, settings)?, ..Looked::default() },
    };
    scanned.files.extend(remote.scanned.files);
    scanned.skipped.extend(remote.scanned.skipped);
    scanned.left_out.extend(remote.scanned.left_out);
    scanned.incomplete |= remote.scanned.incomplete;
    // Evidence holds what was found; a policy changes what this run says of it, no more. So does acceptance.
    policy.apply(&mut scanned);
    if let Some(Baseline::Accepted(accepted)) = &baseline {
        said.extend(accepted.apply(&mut scanned, started));
    }

    let mut report = Report::new("scan", ReportSubject { name: name(args), digest: None }, started);
    report.evidence = evidence;
    report.fail_on = args.fail_on;
    report.finished_at = context.now();
    report.remarks = remarks(&scanned.skipped, scanned.incomplete);
    report.remarks.extend(said);
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
    scanned.weights_read = settings.weights;
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
        scan: ScanSettings { limits, hash: args.hash, weights: args.weights, cache: None, known: None },
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
    Ok(scan_source(&scanner(settings), "-", Arc::new(MemorySource::new(bytes)), settings))
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
    report.summary.insert("left_out", json!(scanned.left_out));
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
