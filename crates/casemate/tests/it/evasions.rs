//! Ways to get a malicious model past `check`, or to misuse it, each of which must fail.

use std::path::Path;

use super::{Run, casemate, command, example};

/// `os.system` with an argument that does nothing, in protocols 0 and 2.
const TEXT_PICKLE: &[u8] = b"cos\nsystem\n(S'true'\ntR.";
const PICKLE: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";

/// What `check` says of the sound example with one file more.
fn with_file(path: &str, bytes: &[u8]) -> Run {
    let digits = example("digits");
    let file = digits.path().join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
    casemate(digits.path(), &["check", "-q", "--format", "json"])
}

#[test]
fn no_place_in_the_project_hides_a_pickle() {
    for path in [
        "model/.hg/model.pt",
        "model/sub/.git/model.pt",
        "model/.svn",
        "target/model.pt",
        "venv/model.pt",
        "data/extra/model.pt",
        "loose.pt",
        "weights/pytorch_model.bin",
        "weights/no-extension",
        "weights/notes.md",
    ] {
        for bytes in [PICKLE, TEXT_PICKLE] {
            let run = with_file(path, bytes);
            assert_eq!(run.code, 1, "{path}: {}{}", run.stdout, run.stderr);
        }
    }
    let deep = format!("model/{}model.pt", "d/".repeat(140));
    assert_eq!(with_file(&deep, PICKLE).code, 3);
    let deep = format!("other/{}model.pt", "d/".repeat(140));
    assert_eq!(with_file(&deep, PICKLE).code, 3);
}

#[test]
fn object_arrays_among_the_data_are_looked_into() {
    let header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }";
    let padded = format!("{header:<117}\n");
    let array = [b"\x93NUMPY\x01\x00\x76\x00", padded.as_bytes(), PICKLE].concat();
    assert_eq!(with_file("data/extra.npy", &array).code, 1);
}

#[cfg(unix)]
#[test]
fn a_name_that_looks_like_another_is_not_the_other() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let digits = example("digits");
    std::fs::write(digits.path().join(OsStr::from_bytes(b"\xff.pt")), PICKLE).unwrap();
    std::fs::copy(digits.path().join("model/model.onnx"), digits.path().join("\u{fffd}.pt")).unwrap();
    let run = casemate(digits.path(), &["check", "-q", "--format", "json"]);
    assert_ne!(run.code, 0, "{}", run.stdout);
}

#[test]
fn installed_software_is_named_when_it_is_not_looked_at() {
    let run = with_file("node_modules/package/model.pt", PICKLE);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let skipped = run.json()["summary"]["skipped"].to_string();
    assert!(skipped.contains("node_modules"), "{skipped}");
}

#[test]
fn a_scan_policy_does_not_change_the_evidence() {
    let trojaned = example("trojaned");
    assert_eq!(casemate(trojaned.path(), &["check", "-q"]).code, 1);
    let lax: String = ["path-escape", "template-injection", "pickle-unvetted-call", "pickle-unvetted-import"]
        .map(|rule| format!("{rule} = \"info\"\n"))
        .concat();
    std::fs::write(trojaned.path().join("lax.toml"), format!("[severity]\n{lax}")).unwrap();
    let scan = casemate(trojaned.path(), &["scan", "model", "--policy", "lax.toml"]);
    assert_eq!(scan.code, 0, "{}", scan.stdout);
    assert!(scan.stdout.contains("lax.toml"), "the policy is named: {}", scan.stdout);
    assert_eq!(casemate(trojaned.path(), &["gate", "--stage", "merge"]).code, 1);
}

#[test]
fn a_decoy_in_use_does_not_open_the_merge_gate_for_a_draft() {
    let trojaned = example("trojaned");
    super::copy(&super::repository().join("examples/digits/model"), &trojaned.path().join("decoy"));
    let config = trojaned.path().join("casemate.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("stage = \"staged\"", "stage = \"draft\"");
    let decoy = "\n[[model]]\nname = \"decoy\"\npath = \"decoy\"\nstage = \"serving\"\n";
    std::fs::write(&config, format!("{text}{decoy}")).unwrap();
    let run = casemate(trojaned.path(), &["check", "-q", "--format", "json"]);
    assert_eq!(run.code, 1, "{}", run.json()["gate"]);
}

#[test]
fn a_failed_output_does_not_take_away_what_was_found() {
    let trojaned = example("trojaned");
    assert_eq!(casemate(trojaned.path(), &["check", "-q", "-o", "no/such/x.html"]).code, 1);
    assert_eq!(casemate(trojaned.path(), &["scan", "model", "-q", "-o", "no/such/x.html"]).code, 1);
}

#[test]
fn a_command_refuses_formats_it_does_not_have() {
    let digits = example("digits");
    casemate(digits.path(), &["check", "-q"]);
    for arguments in [
        &["controls", "explain", "SUP-01", "--format", "html"][..],
        &["waiver", "lint", "--format", "json"],
        &["ledger", "show", "--format", "csv"],
        &["assess", "--explain", "--format", "json"],
        &["check", "-q", "-o", "report.pdf"],
    ] {
        casemate(digits.path(), arguments).is_one_clear_error(2, &["text"]);
    }
    assert!(!digits.path().join("report.pdf").exists());
}

#[test]
fn empty_input_is_not_clean() {
    let directory = tempfile::tempdir().unwrap();
    let run: Run =
        command(directory.path()).args(["scan", "-"]).stdin(std::process::Stdio::null()).output().unwrap().into();
    assert_eq!(run.code, 3, "{}", run.stdout);
}

#[test]
fn a_project_is_found_from_inside_it() {
    let digits = example("digits");
    casemate(digits.path(), &["check", "-q"]);
    let inside = digits.path().join("model");
    assert_eq!(casemate(&inside, &["ledger", "verify"]).code, 0);
    assert_eq!(casemate(&inside, &["gate", "--stage", "merge"]).code, 0);
    let outside = digits.path().parent().unwrap();
    let name = digits.path().file_name().unwrap().to_str().unwrap();
    let check = casemate(outside, &["check", name]);
    assert!(check.stdout.contains(&format!("casemate -C {name} ledger show")), "{}", check.stdout);
}

#[test]
fn paths_stay_inside_the_project_and_have_one_spelling() {
    let digits = example("digits");
    let config = digits.path().join("casemate.toml");
    let sound = std::fs::read_to_string(&config).unwrap();
    for path in ["../elsewhere", "/etc", "model/../model", ""] {
        std::fs::write(&config, sound.replace("path = \"model\"", &format!("path = \"{path}\""))).unwrap();
        casemate(digits.path(), &["check", "-q"]).is_one_clear_error(2, &["below the project"]);
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};

    fn fifo(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    /// Runs a command that must not wait for anybody.
    fn promptly(directory: &Path, arguments: &[&str]) -> i32 {
        let mut child = command(directory)
            .args(arguments)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{arguments:?} waits for a writer that never comes");
    }

    #[test]
    fn a_pipe_in_place_of_a_file_is_an_error_and_not_a_wait() {
        for (path, arguments, code) in [
            ("casemate.toml", &["check", "-q"][..], 2),
            ("waivers/w.toml", &["check", "-q"], 2),
            ("limits.toml", &["scan", "model", "--limits", "limits.toml"], 2),
            ("policy.toml", &["scan", "model", "--policy", "policy.toml"], 2),
            (".casemate/create.lock", &["check", "-q"], 3),
            (".casemate/ledger.lock", &["check", "-q"], 3),
            (".casemate/origin", &["ledger", "verify"], 3),
        ] {
            let digits = example("digits");
            casemate(digits.path(), &["check", "-q"]);
            let path = digits.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = std::fs::remove_file(&path);
            fifo(&path);
            assert_eq!(promptly(digits.path(), arguments), code, "{}", path.display());
        }
    }

    #[test]
    fn links_left_in_the_state_directory_lead_nowhere() {
        for link in
            ["create.lock", "checkpoint.seen.lock", "checkpoint.seen.tmp", "ledger.lock", "ledger/checkpoint.tmp"]
        {
            let digits = example("digits");
            casemate(digits.path(), &["check", "-q"]);
            let victim = digits.path().join("victim");
            std::fs::write(&victim, b"precious").unwrap();
            let path = digits.path().join(".casemate").join(link);
            let _ = std::fs::remove_file(&path);
            symlink(&victim, &path).unwrap();
            casemate(digits.path(), &["check", "-q"]);
            assert_eq!(std::fs::read(&victim).unwrap(), b"precious", "{link}");
        }
        let digits = example("digits");
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), digits.path().join(".casemate")).unwrap();
        casemate(digits.path(), &["check", "-q"]).is_one_clear_error(3, &["--state"]);
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn output_to_a_device_goes_there_and_output_through_a_link_keeps_it() {
        let digits = example("digits");
        let run = casemate(digits.path(), &["check", "-q", "--format", "json", "-o", "/dev/null"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        let target = digits.path().join("target.json");
        std::fs::write(&target, b"old").unwrap();
        symlink("target.json", digits.path().join("link.json")).unwrap();
        casemate(digits.path(), &["check", "-q", "-o", "link.json"]);
        assert!(std::fs::symlink_metadata(digits.path().join("link.json")).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&target).unwrap().starts_with('{'));
    }
}
