//! Against the real `age`: the wrapped key in a sealed file is an age file, and its keys are ours.
//!
//! `cargo xtask test` installs it.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::casemate;

fn run(directory: &Path, program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .current_dir(directory)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run `cargo xtask test`, which installs age");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

#[test]
#[ignore = "needs age: cargo xtask test"]
fn age_opens_the_wrapped_key_and_its_identities_open_ours() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for name in ["a.txt", "b.txt"] {
        run(here, "age-keygen", &["-o", name], b"");
        assert!(here.join(name).exists());
    }
    let recipient = String::from_utf8(run(here, "age-keygen", &["-y", "a.txt"], b"")).unwrap();
    let recipient = recipient.trim();
    fs::write(here.join("plain"), "weights").unwrap();
    let sealed = casemate(here, &["seal", "plain", "--recipient", recipient]);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    assert!(sealed.stdout.contains(&format!("age:{recipient}")), "{}", sealed.stdout);
    let opened = casemate(here, &["open", "plain.cmv", "--identity", "a.txt", "-o", "out"]);
    assert_eq!(opened.code, 0, "{}", opened.stderr);
    assert_eq!(fs::read(here.join("out")).unwrap(), b"weights");
    casemate(here, &["open", "plain.cmv", "--identity", "b.txt", "-o", "no"]).is_one_clear_error(4, &[recipient]);

    // The blob in the head is an age file: 32 bytes of key and 32 of context come out.
    let bytes = fs::read(here.join("plain.cmv")).unwrap();
    let intro = b"age-encryption.org/v1\n";
    let at = bytes.windows(intro.len()).position(|window| window == intro).unwrap();
    let length = usize::from(u16::from_be_bytes(bytes[at - 2..at].try_into().unwrap()));
    let wrapped = &bytes[at..at + length];
    let key = run(here, "age", &["--decrypt", "-i", "a.txt"], wrapped);
    assert_eq!(key.len(), 64);
}
