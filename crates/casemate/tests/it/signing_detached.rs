//! The post-quantum signature in a file of its own: found beside, demanded, and missed when it is gone.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Run, casemate};

fn succeed(directory: &Path, arguments: &[&str]) -> Run {
    let run = casemate(directory, arguments);
    assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run
}

const SIGN: [&str; 6] = ["sign", "model", "--key", "key.pem", "--pq-key", "pq.pem"];
const VERIFY: [&str; 6] = ["verify", "model", "--key", "key.pub.pem", "--pq-key", "pq.pub.pem"];

/// A model signed into two files.
fn signed() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir(root.join("model")).unwrap();
    fs::write(root.join("model/config.json"), "{}").unwrap();
    succeed(root, &["keygen", "-o", "key.pem"]);
    succeed(root, &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem"]);
    let run = succeed(root, &[&SIGN[..], &["--pq-detached"]].concat());
    assert!(run.stdout.contains("the post-quantum signature is in model.pq.sig"), "{}", run.stdout);
    directory
}

fn signatures(path: &Path) -> usize {
    let bundle: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    bundle["dsseEnvelope"]["signatures"].as_array().unwrap().len()
}

#[test]
fn the_second_file_is_found_beside_the_first_and_demanded() {
    let directory = signed();
    let root = directory.path();
    assert_eq!(signatures(&root.join("model.sig")), 1);
    let run = succeed(root, &[&VERIFY[..], &["--require-pq"]].concat());
    assert!(run.stdout.contains("ml-dsa-65 good"), "{}", run.stdout);
    let unchecked = succeed(root, &VERIFY[..4]);
    assert!(unchecked.stdout.contains("was not checked"), "{}", unchecked.stdout);
    // Moved, it has to be named; gone, nothing verifies, whatever keys are given.
    fs::rename(root.join("model.pq.sig"), root.join("elsewhere")).unwrap();
    for arguments in [&VERIFY[..], &VERIFY[..4]] {
        casemate(root, arguments).is_one_clear_error(4, &["missing: ml-dsa-65", "--pq-signature"]);
        succeed(root, &[arguments, &["--pq-signature", "elsewhere"]].concat());
    }
    casemate(root, &[&VERIFY[..], &["--pq-signature", "nowhere"]].concat()).is_one_clear_error(3, &["nowhere"]);
}

#[test]
fn a_second_file_of_another_model_key_or_content_is_refused() {
    let directory = signed();
    let root = directory.path();
    let good = fs::read(root.join("model.pq.sig")).unwrap();
    fs::create_dir(root.join("other")).unwrap();
    fs::write(root.join("other/config.json"), "{\"x\":1}").unwrap();
    succeed(
        root,
        &[
            "sign",
            "other",
            "--key",
            "key.pem",
            "--pq-key",
            "pq.pem",
            "--signature",
            "other.sig",
            "--pq-detached=other.second",
        ],
    );
    fs::copy(root.join("other.second"), root.join("model.pq.sig")).unwrap();
    casemate(root, &VERIFY).is_one_clear_error(4, &["another list of files"]);
    // Another key's, over the same list.
    succeed(root, &["keygen", "--type", "ml-dsa-65", "-o", "pq2.pem"]);
    let with_other =
        ["sign", "model", "--key", "key.pem", "--pq-key", "pq2.pem", "--signature", "m2.sig", "--pq-detached"];
    succeed(root, &with_other);
    fs::copy(root.join("m2.pq.sig"), root.join("model.pq.sig")).unwrap();
    casemate(root, &VERIFY).is_one_clear_error(4, &["missing: ml-dsa-65"]);
    let mut envelope: serde_json::Value = serde_json::from_slice(&good).unwrap();
    let signature = envelope["signatures"][0]["sig"].as_str().unwrap().to_owned();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    envelope["signatures"][0]["sig"] = format!("{first}{}", &signature[1..]).into();
    fs::write(root.join("model.pq.sig"), envelope.to_string()).unwrap();
    casemate(root, &VERIFY).is_one_clear_error(4, &["ml-dsa-65 signature is bad"]);
    fs::write(root.join("model.pq.sig"), &good[..good.len() / 2]).unwrap();
    casemate(root, &VERIFY).is_one_clear_error(4, &["malformed"]);
    fs::write(root.join("model.pq.sig"), good).unwrap();
    succeed(root, &VERIFY);
}

#[test]
fn both_files_inside_the_model_are_no_part_of_it() {
    let directory = signed();
    let root = directory.path();
    let inside = ["--signature", "model/model.sig"];
    succeed(root, &[&SIGN[..], &inside, &["--pq-detached"]].concat());
    let run = succeed(root, &[&VERIFY[..], &inside, &["--require-pq", "--strict"]].concat());
    assert!(run.stdout.contains("all 1 files"), "{}", run.stdout);
    // Signed outside and put in later, as a hub wants it; any other file that is put in still counts.
    fs::rename(root.join("model.sig"), root.join("model/model.sig")).unwrap();
    fs::rename(root.join("model.pq.sig"), root.join("model/model.pq.sig")).unwrap();
    let run = succeed(root, &[&VERIFY[..], &inside, &["--require-pq", "--strict"]].concat());
    assert!(run.stdout.contains("all 1 files"), "{}", run.stdout);
    fs::copy(root.join("model/model.pq.sig"), root.join("model/second.pq.sig")).unwrap();
    let run = casemate(root, &[&VERIFY[..], &inside].concat());
    assert!(run.code == 4 && run.stdout.contains("added               second.pq.sig"), "{}", run.stdout);
}

#[test]
fn a_file_left_from_before_does_not_stand_in_the_way() {
    let directory = signed();
    let root = directory.path();
    fs::write(root.join("model/more"), "m").unwrap();
    succeed(root, &SIGN);
    assert_eq!(signatures(&root.join("model.sig")), 2);
    succeed(root, &[&VERIFY[..], &["--require-pq"]].concat());
    let alone = casemate(root, &["sign", "model", "--key", "key.pem", "--pq-detached"]);
    assert!(alone.code == 2 && alone.stderr.contains("--pq-key"), "{}", alone.stderr);
    let same = [&SIGN[..], &["--pq-detached=model.sig"]].concat();
    casemate(root, &same).is_one_clear_error(2, &["one file"]);
}

#[test]
fn check_reads_both_files() {
    let project = super::example("digits");
    let root = project.path();
    succeed(root, &["keygen", "-o", "key.pem"]);
    succeed(root, &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem"]);
    succeed(root, &[&SIGN[..], &["--signature", "digits.sig", "--pq-detached"]].concat());
    let configuration = fs::read_to_string(root.join("casemate.toml")).unwrap();
    let named = configuration.replace("path = \"model\"", "path = \"model\"\nsignature = \"digits.sig\"");
    let trust = "[trust]\nkeys = [\"key.pub.pem\"]\npq_key = \"pq.pub.pem\"\n";
    fs::write(root.join("casemate.toml"), format!("{named}\n{trust}")).unwrap();
    assert_eq!(super::signing::sup_12(root).0, "pass");
    fs::remove_file(root.join("digits.pq.sig")).unwrap();
    let (state, reason) = super::signing::sup_12(root);
    assert!(state == "fail", "{state}: {reason}");
}
