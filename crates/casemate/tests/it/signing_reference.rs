//! Against the reference implementation of OpenSSF Model Signing, both ways.
//!
//! `cargo xtask test` makes the environment it runs in and names its program in `CASEMATE_TEST_MODEL_SIGNING`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Run, casemate};

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Run {
    Command::new(program).current_dir(directory).args(arguments).output().unwrap().into()
}

fn reference(directory: &Path, arguments: &[&str]) -> Run {
    let program = std::env::var("CASEMATE_TEST_MODEL_SIGNING")
        .expect("run `cargo xtask test`, which sets the reference up and names it here");
    run(directory, &program, arguments)
}

/// Directories that tools sort, name or read differently.
fn models(directory: &Path) -> Vec<&'static str> {
    let file = |name: &str, contents: &str| {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    };
    file("nested/a/b/c/weights.bin", "w");
    file("nested/a/config.json", "{}");
    file("empty/nothing", "");
    file("empty/something", "s");
    for name in ["x/y", "x-y", "x.y", "x0", "X", "é", "z z", "a:b"] {
        file(&format!("order/{name}"), name);
    }
    file("hub/model.safetensors", "w");
    file("hub/.gitattributes", "* filter=lfs");
    file("hub/.github/ci.yml", "on: push");
    file("hub/sub/.gitignore", "not at the root");
    file("single.onnx", "one file");
    for n in 0..1000 {
        file(&format!("many/{}/{n}", n % 7), "same");
    }
    vec!["nested", "empty", "order", "hub", "single.onnx", "many"]
}

fn keys(directory: &Path) -> [(&'static str, &'static str); 3] {
    for (curve, name) in [("prime256v1", "p256"), ("secp384r1", "p384"), ("secp521r1", "p521")] {
        let private = format!("{name}.pem");
        run(directory, "openssl", &["ecparam", "-name", curve, "-genkey", "-noout", "-out", &private]);
        run(directory, "openssl", &["ec", "-in", &private, "-pubout", "-out", &format!("{name}.pub.pem")]);
        #[cfg(unix)]
        fs::set_permissions(directory.join(private), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    [("p256.pem", "p256.pub.pem"), ("p384.pem", "p384.pub.pem"), ("p521.pem", "p521.pub.pem")]
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
#[ignore = "needs the reference implementation: cargo xtask test"]
fn the_reference_verifies_ours_and_we_verify_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let keys = keys(directory);
    for (n, model) in models(directory).into_iter().enumerate() {
        // Every curve meets every kind of model; the slow start of the reference forbids the full product.
        let (private, public) = keys[n % 3];
        let ours = casemate(directory, &["sign", model, "--key", private, "--signature", "ours.sig"]);
        assert_eq!(ours.code, 0, "{model}: {}", ours.stderr);
        let there = ["verify", "key", model, "--signature", "ours.sig", "--public_key", public];
        let verified = reference(directory, &there);
        assert_eq!(verified.code, 0, "{model}: {}{}", verified.stdout, verified.stderr);

        let signed =
            reference(directory, &["sign", "key", model, "--signature", "theirs.sig", "--private_key", private]);
        assert_eq!(signed.code, 0, "{model}: {}{}", signed.stdout, signed.stderr);
        let here = ["verify", model, "--signature", "theirs.sig", "--key", public];
        let verified = casemate(directory, &here);
        assert_eq!(verified.code, 0, "{model}: {}{}", verified.stdout, verified.stderr);

        let file = match model {
            "nested" => "nested/a/config.json",
            "empty" => "empty/something",
            "order" => "order/x-y",
            "hub" => "hub/sub/.gitignore",
            "many" => "many/3/3",
            single => single,
        };
        flip(&directory.join(file));
        assert_ne!(reference(directory, &there).code, 0, "{model}");
        assert_eq!(casemate(directory, &here).code, 4, "{model}");
        flip(&directory.join(file));
    }
}

#[test]
#[ignore = "needs the reference implementation: cargo xtask test"]
fn hybrid_signatures_verify_there_too() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    models(directory);
    for arguments in [
        &["keygen", "-o", "key.pem"][..],
        &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem"],
        &["sign", "hub", "--key", "key.pem", "--pq-key", "pq.pem"],
    ] {
        let made = casemate(directory, arguments);
        assert_eq!(made.code, 0, "{}", made.stderr);
    }
    let there = ["verify", "key", "hub", "--signature", "model.sig", "--public_key", "key.pub.pem"];
    let verified = reference(directory, &there);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    fs::rename(directory.join("hub/model.safetensors"), directory.join("hub/weights.safetensors")).unwrap();
    assert_ne!(reference(directory, &there).code, 0);
    assert_eq!(casemate(directory, &["verify", "hub", "--key", "key.pub.pem"]).code, 4);
}

#[test]
#[ignore = "needs the reference implementation: cargo xtask test"]
fn a_bundle_whose_second_signature_lies_apart_verifies_there_too() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    models(directory);
    for arguments in [
        &["keygen", "-o", "key.pem"][..],
        &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem"],
        &["sign", "hub", "--key", "key.pem", "--pq-key", "pq.pem", "--pq-detached"],
    ] {
        let made = casemate(directory, arguments);
        assert_eq!(made.code, 0, "{}", made.stderr);
    }
    let there = ["verify", "key", "hub", "--signature", "model.sig", "--public_key", "key.pub.pem"];
    let verified = reference(directory, &there);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    flip(&directory.join("hub/model.safetensors"));
    assert_ne!(reference(directory, &there).code, 0);
}

/// Signs with the reference through its Python interface, in shards of 1000 bytes: its command line does not offer them.
const SHARDS: &str = "
import pathlib, sys
from model_signing import hashing, signing
shards = hashing.Config().use_shard_serialization(hashing_algorithm='sha256', shard_size=1000, ignore_paths=[])
config = signing.Config().use_elliptic_key_signer(private_key=pathlib.Path(sys.argv[1]))
config.set_hashing_config(shards).sign('sharded', 'sharded.sig')
";

#[test]
#[ignore = "needs the reference implementation: cargo xtask test"]
fn lists_in_shards_that_the_reference_writes_are_verified_here() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (private, public) = keys(directory)[0];
    fs::create_dir_all(directory.join("sharded/sub")).unwrap();
    for (name, bytes) in [("big", 2500), ("exact", 2000), ("sub/a:b", 2), ("one", 1)] {
        let contents: Vec<u8> = (0..bytes).map(|i| u8::try_from(i % 251).unwrap()).collect();
        fs::write(directory.join("sharded").join(name), contents).unwrap();
    }
    let program = std::env::var("CASEMATE_TEST_MODEL_SIGNING").unwrap();
    let python = Path::new(&program).with_file_name("python");
    let signed = run(directory, &python.display().to_string(), &["-c", SHARDS, private]);
    assert_eq!(signed.code, 0, "{}{}", signed.stdout, signed.stderr);
    let here = ["verify", "sharded", "--signature", "sharded.sig", "--key", public];
    let verified = casemate(directory, &here);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    assert!(verified.stdout.contains("all 4 files"), "{}", verified.stdout);
    let big = directory.join("sharded/big");
    let before = fs::read(&big).unwrap();
    for at in [0, 999, 1000, 2499] {
        let mut flipped = before.clone();
        flipped[at] ^= 1;
        fs::write(&big, flipped).unwrap();
        assert_eq!(casemate(directory, &here).code, 4, "byte {at}");
    }
    fs::write(&big, [&before[..], b"\0"].concat()).unwrap();
    assert_eq!(casemate(directory, &here).code, 4, "a byte more");
    fs::write(&big, before).unwrap();
    fs::write(directory.join("sharded/empty"), "").unwrap();
    assert_eq!(casemate(directory, &here).code, 4, "no shard covers it");
}

/// What the reference accepts and casemate refuses; the other holes are shown on bundles built by unit tests.
#[test]
#[ignore = "needs the reference implementation: cargo xtask test"]
fn a_pickle_added_under_an_ignored_path_passes_there_and_not_here() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    models(directory);
    let (private, public) = keys(directory)[0];
    let signed = reference(directory, &["sign", "key", "hub", "--signature", "theirs.sig", "--private_key", private]);
    assert_eq!(signed.code, 0, "{}{}", signed.stdout, signed.stderr);
    fs::write(directory.join("hub/.github/cache"), b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.").unwrap();
    let there = ["verify", "key", "hub", "--signature", "theirs.sig", "--public_key", public];
    assert_eq!(reference(directory, &there).code, 0);
    let here = casemate(directory, &["verify", "hub", "--signature", "theirs.sig", "--key", public]);
    assert_eq!(here.code, 4);
    assert!(here.stdout.contains("uncovered-loadable  .github/cache"), "{}", here.stdout);
}
