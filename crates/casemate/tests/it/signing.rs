//! Keys, signatures and what verification says, without other programs.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Run, casemate};

/// A model beside its signature, with the key that made it.
fn signed() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("model");
    for (name, contents) in [("config.json", "{}"), ("a/b", "deep"), ("a-b", "beside"), ("empty", "")] {
        let path = model.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    succeed(directory.path(), &["keygen", "-o", "key.pem"]);
    succeed(directory.path(), &["sign", "model", "--key", "key.pem"]);
    directory
}

fn succeed(directory: &Path, arguments: &[&str]) -> Run {
    let run = casemate(directory, arguments);
    assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run
}

fn verify(directory: &Path) -> Run {
    casemate(directory, &["verify", "model", "--key", "key.pub.pem"])
}

#[test]
fn every_difference_is_a_line_and_exit_4() {
    let directory = signed();
    let model = directory.path().join("model");
    assert!(verify(directory.path()).stdout.contains("verified: all 4 files are as signed"));
    fs::write(model.join("a-b"), "beyond").unwrap();
    fs::remove_file(model.join("empty")).unwrap();
    fs::write(model.join("new\u{1b}.py"), "").unwrap();
    let run = verify(directory.path());
    assert_eq!(run.code, 4);
    for line in
        ["changed             a-b", "missing             empty", "added               new\\u{1b}.py", "NOT verified: 3"]
    {
        assert!(run.stdout.contains(line), "{line}: {}", run.stdout);
    }
    let json = casemate(directory.path(), &["verify", "model", "--key", "key.pub.pem", "--format", "json"]);
    let rules: Vec<_> =
        json.json()["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].clone()).collect();
    assert_eq!(rules, ["signature-file-changed", "signature-file-missing", "signature-file-added"]);
    assert_eq!((json.code, &json.json()["outcome"]), (4, &"fail".into()));
}

#[test]
fn a_bit_flipped_in_any_file_name_or_the_bundle_is_found() {
    let directory = signed();
    let model = directory.path().join("model");
    for name in ["config.json", "a/b", "a-b"] {
        let before = fs::read(model.join(name)).unwrap();
        let mut flipped = before.clone();
        flipped[0] ^= 1;
        fs::write(model.join(name), flipped).unwrap();
        assert_eq!(verify(directory.path()).code, 4, "{name}");
        fs::write(model.join(name), before).unwrap();
    }
    fs::rename(model.join("a-b"), model.join("a-c")).unwrap();
    assert_eq!(verify(directory.path()).code, 4);
    fs::rename(model.join("a-c"), model.join("a-b")).unwrap();
    let signature = directory.path().join("model.sig");
    let before = fs::read_to_string(&signature).unwrap();
    let payload = before.find("\"payload\":\"").unwrap() + 40;
    let mut flipped = before.clone().into_bytes();
    flipped[payload] = if flipped[payload] == b'A' { b'B' } else { b'A' };
    fs::write(&signature, flipped).unwrap();
    verify(directory.path()).is_one_clear_error(4, &["model.sig"]);
    fs::write(&signature, before).unwrap();
    assert_eq!(verify(directory.path()).code, 0);
}

#[test]
fn a_signature_inside_the_model_is_no_part_of_it() {
    let directory = signed();
    succeed(directory.path(), &["sign", "model", "--key", "key.pem", "--signature", "model/model.sig"]);
    let inside = ["verify", "model", "--key", "key.pub.pem", "--signature", "model/model.sig"];
    assert!(succeed(directory.path(), &inside).stdout.contains("all 4 files"));
}

#[test]
fn what_is_ignored_is_named_and_may_not_be_loadable() {
    let directory = signed();
    let model = directory.path().join("model");
    fs::create_dir(model.join("logs")).unwrap();
    fs::write(model.join("logs/run.txt"), "loss 0.1").unwrap();
    succeed(directory.path(), &["sign", "model", "--key", "key.pem", "--ignore", "logs"]);
    let run = verify(directory.path());
    assert_eq!((run.code, run.stdout.contains("uncovered           logs/run.txt")), (0, true), "{}", run.stdout);
    let strict = ["verify", "model", "--key", "key.pub.pem", "--strict"];
    assert_eq!(casemate(directory.path(), &strict).code, 4);
    // Protocol 2, `posix.system` called with `true`, under a harmless name.
    fs::write(model.join("logs/run.txt"), b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.").unwrap();
    let run = verify(directory.path());
    assert_eq!((run.code, run.stdout.contains("uncovered-loadable  logs/run.txt")), (4, true), "{}", run.stdout);
    casemate(directory.path(), &["sign", "model", "--key", "key.pem", "--ignore", "nowhere"])
        .is_one_clear_error(2, &["nowhere"]);
    casemate(directory.path(), &["sign", "model", "--key", "key.pem", "--ignore", "."])
        .is_one_clear_error(2, &["`--ignore .`"]);
}

#[test]
fn a_partial_verification_counts_what_it_left_out() {
    let directory = signed();
    fs::write(directory.path().join("model/a-b"), "changed").unwrap();
    let partial = ["verify", "model", "--key", "key.pub.pem", "--partial", "config.json"];
    let run = succeed(directory.path(), &partial);
    assert!(run.stdout.contains("3 files were not looked at"), "{}", run.stdout);
    assert!(run.stdout.contains("verified in part: 1 files"), "{}", run.stdout);
    let unsigned = ["verify", "model", "--key", "key.pub.pem", "--partial", "other"];
    assert_eq!(casemate(directory.path(), &unsigned).code, 4);
}

#[test]
fn hybrid_signatures_are_demanded_and_cannot_be_stripped() {
    let directory = signed();
    let plain = ["verify", "model", "--key", "key.pub.pem", "--pq-key", "pq.pub.pem", "--require-pq"];
    fs::write(directory.path().join("pass"), "correct horse\n").unwrap();
    succeed(directory.path(), &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem", "--password-file", "pass"]);
    casemate(directory.path(), &plain).is_one_clear_error(4, &["post-quantum"]);
    let sign = ["sign", "model", "--key", "key.pem", "--pq-key", "pq.pem"];
    casemate(directory.path(), &sign).is_one_clear_error(2, &["pq.pem", "encrypted"]);
    succeed(directory.path(), &[&sign[..], &["--password-file", "pass"]].concat());
    assert!(succeed(directory.path(), &plain).stdout.contains("ml-dsa-65 good"));
    assert!(verify(directory.path()).stdout.contains("was not checked"));
    let signature = directory.path().join("model.sig");
    let mut bundle: serde_json::Value = serde_json::from_slice(&fs::read(&signature).unwrap()).unwrap();
    bundle["dsseEnvelope"]["signatures"].as_array_mut().unwrap().pop();
    fs::write(&signature, bundle.to_string()).unwrap();
    verify(directory.path()).is_one_clear_error(4, &["required signature is missing"]);
}

#[test]
fn keys_are_never_overwritten_nor_taken_for_others() {
    let directory = signed();
    casemate(directory.path(), &["keygen", "-o", "key.pem"]).is_one_clear_error(2, &["key.pub.pem"]);
    succeed(directory.path(), &["keygen", "-o", "other.pem"]);
    casemate(directory.path(), &["verify", "model", "--key", "other.pub.pem"]).is_one_clear_error(4, &["another key"]);
    casemate(directory.path(), &["verify", "model", "--key", "model.sig"]).is_one_clear_error(2, &["public key"]);
    casemate(directory.path(), &["sign", "model", "--key", "key.pub.pem"]).is_one_clear_error(2, &["key.pub.pem"]);
    casemate(directory.path(), &["verify", "nowhere", "--key", "key.pub.pem"]).is_one_clear_error(2, &["nowhere"]);
    casemate(directory.path(), &["verify", "model", "--key", "key.pub.pem", "--signature", "none.sig"])
        .is_one_clear_error(3, &["none.sig"]);
}

/// The state of SUP-12 after a check of the project.
pub fn sup_12(project: &Path) -> (String, String) {
    let report = casemate(project, &["check", "--format", "json"]).json();
    let control = report["controls"].as_array().unwrap().iter().find(|control| control["id"] == "SUP-12").unwrap();
    let text = |key: &str| control[key].as_str().unwrap().to_owned();
    (text("state"), text("reason"))
}

#[test]
fn the_control_passes_for_a_signed_model_under_a_trusted_key_and_for_no_other() {
    let project = super::example("digits");
    let root = project.path();
    let (state, reason) = sup_12(root);
    assert!(state == "unknown" && reason.contains("casemate sign"), "{state}: {reason}");
    succeed(root, &["keygen", "-o", "release.pem"]);
    succeed(root, &["sign", "model", "--key", "release.pem", "--signature", "digits.sig"]);
    let configuration = fs::read_to_string(root.join("casemate.toml")).unwrap();
    let named = configuration.replace("path = \"model\"", "path = \"model\"\nsignature = \"digits.sig\"");
    assert_ne!(named, configuration);
    fs::write(root.join("casemate.toml"), &named).unwrap();
    let (state, reason) = sup_12(root);
    assert!(state == "unknown" && reason.contains("[trust]"), "{state}: {reason}");
    let trusting = |key: &str| fs::write(root.join("casemate.toml"), format!("{named}\n[trust]\n{key}\n")).unwrap();
    trusting("keys = [\"release.pub.pem\"]");
    assert_eq!(sup_12(root).0, "pass");
    // A second signature that is demanded and not there.
    succeed(root, &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem"]);
    trusting("keys = [\"release.pub.pem\"]\npq_key = \"pq.pub.pem\"");
    assert_eq!(sup_12(root).0, "fail");
    succeed(root, &["keygen", "-o", "other.pem"]);
    trusting("keys = [\"other.pub.pem\"]");
    assert_eq!(sup_12(root).0, "fail");
    trusting("keys = [\"other.pub.pem\", \"release.pub.pem\"]");
    assert_eq!(sup_12(root).0, "pass");
    fs::write(root.join("model/added.txt"), "not signed").unwrap();
    let (state, reason) = sup_12(root);
    assert!(state == "fail" && reason.contains("files_unsigned"), "{state}: {reason}");
    trusting("keys = [\"nowhere.pem\"]");
    assert_eq!(casemate(root, &["check"]).code, 3);
}
