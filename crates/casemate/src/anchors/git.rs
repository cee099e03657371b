//! Checkpoints as git notes: pushed where history cannot be rewritten, they bind the ledger to a commit.
//!
//! The git program is run in the project's repository, and only where the configuration or the command line asks for it. Only
//! its plumbing is used, without pager, hooks, file-system monitors and questions, since a repository's own configuration can
//! name programs to run.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use casemate_provenance::note;

/// Where the notes lie.
pub const REF: &str = "refs/notes/casemate";

/// Notes that are read.
const NOTES_MAX: usize = 1000;

/// Every note: the object it is about, and its bytes.
///
/// # Errors
/// In one line, why they could not be read.
pub fn notes(root: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let exists = run(root, &["for-each-ref", "--format=%(objectname)", REF], &[])?;
    if exists.is_empty() {
        return Err(format!("the repository has no {REF}; `casemate ledger anchor --git-note` writes it"));
    }
    let listed = String::from_utf8(run(root, &["notes", "--ref", REF, "list"], &[])?)
        .map_err(|_| "git listed notes that are no text".to_owned())?;
    let mut notes = Vec::new();
    for line in listed.lines() {
        let (blob, about) = line.split_once(' ').ok_or("git listed notes in a form not known here")?;
        if notes.len() == NOTES_MAX {
            return Err(format!("{REF} holds more than {NOTES_MAX} notes"));
        }
        notes.push((about.chars().take(12).collect(), run(root, &["cat-file", "blob", blob], &[])?));
    }
    Ok(notes)
}

/// Attaches `note` to the commit that is checked out, and gives that commit.
///
/// # Errors
/// In one line, why git did not.
pub fn attach(root: &Path, note: &[u8]) -> Result<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    let commit = text(run(root, &["rev-parse", "--verify", "HEAD^{commit}"], &[])?);
    // As a blob of its own: a message would be tidied up.
    let blob = text(run(root, &["hash-object", "-w", "--stdin"], note)?);
    run(root, &["notes", "--ref", REF, "add", "-f", "-C", &blob, &commit], &[])?;
    Ok(commit)
}

fn run(root: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("git");
    command.current_dir(root).args(["--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    command.args(arguments).env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let fail = |error: std::io::Error| format!("git could not be run: {error}");
    let mut child = command.spawn().map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A git that ends early says why on its own.
        let _ = stdin.write_all(input);
    }
    let mut output = Vec::new();
    let limit = (note::BYTES_MAX as u64).max(NOTES_MAX as u64 * 200);
    if let Some(stdout) = child.stdout.take() {
        stdout.take(limit + 1).read_to_end(&mut output).map_err(fail)?;
    }
    let ended = child.wait_with_output().map_err(fail)?;
    if output.len() as u64 > limit {
        return Err("git gave more than a checkpoint can be".into());
    }
    match ended.status.success() {
        true => Ok(output),
        false => {
            let why = String::from_utf8_lossy(&ended.stderr).lines().next().unwrap_or("no reason given").to_owned();
            Err(format!("git: {}", why.chars().filter(|c| !c.is_control()).take(200).collect::<String>()))
        }
    }
}
