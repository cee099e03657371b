//! Attestations: made, verified, held against the controls, and refused.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Run, casemate, example};

const ROLES: [&str; 8] = ["training", "storage", "deployment", "scan", "test", "bom", "approval", "release"];

fn succeed(directory: &Path, arguments: &[&str]) -> Run {
    let run = casemate(directory, arguments);
    assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run
}

/// A copy of the example with a key for each role, attestations named, nothing attested yet.
fn project() -> TempDir {
    let project = example("digits");
    let root = project.path();
    // A project of its own, whatever repository the temporary directory lies in.
    for (file, text) in [
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".git/refs/heads/main", "1111111111111111111111111111111111111111\n"),
        (".git/objects/11/11111111111111111111111111111111111111", ""),
        ("train.toml", "epochs = 3\nrate = 0.1\n"),
        ("metrics.json", r#"{"accuracy": 0.91}"#),
        (
            "bom.json",
            r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library", "name": "numpy"}]}"#,
        ),
    ] {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), text).unwrap();
    }
    let roles: String = ROLES
        .map(|role| {
            succeed(root, &["keygen", "--type", "ed25519", "-o", &format!("{role}.pem")]);
            format!("{role} = [\"{role}.pub.pem\"]\n")
        })
        .concat();
    let text = fs::read_to_string(root.join("casemate.toml")).unwrap();
    let named = text
        .replace("path = \"model\"", "path = \"model\"\nattestations = \"attestations.jsonl\"\ncontainer = \"none\"");
    fs::write(root.join("casemate.toml"), format!("{named}\n[trust.roles]\n{roles}")).unwrap();
    project
}

fn stage(root: &Path, stage: &str, key: &str) {
    succeed(root, &["attest", "stage", "model", "--stage", stage, "--key", key]);
}

fn all_stages(root: &Path) {
    stage(root, "after-training", "training.pem");
    stage(root, "before-storage", "storage.pem");
    stage(root, "before-deployment", "deployment.pem");
}

const PROVENANCE: [&str; 18] = [
    "attest",
    "provenance",
    "model",
    "--key",
    "training.pem",
    "--code-commit",
    "HEAD",
    "--data",
    "train",
    "--parameters",
    "train.toml",
    "--from-scratch",
    "--metrics",
    "metrics.json",
    "--started",
    "2026-01-01T00:00:00Z",
    "--environment",
    "requirements.lock",
];

/// What a release carries; the ledger must hold a scan.
fn whole_set(root: &Path) {
    succeed(root, &PROVENANCE);
    succeed(root, &["attest", "scan", "digits", "--key", "scan.pem"]);
    succeed(root, &["attest", "bom", "model", "--bom", "bom.json", "--key", "bom.pem"]);
    let test = ["attest", "test-result", "model", "--key", "test.pem", "--configuration", "train.toml", "--result"];
    succeed(root, &[&test[..], &["passed", "--passed", "pgd"]].concat());
    let approval = ["attest", "approval", "model", "--key", "approval.pem", "--approver", "grace", "--role", "manager"];
    succeed(root, &[&approval[..], &["--reason", "release 1.2", "--until", "2099-01-01"]].concat());
}

fn verify(root: &Path, more: &[&str]) -> Run {
    casemate(root, &[&["attest", "verify", "model"], more].concat())
}

fn lines(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("attestations.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn write_lines(root: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(root.join("attestations.jsonl"), text).unwrap();
}

/// The state and reason of controls after a check.
fn controls<const N: usize>(root: &Path, ids: [&str; N]) -> [(String, String); N] {
    let report = casemate(root, &["check", "--format", "json"]).json();
    let all = report["controls"].as_array().unwrap();
    ids.map(|id| {
        let control = all.iter().find(|control| control["id"] == id).unwrap();
        let text = |key: &str| control[key].as_str().unwrap().to_owned();
        (text("state"), text("reason"))
    })
}

/// The newest record of a kind.
fn record(root: &Path, kind: &str) -> Value {
    let shown = succeed(root, &["ledger", "show", "--format", "json"]);
    let mut records = shown.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.rfind(|record| record["evidence"]["kind"] == kind).unwrap()["evidence"].clone()
}

#[test]
fn every_kind_is_made_shown_and_verified() {
    let project = project();
    let root = project.path();
    casemate(root, &["attest", "scan", "model", "--key", "scan.pem"]).is_one_clear_error(3, &["no ledger"]);
    verify(root, &[]).is_one_clear_error(3, &["attestations.jsonl"]);
    casemate(root, &["check"]);
    all_stages(root);
    whole_set(root);
    let run = verify(root, &["--require", "provenance", "--require", "approval"]);
    assert_eq!((run.code, run.stdout.contains("verified: 8 of 8")), (0, true), "{}", run.stdout);
    for said in ["5 inputs", "outcome pass", "1 components", "result passed", "approved by grace (manager)"] {
        let wanted = if said == "5 inputs" { "4 inputs" } else { said };
        assert!(run.stdout.contains(wanted), "{said}: {}", run.stdout);
    }
    let json = verify(root, &["--format", "json"]).json();
    assert_eq!((&json["outcome"], json["summary"]["attestations"].as_array().unwrap().len()), (&json!("pass"), 8));
    let missing = verify(root, &["--require", "summary"]);
    assert_eq!((missing.code, missing.stdout.contains("missing         summary")), (1, true), "{}", missing.stdout);
    // What is recorded in the ledger is the digest of the line.
    let recorded = record(root, "provenance.attestation-record");
    assert_eq!(recorded["inputs"][0]["digest"], json["summary"]["attestations"][7]["digest"]["sha256"]);
    let shown = succeed(root, &["attest", "show", "--line", "4"]);
    let statement: Value = serde_json::from_str(&shown.stdout).unwrap();
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["hyperParameters"], json!({"epochs": 3, "rate": 0.1}));
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], "1".repeat(40));
    assert!(shown.stderr.contains("nothing was verified"));
    casemate(root, &["attest", "show", "--line", "99"]).is_one_clear_error(2, &["lines 1 to 8"]);
}

#[test]
fn the_subject_is_printed_and_a_file_has_its_plain_digest_too() {
    let project = project();
    let root = project.path();
    let directory = succeed(root, &["attest", "subject", "model"]).stdout;
    assert_eq!((directory.lines().count(), directory.contains("  digits\n")), (1, true), "{directory}");
    let scanned = casemate(root, &["scan", "model/config.json", "--format", "json", "--no-record"]).json();
    let file = succeed(root, &["attest", "subject", "model/config.json"]).stdout;
    let plain = scanned["artifacts"][0]["digest"]["sha256"].as_str().unwrap();
    assert!(file.lines().count() == 2 && file.contains(&format!("sha256:{plain}  ./config.json")), "{file}");
    succeed(root, &["sign", "model", "--key", &signing_key(root), "--signature", "digits.sig"]);
    let bound = succeed(root, &["attest", "subject", "model", "--signature", "digits.sig"]).stdout;
    assert!(bound.contains("  digits (signature)"), "{bound}");
    // Bound to one signature, and refused beside another.
    let attest = ["attest", "stage", "model", "--stage", "after-training", "--key", "training.pem"];
    succeed(root, &[&attest[..], &["--signature", "digits.sig"]].concat());
    assert_eq!(verify(root, &["--signature", "digits.sig"]).code, 0);
    succeed(root, &["sign", "model", "--key", "sign.pem", "--signature", "again.sig"]);
    assert_eq!(verify(root, &["--signature", "again.sig"]).code, 4);
}

fn signing_key(root: &Path) -> String {
    succeed(root, &["keygen", "-o", "sign.pem"]);
    "sign.pem".into()
}

#[test]
fn every_way_to_be_refused_has_its_word_and_its_exit_code() {
    let project = project();
    let root = project.path();
    let refused = |code: i32, word: &str| {
        let run = verify(root, &[]);
        assert_eq!((run.code, run.stdout.contains(word)), (code, true), "{word}: {}{}", run.stdout, run.stderr);
    };
    let alone = || write_lines(root, &lines(root).split_off(lines(root).len() - 1));
    // A key without the role, and one nobody knows.
    let warned = succeed(root, &["attest", "stage", "model", "--stage", "before-storage", "--key", "bom.pem"]);
    assert!(warned.stderr.contains("[trust.roles] storage"), "{}", warned.stderr);
    refused(1, "signer refused");
    succeed(root, &["keygen", "-o", "stranger.pem"]);
    succeed(root, &["attest", "stage", "model", "--stage", "before-storage", "--key", "stranger.pem"]);
    alone();
    refused(3, "unknown key");
    assert_eq!(verify(root, &["--key", "stranger.pub.pem"]).code, 0);
    // Good, then the model changes: the line is about another one now. So is a line made for another model.
    stage(root, "before-storage", "storage.pem");
    alone();
    assert_eq!(verify(root, &[]).code, 0);
    let good = lines(root);
    let config = fs::read(root.join("model/config.json")).unwrap();
    fs::write(root.join("model/config.json"), "{}").unwrap();
    refused(4, "other subject");
    fs::write(root.join("model/config.json"), config).unwrap();
    succeed(root, &["attest", "stage", "data", "--stage", "before-storage", "--key", "storage.pem"]);
    refused(4, "other subject");
    // Edited, cut short, repeated keys, nothing at all.
    let mut flipped = good[0].clone().into_bytes();
    let at = good[0].find("\"payload\":\"").unwrap() + 60;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    for edited in [String::from_utf8(flipped).unwrap(), good[0][..good[0].len() / 2].to_owned()] {
        write_lines(root, &[edited]);
        assert_eq!(verify(root, &[]).code, 4);
    }
    write_lines(root, &[good[0].replacen('{', r#"{"payload":"","#, 1)]);
    refused(4, "is repeated");
    fs::write(root.join("attestations.jsonl"), &good[0]).unwrap();
    let torn = casemate(root, &["attest", "stage", "model", "--stage", "before-storage", "--key", "storage.pem"]);
    torn.is_one_clear_error(4, &["cut short"]);
    write_lines(root, &[]);
    refused(3, "there are no attestations");
    let file = fs::File::options().write(true).open(root.join("attestations.jsonl")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    verify(root, &[]).is_one_clear_error(4, &["attestations.jsonl", "more than"]);
}

#[test]
fn approvals_expire_and_a_later_decision_counts() {
    let project = project();
    let root = project.path();
    let decide = |more: &[&str]| {
        let base = ["attest", "approval", "model", "--key", "approval.pem", "--approver", "grace", "--role", "manager"];
        casemate(root, &[&base[..], &["--reason", "because"], more].concat())
    };
    decide(&["--until", "2020-01-01"]).is_one_clear_error(2, &["--until"]);
    assert_eq!(decide(&["--decision", "rejected"]).code, 0);
    assert_eq!(verify(root, &[]).code, 1);
    assert_eq!(decide(&[]).code, 0);
    let run = verify(root, &[]);
    assert_eq!((run.code, run.stdout.contains("overtaken")), (0, true), "{}", run.stdout);
    // Time passes: the second ends before it is looked at.
    let soon = Command::new("date").args(["-u", "-d", "+2 seconds", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    let soon = String::from_utf8(soon.stdout).unwrap();
    assert_eq!(decide(&["--until", soon.trim()]).code, 0);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let run = verify(root, &[]);
    assert_eq!((run.code, run.stdout.contains("expired")), (1, true), "{}", run.stdout);
}

#[test]
fn hybrid_attestations_cannot_be_stripped() {
    let project = project();
    let root = project.path();
    succeed(root, &["keygen", "--type", "ecdsa-p384", "-o", "p384.pem"]);
    succeed(root, &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem"]);
    let attest = ["attest", "stage", "model", "--stage", "after-training", "--key", "p384.pem", "--pq-key", "pq.pem"];
    succeed(root, &attest);
    let both = ["--key", "p384.pub.pem", "--key", "pq.pub.pem"];
    assert_eq!(verify(root, &both).code, 0);
    assert!(verify(root, &both[..2]).stdout.contains("was not checked"));
    let mut envelope: Value = serde_json::from_str(&lines(root)[0]).unwrap();
    envelope["signatures"].as_array_mut().unwrap().pop();
    write_lines(root, &[envelope.to_string()]);
    for keys in [&both[..], &both[..2]] {
        let run = verify(root, keys);
        assert_eq!((run.code, run.stdout.contains("required signature is missing")), (4, true), "{}", run.stdout);
    }
    casemate(root, &[&attest[..7], &["--pq-key", "p384.pem"]].concat()).is_one_clear_error(2, &["ML-DSA-65"]);
}

#[test]
fn custody_passes_for_three_stages_in_order_and_for_nothing_less() {
    let project = project();
    let root = project.path();
    let [(state, reason)] = controls(root, ["STO-01"]);
    assert!(state == "unknown" && reason.contains("attestations.jsonl"), "{state}: {reason}");
    stage(root, "after-training", "training.pem");
    stage(root, "before-storage", "storage.pem");
    let [(state, reason)] = controls(root, ["STO-01"]);
    assert!(state == "fail" && reason.contains("attestations_valid"), "{state}: {reason}");
    // The third stage by a key that may not say it.
    stage(root, "before-deployment", "storage.pem");
    assert_eq!(controls(root, ["STO-01"])[0].0, "fail");
    stage(root, "before-deployment", "deployment.pem");
    assert_eq!(controls(root, ["STO-01"])[0].0, "pass");
    let facts = record(root, "provenance.custody")["facts"].clone();
    assert_eq!((&facts["self_test_planted"], &facts["self_test_caught"]), (&json!(7), &json!(7)));
    assert_eq!((&facts["attestations_recorded"], &facts["digests_distinct"]), (&json!(3), &json!(1)));
    // Another model at one of the stages.
    let sound = lines(root);
    succeed(root, &["attest", "stage", "data", "--stage", "before-storage", "--key", "storage.pem"]);
    let [(state, reason)] = controls(root, ["STO-01"]);
    assert!(state == "fail" && reason.contains("digests_distinct"), "{state}: {reason}");
    // Deployed before it was stored.
    fs::remove_file(root.join("attestations.jsonl")).unwrap();
    stage(root, "after-training", "training.pem");
    stage(root, "before-deployment", "deployment.pem");
    stage(root, "before-storage", "storage.pem");
    let [(state, reason)] = controls(root, ["STO-01"]);
    assert!(state == "fail" && reason.contains("times_ordered"), "{state}: {reason}");
    write_lines(root, &sound);
    assert_eq!(controls(root, ["STO-01"])[0].0, "pass");
}

#[test]
fn a_release_needs_every_attestation_by_whoever_may_and_no_image_that_nobody_knows() {
    let project = project();
    let root = project.path();
    casemate(root, &["check"]);
    whole_set(root);
    let [(sup, why), (trn, reason)] = controls(root, ["SUP-13", "TRN-02"]);
    assert_eq!((sup.as_str(), trn.as_str()), ("pass", "pass"), "{why} {reason}");
    let sound = lines(root);
    // Nobody knows about an image that something describes; then the declaration is taken back.
    fs::write(root.join("Dockerfile"), "FROM scratch\n").unwrap();
    let [(state, reason)] = controls(root, ["SUP-13"]);
    assert!(state == "unknown" && reason.contains("Dockerfile"), "{state}: {reason}");
    fs::remove_file(root.join("Dockerfile")).unwrap();
    let text = fs::read_to_string(root.join("casemate.toml")).unwrap();
    fs::write(root.join("casemate.toml"), text.replace("container = \"none\"", "")).unwrap();
    let [(state, reason)] = controls(root, ["SUP-13"]);
    assert!(state == "unknown" && reason.contains("container"), "{state}: {reason}");
    fs::write(root.join("casemate.toml"), &text).unwrap();
    let fails = |about: &str| {
        let [(state, reason)] = controls(root, ["SUP-13"]);
        assert!(state == "fail" && reason.contains(about), "{about}: {state}: {reason}");
    };
    write_lines(root, &[&sound[..2], &sound[3..]].concat());
    fails("attestations_missing");
    write_lines(root, &sound);
    // A later test that failed, of the same suite.
    let test = ["attest", "test-result", "model", "--key", "test.pem", "--configuration", "train.toml"];
    succeed(root, &[&test[..], &["--result", "failed", "--failed", "pgd"]].concat());
    fails("attestations_missing");
    write_lines(root, &sound);
    succeed(root, &["attest", "bom", "model", "--bom", "bom.json", "--key", "test.pem"]);
    fails("signers_refused");
    write_lines(root, &sound);
    succeed(root, &["attest", "bom", "data", "--bom", "bom.json", "--key", "bom.pem"]);
    fails("subjects_mismatched");
    write_lines(root, &sound);
    assert_eq!(controls(root, ["SUP-13"])[0].0, "pass");
}

#[test]
fn training_is_traced_to_inputs_that_are_there() {
    let project = project();
    let root = project.path();
    let again = |arguments: &[&str]| {
        let _ = fs::remove_file(root.join("attestations.jsonl"));
        succeed(root, arguments);
        controls(root, ["TRN-02"])[0].clone()
    };
    let (state, reason) = again(&PROVENANCE);
    assert_eq!(state, "pass", "{reason}");
    let fails = |(state, reason): (String, String), about: &str| {
        assert!(state == "fail" && reason.contains(about), "{about}: {state}: {reason}");
    };
    // Data that only a digest stands for, and a commit that is in no repository here: declared, and not found.
    let digest = format!("elsewhere=sha256:{}", "a".repeat(64));
    fails(again(&[&PROVENANCE[..], &["--data-digest", &digest]].concat()), "inputs_unresolved");
    let commit = "2".repeat(40);
    let mut other = PROVENANCE;
    other[6] = &commit;
    fails(again(&other), "inputs_unresolved");
    let shown = succeed(root, &["attest", "show"]).stdout;
    let statement: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["annotations"]["declared"], true);
    // A base model that is left unsaid, a run repeated with another result, and with the same.
    let unsaid: Vec<&str> = PROVENANCE.into_iter().filter(|argument| *argument != "--from-scratch").collect();
    fails(again(&unsaid), "fields_missing");
    fs::write(root.join("again.json"), r#"{"accuracy": 0.905}"#).unwrap();
    let rerun =
        |tolerance| again(&[&PROVENANCE[..], &["--rerun-metrics", "again.json", "--tolerance", tolerance]].concat());
    fails(rerun("0.001"), "rerun");
    assert_eq!(rerun("0.01").0, "pass");
    // Files that changed since are not found; a data set that changed is not either.
    let (state, reason) = again(&[&PROVENANCE[..], &["--code", "train.py"]].concat());
    assert_eq!(state, "pass", "{reason}");
    fs::write(root.join("train.py"), "pass\n").unwrap();
    fails(controls(root, ["TRN-02"])[0].clone(), "inputs_unresolved");
    casemate(root, &["attest", "provenance", "model", "--key", "training.pem", "--data", "nowhere"])
        .is_one_clear_error(2, &["nowhere"]);
    casemate(root, &["attest", "provenance", "model", "--key", "training.pem", "--code-commit", "abc"])
        .is_one_clear_error(2, &["abc"]);
    fs::write(root.join("twice.json"), r#"{"rate":1,"rate":2}"#).unwrap();
    casemate(root, &["attest", "provenance", "model", "--key", "training.pem", "--parameters", "twice.json"])
        .is_one_clear_error(2, &["`rate` is repeated"]);
}

#[test]
fn a_gate_signs_what_it_said_and_unknown_is_failed() {
    let project = project();
    let root = project.path();
    casemate(root, &["check"]);
    whole_set(root);
    let gate = ["gate", "--stage", "release", "--attest", "release.jsonl", "--key", "release.pem"];
    let shut = casemate(root, &gate);
    assert!([1, 3].contains(&shut.code), "{}{}", shut.stdout, shut.stderr);
    let summary = |line: &str| {
        let shown = succeed(root, &["attest", "show", "release.jsonl", "--line", line]).stdout;
        serde_json::from_str::<Value>(&shown).unwrap()["predicate"].clone()
    };
    assert_eq!(
        (&summary("1")["verificationResult"], &summary("1")["verifiedLevels"]),
        (&json!("FAILED"), &json!(["FAILED"]))
    );
    let verify = |more: &[&str]| verify(root, &[&["--attestations", "release.jsonl"], more].concat());
    assert_eq!(verify(&[]).code, 1);
    // A gate of the project's own that asks for nothing opens, and the summary says what it left out.
    let asks = "[gate.release]\nmin_score = 0\nno_zero_credit_critical = false\nrequired = []\nfail_on = \"none\"\n";
    fs::write(root.join("gates.toml"), asks).unwrap();
    let text = fs::read_to_string(root.join("casemate.toml")).unwrap();
    fs::write(
        root.join("casemate.toml"),
        text.replacen("[trust.roles]", "[policy]\ngates = \"gates.toml\"\n\n[trust.roles]", 1),
    )
    .unwrap();
    assert_eq!(casemate(root, &gate).code, 0);
    let passed = summary("2");
    assert_eq!(
        (&passed["verificationResult"], &passed["verifiedLevels"]),
        (&json!("PASSED"), &json!(["SLSA_BUILD_LEVEL_1"]))
    );
    let run = verify(&[]);
    assert!(run.code == 0 && run.stdout.contains("note: the policy asks for less"), "{}", run.stdout);
    assert_ne!(passed["policy"]["digest"], summary("1")["policy"]["digest"]);
    let inputs = passed["inputAttestations"].as_array().unwrap();
    let digest = |input: &Value| input["digest"]["sha256"].as_str().unwrap().to_owned();
    let of_ledger: Vec<_> =
        inputs.iter().filter(|i| i["uri"].as_str().unwrap().starts_with("urn:casemate:record:")).collect();
    assert!(!of_ledger.is_empty() && inputs.len() == of_ledger.len() + 5, "{inputs:?}");
    for input in of_ledger {
        let digest = digest(input);
        assert!(root.join(format!(".casemate/ledger/envelopes/{}/{digest}.json", &digest[..2])).is_file());
    }
    let run = verify(&["--require", "summary"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let old = verify(&["--max-age", "0"]);
    assert_eq!((old.code, old.stdout.contains("older than 0 days")), (1, true), "{}", old.stdout);
    assert_eq!(verify(&["--key", "bom.pub.pem"]).code, 3);
    casemate(root, &["gate", "--stage", "release", "--attest", "model/release.jsonl", "--key", "release.pem"])
        .is_one_clear_error(2, &["inside"]);
    fs::write(root.join("model/config.json"), "{}").unwrap();
    assert_eq!(verify(&[]).code, 4);
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let project = project();
    let root = project.path();
    let error = |code: i32, arguments: &[&str], mentions: &[&str]| {
        casemate(root, &[&["attest"], arguments].concat()).is_one_clear_error(code, mentions);
    };
    error(2, &["subject", "nowhere"], &["nowhere", "casemate.toml"]);
    error(2, &["bom", "model", "--bom", "train.toml", "--key", "bom.pem"], &["train.toml"]);
    error(2, &["bom", "model", "--bom", "bom.json", "--key", "bom.pub.pem"], &["bom.pub.pem"]);
    let inside = ["bom", "model", "--bom", "bom.json", "--key", "bom.pem", "--attestations", "model/a.jsonl"];
    error(2, &inside, &["inside the model"]);
    error(2, &["verify", "model", "--key", "train.toml"], &["public key"]);
    let test = ["test-result", "model", "--key", "test.pem", "--configuration", "train.toml", "--result", "passed"];
    error(2, &[&test[..], &["--failed", "pgd"]].concat(), &["tests failed"]);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("m.bin"), "weights").unwrap();
    casemate(elsewhere.path(), &["attest", "verify", "m.bin"]).is_one_clear_error(2, &["--key", "[trust.roles]"]);
}

/// In Python, from the description in the guide alone.
const RECOMPUTE: &str = r#"
import hashlib, json, os, sys
root = sys.argv[1]
files = []
for directory, _, names in os.walk(root):
    for name in names:
        path = os.path.join(directory, name)
        files.append((os.path.relpath(path, root).split(os.sep), path))
number = lambda n: n.to_bytes(8, "big")
out = b"casemate-manifest-v1\0" + number(len(files))
for parts, path in sorted(files):
    name, data = "/".join(parts).encode(), open(path, "rb").read()
    out += number(len(name)) + name + number(len(data)) + hashlib.sha256(data).digest()
print(hashlib.sha256(out).hexdigest())
"#;

#[test]
#[ignore = "needs python3: cargo xtask test"]
fn the_subject_is_recomputed_by_a_stranger() {
    let project = project();
    let root = project.path();
    fs::create_dir_all(root.join("model/x")).unwrap();
    fs::write(root.join("model/x/y"), "").unwrap();
    fs::write(root.join("model/x-y"), "beside").unwrap();
    let python = Command::new("python3").args(["-c", RECOMPUTE, "model"]).current_dir(root).output().unwrap();
    let digest = String::from_utf8(python.stdout).unwrap();
    let ours = succeed(root, &["attest", "subject", "model"]).stdout;
    assert_eq!(ours, format!("sha256:{}  digits\n", digest.trim()));
}

/// Strict readers generated from the published schemas.
const PARSE: &str = r#"
import json, sys
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2, statement
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
import base64
readers = {
    "https://slsa.dev/provenance/v1": provenance_pb2.Provenance,
    "https://slsa.dev/verification_summary/v1": vsa_pb2.VerificationSummary,
    "https://in-toto.io/attestation/test-result/v0.1": test_result_pb2.TestResult,
}
read = 0
for line in open(sys.argv[1]):
    text = base64.b64decode(json.loads(line)["payload"])
    parsed = json_format.Parse(text, statement_pb2.Statement())
    made = statement.Statement.copy_from_pb(parsed)
    made.validate()
    reader = readers.get(parsed.predicate_type)
    if reader:
        predicate = json.loads(text)["predicate"]
        if "verifiedLevels" in predicate:
            # SLSA has a list, this release of the schema one text.
            [predicate["verifiedLevels"]] = predicate["verifiedLevels"]
        json_format.ParseDict(predicate, reader())
        read += 1
print(read)
"#;

#[test]
#[ignore = "needs the reference implementation: cargo xtask test"]
fn statements_are_read_by_the_published_schemas() {
    let program = std::env::var("CASEMATE_TEST_MODEL_SIGNING")
        .expect("run `cargo xtask test`, which sets the reference up and names it here");
    let project = project();
    let root = project.path();
    casemate(root, &["check"]);
    all_stages(root);
    whole_set(root);
    casemate(root, &["gate", "--stage", "release", "--attest", "attestations.jsonl", "--key", "release.pem"]);
    // It comes with what the reference is built on.
    let python = Path::new(&program).with_file_name("python");
    let run: Run =
        Command::new(python).args(["-c", PARSE, "attestations.jsonl"]).current_dir(root).output().unwrap().into();
    assert_eq!((run.code, run.stdout.trim()), (0, "3"), "{}", run.stderr);
}
