//! `casemate ledger anchor`: puts the present head where whoever writes the ledger cannot change it.

use std::path::{Path, PathBuf};

use casemate_provenance::timestamp::{self, Request, Response};
use casemate_provenance::{Checkpoint, note};

use crate::anchors::{entries, git, stem};
use crate::cli::AnchorArgs;
use crate::context::{Context, Project, write_whole};
use crate::exit::{Exit, Failure};
use crate::small_file;
use crate::state::{State, describe};

/// Runs the command.
pub fn run(context: &Context, project: &Project, state: &State, args: &AnchorArgs) -> Result<Exit, Failure> {
    let report = state.verify()?;
    if let Some(problem) = report.problems.first() {
        // A damaged ledger must not be vouched for.
        return Err(Failure::integrity(format!("{}. Nothing was anchored", describe(problem))));
    }
    let bytes = state.ledger().checkpoint_bytes().map_err(Failure::not_evaluated)?;
    let head = Checkpoint::open(&bytes, state.key()).map_err(Failure::integrity)?;
    let mut done = Vec::new();
    if let Some(path) = &args.file {
        let path = match path.is_dir() {
            true => path.join(format!("{}.checkpoint", stem(head.size, head.to_text().as_bytes()))),
            false => path.clone(),
        };
        keep(state, &path, &bytes)?;
        done.push(format!("wrote {}", path.display()));
    }
    if args.git_note {
        let commit = git::attach(&project.root, &bytes).map_err(Failure::not_evaluated)?;
        done.push(format!("noted at commit {commit}; `git push REMOTE {}` takes it elsewhere", git::REF));
    }
    if let Some(path) = &args.rfc3161 {
        ask(state, path, &head, &bytes)?;
        done.push(format!("wrote {}; bring the answer with --rfc3161-response", path.display()));
    }
    if let Some(path) = &args.rfc3161_response {
        done.push(answer(context, state, path)?);
    }
    context.to_stdout(&format!("head of {} records\n{}\n", head.size, done.join("\n")))?;
    Ok(Exit::Passed)
}

/// Writes the checkpoint to `path`. A head that lies there already is replaced by one that continues it and by no other.
fn keep(state: &State, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if path.is_file() {
        let there = small_file::bytes(path, note::BYTES_MAX as u64).map_err(Failure::not_evaluated)?;
        let refuse = |what: String| Failure::integrity(format!("`{}` stays as it is: {what}", path.display()));
        let there = Checkpoint::open(&there, state.key()).map_err(|error| refuse(error.to_string()))?;
        state.ledger().require_continues(&there).map_err(|error| refuse(error.to_string()))?;
    }
    write_whole(path, bytes)
}

/// Writes a request, and keeps it with the head it is about: the answer is about these very bytes.
fn ask(state: &State, path: &Path, head: &Checkpoint, bytes: &[u8]) -> Result<(), Failure> {
    let request = Request::ask(bytes).ok_or_else(|| Failure::not_evaluated("the system gave no random number"))?;
    let directory = state.anchors_path();
    std::fs::create_dir_all(&directory)
        .map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", directory.display())))?;
    let der = request.to_der();
    // Named after the request, so that several authorities can be asked about one head.
    let kept = directory.join(format!("{}.tsq", stem(head.size, &der)));
    write_whole(&kept.with_extension("checkpoint"), bytes)?;
    write_whole(&kept, &der)?;
    write_whole(path, &der)
}

/// Takes up an answer; to which request is told by its number.
fn answer(context: &Context, state: &State, path: &Path) -> Result<String, Failure> {
    let read = |path: &Path| small_file::bytes(path, timestamp::BYTES_MAX as u64).map_err(Failure::not_evaluated);
    let der = read(path)?;
    let refuse = |error: timestamp::Error| Failure::integrity(format!("`{}`: {error}", path.display()));
    let response = Response::parse(&der).map_err(refuse)?;
    let directory = state.anchors_path();
    let requests: Vec<PathBuf> = entries(&directory, "tsq").unwrap_or_default();
    let mut last = timestamp::Error::OtherRequest;
    for kept in requests {
        let request = Request::parse(&read(&kept)?).map_err(refuse)?;
        let message = read(&kept.with_extension("checkpoint"))?;
        match response.verify(&request, &message, None, context.now()) {
            Ok(stamp) => {
                write_whole(&kept.with_extension("tsr"), &der)?;
                return Ok(format!(
                    "time stamp of {}; its signature is checked by `casemate ledger verify`",
                    stamp.time
                ));
            }
            Err(error) => last = error,
        }
    }
    Err(refuse(last))
}
