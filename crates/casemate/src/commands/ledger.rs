//! `casemate ledger`: the records, their proofs, whether anything was changed, and what others keep of it.

mod anchor;
mod proofs;
mod verify;
mod witness;

use std::fmt::Write as _;

use casemate_core::Record;
use serde_json::json;

use crate::cli::{Format, LedgerCommand};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::state::State;

/// Runs the command.
pub fn run(context: &Context, command: &LedgerCommand) -> Result<Exit, Failure> {
    let format = match command {
        LedgerCommand::Show { .. } | LedgerCommand::Verify(_) | LedgerCommand::CheckProof(_) => {
            context.format(&[Format::Text, Format::Json])?
        }
        // Their output is a file of one form, whatever it is called.
        _ if context.globals.format.is_none_or(|format| format == Format::Text) => Format::Text,
        _ => context.format(&[Format::Text])?,
    };
    // What needs no project: whoever checks or witnesses somebody else's ledger has none.
    match command {
        LedgerCommand::CheckProof(args) => return proofs::check(context, args, format),
        LedgerCommand::Witness(args) => return witness::witness(context, args),
        LedgerCommand::Key(args) => return witness::key(context, args),
        _ => {}
    }
    let project = context.project(None)?;
    let mut state = State::open_existing(&project)?;
    match command {
        LedgerCommand::Show { record } => show(context, &state, record.as_deref(), format),
        LedgerCommand::Verify(args) => verify::run(context, &project, &state, args, format),
        LedgerCommand::Prove { record, envelope } => proofs::prove(context, &state, record, envelope.as_deref()),
        LedgerCommand::Consistency { from } => proofs::consistency(context, &state, from),
        LedgerCommand::Cosign { file } => witness::cosign(context, &mut state, file),
        LedgerCommand::Anchor(args) => anchor::run(context, &project, &state, args),
        LedgerCommand::CheckProof(_) | LedgerCommand::Witness(_) | LedgerCommand::Key(_) => Ok(Exit::Passed),
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
