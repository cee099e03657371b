//! `--include` and `--exclude`: what is left out is named, never called clean, and never becomes evidence.

use super::{casemate, scan};

#[test]
fn what_is_left_out_is_counted_named_and_not_called_clean() {
    let directory = scan::folder(&[("bad.pkl", scan::SYSTEM), ("good.pkl", scan::HARMLESS), ("note.txt", b"hello\n")]);
    let at = directory.path();
    assert_eq!(casemate(at, &["scan", "."]).code, 1);
    let run = casemate(at, &["scan", ".", "--exclude", "bad.*", "--format", "json"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let report = run.json();
    assert_eq!(report["summary"]["left_out"][0]["path"], "bad.pkl");
    assert_eq!(report["summary"]["left_out"][0]["reason"], "--exclude bad.*");
    assert!(report["artifacts"].as_array().unwrap().iter().all(|file| file["path"] != "bad.pkl"));
    let text = casemate(at, &["scan", ".", "--include", "good*"]).stdout;
    assert!(text.contains("left out on request: 2 files; nothing is said about them: bad.pkl"), "{text}");
    let sarif = casemate(at, &["scan", ".", "--exclude", "bad.pkl", "--format", "sarif"]).stdout;
    assert!(sarif.contains("left out on request: 1 file;"), "{sarif}");
}

#[test]
fn nothing_left_to_judge_is_not_clean_and_a_broken_glob_is_a_usage_error() {
    let directory = scan::folder(&[("good.pkl", scan::HARMLESS)]);
    assert_eq!(casemate(directory.path(), &["scan", ".", "--exclude", "*"]).code, 3);
    assert_eq!(casemate(directory.path(), &["scan", "good.pkl", "--include", "*.onnx"]).code, 3);
    assert_eq!(casemate(directory.path(), &["scan", ".", "--exclude", "[a"]).code, 2);
}

#[test]
fn a_filtered_scan_is_no_evidence_about_the_model() {
    let digits = super::example("digits");
    casemate(digits.path(), &["check"]);
    let records = || casemate(digits.path(), &["ledger", "show"]).stdout.lines().count();
    let before = records();
    let run = casemate(digits.path(), &["scan", "model", "--exclude", "README.md", "--format", "json"]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("not recorded in the ledger"), "{}", run.stderr);
    assert!(run.json()["evidence"].as_array().unwrap().is_empty());
    assert_eq!(records(), before);
}
