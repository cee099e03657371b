//! Witnesses: two machines that exchange files, and the owner of two histories who is caught.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Run, casemate, copy, example};

const NAME: &str = "witness.example/w1";

/// A project, and a witness elsewhere that has begun with its first head.
fn witnessed(key_type: &str) -> (TempDir, TempDir) {
    let digits = example("digits");
    let witness = tempfile::tempdir().unwrap();
    casemate(witness.path(), &["keygen", "--type", key_type, "-o", "w.pem"]);
    let key = casemate(witness.path(), &["ledger", "key", "--witness", "w.pem", "--name", NAME]);
    assert_eq!(key.code, 0, "{}", key.stderr);
    let config = fs::read_to_string(digits.path().join("casemate.toml")).unwrap();
    let trust = format!("{config}\n[trust]\nwitnesses = [\"{}\"]\n", key.stdout.trim());
    fs::write(digits.path().join("casemate.toml"), trust).unwrap();
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    bring(&digits, &witness);
    let key = casemate(digits.path(), &["ledger", "key"]).stdout;
    fs::write(witness.path().join("ledger.key"), key).unwrap();
    (digits, witness)
}

fn bring(digits: &TempDir, witness: &TempDir) {
    fs::copy(digits.path().join(".casemate/ledger/checkpoint"), witness.path().join("checkpoint")).unwrap();
}

fn ask(place: &Path, head: &str, more: &[&str]) -> Run {
    let arguments = ["ledger", "witness", head, "--ledger-key", "ledger.key", "--key", "w.pem", "--name", NAME];
    casemate(place, &[&arguments[..], &["--seen", "digits.seen", "-o", "cosigned", "-q"], more].concat())
}

fn cosign(digits: &TempDir, witness: &TempDir) -> Run {
    let cosigned = witness.path().join("cosigned").display().to_string();
    casemate(digits.path(), &["ledger", "cosign", &cosigned])
}

#[test]
fn a_head_goes_to_the_witness_and_back_by_files() {
    for key_type in ["ed25519", "ml-dsa-44"] {
        let (digits, witness) = witnessed(key_type);
        ask(witness.path(), "checkpoint", &[]).is_one_clear_error(2, &["--begin", "casemate/digits"]);
        let begun = ask(witness.path(), "checkpoint", &["--begin"]);
        assert_eq!(begun.code, 0, "{}", begun.stderr);
        let taken = cosign(&digits, &witness);
        assert_eq!(taken.code, 0, "{}", taken.stderr);
        assert!(taken.stdout.contains(NAME), "{}", taken.stdout);
        let verified = casemate(digits.path(), &["ledger", "verify", "--witnesses", "1"]);
        assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
        assert!(verified.stdout.contains("anchors that hold: 1, over 15 of 15 records"), "{}", verified.stdout);
        let two = casemate(digits.path(), &["ledger", "verify", "--witnesses", "2"]);
        assert_eq!(two.code, 4, "{}", two.stdout);
        // The proof carries the cosignature to whoever asks for it.
        casemate(digits.path(), &["ledger", "prove", "2", "-o", "2.tlog-proof"]);
        let vkey = casemate(witness.path(), &["ledger", "key", "--witness", "w.pem", "--name", NAME]).stdout;
        let key = witness.path().join("ledger.key").display().to_string();
        let check = ["ledger", "check-proof", "2.tlog-proof", "--key", &key, "--witness", vkey.trim()];
        let checked = casemate(digits.path(), &check);
        assert!(checked.code == 0 && checked.stdout.contains(NAME), "{}{}", checked.stdout, checked.stderr);
        // Records that came later have no witness yet, and the head that has one still counts.
        assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
        let verified = casemate(digits.path(), &["ledger", "verify", "--witnesses", "1"]);
        assert!(verified.stdout.contains("anchors that hold: 1, over 15 of 30 records"), "{}", verified.stdout);
        casemate(digits.path(), &["ledger", "prove", "2", "-o", "2.tlog-proof"]);
        casemate(digits.path(), &check).is_one_clear_error(4, &["has not cosigned", NAME]);
        bring(&digits, &witness);
        ask(witness.path(), "checkpoint", &[]).is_one_clear_error(3, &["a larger head needs a proof", "--from"]);
        let seen = witness.path().join("digits.seen").display().to_string();
        let grown = witness.path().join("grown.proof").display().to_string();
        assert_eq!(casemate(digits.path(), &["ledger", "consistency", "--from", &seen, "-o", &grown]).code, 0);
        assert_eq!(ask(witness.path(), "grown.proof", &[]).code, 0);
        assert_eq!(cosign(&digits, &witness).code, 0);
        let verified = casemate(digits.path(), &["ledger", "verify"]);
        assert!(verified.stdout.contains("anchors that hold: 2, over 30 of 30 records"), "{}", verified.stdout);
    }
}

#[test]
fn the_owner_of_two_histories_is_caught_by_the_witness_and_by_the_anchor() {
    let (digits, witness) = witnessed("ed25519");
    let backup = tempfile::tempdir().unwrap();
    copy(&digits.path().join(".casemate/ledger"), backup.path());
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    bring(&digits, &witness);
    assert_eq!(ask(witness.path(), "checkpoint", &["--begin"]).code, 0);
    assert_eq!(cosign(&digits, &witness).code, 0);
    // Back to the first run, and on from there to another history; the owner clears what this machine remembers.
    fs::remove_dir_all(digits.path().join(".casemate/ledger")).unwrap();
    copy(backup.path(), &digits.path().join(".casemate/ledger"));
    fs::remove_file(digits.path().join(".casemate/checkpoint.seen")).unwrap();
    bring(&digits, &witness);
    ask(witness.path(), "checkpoint", &[])
        .is_one_clear_error(4, &["smaller", "15 records", "30 records", "Nothing was signed"]);
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert_eq!(verified.code, 4, "{}", verified.stdout);
    assert!(verified.stdout.contains("BAD") && verified.stdout.contains("rolled back"), "{}", verified.stdout);
    casemate(digits.path(), &["check", "-q"]).is_one_clear_error(4, &["anchor", "Nothing was added"]);
    let anchors = digits.path().join(".casemate/anchors");
    fs::rename(&anchors, digits.path().join("hidden")).unwrap();
    for _ in 0..2 {
        assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    }
    let ledger = digits.path().join(".casemate/ledger").display().to_string();
    ask(witness.path(), &ledger, &[]).is_one_clear_error(4, &["does not continue", "45 records", "30 records"]);
    cosign(&digits, &witness).is_one_clear_error(4, &["rewritten"]);
}

#[test]
fn cosignatures_of_strangers_and_altered_ones_are_not_taken_up() {
    let (digits, witness) = witnessed("ed25519");
    assert_eq!(ask(witness.path(), "checkpoint", &["--begin"]).code, 0);
    let path = witness.path().join("cosigned");
    let sound = fs::read_to_string(&path).unwrap();
    let lines = sound.lines().collect::<Vec<_>>();
    let other = lines[5].replace("w1", "w2");
    fs::write(&path, sound.replace(lines[5], &other)).unwrap();
    cosign(&digits, &witness).is_one_clear_error(4, &["no signature of a known key"]);
    let mut line: Vec<char> = lines[5].chars().collect();
    let at = line.len() - 9;
    line[at] = if line[at] == 'A' { 'B' } else { 'A' };
    fs::write(&path, sound.replace(lines[5], &line.into_iter().collect::<String>())).unwrap();
    cosign(&digits, &witness).is_one_clear_error(4, &["does not match"]);
    fs::write(&path, format!("{}\n", lines[5])).unwrap();
    assert_eq!(cosign(&digits, &witness).code, 0, "signature lines alone are enough");
    let config = fs::read_to_string(digits.path().join("casemate.toml")).unwrap();
    fs::write(digits.path().join("casemate.toml"), config.split("[trust]").next().unwrap()).unwrap();
    cosign(&digits, &witness).is_one_clear_error(2, &["[trust] witnesses"]);
    fs::write(digits.path().join("casemate.toml"), config.replace("witness.example", "witness.test")).unwrap();
    casemate(digits.path(), &["ledger", "verify"]).is_one_clear_error(2, &["witnesses", "casemate ledger key"]);
}
