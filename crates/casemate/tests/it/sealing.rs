//! Sealing, opening, exchanging and destroying keys, and what `check` says of what is stored.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Run, casemate, command};

fn succeed(directory: &Path, arguments: &[&str]) -> Run {
    let run = casemate(directory, arguments);
    assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    run
}

/// A model of several files beside a key.
fn model() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fs::create_dir_all(here.join("model/sub")).unwrap();
    fs::write(here.join("model/weights.bin"), (0..3_000_000u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<u8>>())
        .unwrap();
    fs::write(here.join("model/config.json"), "{\"layers\": 2}").unwrap();
    fs::write(here.join("model/sub/empty"), "").unwrap();
    succeed(here, &["keygen", "--type", "aes-256-kek", "-o", "kek.pem"]);
    directory
}

fn kek_id(directory: &Path, key: &str) -> String {
    succeed(directory, &["keygen", "--type", "aes-256-kek", "-o", key]).stdout.lines().next().unwrap().to_owned()
}

fn same(a: &Path, b: &Path) {
    for name in ["weights.bin", "config.json", "sub/empty"] {
        assert!(fs::read(a.join(name)).unwrap() == fs::read(b.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_directory_is_sealed_and_opened_with_every_kind_of_key() {
    let directory = model();
    let here = directory.path();
    fs::write(here.join("pass.txt"), "correct horse battery staple\n").unwrap();
    succeed(here, &["keygen", "--type", "mlkem768x25519", "-o", "pq.pem"]);
    let sealed = succeed(
        here,
        &[
            "seal",
            "model",
            "-o",
            "sealed",
            "--key",
            "kek.pem",
            "--passphrase-file",
            "pass.txt",
            "--recipient",
            "pq.pub.pem",
        ],
    );
    assert!(sealed.stdout.contains("sealed 3 files") && sealed.stdout.contains("mlkem768x25519:"), "{}", sealed.stdout);
    same(&here.join("model"), &here.join("model"));
    for (n, key) in [["--key", "kek.pem"], ["--passphrase-file", "pass.txt"], ["--key", "pq.pem"]].iter().enumerate() {
        let out = format!("out{n}");
        succeed(here, &["open", "sealed", "-o", &out, key[0], key[1]]);
        same(&here.join("model"), &here.join(&out));
    }
    let text = String::from_utf8_lossy(&fs::read(here.join("sealed/config.json.cmv")).unwrap()).into_owned();
    assert!(!text.contains("layers") && !text.contains("config"), "neither content nor name is in the clear");
    casemate(here, &["open", "sealed", "-o", "out0", "--key", "kek.pem"]).is_one_clear_error(2, &["not empty"]);
    casemate(here, &["seal", "model", "-o", "model/in", "--key", "kek.pem"]).is_one_clear_error(2, &["inside"]);
    casemate(here, &["seal", "model", "-o", "sealed", "--key", "kek.pem"]).is_one_clear_error(2, &["--force"]);
    casemate(here, &["seal", "model", "-o", "s2"]).is_one_clear_error(2, &["no key is given"]);
    casemate(here, &["seal", "model", "-o", "s2", "--recipient", "age1qqqq"]).is_one_clear_error(2, &["age recipient"]);
}

#[test]
fn a_wrong_key_a_flipped_byte_and_exchanged_files_are_exit_4_and_leave_nothing() {
    let directory = model();
    let here = directory.path();
    let id = succeed(here, &["seal", "model", "-o", "sealed", "--key", "kek.pem"]);
    let id = id.stdout.lines().find_map(|line| line.trim().strip_prefix("opens with ")).unwrap().to_owned();
    kek_id(here, "other.pem");
    casemate(here, &["open", "sealed", "-o", "out", "--key", "other.pem"]).is_one_clear_error(4, &[&id]);
    let weights = here.join("sealed/weights.bin.cmv");
    let before = fs::read(&weights).unwrap();
    for at in [5, 30, 200, 4100, 40_000, before.len() - 1] {
        let mut flipped = before.clone();
        flipped[at] ^= 1;
        fs::write(&weights, flipped).unwrap();
        casemate(here, &["open", "sealed", "-o", "out", "--key", "kek.pem"])
            .is_one_clear_error(4, &["weights.bin.cmv"]);
        let alone = casemate(here, &["open", "sealed/weights.bin.cmv", "-o", "one", "--key", "kek.pem"]);
        alone.is_one_clear_error(4, &["weights.bin.cmv"]);
    }
    fs::write(&weights, &before[..before.len() - 1_048_592]).unwrap();
    casemate(here, &["open", "sealed", "-o", "out", "--key", "kek.pem"]).is_one_clear_error(4, &["weights.bin.cmv"]);
    fs::rename(here.join("sealed/config.json.cmv"), &weights).unwrap();
    fs::write(here.join("sealed/config.json.cmv"), before).unwrap();
    casemate(here, &["open", "sealed", "-o", "out", "--key", "kek.pem"]).is_one_clear_error(4, &["was sealed as"]);
    fs::write(here.join("sealed/more.bin"), "plain").unwrap();
    casemate(here, &["open", "sealed", "-o", "out", "--key", "kek.pem"]).is_one_clear_error(4, &["not a sealed file"]);
    casemate(here, &["open", "kek.pem", "-o", "one", "--key", "kek.pem"]).is_one_clear_error(4, &["not a sealed file"]);
    let mut left: Vec<_> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["kek.pem", "model", "other.pem", "sealed"]);
}

#[test]
fn a_range_is_given_out_alone() {
    let directory = model();
    let here = directory.path();
    succeed(here, &["seal", "model/weights.bin", "-o", "w.cmv", "--key", "kek.pem"]);
    let plain = fs::read(here.join("model/weights.bin")).unwrap();
    let run = command(here).args(["open", "w.cmv", "--key", "kek.pem", "--range", "1048570:20"]).output().unwrap();
    assert_eq!((run.status.code(), run.stdout.as_slice()), (Some(0), &plain[1_048_570..1_048_590]));
    succeed(here, &["open", "w.cmv", "--key", "kek.pem", "--range", "0:5", "-o", "five"]);
    assert_eq!(fs::read(here.join("five")).unwrap(), &plain[..5]);
    casemate(here, &["open", "w.cmv", "--key", "kek.pem", "--range", "2999999:2"]).is_one_clear_error(2, &["3000000"]);
    let all = command(here).args(["open", "w.cmv", "--key", "kek.pem", "-o", "-"]).output().unwrap();
    assert!(all.stdout == plain);
}

#[test]
fn plaintext_is_removed_only_after_what_was_written_opens() {
    let directory = model();
    let here = directory.path();
    succeed(here, &["keygen", "--type", "mlkem768x25519", "-o", "pq.pem"]);
    let blind = ["seal", "model/config.json", "-o", "c.cmv", "--recipient", "pq.pub.pem", "--remove"];
    casemate(here, &blind).is_one_clear_error(2, &["--remove needs a key"]);
    assert!(here.join("model/config.json").exists() && !here.join("c.cmv").exists());
    succeed(here, &["seal", "model", "-o", "sealed", "--key", "kek.pem", "--recipient", "pq.pub.pem", "--remove"]);
    assert!(!here.join("model/config.json").exists() && !here.join("model/weights.bin").exists());
    succeed(here, &["open", "sealed", "-o", "again", "--key", "pq.pem"]);
    assert_eq!(fs::read_to_string(here.join("again/config.json")).unwrap(), "{\"layers\": 2}");
}

#[test]
fn rewrapping_adds_and_takes_away_keys() {
    let directory = model();
    let here = directory.path();
    let old = kek_id(here, "old.pem");
    let new = kek_id(here, "new.pem");
    succeed(here, &["seal", "model/config.json", "-o", "c.cmv", "--key", "old.pem"]);
    let added = succeed(here, &["rewrap", "c.cmv", "--key", "old.pem", "--recipient", "new.pem"]);
    assert!(added.stdout.contains(&old) && added.stdout.contains(&new), "{}", added.stdout);
    let removed = succeed(here, &["rewrap", "c.cmv", "--key", "new.pem", "--remove", &old]);
    assert!(
        !removed.stdout.contains(&old) && removed.stderr.contains("seal again"),
        "{}{}",
        removed.stdout,
        removed.stderr
    );
    casemate(here, &["open", "c.cmv", "-o", "out", "--key", "old.pem"]).is_one_clear_error(4, &[&new]);
    casemate(here, &["rewrap", "c.cmv", "--key", "old.pem", "--recipient", "old.pem"]).is_one_clear_error(4, &[&new]);
    casemate(here, &["rewrap", "c.cmv", "--key", "new.pem", "--remove", &new]).is_one_clear_error(2, &["0 keys"]);
    succeed(here, &["open", "c.cmv", "-o", "out", "--key", "new.pem"]);
}

#[test]
fn erased_files_open_no_more_and_the_limits_are_said() {
    let directory = model();
    let here = directory.path();
    let id = kek_id(here, "own.pem");
    succeed(here, &["seal", "model/config.json", "-o", "c.cmv", "--key", "own.pem"]);
    let erased = succeed(here, &["crypto-erase", "c.cmv", "--kek", "own.pem"]);
    for said in [id.as_str(), "opened before and does not now", "destroyed key file own.pem", "not reached: copies"] {
        assert!(erased.stdout.contains(said), "{said}: {}", erased.stdout);
    }
    assert!(!here.join("own.pem").exists());
    casemate(here, &["open", "c.cmv", "-o", "out", "--key", "kek.pem"]).is_one_clear_error(4, &["destroyed"]);
    casemate(here, &["crypto-erase", "model/config.json", "--key", "kek.pem"])
        .is_one_clear_error(4, &["not a sealed file"]);
    assert_eq!(fs::read_to_string(here.join("model/config.json")).unwrap(), "{\"layers\": 2}");
    assert_eq!(casemate(here, &["crypto-erase"]).code, 2);
}

#[test]
fn a_scan_says_to_open_it_first() {
    let directory = model();
    let here = directory.path();
    succeed(here, &["seal", "model/config.json", "-o", "c.cmv", "--key", "kek.pem"]);
    let scan = casemate(here, &["scan", "c.cmv", "--format", "json"]);
    assert_eq!(scan.code, 3);
    let artifact = &scan.json()["artifacts"][0];
    assert_eq!((&artifact["format"], &artifact["verdict"]), (&"sealed".into(), &"unscannable".into()));
    assert!(scan.stdout.contains("casemate open"), "{}", scan.stdout);
}

/// Directories of ours in memory that belong to no process any more, or to `pid`.
#[cfg(target_os = "linux")]
fn in_memory(pid: u32) -> usize {
    let prefix = format!("casemate-{pid}-");
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).count()
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_sees_the_plaintext_in_memory_and_nothing_stays() {
    let directory = model();
    let here = directory.path();
    succeed(here, &["seal", "model", "-o", "sealed", "--key", "kek.pem"]);
    let script =
        "stat -f -c %T \"$0\"; stat -c %a \"$0\"; cat \"$0/config.json\"; test \"$0\" = \"$CASEMATE_OPENED\" && exit 7";
    let child = command(here)
        .args(["open", "sealed", "--key", "kek.pem", "--exec", "sh", "-c", script, "{}"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!((run.code, run.stdout.as_str()), (7, "tmpfs\n700\n{\"layers\": 2}"), "{}", run.stderr);
    assert_eq!(in_memory(pid), 0);
    let one = casemate(here, &["open", "sealed/config.json.cmv", "--key", "kek.pem", "--exec", "cat", "{}"]);
    assert_eq!((one.code, one.stdout.as_str()), (0, "{\"layers\": 2}"));
    let missing = casemate(here, &["open", "sealed", "--key", "kek.pem", "--exec", "no-such-program"]);
    missing.is_one_clear_error(3, &["no-such-program"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_the_command_and_removes_the_plaintext() {
    let directory = model();
    let here = directory.path();
    succeed(here, &["seal", "model/config.json", "-o", "c.cmv", "--key", "kek.pem"]);
    for signal in ["-TERM", "-INT"] {
        let mut child = command(here)
            .args(["open", "c.cmv", "--key", "kek.pem", "--exec", "sh", "-c", "touch started; exec sleep 60"])
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !here.join("started").exists() {
            assert!(begun.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(in_memory(child.id()), 1);
        let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = child.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(50), "it did not wait for the command's own end");
        assert_eq!((status.code(), in_memory(child.id())), (Some(128 + 15), 0), "{signal}");
        fs::remove_file(here.join("started")).unwrap();
    }
}

/// A project whose model is sealed, with the key elsewhere.
fn project(stored: &str) -> (TempDir, TempDir) {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = directory.path();
    fs::create_dir(here.join("model")).unwrap();
    let header = "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[1, 2, 3, 4]].concat();
    fs::write(here.join("model/w.safetensors"), bytes).unwrap();
    let config = format!("[project]\nname = \"p\"\n\n[[model]]\nname = \"m\"\npath = \"model\"\n{stored}");
    fs::write(here.join("casemate.toml"), config).unwrap();
    succeed(here, &["init"]);
    succeed(elsewhere.path(), &["keygen", "--type", "aes-256-kek", "-o", "kek.pem"]);
    (directory, elsewhere)
}

fn sto_03(here: &Path) -> (String, String) {
    let run = casemate(here, &["check", "--format", "json"]);
    let report = run.json();
    let controls = report["controls"].as_array().unwrap();
    let control = controls.iter().find(|control| control["id"] == "STO-03").unwrap();
    (control["state"].as_str().unwrap().to_owned(), control["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn stored_models_are_sealed_recorded_and_apart_from_their_keys_or_sto_03_does_not_pass() {
    let (directory, elsewhere) = project("stored = [\"sealed\"]\n");
    let here = directory.path();
    let key = elsewhere.path().join("kek.pem");
    let key = key.to_str().unwrap();
    assert_eq!(sto_03(here).0, "unknown", "nothing is stored yet");
    succeed(here, &["seal", "model", "-o", "sealed", "--key", key]);
    assert_eq!(sto_03(here).0, "pass");
    // Rewrapped it is the same content.
    let new = elsewhere.path().join("new.pem");
    kek_id(elsewhere.path(), "new.pem");
    succeed(here, &["rewrap", "sealed/w.safetensors.cmv", "--key", key, "--recipient", new.to_str().unwrap()]);
    assert_eq!(sto_03(here).0, "pass");
    // A key that opens it, in the project.
    fs::copy(key, here.join("forgotten.txt")).unwrap();
    assert_eq!(sto_03(here).0, "fail");
    fs::remove_file(here.join("forgotten.txt")).unwrap();
    // A key that opens something else does no harm.
    kek_id(here, "other.pem");
    assert_eq!(sto_03(here).0, "pass");
    // The plaintext beside what is sealed.
    fs::copy(here.join("model/w.safetensors"), here.join("sealed/w.safetensors")).unwrap();
    assert_eq!(sto_03(here).0, "fail");
    fs::remove_file(here.join("sealed/w.safetensors")).unwrap();
    assert_eq!(sto_03(here).0, "pass");
    // Sealed, and nobody recorded what it is.
    succeed(here, &["seal", "model", "-o", "sealed", "--key", key, "--no-record", "--force"]);
    let (state, reason) = sto_03(here);
    assert_eq!(state, "unknown", "{reason}");
    succeed(here, &["seal", "model", "-o", "sealed", "--key", key, "--force"]);
    assert_eq!(sto_03(here).0, "pass");
    // Another model than the one that was sealed.
    let mut bytes = fs::read(here.join("model/w.safetensors")).unwrap();
    *bytes.last_mut().unwrap() = 9;
    fs::write(here.join("model/w.safetensors"), bytes).unwrap();
    assert_eq!(sto_03(here).0, "unknown");
    fs::write(here.join("sealed/w.safetensors.cmv"), b"CMV1 and no more").unwrap();
    assert_ne!(sto_03(here).0, "pass");
}

#[test]
fn what_stands_in_the_spare_list_of_keys_is_refused_until_a_rewrap_clears_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fs::write(here.join("w"), "weights").unwrap();
    succeed(here, &["keygen", "--type", "aes-256-kek", "-o", "kek.pem"]);
    succeed(here, &["seal", "w", "--key", "kek.pem"]);
    let sound = fs::read(here.join("w.cmv")).unwrap();
    // The spare list is what is all zero in a file nobody rewrapped.
    let at = sound.len() - 2000;
    let spare = (0..at).rev().find(|at| sound[*at] == 0 && sound[at.saturating_sub(4096)..*at].iter().all(|b| *b == 0));
    let mut changed = sound.clone();
    changed[spare.unwrap()] = 1;
    fs::write(here.join("w.cmv"), changed).unwrap();
    let open = ["open", "w.cmv", "-o", "out", "--key", "kek.pem"];
    casemate(here, &open).is_one_clear_error(4, &["spare list of keys", "casemate rewrap w.cmv"]);
    assert!(!here.join("out").exists());
    succeed(here, &["rewrap", "w.cmv", "--key", "kek.pem"]);
    succeed(here, &open);
    assert_eq!(fs::read(here.join("out")).unwrap(), b"weights");
}

#[test]
fn a_model_in_the_clear_fails_sto_03() {
    let (directory, _elsewhere) = project("");
    assert_eq!(sto_03(directory.path()).0, "fail");
}
