//! The ledger through the command line: whatever is changed is found and named.

use std::path::Path;

use super::{RECORDS_PER_CHECK, casemate, command, example, files};

#[test]
fn a_byte_flipped_in_any_ledger_file_is_found_and_the_file_named() {
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    let ledger = digits.path().join(".casemate/ledger");
    let all = files(&ledger);
    assert!(all.len() > 8, "{all:?}");
    for path in all {
        let sound = std::fs::read(&path).unwrap();
        for at in [0, sound.len() / 2, sound.len() - 1] {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x01;
            std::fs::write(&path, &flipped).unwrap();
            let run = casemate(digits.path(), &["ledger", "verify"]);
            assert_eq!(run.code, 4, "{} byte {at}: {}{}", path.display(), run.stdout, run.stderr);
            let name = path.strip_prefix(&ledger).unwrap().to_string_lossy().into_owned();
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(said.contains(&name), "{name} byte {at}: {said}");
        }
        // Nothing is built on a damaged ledger.
        let check = casemate(digits.path(), &["check"]);
        assert_eq!(check.code, 4, "{}: {}", path.display(), check.stderr);
        std::fs::write(&path, &sound).unwrap();
    }
    assert_eq!(casemate(digits.path(), &["ledger", "verify"]).code, 0);
}

#[test]
fn an_older_copy_of_the_ledger_is_refused_against_the_head_seen() {
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    let ledger = digits.path().join(".casemate/ledger");
    let backup = tempfile::tempdir().unwrap();
    super::copy(&ledger, backup.path());
    casemate(digits.path(), &["check"]);
    std::fs::remove_dir_all(&ledger).unwrap();
    super::copy(backup.path(), &ledger);
    let run = casemate(digits.path(), &["ledger", "verify"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stdout.contains("before"), "{}", run.stdout);
}

#[test]
fn records_are_shown_and_proved_and_the_ledger_continues_an_earlier_head() {
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    let checkpoint = digits.path().join("earlier");
    std::fs::copy(digits.path().join(".casemate/ledger/checkpoint"), &checkpoint).unwrap();
    casemate(digits.path(), &["check"]);
    let shown = casemate(digits.path(), &["ledger", "show"]);
    assert!(shown.stdout.contains("artifact.scan"), "{}", shown.stdout);
    let one = casemate(digits.path(), &["ledger", "show", "0"]).json();
    assert_eq!(one["evidence"]["kind"], "artifact.scan");
    let proof = casemate(digits.path(), &["ledger", "prove", &one["id"].as_str().unwrap()[..16]]);
    assert_eq!(proof.code, 0, "{}", proof.stderr);
    assert!(proof.stdout.starts_with("c2sp.org/tlog-proof@v1\n"), "{}", proof.stdout);
    assert_eq!(casemate(digits.path(), &["ledger", "prove", "0"]).stdout, proof.stdout, "by index or by id");
    for wrong in ["999999", "abc", "ffffffffffffffffffffffffffff"] {
        casemate(digits.path(), &["ledger", "prove", wrong]).is_one_clear_error(2, &[wrong]);
    }
    assert_eq!(casemate(digits.path(), &["ledger", "consistency", "--from", "earlier"]).code, 0);
    assert_eq!(casemate(digits.path(), &["ledger", "verify", "--from", "earlier"]).code, 0);
    assert_eq!(casemate(digits.path(), &["ledger", "show", "999999"]).code, 2);
}

#[test]
fn a_killed_check_loses_nothing_that_was_acknowledged() {
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    for delay_ms in [1, 2, 4, 7, 11, 16, 22, 29, 37, 50] {
        let before = casemate(digits.path(), &["ledger", "show"]).stdout.lines().count();
        let mut child =
            command(digits.path()).args(["check", "-q"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let run = casemate(digits.path(), &["ledger", "verify"]);
        assert_eq!(run.code, 0, "killed after {delay_ms} ms: {}{}", run.stdout, run.stderr);
        assert!(casemate(digits.path(), &["ledger", "show"]).stdout.lines().count() >= before);
    }
    assert_eq!(casemate(digits.path(), &["check"]).code, 0);
}

#[test]
fn checks_at_the_same_time_all_get_their_evidence_in() {
    let digits = example("digits");
    let alone = example("digits");
    casemate(alone.path(), &["check"]);
    // A line for each, and one above them.
    let records = |at: &Path| casemate(at, &["ledger", "show"]).stdout.lines().count() - 1;
    assert_eq!(records(alone.path()), RECORDS_PER_CHECK);
    let children: Vec<_> = (0..6)
        .map(|_| command(digits.path()).args(["check", "-q"]).stdout(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    assert_eq!(records(digits.path()), 6 * RECORDS_PER_CHECK);
}

#[cfg(unix)]
#[test]
fn signing_keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    for role in ["evidence", "ledger"] {
        let path = digits.path().join(format!(".casemate/keys/{role}.pem"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let key = digits.path().join(".casemate/keys/evidence.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    casemate(digits.path(), &["check"]).is_one_clear_error(3, &["chmod 600"]);
}
