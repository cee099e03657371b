//! `casemate ledger verify`: everything recomputed, and held against what others keep.

use std::fmt::Write as _;
use std::path::Path;

use casemate_provenance::{Checkpoint, NoteKey, VerifyReport};
use serde_json::json;

use crate::anchors::{self, AnchorState, Anchors};
use crate::cli::{Format, LedgerVerifyArgs};
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::small_file;
use crate::state::State;

/// Runs the command.
pub fn run(
    context: &Context,
    project: &Project,
    state: &State,
    args: &LedgerVerifyArgs,
    format: Format,
) -> Result<Exit, Failure> {
    let report = match &args.from {
        Some(path) => state.ledger().verify(Some(&checkpoint(path, state.key())?)),
        None => state.verify()?,
    };
    let anchors = anchors::check(project, state, args.tsa_roots.as_deref(), context.now())?;
    let (planted, caught) = if report.is_intact() { state.ledger().self_test() } else { (0, 0) };
    let too_few = anchors.witnesses().len() < args.witnesses;
    let exit = match () {
        () if !report.is_intact() || anchors.first_bad().is_some() || too_few => Exit::Integrity,
        () if planted != caught || anchors.count(AnchorState::Unread) > 0 => Exit::NotEvaluated,
        () => Exit::Passed,
    };
    if format == Format::Json {
        let mut value = serde_json::to_value(&report).map_err(Failure::not_evaluated)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("anchors".into(), json!(anchors.found));
            fields.insert("witnesses".into(), json!(anchors.witnesses()));
            fields.insert("self_test".into(), json!({"planted": planted, "caught": caught}));
        }
        let text = serde_json::to_string_pretty(&value).map_err(Failure::not_evaluated)?;
        context.emit(&format!("{text}\n"))?;
        return Ok(exit);
    }
    let mut out = text(&report);
    out.push_str(&anchors_text(&anchors, report.tree_size));
    if too_few {
        let found = anchors.witnesses().len();
        let _ =
            writeln!(out, "NOT witnessed: {found} of the known witnesses cosigned, {} are required", args.witnesses);
    }
    if planted != caught {
        let _ = writeln!(out, "NOT to be believed: {caught} of {planted} defects planted in a copy were found");
    }
    context.emit(&out)?;
    Ok(exit)
}

/// A checkpoint of this ledger in a file: exported, kept by a witness, or at the end of a proof.
pub fn checkpoint(path: &Path, key: &NoteKey) -> Result<Checkpoint, Failure> {
    let bytes = small_file::bytes(path, 1 << 20).map_err(Failure::usage)?;
    Checkpoint::open(&anchors::checkpoint_in(&bytes), key)
        .map_err(|error| Failure::integrity(format!("`{}`: {error}", path.display())))
}

fn text(report: &VerifyReport) -> String {
    let mut out = String::new();
    for problem in &report.problems {
        let record = problem.record.map(|index| format!(" (record {index})")).unwrap_or_default();
        let _ = writeln!(out, "{}{record}: {}", problem.file, problem.what);
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    let (records, size) = (report.records, report.tree_size);
    let _ = match report.root.filter(|_| report.is_intact()) {
        Some(root) => writeln!(out, "intact: {records} of {size} records verify, head {root}"),
        None => {
            let problems = report.problems.len();
            writeln!(out, "NOT intact: {problems} problems; {records} of {size} records verify")
        }
    };
    out
}

fn anchors_text(anchors: &Anchors, size: u64) -> String {
    let mut out = String::new();
    for anchor in &anchors.found {
        let place = anchor.place.escape_debug();
        let by = if anchor.by.is_empty() { String::new() } else { format!(" by {}", anchor.by.join(", ")) };
        let time = anchor.time.map(|time| format!(" at {time}")).unwrap_or_default();
        let state = match anchor.state {
            AnchorState::Good => format!("{} records{by}{time}", anchor.size),
            AnchorState::Bad => "BAD".into(),
            AnchorState::Unread => "unread".into(),
            AnchorState::NotVerified => format!("{} records{time}, not counted", anchor.size),
        };
        let reason = anchor.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(out, "anchor {} {place}: {state}{reason}", anchor.kind);
    }
    let (good, covered) = (anchors.good().count(), anchors.records());
    let _ = match good {
        0 => writeln!(
            out,
            "no anchor: whoever holds the ledger and its key can rewrite it (`casemate ledger anchor --help`)"
        ),
        _ => writeln!(out, "anchors that hold: {good}, over {covered} of {size} records"),
    };
    out
}
