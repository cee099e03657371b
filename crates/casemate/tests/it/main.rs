//! End to end, through the command line only: what a person or a pipeline sees.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod anchors;
mod attesting;
mod bases;
mod cache;
mod crypto;
mod digests;
mod evasions;
mod examples;
mod failures;
mod filters;
mod inventory;
mod key_services;
mod ledger;
mod ledger_proofs;
mod pipelines;
mod remote;
mod scan;
mod sealing;
mod sealing_age;
mod signing;
mod signing_certificates;
mod signing_detached;
mod signing_reference;
mod waivers;
mod watching;
mod weights;
mod witness;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Records that one `check` of the digits example appends: the scan, and what every registered probe says.
const RECORDS_PER_CHECK: usize = 15;

use tempfile::TempDir;

/// What a run printed and how it ended.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }

    /// An error is one paragraph that names what it is about, without traces of ours.
    fn is_one_clear_error(&self, code: i32, mentions: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("casemate: "), "{}", self.stderr);
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{}", self.stderr);
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("src/"), "{}", self.stderr);
        for mention in mentions {
            assert!(self.stderr.contains(mention), "{mention:?} in {}", self.stderr);
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn casemate(directory: &Path, arguments: &[&str]) -> Run {
    command(directory).args(arguments).output().unwrap().into()
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_casemate"));
    command.current_dir(directory);
    for name in ["CASEMATE_CONFIG", "CASEMATE_STATE", "CASEMATE_FORMAT"] {
        command.env_remove(name);
    }
    command
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A copy of an example project, to be written in.
fn example(name: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(&repository().join("examples").join(name), directory.path());
    directory
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The example may have been checked in place; its own ledger stays where it is.
        if entry.file_name() == ".casemate" {
            continue;
        }
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Every regular file under a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
