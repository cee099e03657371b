//! Files that are known from an earlier run: what is read again, what is said of it, and what never rests on it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{Run, casemate, command, example, files};

/// The digits example with a signature and a trusted key, its model left alone for long enough.
fn project() -> tempfile::TempDir {
    let project = example("digits");
    let root = project.path();
    succeed(root, &["init", "--force"]);
    succeed(root, &["keygen", "-o", "key.pem"]);
    let configuration = fs::read_to_string(super::repository().join("examples/digits/casemate.toml")).unwrap();
    let named = configuration.replace("path = \"model\"", "path = \"model\"\nsignature = \"model.sig\"");
    assert_ne!(named, configuration);
    fs::write(root.join("casemate.toml"), format!("{named}\n[trust]\nkeys = [\"key.pub.pem\"]\n")).unwrap();
    std::thread::sleep(Duration::from_millis(3200));
    project
}

fn succeed(directory: &Path, arguments: &[&str]) -> Run {
    let run = casemate(directory, arguments);
    assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run
}

fn sign(root: &Path, more: &[&str]) -> Run {
    succeed(root, &[&["sign", "model", "--key", "key.pem"], more].concat())
}

const VERIFY: [&str; 4] = ["verify", "model", "--key", "key.pub.pem"];

/// Figures of a verification.
fn verified(root: &Path, more: &[&str]) -> Value {
    let run = succeed(root, &[&VERIFY[..], &["--format", "json"], more].concat());
    run.json()["summary"]["hashing"].clone()
}

/// Files that were read, and files that were not.
fn read(figures: &Value) -> (u64, u64) {
    (figures["files_read"].as_u64().unwrap(), figures["files_from_cache"].as_u64().unwrap())
}

#[test]
fn an_unchanged_model_is_not_read_again_unless_asked_for() {
    let project = project();
    let root = project.path();
    let n = files(&root.join("model")).len() as u64;
    assert!(n > 1);
    assert!(!sign(root, &[]).stderr.contains("earlier runs"));
    // Seed 3 draws none of so few; what `sign` read is known to `verify`.
    let quick = ["--seed", "3"];
    let figures = verified(root, &quick);
    assert_eq!(read(&figures), (0, n), "{figures}");
    assert_eq!((&figures["bytes_read"], &figures["seed"]), (&0.into(), &3.into()));
    assert_eq!(read(&verified(root, &["--full"])), (n, 0));
    assert_eq!(read(&verified(root, &["--sample", "100"])), (n, 0));
    let run = succeed(root, &[&VERIFY[..], &quick].concat());
    assert!(run.stdout.contains("(seed 3)") && run.stdout.contains("0.5 %"), "{}", run.stdout);
    assert!(run.stdout.contains(&format!("verified: all {n} files are as signed")), "{}", run.stdout);
    let full = succeed(root, &[&VERIFY[..], &["--full"]].concat()).stdout;
    assert!(!full.contains("earlier runs"), "{full}");
    assert_eq!(run.stdout.lines().last(), full.lines().last());
    // A fresh seed each time.
    assert_ne!(verified(root, &[])["seed"], verified(root, &[])["seed"]);
    // Signing again says what it did not read.
    assert!(sign(root, &quick).stderr.contains("--full reads every file"));
}

#[test]
fn a_changed_file_is_read_and_found_and_nothing_else_is_read() {
    let project = project();
    let root = project.path();
    sign(root, &[]);
    let file = files(&root.join("model")).remove(0);
    let before = fs::read(&file).unwrap();
    let times = fs::metadata(&file).unwrap().modified().unwrap();
    let mut flipped = before.clone();
    flipped[0] ^= 1;
    // As `touch -d` would: the same size, the same time of the contents.
    fs::write(&file, flipped).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
    let run = casemate(root, &[&VERIFY[..], &["--seed", "3", "--format", "json"]].concat());
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert_eq!(read(&run.json()["summary"]["hashing"]).0, 1);
    // Put in its place under its name: another inode.
    let beside = root.join("beside");
    fs::write(&beside, before).unwrap();
    fs::File::options().write(true).open(&beside).unwrap().set_modified(times).unwrap();
    fs::rename(&beside, &file).unwrap();
    assert_eq!(read(&verified(root, &["--seed", "3"])).0, 1);
}

#[test]
fn a_partial_verification_reads_its_file_and_is_no_evidence() {
    let project = project();
    let root = project.path();
    sign(root, &["--full"]);
    let before = ledger(root);
    let name = files(&root.join("model"))[0].file_name().unwrap().to_str().unwrap().to_owned();
    let size = fs::metadata(root.join("model").join(&name)).unwrap().len();
    let figures = verified(root, &["--partial", &name, "--full"]);
    assert_eq!((read(&figures), &figures["bytes_read"]), ((1, 0), &size.into()), "{figures}");
    assert_eq!(ledger(root), before, "nothing was recorded");
    let report = casemate(root, &["assess", "--format", "json"]).json();
    assert_ne!(state(&report, "SUP-12"), "pass");
    // What is known of the other files stays known.
    assert_eq!(read(&verified(root, &["--seed", "3"])).0, 0);
}

#[test]
fn evidence_rests_on_files_that_were_read_whatever_is_known() {
    let project = project();
    let root = project.path();
    sign(root, &[]);
    let n = files(&root.join("model")).len() as u64;
    assert_eq!(read(&verified(root, &["--seed", "3"])), (0, n));
    for _ in 0..2 {
        let report = casemate(root, &["check", "--format", "json"]).json();
        assert_eq!(state(&report, "SUP-12"), "pass");
        let ids = report["evidence"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
        let records: Vec<String> = ids.map(|id| casemate(root, &["ledger", "show", &id]).stdout).collect();
        for kind in ["provenance.signature", "artifact.scan"] {
            let record = records.iter().find(|record| record.contains(kind)).unwrap();
            assert!(
                record.contains("files_from_cache") && record.contains(&format!("\"files_read\": {n}")),
                "{record}"
            );
        }
    }
    // What `check` read, `verify` knows.
    assert_eq!(read(&verified(root, &["--seed", "3"])), (0, n));
}

#[test]
fn what_was_kept_and_cannot_be_believed_is_ignored_with_a_remark() {
    let project = project();
    let root = project.path();
    sign(root, &[]);
    let entries = files(&root.join(".casemate/cache/digests"));
    assert_eq!(entries.len(), 1);
    let bytes = fs::read(&entries[0]).unwrap();
    fs::write(&entries[0], bytes.to_ascii_uppercase()).unwrap();
    let run = succeed(root, &VERIFY);
    assert!(run.stderr.contains("could not be believed"), "{}", run.stderr);
    assert!(!run.stdout.contains("earlier runs"), "{}", run.stdout);
    // Without a project every file is read.
    let elsewhere = tempfile::tempdir().unwrap();
    super::copy(root, elsewhere.path());
    let run = succeed(elsewhere.path(), &[&VERIFY[..], &["--format", "json"]].concat());
    assert_eq!(run.json()["summary"]["hashing"]["files_from_cache"], 0);
    assert!(!elsewhere.path().join(".casemate").exists());
    for wrong in ["0", "101", "5%", "1.00001", "-1", ""] {
        let run = casemate(root, &[&VERIFY[..], &[&format!("--sample={wrong}")]].concat());
        assert_eq!(run.code, 2, "{wrong}: {}", run.stderr);
    }
}

#[test]
fn runs_at_once_agree() {
    let project = project();
    let root = project.path();
    sign(root, &[]);
    for _ in 0..3 {
        fs::remove_dir_all(root.join(".casemate/cache")).unwrap();
        let children: Vec<_> = (0..6)
            .map(|_| {
                let mut child = command(root);
                child.args(VERIFY).args(["--sample", "50"]).stdout(Stdio::piped()).stderr(Stdio::piped());
                child.spawn().unwrap()
            })
            .collect();
        for child in children {
            let run: Run = child.wait_with_output().unwrap().into();
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
        }
    }
    let left = files(&root.join(".casemate/cache/digests"));
    assert_eq!(left.len(), 1, "no temporary file stays: {left:?}");
    assert_eq!(read(&verified(root, &["--seed", "3"])).0, 0);
}

fn ledger(root: &Path) -> String {
    casemate(root, &["ledger", "show"]).stdout
}

fn state(report: &Value, id: &str) -> String {
    let control = report["controls"].as_array().unwrap().iter().find(|control| control["id"] == id).unwrap();
    control["state"].as_str().unwrap().to_owned()
}
