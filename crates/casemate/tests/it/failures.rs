//! Bad input and a bad world: one clear paragraph, the right exit code, nothing half-written.

use super::{casemate, command, example};

#[test]
fn mistakes_in_the_configuration_are_named_with_their_line() {
    let digits = example("digits");
    let config = digits.path().join("casemate.toml");
    let sound = std::fs::read_to_string(&config).unwrap();
    for (text, mentions) in [
        ("[project\n".to_owned(), &["casemate.toml", "line 1"][..]),
        (format!("{sound}\n[surprise]\nx = 1\n"), &["casemate.toml", "surprise"]),
        (sound.replace("path = \"model\"", "path = \"nowhere\""), &["nowhere", "does not exist"]),
        (sound.replace("stage = \"staged\"", "stage = \"lunch\""), &["line", "lunch"]),
        (format!("{sound}\n[policy]\ngates = \"missing.toml\"\n"), &["missing.toml"]),
    ] {
        std::fs::write(&config, text).unwrap();
        casemate(digits.path(), &["check", "-q"]).is_one_clear_error(2, mentions);
    }
    std::fs::write(&config, [0xff, 0xfe, 0x00]).unwrap();
    casemate(digits.path(), &["check", "-q"]).is_one_clear_error(2, &["UTF-8"]);
}

#[test]
fn unknown_controls_in_policies_are_named() {
    let digits = example("digits");
    let config = digits.path().join("casemate.toml");
    let sound = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{sound}\n[policy]\ngates = \"gates.toml\"\n")).unwrap();
    std::fs::write(digits.path().join("gates.toml"), "[gate.merge]\nrequired = [\"SUP-99\"]\n").unwrap();
    casemate(digits.path(), &["check", "-q"]).is_one_clear_error(2, &["SUP-99"]);
    casemate(digits.path(), &["controls", "explain", "SUP-99"]).is_one_clear_error(2, &["SUP-99"]);
}

#[test]
fn a_policy_that_asks_for_less_says_so() {
    let digits = example("digits");
    let config = digits.path().join("casemate.toml");
    let sound = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{sound}\n[policy]\ngates = \"gates.toml\"\n")).unwrap();
    std::fs::write(digits.path().join("gates.toml"), "[gate.merge]\nrequired = []\nfail_on = \"none\"\n").unwrap();
    let report = casemate(digits.path(), &["check", "-q", "--format", "json"]).json();
    assert!(!report["gate"]["loosened"].as_array().unwrap().is_empty());
}

#[test]
fn a_directory_that_is_none_is_a_usage_error() {
    let digits = example("digits");
    casemate(digits.path(), &["check", "nowhere"]).is_one_clear_error(2, &["nowhere"]);
    casemate(digits.path(), &["check", "model/model.onnx"]).is_one_clear_error(2, &["casemate scan"]);
    casemate(digits.path(), &["scan", "nowhere.pt"]).is_one_clear_error(2, &["nowhere.pt"]);
    casemate(digits.path(), &["scan", "gopher://example.org/m.pt"]).is_one_clear_error(2, &["https://"]);
    casemate(digits.path(), &["-C", "nowhere", "check"]).is_one_clear_error(2, &["nowhere"]);
    casemate(digits.path(), &["ledger", "verify"]).is_one_clear_error(3, &["casemate check"]);
}

#[cfg(unix)]
#[test]
fn strange_names_and_links_are_refused_or_followed_once() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;
    let digits = example("digits");
    let model = digits.path().join("model");
    let strange = model.join(OsStr::from_bytes(b"weights-\xff.bin"));
    std::fs::write(&strange, b"x").unwrap();
    casemate(digits.path(), &["check", "-q"]).is_one_clear_error(3, &["UTF-8"]);
    std::fs::remove_file(strange).unwrap();

    symlink(".", model.join("loop")).unwrap();
    casemate(digits.path(), &["check", "-q"]).is_one_clear_error(3, &["loop"]);
    let scan = casemate(digits.path(), &["scan", "model", "-q", "--format", "json"]);
    assert_eq!(scan.code, 0, "{}", scan.stderr);
    std::fs::remove_file(model.join("loop")).unwrap();

    symlink("/etc/hostname", model.join("outside")).unwrap();
    casemate(digits.path(), &["check", "-q"]).is_one_clear_error(3, &["outside"]);
    std::fs::remove_file(model.join("outside")).unwrap();

    symlink("nowhere", model.join("dangling")).unwrap();
    let scan = casemate(digits.path(), &["scan", "model", "-q", "--format", "json"]);
    assert_eq!(scan.code, 3, "what cannot be opened is not clean: {}", scan.stdout);
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_one_clear_error_and_the_ledger_stays_sound() {
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    // A file size limit of one block stands for a disk with no room: writes fail, the process lives.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" check -q -o report.html";
    let binary = env!("CARGO_BIN_EXE_casemate");
    let run: super::Run = {
        let mut shell = std::process::Command::new("sh");
        shell.current_dir(digits.path()).args(["-c", script, binary]);
        shell.output().unwrap().into()
    };
    run.is_one_clear_error(3, &[]);
    assert!(!digits.path().join("report.html").exists());
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    assert_eq!(casemate(digits.path(), &["check"]).code, 0);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_written_or_read_is_an_error_of_its_own() {
    let digits = example("digits");
    casemate(digits.path(), &["check", "-q", "-o", "no/such/report.html"])
        .is_one_clear_error(3, &["no/such/report.html"]);
    std::fs::write(digits.path().join("blocked"), b"a file").unwrap();
    casemate(digits.path(), &["check", "-q", "--state", "blocked"]).is_one_clear_error(3, &["blocked"]);
    casemate(digits.path(), &["scan", "model", "--limits", "blocked"]).is_one_clear_error(2, &["blocked"]);
    let limits = digits.path().join("limits.toml");
    std::fs::write(&limits, "depth_max = 0\n").unwrap();
    casemate(digits.path(), &["scan", "model", "--limits", "limits.toml"]).is_one_clear_error(2, &["depth_max"]);
}

#[test]
fn the_reader_of_a_pipe_may_leave_early() {
    let digits = example("digits");
    let mut child =
        command(digits.path()).args(["controls", "list"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
