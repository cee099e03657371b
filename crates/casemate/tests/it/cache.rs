//! Kept verdicts: the same report and the same evidence, nothing believed that was not written here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{casemate, command, files};

/// A pickle whose scan takes longer than an entry is worth: many imports and memo entries.
fn slow_pickle(call: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02(".to_vec();
    for i in 0..20_000u32 {
        bytes.extend(b"ccollections\nOrderedDict\n)Rq");
        bytes.push(u8::try_from(i % 200).unwrap());
    }
    bytes.extend([call, b"l."].concat());
    bytes
}

/// A project with a ledger and two slow pickles that were left alone for as long as keeping a verdict takes.
fn project() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("good.pkl"), slow_pickle(b"")).unwrap();
    std::fs::write(directory.path().join("bad.pkl"), slow_pickle(b"cos\nsystem\nX\x04\x00\x00\x00true\x85R")).unwrap();
    assert_eq!(casemate(directory.path(), &["init"]).code, 0);
    std::thread::sleep(Duration::from_millis(2200));
    directory
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    files(&directory.join(".casemate/cache"))
}

fn scan(directory: &Path, more: &[&str]) -> serde_json::Value {
    let run = casemate(directory, &[&["scan", "good.pkl", "bad.pkl", "--format", "json"], more].concat());
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    run.json()
}

/// What stays of a report without times and the word on the cache.
fn timeless(mut report: serde_json::Value) -> serde_json::Value {
    for key in ["started_at", "finished_at"] {
        report[key].take();
    }
    report["summary"]["from_cache"].take();
    report
}

#[test]
fn a_second_run_says_the_same_and_an_edited_entry_is_ignored_with_a_remark() {
    let directory = project();
    let first = scan(directory.path(), &[]);
    assert_eq!(first["summary"]["from_cache"], 0);
    assert_eq!(entries(directory.path()).len(), 2);
    let second = scan(directory.path(), &[]);
    assert_eq!(second["summary"]["from_cache"], 2);
    assert_eq!(timeless(first.clone()), timeless(second));
    assert_eq!(scan(directory.path(), &["--no-cache"])["summary"]["from_cache"], 0);
    // Another limit is another question.
    std::fs::write(directory.path().join("limits.toml"), "findings_max = 999\n").unwrap();
    assert_eq!(scan(directory.path(), &["--limits", "limits.toml"])["summary"]["from_cache"], 0);

    for entry in entries(directory.path()) {
        let text =
            std::fs::read_to_string(&entry).unwrap().replace("\"verdict\":\"malicious\"", "\"verdict\":\"clean\"");
        std::fs::write(&entry, text.replacen("pickle", "Pickle", 1)).unwrap();
    }
    let run = casemate(directory.path(), &["scan", "good.pkl", "bad.pkl"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert!(run.stdout.contains("2 kept verdicts could not be believed and were ignored"), "{}", run.stdout);
    assert_eq!(timeless(scan(directory.path(), &[])), timeless(first));
}

#[test]
fn evidence_and_posture_are_the_same_with_and_without_kept_verdicts() {
    let directory = project();
    let reports: Vec<_> = [&["--no-cache"][..], &[], &[]]
        .iter()
        .map(|more| casemate(directory.path(), &[&["check", "--format", "json"], *more].concat()).json())
        .collect();
    let taken: Vec<_> = reports.iter().map(|report| report["summary"]["from_cache"].as_u64().unwrap()).collect();
    assert_eq!(taken, [0, 0, 2]);
    assert_eq!(reports[1]["artifacts"], reports[2]["artifacts"]);
    assert_eq!(reports[0]["artifacts"], reports[2]["artifacts"]);
    let scans = |report: &serde_json::Value| -> Vec<_> {
        let ids = report["evidence"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
        ids.map(|id| casemate(directory.path(), &["ledger", "show", &id]).stdout)
            .filter(|record| record.contains("artifact.scan"))
            .map(|record| {
                record
                    .lines()
                    .filter(|line| !["_at", "id", "index"].iter().any(|key| line.contains(key)))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(scans(&reports[0]).len(), 2);
    assert_eq!(scans(&reports[0]), scans(&reports[2]));
    assert_eq!(casemate(directory.path(), &["ledger", "verify"]).code, 0);
}

#[test]
fn runs_at_once_do_not_spoil_each_other() {
    let directory = project();
    let expected = timeless(scan(directory.path(), &["--no-cache"]));
    for _ in 0..3 {
        let children: Vec<_> = (0..6)
            .map(|_| {
                let mut child = command(directory.path());
                child.args(["scan", "good.pkl", "bad.pkl", "--format", "json"]);
                child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children {
            let run: super::Run = child.wait_with_output().unwrap().into();
            assert_eq!(run.code, 1, "{}", run.stderr);
            assert_eq!(timeless(run.json()), expected);
            assert!(!run.stderr.contains("believed"), "{}", run.stderr);
        }
    }
    let left = entries(directory.path());
    assert_eq!(left.len(), 2, "no temporary file stays: {left:?}");
    assert_eq!(scan(directory.path(), &[])["summary"]["from_cache"], 2);
}

#[test]
fn a_file_just_written_is_scanned_and_not_kept_and_no_state_is_made_for_it() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("good.pkl"), slow_pickle(b"")).unwrap();
    assert_eq!(casemate(directory.path(), &["scan", "good.pkl"]).code, 0);
    assert!(!directory.path().join(".casemate").exists());
    assert_eq!(casemate(directory.path(), &["init"]).code, 0);
    std::fs::write(directory.path().join("good.pkl"), slow_pickle(b"")).unwrap();
    assert_eq!(casemate(directory.path(), &["scan", "good.pkl", "--no-record"]).code, 0);
    assert!(entries(directory.path()).is_empty());
}
