//! `casemate ledger prove`, `consistency` and `check-proof`: what is shown to somebody who has no ledger.

use std::fmt::Write as _;
use std::path::Path;

use casemate_core::{Digest, Evidence};
use casemate_provenance::cosignature::{self, Cosigned, WitnessKey};
use casemate_provenance::ledger::{ConsistencyProof, Event, InclusionProof};
use casemate_provenance::{Checkpoint, NoteKey, PublicKey, dsse, note, statement};
use serde_json::{Map, Value, json};

use super::verify::checkpoint;
use crate::cli::{CheckProofArgs, Format};
use crate::context::{Context, write_whole};
use crate::exit::{Exit, Failure};
use crate::small_file;
use crate::state::{State, failure};

/// Bytes a proof may have.
const PROOF_BYTES_MAX: u64 = 1 << 20;

/// Writes the proof that a record is in the ledger, from the tiles it needs and no others where its index is given.
pub fn prove(context: &Context, state: &State, wanted: &str, envelope: Option<&Path>) -> Result<Exit, Failure> {
    let ledger = state.ledger();
    let index = match wanted.parse::<u64>().ok().filter(|_| wanted.len() < 12) {
        Some(index) => index,
        None if wanted.len() < 4 => {
            return Err(Failure::usage(format!("`{wanted}` is no index, and too short for the beginning of an id")));
        }
        None => ledger.index_of_beginning(&wanted.to_ascii_lowercase()).map_err(failure)?,
    };
    let proof = ledger.prove(index).map_err(|error| {
        let mut failure = failure(error);
        if failure.exit == Exit::Usage {
            failure.message.push_str("; `casemate ledger show` lists them");
        }
        failure
    })?;
    if let Some(path) = envelope {
        write_whole(path, &ledger.envelope(&proof).map_err(failure)?)?;
    }
    context.emit(&proof.to_text())?;
    Ok(Exit::Passed)
}

/// Writes the proof that the ledger continues an earlier head.
pub fn consistency(context: &Context, state: &State, from: &Path) -> Result<Exit, Failure> {
    let old = checkpoint(from, state.key())?;
    context.emit(&state.ledger().consistency(&old).map_err(failure)?.to_text())?;
    Ok(Exit::Passed)
}

/// Checks a proof file.
pub fn check(context: &Context, args: &CheckProofArgs, format: Format) -> Result<Exit, Failure> {
    let bytes = small_file::bytes(&args.proof, PROOF_BYTES_MAX).map_err(Failure::not_evaluated)?;
    let refuse = |error: &dyn std::fmt::Display| Failure::integrity(format!("`{}`: {error}", args.proof.display()));
    let witness = |text: &String| WitnessKey::parse(&one_line(text)?).map_err(|error| error.to_string());
    let witnesses: Result<Vec<_>, String> = args.witness.iter().map(witness).collect();
    let witnesses = witnesses.map_err(|error| Failure::usage(format!("--witness: {error}")))?;
    let (mut shown, head) = if ConsistencyProof::is_one(&bytes) {
        let proof = ConsistencyProof::parse(&bytes).map_err(|error| refuse(&error))?;
        let Some(from) = &args.from else {
            let what = "a proof of consistency starts from a head you have: give it with --from";
            return Err(Failure::usage(what));
        };
        let key = ledger_key(&args.key, proof.checkpoint.as_bytes())?;
        let old = checkpoint(from, &key)?;
        let new = proof.verify(&old, &key).map_err(|error| refuse(&error))?;
        let mut shown = Shown::default();
        let _ = writeln!(shown.text, "proven: `{}` grew from {} to {} records", new.origin, old.size, new.size);
        shown.add("proven", json!("consistency"));
        shown.add("old_size", json!(old.size));
        (shown, (new, proof.checkpoint))
    } else {
        let proof = InclusionProof::parse(&bytes).map_err(|error| refuse(&error))?;
        let key = ledger_key(&args.key, proof.checkpoint.as_bytes())?;
        let proven = proof.verify(&key).map_err(|error| refuse(&error))?;
        let mut shown = Shown::of_record(&proven.id, proven.index, &proven.event, &proven.checkpoint);
        if let Some(path) = &args.record {
            let evidence = envelope_of(path, &proven.event)?;
            let _ = writeln!(shown.text, "envelope  {} is the one recorded", path.display());
            shown.add("evidence", json!(evidence));
        }
        (shown, (proven.checkpoint, proof.checkpoint))
    };
    let cosigned = cosigned(&head, &witnesses).map_err(|error| refuse(&error))?;
    if cosigned.len() < witnesses.len() {
        let missing = witnesses.iter().find(|key| cosigned.iter().all(|one| one.name != key.name));
        let name = missing.map_or("a witness", |key| key.name.as_str());
        return Err(refuse(&format!("`{name}` has not cosigned its checkpoint")));
    }
    shown.add_head(&head.0, &cosigned);
    context.emit(&match format {
        Format::Json => serde_json::to_string_pretty(&shown.fields).map_err(Failure::not_evaluated)? + "\n",
        _ => shown.text,
    })?;
    Ok(Exit::Passed)
}

/// What is proven, for people and for programs.
#[derive(Default)]
struct Shown {
    text: String,
    fields: Map<String, Value>,
}

impl Shown {
    fn add(&mut self, name: &str, value: Value) {
        self.fields.insert(name.into(), value);
    }

    fn of_record(id: &str, index: u64, event: &Event, head: &Checkpoint) -> Self {
        let mut shown = Self::default();
        let text = &mut shown.text;
        let name = event.subject.name.escape_debug();
        let _ = writeln!(text, "proven: record {index} is among the {} of `{}`", head.size, head.origin);
        let _ = writeln!(text, "id        {id}");
        let _ =
            writeln!(text, "evidence  {}, {}, {}, by {}", event.kind, event.outcome.as_str(), event.time, event.actor);
        let _ = writeln!(text, "subject   {name}, {}", event.subject.digest);
        let _ = writeln!(text, "envelope  sha256 {}, {} bytes", event.envelope.sha256, event.envelope.size);
        shown.add("proven", json!("inclusion"));
        shown.add("id", json!(id));
        shown.add("index", json!(index));
        shown.add("event", json!(event));
        shown
    }

    fn add_head(&mut self, head: &Checkpoint, cosigned: &[Cosigned]) {
        for one in cosigned {
            let _ = writeln!(self.text, "witness   {} at {}", one.name, one.time);
        }
        let names: Vec<_> = cosigned.iter().map(|one| json!({"name": one.name, "time": one.time})).collect();
        self.add("head", json!({"origin": head.origin, "size": head.size, "root": head.root}));
        self.add("witnesses", json!(names));
    }
}

fn cosigned(head: &(Checkpoint, String), witnesses: &[WitnessKey]) -> Result<Vec<Cosigned>, note::Error> {
    cosignature::check(&note::parse(head.1.as_bytes())?, &head.0, witnesses)
}

/// The evidence in the envelope at `path`, which must be the one that `event` names.
fn envelope_of(path: &Path, event: &Event) -> Result<Evidence, Failure> {
    let refuse = |what: &dyn std::fmt::Display| Failure::integrity(format!("`{}`: {what}", path.display()));
    let max = casemate_provenance::ledger::ENVELOPE_BYTES_MAX;
    let bytes = small_file::bytes(path, max as u64).map_err(Failure::not_evaluated)?;
    let found: Digest = casemate_provenance::sha256(&bytes);
    if found != event.envelope.sha256 {
        let expected = event.envelope.sha256;
        return Err(refuse(&format!("is not the envelope recorded: its SHA-256 is {found}, recorded is {expected}")));
    }
    let envelope = dsse::parse(&bytes, max).map_err(|error| refuse(&error))?;
    let evidence = statement::parse(&envelope.payload).map_err(|error| refuse(&error))?;
    match Event::of(&evidence, &bytes) == *event {
        true => Ok(evidence),
        false => Err(refuse(&"says something else than the record about it")),
    }
}

/// The ledger's key from a PEM file, one line of text, or a file with one; a PEM file leaves the name to the head in `note`.
pub fn ledger_key(given: &str, note: &[u8]) -> Result<NoteKey, Failure> {
    let line = one_line(given).map_err(Failure::usage)?;
    if line.contains('+') && !line.starts_with("-----") {
        return NoteKey::parse_vkey(&line).map_err(Failure::usage);
    }
    let key = PublicKey::load(Path::new(given)).map_err(|error| crate::verifying::key_failure(&error))?;
    let parsed = note::parse(note).and_then(|note| Checkpoint::parse(&note.text));
    let origin = parsed.map_err(|error| Failure::integrity(format!("checkpoint: {error}")))?.origin;
    NoteKey::new(&origin, key).map_err(Failure::integrity)
}

/// A key in one line as given, or from the file that has it.
fn one_line(given: &str) -> Result<String, String> {
    match Path::new(given).is_file() {
        true => small_file::read(Path::new(given)).map(|text| text.trim().to_owned()),
        false => Ok(given.trim().to_owned()),
    }
}
