//! Anchors: heads kept elsewhere, and what becomes of a ledger that does not fit them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{casemate, copy, example};

fn configure(project: &Path, text: &str) {
    let path = project.join("casemate.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{config}\n{text}\n")).unwrap();
}

fn program(directory: &Path, name: &str, arguments: &str) -> String {
    let run = Command::new(name).current_dir(directory).args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "{name} {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8_lossy(&run.stdout).into_owned()
}

#[test]
fn a_copy_elsewhere_makes_the_control_pass_and_a_rewritten_ledger_fail() {
    let digits = example("digits");
    let kept = tempfile::tempdir().unwrap();
    let place = kept.path().display().to_string();
    configure(digits.path(), &format!("[ledger]\nanchors = [{place:?}]"));
    let config = fs::read_to_string(digits.path().join("casemate.toml")).unwrap();
    fs::write(
        digits.path().join("casemate.toml"),
        config.replace("[ledger]", "#[ledger]").replace("anchors =", "#anchors ="),
    )
    .unwrap();
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    let fact = |name: &str| {
        let records = casemate(digits.path(), &["ledger", "show", "--format", "json"]).stdout;
        let last = records.lines().rfind(|line| line.contains("\"ledger.verify\"")).unwrap().to_owned();
        serde_json::from_str::<serde_json::Value>(&last).unwrap()["evidence"]["facts"][name].clone()
    };
    assert_eq!((fact("anchors"), fact("self_test_planted") == fact("self_test_caught")), (0.into(), true));
    let anchored = casemate(digits.path(), &["ledger", "anchor", "--file", &place]);
    assert_eq!(anchored.code, 0, "{}", anchored.stderr);
    fs::write(digits.path().join("casemate.toml"), &config).unwrap();
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert!(verified.stdout.contains("anchors that hold: 1, over 15 of 15"), "{}", verified.stdout);
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    assert_eq!((fact("anchors"), fact("anchors_bad"), fact("unanchored_days")), (1.into(), 0.into(), 0.into()));
    // A new ledger under the same keys: whole in itself, and not the one that was anchored.
    let state = digits.path().join(".casemate");
    fs::remove_dir_all(state.join("ledger")).unwrap();
    fs::remove_file(state.join("checkpoint.seen")).unwrap();
    casemate(digits.path(), &["check", "-q"]).is_one_clear_error(4, &["anchor", "Nothing was added"]);
    let told = casemate(digits.path(), &["ledger", "verify", "--format", "json"]);
    assert_eq!(told.code, 4, "{}", told.stdout);
    assert_eq!(told.json()["anchors"][0]["state"], "bad");
}

#[test]
fn an_anchor_is_never_replaced_by_a_head_that_does_not_continue_it() {
    let digits = example("digits");
    casemate(digits.path(), &["check", "-q"]);
    let backup = tempfile::tempdir().unwrap();
    copy(&digits.path().join(".casemate/ledger"), backup.path());
    casemate(digits.path(), &["check", "-q"]);
    let anchor = || casemate(digits.path(), &["ledger", "anchor", "--file", "kept"]);
    assert_eq!(anchor().code, 0);
    casemate(digits.path(), &["check", "-q"]);
    assert_eq!(anchor().code, 0, "a longer ledger goes over the shorter");
    let kept = fs::read(digits.path().join("kept")).unwrap();
    fs::remove_dir_all(digits.path().join(".casemate/ledger")).unwrap();
    fs::remove_file(digits.path().join(".casemate/checkpoint.seen")).unwrap();
    copy(backup.path(), &digits.path().join(".casemate/ledger"));
    anchor().is_one_clear_error(4, &["kept", "stays as it is"]);
    assert_eq!(fs::read(digits.path().join("kept")).unwrap(), kept);
    fs::write(digits.path().join(".casemate/ledger/tile/stray"), "x").unwrap();
    anchor().is_one_clear_error(4, &["Nothing was anchored"]);
}

#[test]
fn an_anchor_that_is_missing_is_unknown_and_one_beside_the_ledger_is_none() {
    let digits = example("digits");
    configure(digits.path(), "[ledger]\nanchors = [\"gone/checkpoint\"]");
    let check = casemate(digits.path(), &["check", "-q"]);
    assert_eq!(check.code, 0, "the merge gate does not ask for it: {}", check.stderr);
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert_eq!(verified.code, 3, "{}", verified.stdout);
    assert!(verified.stdout.contains("gone/checkpoint: unread"), "{}", verified.stdout);
    let inside = example("digits");
    configure(inside.path(), "[ledger]\nanchors = [\".casemate/kept\"]");
    casemate(inside.path(), &["check", "-q"]).is_one_clear_error(2, &[".casemate/kept", "elsewhere"]);
}

#[test]
fn git_notes_bind_the_ledger_to_a_commit() {
    let digits = example("digits");
    for arguments in
        ["init -q", "config user.email a@b.c", "config user.name a", "add casemate.toml", "commit -q -m one"]
    {
        program(digits.path(), "git", arguments);
    }
    casemate(digits.path(), &["check", "-q"]);
    let anchored = casemate(digits.path(), &["ledger", "anchor", "--git-note"]);
    assert_eq!(anchored.code, 0, "{}", anchored.stderr);
    let note = program(digits.path(), "git", "notes --ref refs/notes/casemate show HEAD");
    assert_eq!(note, fs::read_to_string(digits.path().join(".casemate/ledger/checkpoint")).unwrap());
    assert!(
        !casemate(digits.path(), &["ledger", "verify"]).stdout.contains("git-note"),
        "git is run only when asked for"
    );
    configure(digits.path(), "[ledger]\ngit_notes = true");
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert!(verified.code == 0 && verified.stdout.contains("anchor git-note commit"), "{}", verified.stdout);
    program(digits.path(), "git", "notes --ref refs/notes/casemate add -f -m forged HEAD");
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert!(verified.code == 4 && verified.stdout.contains("BAD"), "{}", verified.stdout);
    program(digits.path(), "git", "update-ref -d refs/notes/casemate");
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert!(verified.code == 3 && verified.stdout.contains("unread"), "{}", verified.stdout);
}

const AUTHORITY: &str = "
[t]
serial = serial
crypto_device = builtin
signer_cert = tsa.crt
certs = tsa.crt
signer_key = tsa.pem
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
";

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn a_time_stamp_by_openssl_counts_under_its_root_and_not_without() {
    let digits = example("digits");
    let path = digits.path();
    casemate(path, &["check", "-q"]);
    fs::write(path.join("tsa.conf"), AUTHORITY).unwrap();
    fs::write(path.join("serial"), "01\n").unwrap();
    fs::write(path.join("extensions"), "keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n")
        .unwrap();
    program(path, "openssl", "req -x509 -newkey rsa:2048 -nodes -keyout ca.pem -subj /CN=Root -days 30 -out ca.crt");
    program(
        path,
        "openssl",
        "req -x509 -newkey rsa:2048 -nodes -keyout other.pem -subj /CN=Root -days 30 -out other.crt",
    );
    program(path, "openssl", "req -newkey rsa:2048 -nodes -keyout tsa.pem -subj /CN=tsa.example -out tsa.csr");
    let issue =
        "x509 -req -in tsa.csr -CA ca.crt -CAkey ca.pem -CAcreateserial -days 10 -extfile extensions -out tsa.crt";
    program(path, "openssl", issue);
    assert_eq!(casemate(path, &["ledger", "anchor", "--rfc3161", "request.tsq"]).code, 0);
    let said = program(path, "openssl", "ts -query -in request.tsq -text");
    assert!(said.contains("Hash Algorithm: sha256") && said.contains("Certificate required: yes"), "{said}");
    program(path, "openssl", "ts -reply -config tsa.conf -section t -queryfile request.tsq -out response.tsr");
    // What was stamped is the checkpoint that is kept with the request, also by openssl's own judgement.
    let kept = super::files(&path.join(".casemate/anchors"))
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "checkpoint"));
    let kept = kept.unwrap().display().to_string();
    let judged = program(path, "openssl", &format!("ts -verify -in response.tsr -data {kept} -CAfile ca.crt"));
    assert!(judged.contains("OK"), "{judged}");
    casemate(path, &["ledger", "anchor", "--rfc3161-response", "ca.crt"])
        .is_one_clear_error(4, &["ca.crt", "malformed"]);
    casemate(path, &["check", "-q"]);
    let taken = casemate(path, &["ledger", "anchor", "--rfc3161-response", "response.tsr"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    let verified = casemate(path, &["ledger", "verify"]);
    assert!(verified.code == 0 && verified.stdout.contains("signature not verified"), "{}", verified.stdout);
    assert!(verified.stdout.contains("no anchor"), "it counts for nothing: {}", verified.stdout);
    let verified = casemate(path, &["ledger", "verify", "--tsa-roots", "ca.crt"]);
    assert!(verified.code == 0 && verified.stdout.contains("15 records by tsa.example at"), "{}", verified.stdout);
    assert!(verified.stdout.contains("anchors that hold: 1, over 15 of 30 records"), "{}", verified.stdout);
    let verified = casemate(path, &["ledger", "verify", "--tsa-roots", "other.crt"]);
    assert!(verified.code == 4 && verified.stdout.contains("no trusted root"), "{}", verified.stdout);
}
