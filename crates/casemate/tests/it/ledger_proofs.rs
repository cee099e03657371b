//! Proof files: made with the ledger, checked in a place that has none of it.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{casemate, example};

/// A project with two runs behind it, and an empty place with its public key and the head between the runs.
fn project() -> (TempDir, TempDir) {
    let digits = example("digits");
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    let copy = |from: &str, to: &str| {
        fs::copy(digits.path().join(".casemate").join(from), elsewhere.path().join(to)).unwrap();
    };
    copy("ledger/checkpoint", "earlier");
    copy("keys/ledger.pub.pem", "ledger.pub.pem");
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    let into = |name: &str| elsewhere.path().join(name).display().to_string();
    for arguments in [
        &["ledger", "prove", "3", "--envelope", &into("3.json"), "-o", &into("3.tlog-proof")][..],
        &["ledger", "prove", "4", "--envelope", &into("4.json"), "-o", &into("4.tlog-proof")],
        &["ledger", "consistency", "--from", &into("earlier"), "-o", &into("grown.proof")],
        &["ledger", "key", "-o", &into("ledger.key")],
    ] {
        let run = casemate(digits.path(), arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
    }
    (digits, elsewhere)
}

fn check(place: &Path, arguments: &str) -> super::Run {
    casemate(place, &[&["ledger", "check-proof"], arguments.split(' ').collect::<Vec<_>>().as_slice()].concat())
}

#[test]
fn proofs_are_checked_without_the_ledger() {
    let (_digits, elsewhere) = project();
    let place = elsewhere.path();
    for key in ["ledger.pub.pem", "ledger.key", fs::read_to_string(place.join("ledger.key")).unwrap().trim()] {
        let run = check(place, &format!("3.tlog-proof --key {key} --record 3.json"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.starts_with("proven: record 3 is among the 30 of `casemate/digits`"), "{}", run.stdout);
        assert!(run.stdout.contains("3.json is the one recorded"), "{}", run.stdout);
        let run = check(place, &format!("grown.proof --key {key} --from earlier"));
        assert_eq!((run.code, run.stdout.as_str()), (0, "proven: `casemate/digits` grew from 15 to 30 records\n"));
    }
    let told = check(place, "3.tlog-proof --key ledger.key --record 3.json --format json").json();
    assert_eq!((&told["index"], &told["head"]["size"]), (&3.into(), &30.into()));
    assert_eq!(told["evidence"]["kind"], told["event"]["kind"]);
}

#[test]
fn what_a_proof_is_not_about_is_refused() {
    let (_digits, elsewhere) = project();
    let place = elsewhere.path();
    check(place, "3.tlog-proof --key ledger.key --record 4.json").is_one_clear_error(4, &["4.json", "SHA-256"]);
    check(place, "grown.proof --key ledger.key").is_one_clear_error(2, &["--from"]);
    check(place, "grown.proof --key ledger.key --from 3.tlog-proof").is_one_clear_error(4, &["does not lead"]);
    check(place, "missing --key ledger.key").is_one_clear_error(3, &["missing"]);
    check(place, "3.json --key ledger.key").is_one_clear_error(4, &["3.json", "malformed"]);
    check(place, "3.tlog-proof --key nothing").is_one_clear_error(3, &["nothing"]);
    casemate(place, &["keygen", "--type", "ed25519", "-o", "other.pem"]);
    check(place, "3.tlog-proof --key other.pub.pem").is_one_clear_error(4, &["no signature of a known key"]);
    let sound = fs::read(place.join("3.tlog-proof")).unwrap();
    let text = String::from_utf8(sound.clone()).unwrap();
    fs::write(place.join("moved"), text.replace("\nindex 3\n", "\nindex 4\n")).unwrap();
    check(place, "moved --key ledger.key").is_one_clear_error(4, &["does not lead"]);
    for at in (0..sound.len()).step_by(7) {
        let mut bad = sound.clone();
        bad[at] ^= 0x01;
        fs::write(place.join("bad"), &bad).unwrap();
        assert_eq!(check(place, "bad --key ledger.key").code, 4, "byte {at}");
    }
}

#[test]
fn a_proof_is_as_good_as_a_checkpoint_to_begin_from() {
    let (digits, elsewhere) = project();
    let path = elsewhere.path().join("grown.proof").display().to_string();
    assert_eq!(casemate(digits.path(), &["ledger", "verify", "--from", &path]).code, 0);
    let other = example("digits");
    casemate(other.path(), &["check", "-q"]);
    casemate(other.path(), &["ledger", "verify", "--from", &path]).is_one_clear_error(4, &["grown.proof"]);
}
