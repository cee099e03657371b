//! `casemate ledger key`, `witness` and `cosign`: both sides of countersigning a head.

use std::path::Path;

use casemate_provenance::NoteKey;
use casemate_provenance::cosignature::WitnessPair;
use casemate_provenance::ledger::{ConsistencyProof, Error, Ledger, Offered, Refusal, Trust, Witness};

use super::proofs::ledger_key;
use crate::anchors;
use crate::cli::{LedgerKeyArgs, WitnessArgs};
use crate::context::{Context, write_whole};
use crate::exit::{Exit, Failure};
use crate::small_file;
use crate::state::State;
use crate::verifying::key_failure;

/// Prints a public key in one line.
pub fn key(context: &Context, args: &LedgerKeyArgs) -> Result<Exit, Failure> {
    let line = match (&args.witness, &args.name) {
        (Some(path), Some(name)) => {
            WitnessPair::load(path, name).map_err(|error| key_failure(&error))?.public().to_vkey()
        }
        _ => State::open_existing(&context.project(None)?)?.key().to_vkey(),
    };
    context.emit(&format!("{line}\n"))?;
    Ok(Exit::Passed)
}

/// What is offered to a witness, read.
enum Head {
    Note(Vec<u8>),
    Proof(ConsistencyProof),
    Ledger(Ledger),
}

/// Cosigns somebody's head, or refuses.
pub fn witness(context: &Context, args: &WitnessArgs) -> Result<Exit, Failure> {
    let pair = WitnessPair::load(&args.key, &args.name).map_err(|error| key_failure(&error))?;
    let (head, ledger) = read(&args.head, &args.ledger_key)?;
    let witness = Witness { pair: &pair, ledger: &ledger, seen: &args.seen, begins: args.begin };
    let offered = match &head {
        Head::Note(bytes) => Offered::Head(bytes),
        Head::Proof(proof) => Offered::Proof(proof),
        Head::Ledger(ledger) => Offered::Ledger(ledger),
    };
    let note = witness.cosign(offered, context.now()).map_err(|refusal| refused(refusal, args))?;
    let text = String::from_utf8(note.to_bytes()).map_err(Failure::not_evaluated)?;
    context.emit(&text)?;
    context.say(&format!("cosigned as `{}`; take it up with `casemate ledger cosign`", args.name));
    Ok(Exit::Passed)
}

fn read(path: &Path, key: &str) -> Result<(Head, NoteKey), Failure> {
    if path.is_dir() {
        let note = small_file::bytes(&path.join("checkpoint"), 1 << 20).map_err(Failure::not_evaluated)?;
        let key = ledger_key(key, &note)?;
        let trust = Trust { ledger: key.clone(), evidence: Vec::new(), witnesses: Vec::new() };
        let ledger = Ledger::open(path, trust).map_err(Failure::not_evaluated)?;
        return Ok((Head::Ledger(ledger), key));
    }
    let bytes = small_file::bytes(path, 1 << 20).map_err(Failure::not_evaluated)?;
    let key = ledger_key(key, &anchors::checkpoint_in(&bytes))?;
    let head = match ConsistencyProof::is_one(&bytes) {
        true => Head::Proof(ConsistencyProof::parse(&bytes).map_err(Failure::integrity)?),
        false => Head::Note(bytes),
    };
    Ok((head, key))
}

fn refused(refusal: Refusal, args: &WitnessArgs) -> Failure {
    let seen = args.seen.display();
    let shown = format!("`{}`: {refusal}", args.head.display());
    match refusal {
        Refusal::Unseen { .. } => Failure::usage(format!("{shown} in `{seen}`; --begin begins there")),
        Refusal::Unproven { .. } => Failure::not_evaluated(format!(
            "{shown}; ask the ledger's owner for `casemate ledger consistency --from` with a copy of `{seen}`"
        )),
        Refusal::Key(error) => key_failure(&error),
        Refusal::Ledger(Error::Storage(_)) => Failure::not_evaluated(shown),
        Refusal::Note(_) | Refusal::Smaller { .. } | Refusal::Fork { .. } | Refusal::Ledger(_) => {
            Failure::integrity(format!("{shown}. Nothing was signed"))
        }
    }
}

/// Takes up what a witness cosigned, and keeps it beside the ledger: the next record makes a head nobody has cosigned yet.
pub fn cosign(context: &Context, state: &mut State, file: &Path) -> Result<Exit, Failure> {
    let bytes = small_file::bytes(file, 1 << 20).map_err(Failure::usage)?;
    let taken = state.cosign(&bytes).map_err(|failure| match state.ledger().trust().witnesses.is_empty() {
        true => Failure::usage("`[trust] witnesses` of casemate.toml names no witness, so nobody's cosignature counts"),
        false => Failure { message: format!("`{}`: {}", file.display(), failure.message), ..failure },
    })?;
    let directory = state.anchors_path();
    std::fs::create_dir_all(&directory)
        .map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", directory.display())))?;
    let names: String = taken.cosigned.iter().map(|one| format!("{} {}\n", one.name, one.is_post_quantum)).collect();
    let stem = anchors::stem(taken.head.size, (taken.head.to_text() + &names).as_bytes());
    write_whole(&directory.join(format!("{stem}.checkpoint")), &taken.note)?;
    let by: Vec<_> = taken.cosigned.iter().map(|one| format!("{} at {}", one.name, one.time)).collect();
    let size = taken.head.size;
    context.to_stdout(&format!("head of {size} records cosigned by {}\n", by.join(", ")))?;
    Ok(Exit::Passed)
}
