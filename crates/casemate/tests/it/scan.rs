//! `casemate scan`: verdicts, exit codes and formats.

use std::io::Write;
use std::process::Stdio;

use super::{Run, casemate, command};

pub const SYSTEM: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";
pub const HARMLESS: &[u8] = b"\x80\x02ccollections\nOrderedDict\n)R.";

pub fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

#[test]
fn exit_codes_tell_bad_from_unknown_from_clean() {
    let random: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(97) | 0x80).collect();
    let directory = folder(&[
        ("bad.pkl", SYSTEM),
        ("good.pkl", HARMLESS),
        ("what.bin", &random),
        ("cut.pkl", &HARMLESS[..HARMLESS.len() - 3]),
    ]);
    for (paths, code) in [
        (&["good.pkl"][..], 0),
        (&["bad.pkl"], 1),
        (&["what.bin"], 3),
        (&["cut.pkl"], 3),
        (&["good.pkl", "what.bin"], 3),
        (&["."], 1),
    ] {
        let run = casemate(directory.path(), &[&["scan"], paths].concat());
        assert_eq!(run.code, code, "{paths:?}: {}{}", run.stdout, run.stderr);
    }
    let empty = folder(&[]);
    assert_eq!(casemate(empty.path(), &["scan", "."]).code, 3, "nothing to judge is not clean");
}

#[test]
fn shards_of_weights_are_told_by_the_list_in_their_folder() {
    let noise: Vec<u8> = (0..64u8).map(|i| i.wrapping_mul(97) | 0x80).collect();
    let list = br#"[{"paths": ["a.bin"], "weights": [{"name": "w", "shape": [4, 4], "dtype": "float32"}]}]"#;
    let directory = folder(&[("a.bin", &noise), ("a-weights_manifest.json", list), ("b.bin", &noise)]);
    for (path, code) in [("a.bin", 0), ("b.bin", 3), (".", 3)] {
        let run = casemate(directory.path(), &["scan", path]);
        assert_eq!(run.code, code, "{path}: {}{}", run.stdout, run.stderr);
    }
    std::fs::write(directory.path().join("a-weights_manifest.json"), b"[]").unwrap();
    assert_eq!(casemate(directory.path(), &["scan", "a.bin"]).code, 3);
}

#[test]
fn every_sample_ends_as_its_verdict_says() {
    let samples = super::repository().join("testdata/artifact");
    let directory = tempfile::tempdir().unwrap();
    let mut seen = [0; 3];
    for path in super::files(&samples).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "hex"))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        let digits: String =
            text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.trim().chars()).collect();
        let bytes: Vec<u8> =
            (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect();
        let name = path.file_stem().unwrap().to_str().unwrap();
        std::fs::write(directory.path().join(name), bytes).unwrap();
        let run = casemate(directory.path(), &["scan", name, "--weights", "--format", "json"]);
        let (code, kind) = match run.json()["artifacts"][0]["verdict"].as_str().unwrap() {
            "malicious" | "suspicious" => (1, 0),
            "unscannable" => (3, 1),
            _ => (0, 2),
        };
        assert_eq!(run.code, code, "{name}: {}", run.stdout);
        seen[kind] += 1;
        let role = name.split('-').next().unwrap();
        let rule = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert!(role != "benign" || code == 0, "{rule}/{name} is benign");
        // Facts, and places a person may look at, leave a file clean.
        let report = run.json();
        let found: Vec<&str> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["rule"] == rule)
            .filter_map(|finding| finding["severity"].as_str())
            .collect();
        assert!(role != "hit" || !found.is_empty(), "{rule}/{name} is a hit");
        let is_bad = found.iter().any(|severity| ["critical", "high"].contains(severity));
        assert!(!is_bad || code == 1, "{rule}/{name} is {found:?}");
    }
    assert!(seen.iter().all(|n| *n >= 3), "{seen:?}");
}

#[test]
fn the_bar_and_the_policy_decide_what_fails() {
    let import_only = b"\x80\x02cmy_package\nThing\n.";
    let directory = folder(&[("import.pkl", import_only), ("good.pkl", HARMLESS)]);
    let code = |arguments: &[&str]| casemate(directory.path(), &[&["scan"], arguments].concat()).code;
    assert_eq!(code(&["import.pkl"]), 1);
    assert_eq!(code(&["import.pkl", "--fail-on", "critical"]), 0);
    assert_eq!(code(&["good.pkl", "--fail-on", "low"]), 1);
    assert_eq!(code(&["good.pkl", "--policy", "strict"]), 1, "strict allows no format that can run code");
    std::fs::write(directory.path().join("own.toml"), "[severity]\nunsafe-format = \"critical\"\n").unwrap();
    assert_eq!(code(&["good.pkl", "--policy", "own.toml"]), 1);
    std::fs::write(directory.path().join("own.toml"), "[severity]\nno-such-rule = \"low\"\n").unwrap();
    assert_eq!(code(&["good.pkl", "--policy", "own.toml"]), 2);
}

#[test]
fn the_json_has_the_shape_of_the_contract() {
    let directory = folder(&[("bad.pkl", SYSTEM)]);
    let report = casemate(directory.path(), &["scan", "bad.pkl", "--format", "json"]).json();
    assert_eq!(report["schema"], "casemate.report/v1");
    assert_eq!(report["command"], "scan");
    assert_eq!(report["outcome"], "fail");
    let artifact = &report["artifacts"][0];
    assert_eq!(artifact["path"], "bad.pkl");
    assert_eq!(artifact["verdict"], "malicious");
    assert_eq!(artifact["digest"]["sha256"].as_str().unwrap().len(), 64);
    let finding = &report["findings"][0];
    assert_eq!(finding["rule"], "pickle-unsafe-global");
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["location"]["offset"], 2);
    assert!(!finding["remediation"].as_str().unwrap().is_empty());
    let schema: serde_json::Value =
        serde_json::from_str(&casemate(directory.path(), &["schema", "report"]).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn standard_input_is_a_path_and_hashing_can_be_left_out() {
    let directory = folder(&[("good.pkl", HARMLESS)]);
    let mut child = command(directory.path())
        .args(["scan", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(SYSTEM).unwrap();
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.code, 1);
    assert_eq!(run.json()["artifacts"][0]["path"], "-");
    let unhashed = casemate(directory.path(), &["scan", "good.pkl", "--no-hash", "--format", "json"]).json();
    assert_eq!(unhashed["artifacts"][0]["digest"], serde_json::Value::Null);
}

#[test]
fn a_scan_inside_a_project_with_a_ledger_becomes_evidence() {
    let digits = super::example("digits");
    casemate(digits.path(), &["check"]);
    let records = |directory: &std::path::Path| casemate(directory, &["ledger", "show"]).stdout.lines().count();
    let before = records(digits.path());
    let report = casemate(digits.path(), &["scan", "model", "--format", "json"]).json();
    assert_eq!(report["evidence"].as_array().unwrap().len(), 1);
    assert_eq!(records(digits.path()), before + 1);
    casemate(digits.path(), &["scan", "model", "--no-record"]);
    assert_eq!(records(digits.path()), before + 1);
}

#[test]
fn names_of_files_cannot_write_to_the_terminal() {
    let directory = folder(&[("a\u{1b}[31mred\u{202e}.pkl", SYSTEM)]);
    for format in ["text", "markdown", "html", "sarif", "csv", "json"] {
        let run = casemate(directory.path(), &["scan", ".", "--format", format]);
        assert_eq!(run.code, 1, "{format}: {}", run.stderr);
        assert!(!run.stdout.contains('\u{1b}'), "{format} lets an escape through");
        assert!(format == "json" || !run.stdout.contains('\u{202e}'), "{format} lets a bidi override through");
    }
}

#[test]
fn a_gigabyte_is_judged_from_its_header() {
    // A sparse file: reading it all would be seen in the memory and the bytes read, not in the result.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("big.safetensors");
    let size = 4u64 << 30;
    let header = format!("{{\"w\":{{\"dtype\":\"U8\",\"shape\":[{size}],\"data_offsets\":[0,{size}]}}}}");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + size).unwrap();
    let run = casemate(directory.path(), &["scan", "big.safetensors", "--no-hash", "--format", "json"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!(run.json()["artifacts"][0]["tensors"], 1);
}
