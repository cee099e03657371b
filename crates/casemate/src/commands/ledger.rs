//! `casemate ledger`: the records, their proof, and whether anything was changed.

use std::fmt::Write as _;
use std::path::Path;

use casemate_core::Record;
use casemate_provenance::{Checkpoint, NoteKey};
use serde_json::json;

use crate::cli::{Format, LedgerCommand};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::small_file;
use crate::state::State;

/// Runs the command.
pub fn run(context: &Context, command: &LedgerCommand) -> Result<Exit, Failure> {
    let format = match command {
        LedgerCommand::Prove { .. } => context.format(&[Format::Text])?,
        _ => context.format(&[Format::Text, Format::Json])?,
    };
    let project = context.project(None)?;
    let state = State::open_existing(&project)?;
    match command {
        LedgerCommand::Show { record } => show(context, &state, record.as_deref(), format),
        LedgerCommand::Verify { from } => verify(context, &state, from.as_deref(), format),
        LedgerCommand::Prove { record } => {
            let index = find(&state.records()?, record)?.index;
            let proof = state.ledger().prove(index).map_err(Failure::integrity)?;
            context.emit(&proof.to_text())?;
            Ok(Exit::Passed)
        }
        LedgerCommand::Consistency { from } => {
            let old = checkpoint(from, state.key())?;
            let proof = state.ledger().consistency(&old).map_err(Failure::integrity)?;
            let text = serde_json::to_string_pretty(&proof).map_err(Failure::not_evaluated)?;
            context.emit(&format!("{text}\n"))?;
            Ok(Exit::Passed)
        }
    }
}

fn show(context: &Context, state: &State, wanted: Option<&str>, format: Format) -> Result<Exit, Failure> {
    let records = state.records()?;
    if let Some(wanted) = wanted {
        let record = find(&records, wanted)?;
        let text =
            serde_json::to_string_pretty(&json!({"id": record.id, "index": record.index, "evidence": record.evidence}))
                .map_err(Failure::not_evaluated)?;
        context.emit(&format!("{text}\n"))?;
        return Ok(Exit::Passed);
    }
    let mut out = String::new();
    if format == Format::Json {
        for record in &records {
            let _ = writeln!(out, "{}", json!({"id": record.id, "index": record.index, "evidence": record.evidence}));
        }
    } else {
        for Record { id, index, evidence } in &records {
            let short = id.get(..12).unwrap_or(id);
            let (at, outcome, kind) = (evidence.finished_at, evidence.outcome.as_str(), &evidence.kind);
            let name: String = evidence.subject.name.chars().take(40).flat_map(char::escape_debug).collect();
            let _ = writeln!(out, "{index:>6}  {short}  {at:<24}  {outcome:<7}  {kind:<22} {name}");
        }
        let head = state.ledger().checkpoint().map_err(Failure::integrity)?;
        let _ = writeln!(out, "{} records, head {}", head.size, head.root);
    }
    context.emit(&out)?;
    Ok(Exit::Passed)
}

/// The record with this index, or whose id begins so.
fn find<'a>(records: &'a [Record], wanted: &str) -> Result<&'a Record, Failure> {
    let by_index = wanted.parse::<u64>().ok().filter(|_| wanted.len() < 12);
    let mut fitting = records.iter().filter(|record| match by_index {
        Some(index) => record.index == index,
        None => wanted.len() >= 4 && record.id.starts_with(wanted),
    });
    match (fitting.next(), fitting.next()) {
        (Some(record), None) => Ok(record),
        (Some(_), Some(_)) => Err(Failure::usage(format!("several records begin with `{wanted}`; give more digits"))),
        (None, _) => Err(Failure::usage(format!("no record `{wanted}`; `casemate ledger show` lists them"))),
    }
}

fn verify(context: &Context, state: &State, from: Option<&Path>, format: Format) -> Result<Exit, Failure> {
    let report = match from {
        Some(path) => state.ledger().verify(Some(&checkpoint(path, state.key())?)),
        None => state.verify()?,
    };
    let mut out = String::new();
    if format == Format::Json {
        out = serde_json::to_string_pretty(&report).map_err(Failure::not_evaluated)?;
        out.push('\n');
    } else {
        for problem in &report.problems {
            let record = problem.record.map(|index| format!(" (record {index})")).unwrap_or_default();
            let _ = writeln!(out, "{}{record}: {}", problem.file, problem.what);
        }
        for note in &report.notes {
            let _ = writeln!(out, "note: {note}");
        }
        let _ = match report.root.filter(|_| report.is_intact()) {
            Some(root) => {
                writeln!(out, "intact: {} of {} records verify, head {root}", report.records, report.tree_size)
            }
            None => writeln!(
                out,
                "NOT intact: {} problems; {} of {} records verify",
                report.problems.len(),
                report.records,
                report.tree_size
            ),
        };
    }
    context.emit(&out)?;
    Ok(if report.is_intact() { Exit::Passed } else { Exit::Integrity })
}

fn checkpoint(path: &Path, key: &NoteKey) -> Result<Checkpoint, Failure> {
    let text = small_file::read(path).map_err(Failure::usage)?;
    Checkpoint::open(text.as_bytes(), key).map_err(|error| Failure::integrity(format!("`{}`: {error}", path.display())))
}
