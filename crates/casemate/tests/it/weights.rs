//! Weights as evidence: tables of tensors, baselines, approvals, accepted findings.

use std::path::Path;

use serde_json::Value;

use super::{Run, casemate, example};

/// A safetensors file of two float tensors of 2 × 8, with metadata.
fn safetensors(names: [&str; 2], epoch: &str, weights: &[f32; 32]) -> Vec<u8> {
    let header = format!(
        r#"{{"__metadata__":{{"epoch":"{epoch}"}},"{}":{{"dtype":"F32","shape":[2,8],"data_offsets":[0,64]}},"{}":{{"dtype":"F32","shape":[2,8],"data_offsets":[64,128]}}}}"#,
        names[0], names[1]
    );
    let data = weights.iter().flat_map(|weight| weight.to_le_bytes());
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat().into_iter().chain(data).collect()
}

fn weights() -> [f32; 32] {
    std::array::from_fn(|i| f32::from(u8::try_from(i).unwrap()) / 16.0 - 1.0)
}

fn findings<'a>(report: &'a Value, rule: &str) -> Vec<&'a str> {
    let all = report["findings"].as_array().unwrap();
    all.iter().filter(|one| one["rule"] == rule).map(|one| one["message"].as_str().unwrap()).collect()
}

fn write(directory: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(directory.join(name), bytes).unwrap();
}

fn held_against(directory: &Path, model: &str) -> Run {
    casemate(directory, &["scan", model, "--baseline", "base.json", "--format", "json"])
}

fn control(report: &Value, id: &str) -> (String, String) {
    let controls = report["controls"].as_array().unwrap();
    let control = controls.iter().find(|control| control["id"] == id).unwrap();
    (control["state"].as_str().unwrap().into(), control["reason"].as_str().unwrap().into())
}

#[test]
fn every_kind_of_change_to_a_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(at, "m.safetensors", safetensors(["a", "b"], "3", &weights()));
    let run = casemate(at, &["scan", "m.safetensors", "--write-baseline", "base.json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let first = std::fs::read(at.join("base.json")).unwrap();
    casemate(at, &["scan", "m.safetensors", "--write-baseline", "base.json"]);
    assert_eq!(first, std::fs::read(at.join("base.json")).unwrap(), "the same model gives the same bytes");
    let table: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(table["schema"], "casemate.tensors/v1");
    assert_eq!(table["artifacts"][0]["tensors"][1]["statistics"]["count"], 16);
    assert_eq!(held_against(at, "m.safetensors").code, 0);

    let mut edited = weights();
    edited[20] = -edited[20];
    write(at, "m.safetensors", safetensors(["a", "b"], "3", &edited));
    let run = held_against(at, "m.safetensors");
    assert_eq!(run.code, 1);
    let report = run.json();
    let changed = findings(&report, "weights-changed");
    assert!(changed.len() == 1 && changed[0].contains("tensor `b` changed: other bytes, norm"), "{changed:?}");
    assert!(findings(&report, "metadata-changed").is_empty());

    write(at, "m.safetensors", safetensors(["a", "b"], "4", &weights()));
    let report = held_against(at, "m.safetensors").json();
    assert!(findings(&report, "weights-changed").is_empty());
    assert_eq!(findings(&report, "metadata-changed"), ["its header or metadata changed"]);

    write(at, "m.safetensors", safetensors(["a", "c"], "3", &weights()));
    let report = held_against(at, "m.safetensors").json();
    let renamed = findings(&report, "weights-changed");
    assert!(renamed.iter().any(|what| what.contains("`c` is new, with the bytes of `b`")), "{renamed:?}");
    assert!(renamed.iter().any(|what| what.contains("`b` is gone")), "{renamed:?}");
}

#[test]
fn a_padded_model_and_another_model_are_told_from_the_approved_one() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::create_dir(at.join("model")).unwrap();
    write(at, "model/m.safetensors", safetensors(["a", "b"], "3", &weights()));
    assert_eq!(casemate(at, &["scan", "model", "--write-baseline", "base.json"]).code, 0);
    write(at, "model/config.json", "{}");
    let run = held_against(at, "model");
    assert_eq!(run.code, 1);
    assert_eq!(findings(&run.json(), "metadata-changed"), ["the file is new"]);
    std::fs::create_dir(at.join("other")).unwrap();
    write(at, "other/n.safetensors", safetensors(["x", "y"], "3", &weights()));
    let run = casemate(at, &["scan", "other", "--baseline", "base.json"]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("may be that of another model"), "{}", run.stdout);
}

#[test]
fn one_weight_flipped_in_the_graph_of_the_example_is_named() {
    let digits = example("digits");
    let at = digits.path();
    assert_eq!(casemate(at, &["scan", "model", "--write-baseline", "base.json", "--no-record"]).code, 0);
    let mut bytes = std::fs::read(at.join("model/model.onnx")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(at, "model/model.onnx", bytes);
    let run = held_against(at, "model");
    assert_eq!(run.code, 1);
    let report = run.json();
    assert_eq!(findings(&report, "weights-changed").len(), 1, "{}", run.stdout);
    assert!(findings(&report, "weights-changed")[0].contains("`hidden_1.weight` changed"));
    assert!(findings(&report, "metadata-changed").is_empty());
    let clean = report["artifacts"].as_array().unwrap().iter().all(|file| file["verdict"] == "clean");
    assert!(clean, "a verdict is about content, not about a comparison");
}

#[test]
fn mistakes_with_baselines_are_one_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::create_dir(at.join("model")).unwrap();
    write(at, "model/m.safetensors", safetensors(["a", "b"], "3", &weights()));
    write(at, "cut.json", "{\"schema\": \"casemate.tensors/v1\"");
    write(at, "other.json", r#"{"schema":"x/v9","subject":{"name":"m","sha256":"00"},"artifacts":[]}"#);
    let digest = "0".repeat(64);
    let schema = format!(r#"{{"schema":"x/v9","subject":{{"name":"m","sha256":"{digest}"}},"artifacts":[]}}"#);
    write(at, "schema.json", schema);
    write(at, "words.txt", "just words");
    for (file, says) in [
        ("cut.json", "--write-baseline"),
        ("other.json", "SHA-256"),
        ("schema.json", "x/v9"),
        ("words.txt", "line 1"),
        ("none.json", "does not exist"),
    ] {
        casemate(at, &["scan", "model", "--baseline", file]).is_one_clear_error(2, &[file, says]);
    }
    casemate(at, &["scan", "model", "model", "--write-baseline", "b.json"]).is_one_clear_error(2, &["one model"]);
    casemate(at, &["scan", "model", "--write-baseline", "model/b.json"]).is_one_clear_error(2, &["inside the model"]);
    assert!(!at.join("model/b.json").exists());
}

#[test]
fn numbers_that_are_none_and_rows_that_stand_out_show_only_when_weights_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut edited = weights();
    edited[3] = f32::NAN;
    write(at, "m.safetensors", safetensors(["a", "b"], "3", &edited));
    let plain = casemate(at, &["scan", "m.safetensors", "--format", "json"]).json();
    assert!(plain["findings"].as_array().unwrap().is_empty() && plain["summary"]["weights"].is_null());
    let run = casemate(at, &["scan", "m.safetensors", "--weights", "--format", "json"]);
    assert_eq!(run.code, 0);
    let report = run.json();
    assert_eq!(findings(&report, "weights-not-finite"), ["tensor `a`: 1 of 16 are no number"]);
    assert_eq!(report["summary"]["weights"]["digested"], 2);
}

#[test]
fn the_control_passes_only_with_an_approved_and_equal_baseline() {
    let digits = example("digits");
    let at = digits.path();
    let check = || casemate(at, &["check", "--format", "json", "-q"]).json();
    let (state, reason) = control(&check(), "SUP-14");
    assert_eq!(state, "unknown");
    assert!(reason.contains("scan model --write-baseline"), "{reason}");

    assert_eq!(casemate(at, &["scan", "model", "--write-baseline", "base.json", "--no-record"]).code, 0);
    let config = std::fs::read_to_string(at.join("casemate.toml")).unwrap();
    write(at, "casemate.toml", config.replace("path = \"model\"\n", "path = \"model\"\nbaseline = \"base.json\"\n"));
    let before = check();
    let (state, reason) = control(&before, "SUP-14");
    assert_eq!(state, "unknown", "equal is not enough: {reason}");
    assert!(reason.contains("nobody approved"), "{reason}");

    let approve = |approver: &str| {
        let words = ["--approver", approver, "--author", "ada", "--reason", "release 1"];
        casemate(at, &[&["baseline", "approve", "base.json"][..], &words].concat())
    };
    approve("Ada").is_one_clear_error(2, &["somebody else"]);
    let run = approve("grace");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("12 tensors"), "{}", run.stdout);
    let after = check();
    assert_eq!(control(&after, "SUP-14").0, "pass", "{}", control(&after, "SUP-14").1);
    assert!(after["score"]["value"].as_u64() >= before["score"]["value"].as_u64());
    assert_eq!(casemate(at, &["ledger", "verify"]).code, 0);

    let sound = std::fs::read(at.join("model/model.safetensors")).unwrap();
    let mut edited = sound.clone();
    *edited.last_mut().unwrap() ^= 0x80;
    write(at, "model/model.safetensors", edited);
    let report = check();
    let (state, reason) = control(&report, "SUP-14");
    assert_eq!(state, "fail", "{reason}");
    assert_eq!(findings(&report, "weights-changed").len(), 1);

    // The pass of the sound model is about its digest and comes back with it.
    write(at, "model/model.safetensors", sound);
    assert_eq!(control(&check(), "SUP-14").0, "pass");
    // Another table, though equal in what it says, is not the one that was approved.
    let table = std::fs::read_to_string(at.join("base.json")).unwrap();
    write(at, "base.json", format!("{table}\n"));
    let stale = casemate(at, &["assess", "--format", "json"]).json();
    assert_eq!(control(&stale, "SUP-14").0, "stale");
    assert_eq!(control(&check(), "SUP-14").0, "unknown");
    // The latest approval counts: the first table does not come back by itself.
    assert_eq!(approve("grace").code, 0);
    assert_eq!(control(&check(), "SUP-14").0, "pass");
    write(at, "base.json", table);
    assert_eq!(control(&check(), "SUP-14").0, "unknown");
}

#[test]
fn a_scan_that_records_holds_the_model_against_its_baseline_too() {
    let digits = example("digits");
    let at = digits.path();
    casemate(at, &["scan", "model", "--write-baseline", "base.json", "--no-record"]);
    let config = std::fs::read_to_string(at.join("casemate.toml")).unwrap();
    write(at, "casemate.toml", config.replace("path = \"model\"\n", "path = \"model\"\nbaseline = \"base.json\"\n"));
    casemate(at, &["check", "-q"]);
    let words = ["--approver", "grace", "--author", "ada", "--reason", "release 1"];
    assert_eq!(casemate(at, &[&["baseline", "approve", "base.json"][..], &words].concat()).code, 0);
    let run = casemate(at, &["scan", "model", "--format", "json"]);
    assert_eq!(run.json()["evidence"].as_array().unwrap().len(), 2, "{}", run.stderr);
    let assessed = casemate(at, &["assess", "--format", "json"]).json();
    assert_eq!(control(&assessed, "SUP-14").0, "pass", "{}", control(&assessed, "SUP-14").1);
    let config = std::fs::read_to_string(at.join("model/config.json")).unwrap();
    write(at, "model/config.json", format!("{config} "));
    let run = casemate(at, &["scan", "model", "--format", "json"]);
    assert_eq!((run.code, findings(&run.json(), "metadata-changed")), (1, vec!["the file changed"]));
}

#[test]
fn a_declared_baseline_that_cannot_be_read_stops_the_check() {
    let digits = example("digits");
    let at = digits.path();
    let config = std::fs::read_to_string(at.join("casemate.toml")).unwrap();
    let name = |baseline: &str| {
        let line = format!("path = \"model\"\nbaseline = \"{baseline}\"\n");
        write(at, "casemate.toml", config.replace("path = \"model\"\n", &line));
        casemate(at, &["check", "-q"])
    };
    name("gone.json").is_one_clear_error(2, &["gone.json", "does not exist"]);
    name("model/inside.json").is_one_clear_error(2, &["inside the model"]);
    name("../out.json").is_one_clear_error(2, &["out.json"]);
}

const HARMLESS: &[u8] = b"\x80\x02ccollections\nOrderedDict\n)R.";
const SYSTEM: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";

fn accept(rule: &str, path: &str, expires: &str) -> String {
    format!(
        "[[accept]]\nrule = \"{rule}\"\npath = \"{path}\"\nreason = \"agreed with grace\"\nexpires = {expires}\napproved_by = \"grace\"\n"
    )
}

/// A date some days from now, by the report of a run.
fn today(at: &Path) -> String {
    let report = casemate(at, &["scan", "good.pkl", "--format", "json"]).json();
    report["started_at"].as_str().unwrap()[..10].to_owned()
}

#[test]
fn accepted_findings_stay_in_the_report_and_out_of_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(at, "bad.pkl", SYSTEM);
    write(at, "good.pkl", HARMLESS);
    let today = today(at);
    let run = casemate(at, &["scan", "bad.pkl", "--format", "json"]);
    assert_eq!(run.code, 1);
    let rules: std::collections::BTreeSet<String> =
        run.json()["findings"].as_array().unwrap().iter().map(|one| one["rule"].as_str().unwrap().into()).collect();
    let all: String = rules.iter().map(|rule| accept(rule, "*.pkl", &today)).collect();
    write(at, "accepted.toml", &all);
    let with = |format: &str| casemate(at, &["scan", "bad.pkl", "--baseline", "accepted.toml", "--format", format]);
    let run = with("json");
    assert_eq!(run.code, 0, "{}", run.stdout);
    let report = run.json();
    assert_eq!(report["artifacts"][0]["verdict"], "malicious", "the verdict stays");
    let marked = report["findings"].as_array().unwrap().iter().all(|one| one["accepted"]["expires"] == today.as_str());
    assert!(marked, "{}", run.stdout);
    let schema: Value = serde_json::from_str(&casemate(at, &["schema", "report"]).stdout).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&report));
    let sarif = with("sarif").json();
    let results = sarif["runs"][0]["results"].as_array().unwrap().clone();
    assert!(results.iter().all(|one| one["suppressions"][0]["status"] == "accepted"), "{sarif}");
    assert!(with("text").stdout.contains("accepted by grace until"), "{}", with("text").stdout);

    // One finding by its fingerprint, and no other.
    let fingerprint = results[0]["partialFingerprints"]["primaryLocationLineHash"].as_str().unwrap();
    let rule = results[0]["ruleId"].as_str().unwrap();
    let text = accept(rule, "**", &today);
    write(at, "accepted.toml", format!("{text}fingerprint = \"{fingerprint}\"\n"));
    let report = with("json").json();
    let accepted = report["findings"].as_array().unwrap().iter().filter(|one| !one["accepted"].is_null()).count();
    assert_eq!(accepted, 1);
    write(at, "accepted.toml", format!("{text}fingerprint = \"{}\"\n", "0".repeat(32)));
    let text = with("text").stdout;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("accepts nothing that was found"), "{text}");
}

#[test]
fn expired_far_and_unjudged_acceptances_open_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(at, "bad.pkl", SYSTEM);
    write(at, "good.pkl", HARMLESS);
    let year: u32 = today(at)[..4].parse().unwrap();
    let with = |text: String| {
        write(at, "accepted.toml", text);
        casemate(at, &["scan", "bad.pkl", "--baseline", "accepted.toml"])
    };
    let run = with(accept("pickle-unsafe-global", "bad.pkl", "2020-01-31"));
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("EXPIRED") && run.stdout.contains("2020-01-31"), "{}", run.stdout);
    let far = format!("{}-01-01", year + 3);
    with(accept("pickle-unsafe-global", "bad.pkl", &far)).is_one_clear_error(2, &["365 days"]);
    with(accept("unknown-format", "bad.pkl", &format!("{year}-12-31"))).is_one_clear_error(2, &["not judged"]);
}

#[test]
fn acceptance_reaches_neither_ledger_nor_score() {
    let trojaned = example("trojaned");
    let at = trojaned.path();
    let before = casemate(at, &["check", "--format", "json", "-q"]).json();
    write(at, "good.pkl", HARMLESS);
    let today = today(at);
    std::fs::remove_file(at.join("good.pkl")).unwrap();
    let scan = casemate(at, &["scan", "model", "--format", "json", "--no-record"]).json();
    let rules: std::collections::BTreeSet<&str> = scan["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["severity"] == "critical" || one["severity"] == "high")
        .map(|one| one["rule"].as_str().unwrap())
        .collect();
    write(at, "accepted.toml", rules.iter().map(|rule| accept(rule, "**", &today)).collect::<String>());
    let run = casemate(at, &["scan", "model", "--baseline", "accepted.toml", "--format", "json"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let id = run.json()["evidence"][0].as_str().unwrap().to_owned();
    let record = casemate(at, &["ledger", "show", &id]).stdout;
    assert!(record.contains("malicious") && !record.contains("agreed with"), "{record}");
    let after = casemate(at, &["assess", "--format", "json"]).json();
    assert_eq!(before["score"]["value"], after["score"]["value"]);
    assert_eq!(control(&after, "SUP-01").0, "fail");
}
