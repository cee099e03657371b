//! Models signed with keys that lie in services: a strict double of Vault, and moto's KMS with real keys behind it.

mod kms;
mod vault;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::Run;
use super::remote::server::{self, Body, Reply, Server};
use super::remote::{quiet_command, tls};
use vault::{Manner, READER, TOKEN, WRAPPER};

/// A directory with a model in it.
fn model() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("model")).unwrap();
    fs::write(directory.path().join("model/config.json"), "{}").unwrap();
    fs::write(directory.path().join("model/weights.bin"), "w").unwrap();
    directory
}

/// casemate with nothing in its environment but `set`.
fn run(directory: &Path, set: &[(&str, &str)], arguments: &[&str]) -> Run {
    quiet_command(directory).args(arguments).envs(set.iter().copied()).output().unwrap().into()
}

fn sign(directory: &Path, set: &[(&str, &str)], key: &str) -> Run {
    run(directory, set, &["sign", "model", "--key", key])
}

fn at<'a>(server: &'a Server, token: &'a str) -> [(&'a str, &'a str); 2] {
    [("VAULT_ADDR", &server.url), ("VAULT_TOKEN", token)]
}

/// The public key of `name` as the double shows it, in a file.
fn export(directory: &Path, server: &Server, name: &str, version: &str) {
    let output = Command::new("python3")
        .args(["-c", "import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], headers={'X-Vault-Token': sys.argv[2], 'X-Vault-Request': 'true'})).read().decode())"])
        .args([&format!("{}/v1/transit/keys/{name}", server.url), TOKEN])
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let pem = answer["data"]["keys"][version]["public_key"].as_str().unwrap();
    fs::write(directory.join(format!("{name}.pub.pem")), pem).unwrap();
}

#[test]
fn a_key_of_vault_signs_on_every_curve_and_its_public_key_verifies() {
    let vault = vault::start(Manner::Honest);
    for (name, latest) in [("p256", "2"), ("p384", "1"), ("p521", "1")] {
        let directory = model();
        let directory = directory.path();
        let address = format!("hashivault://{name}");
        let signed = sign(directory, &at(&vault, TOKEN), &address);
        assert_eq!(signed.code, 0, "{name}: {}", signed.stderr);
        assert!(signed.stdout.contains(&format!("by ecdsa-{name}:")), "{}", signed.stdout);
        assert!(!signed.stdout.contains(TOKEN) && !signed.stderr.contains(TOKEN));
        export(directory, &vault, name, latest);
        let public = format!("{name}.pub.pem");
        let verified = run(directory, &[], &["verify", "model", "--key", &public]);
        assert_eq!(verified.code, 0, "{name}: {}{}", verified.stdout, verified.stderr);
        assert_eq!(run(directory, &at(&vault, READER), &["verify", "model", "--key", &address]).code, 0);
        fs::write(directory.join("model/weights.bin"), "v").unwrap();
        assert_eq!(run(directory, &[], &["verify", "model", "--key", &public]).code, 4);
    }
}

/// Seals a file with the key at `kek`, and opens it with that and not with the one at `other`.
fn opens_with_its_key_in_the_service_alone(directory: &Path, set: &[(&str, &str)], kek: &str, other: &str) {
    let sealed = run(directory, set, &["seal", "model/weights.bin", "-o", "w.cmv", "--key", kek]);
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    let opened = run(directory, set, &["open", "w.cmv", "-o", "w.bin", "--key", kek]);
    assert_eq!(opened.code, 0, "{}", opened.stderr);
    assert_eq!(fs::read(directory.join("w.bin")).unwrap(), fs::read(directory.join("model/weights.bin")).unwrap());
    let refused = run(directory, set, &["open", "w.cmv", "-o", "other.bin", "--key", other]);
    refused.is_one_clear_error(4, &["none of the keys given opens it", kek]);
    assert!(!directory.join("other.bin").exists());
    let unset = run(directory, &[], &["open", "w.cmv", "-o", "other.bin", "--key", kek]);
    assert_eq!((unset.code, directory.join("other.bin").exists()), (2, false), "{}", unset.stderr);
}

#[test]
fn a_data_key_is_wrapped_by_vault_and_by_nobody_else() {
    let (vault, directory) = (vault::start(Manner::Honest), model());
    let (set, directory) = (at(&vault, WRAPPER), directory.path());
    opens_with_its_key_in_the_service_alone(directory, &set, "hashivault://kek", "hashivault://other-kek");
    let short = vault::start(Manner::Short);
    let run = run(directory, &at(&short, WRAPPER), &["open", "w.cmv", "-o", "short.bin", "--key", "hashivault://kek"]);
    assert!(run.code != 0 && !directory.join("short.bin").exists(), "{}", run.stderr);
}

#[test]
fn a_version_of_a_key_can_be_named_and_is_another_key() {
    let vault = vault::start(Manner::Honest);
    let directory = model();
    let set = at(&vault, TOKEN);
    assert_eq!(sign(directory.path(), &set, "hashivault://p256?version=1").code, 0);
    let verify = |key| run(directory.path(), &set, &["verify", "model", "--key", key]);
    assert_eq!(verify("hashivault://p256?version=1").code, 0);
    verify("hashivault://p256").is_one_clear_error(4, &["another key"]);
    verify("hashivault://p256?version=3").is_one_clear_error(3, &["no version 3", "latest is 2"]);
}

#[test]
fn namespace_and_mount_path_are_those_of_the_environment() {
    let vault = vault::start_at(Manner::Honest, "team/keys", Some("ml/prod"));
    let directory = model();
    let set = at(&vault, TOKEN);
    let namespace = ("VAULT_NAMESPACE", "ml/prod");
    let both = [set[0], set[1], namespace, ("TRANSIT_SECRET_ENGINE_PATH", "team/keys/")];
    assert_eq!(sign(directory.path(), &both, "hashivault://p256").code, 0);
    for less in [&both[..3], &[both[0], both[1], both[3]]] {
        let refused = sign(directory.path(), less, "hashivault://p256");
        refused.is_one_clear_error(3, &["404", "TRANSIT_SECRET_ENGINE_PATH", "VAULT_NAMESPACE"]);
    }
}

#[test]
fn what_vault_refuses_is_said_with_what_is_missing_and_without_the_token() {
    let honest = vault::start(Manner::Honest);
    let (sealed, echoing) = (vault::start(Manner::Sealed), vault::start(Manner::Echoes));
    let directory = model();
    for (server, token, key, code, mentions) in [
        (&honest, "hvs.wrong-token", "p256", 3, ["403", "`read` on `transit/keys/p256`"]),
        (&honest, READER, "p256", 3, ["403", "`update` on `transit/sign/p256`"]),
        (&honest, WRAPPER, "p256", 3, ["403", "`read` on `transit/keys/p256`"]),
        (&honest, TOKEN, "nobody", 3, ["404", "no key `nobody`"]),
        (&honest, TOKEN, "kek", 2, ["aes256-gcm96", "ecdsa-p256"]),
        (&honest, TOKEN, "rsa", 2, ["rsa-2048", "ecdsa-p256"]),
        (&sealed, TOKEN, "p256", 3, ["sealed", "unseal"]),
        (&echoing, TOKEN, "p256", 3, ["[secret]", "refused"]),
    ] {
        let refused = sign(directory.path(), &at(server, token), &format!("hashivault://{key}"));
        refused.is_one_clear_error(code, &mentions);
        assert!(!refused.stderr.contains(token), "{}", refused.stderr);
    }
    assert!(!directory.path().join("model.sig").exists());
}

#[test]
fn a_service_that_signs_something_else_is_an_integrity_failure_and_nothing_is_written() {
    let directory = model();
    let lying = vault::start(Manner::Lies);
    let run = sign(directory.path(), &at(&lying, TOKEN), "hashivault://p256");
    run.is_one_clear_error(4, &["not one of key ecdsa-p256:", "nothing was written"]);
    let other = vault::start(Manner::OtherVersion);
    let run = sign(directory.path(), &at(&other, TOKEN), "hashivault://p256");
    run.is_one_clear_error(3, &["not by the version"]);
    assert!(!directory.path().join("model.sig").exists());
}

#[test]
fn a_token_follows_no_redirect_and_goes_through_no_proxy_to_this_machine() {
    let elsewhere = Server::start(|_| Reply::new(200, &[], "{}"));
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/v1/transit/keys/p256?x=hidden", elsewhere.url);
        let vault = Server::start(move |_| Reply::new(status, &[("location", &target)], ""));
        let run = sign(model().path(), &at(&vault, TOKEN), "hashivault://p256");
        run.is_one_clear_error(3, &["redirects to", &elsewhere.url, "no secret follows"]);
        assert!(!run.stderr.contains("hidden"), "{}", run.stderr);
    }
    let vault = vault::start(Manner::Honest);
    let set = at(&vault, TOKEN);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"] {
        let run = sign(model().path(), &[set[0], set[1], (name, &elsewhere.url)], "hashivault://p256");
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
    }
    assert!(elsewhere.asked().is_empty(), "nobody else was asked");
}

#[test]
fn answers_that_are_broken_endless_or_slow_end_in_an_error() {
    let started = std::time::Instant::now();
    type Answer = fn() -> Reply;
    let answers: [(Answer, &[&str]); 6] = [
        (|| Reply::new(200, &[], "{\"data\": {\"type\": \"ecdsa-p256\""), &["another form"]),
        (|| Reply::new(200, &[], "<html>"), &["another form"]),
        (|| Reply { length: Some(900), ..Reply::new(200, &[], "{\"data\":") }, &["127.0.0.1"]),
        (|| Reply::with_body(200, &[], Body::Endless), &["longer than"]),
        (|| Reply { length: Some(10), ..Reply::with_body(200, &[], Body::Stalled(b"{".to_vec())) }, &["within 1 s"]),
        (|| Reply::new(200, &[("content-encoding", "br")], "x"), &["content-encoding"]),
    ];
    for (answer, mentions) in answers {
        let vault = Server::start(move |_| answer());
        let set = at(&vault, TOKEN);
        let run = sign(model().path(), &[set[0], set[1], ("VAULT_CLIENT_TIMEOUT", "1")], "hashivault://p256");
        run.is_one_clear_error(3, mentions);
        assert!(!run.stderr.contains("--timeout"), "{}", run.stderr);
    }
    assert!(started.elapsed().as_secs() < 60, "bounded");
    // A service that is busy is asked again, a few times.
    let busy = Server::start(|_| Reply::new(502, &[], ""));
    sign(model().path(), &at(&busy, TOKEN), "hashivault://p256").is_one_clear_error(3, &["502", "try again"]);
    assert_eq!(busy.asked().len(), 4);
}

#[test]
fn settings_that_cannot_be_right_are_usage_errors() {
    let directory = model();
    let token = ("VAULT_TOKEN", TOKEN);
    let here = ("VAULT_ADDR", "http://127.0.0.1:1");
    for (set, key, mentions) in [
        (&[here][..], "hashivault://p256", &["VAULT_TOKEN"][..]),
        (&[token], "hashivault://p256", &["VAULT_ADDR"]),
        (&[token, ("VAULT_ADDR", "http://203.0.113.7:8200")], "hashivault://p256", &["not encrypted", "https://"]),
        (&[token, here], "hashivault://../sys/seal", &["hashivault://NAME"]),
        (&[], "gcpkms://projects/x", &["no key service", "hashivault://"]),
        (&[], "awskms:///alias/x", &["AWS_REGION"]),
        (&[("AWS_REGION", "eu-central-1")], "awskms:///alias/x", &["AWS_ACCESS_KEY_ID"]),
    ] {
        let run = sign(directory.path(), set, key);
        run.is_one_clear_error(2, mentions);
        assert!(!run.stderr.contains(TOKEN));
    }
    let second = ["sign", "model", "--key", "k.pem", "--pq-key", "hashivault://pq"];
    let run = run(directory.path(), &[token, here], &second);
    assert!(run.code == 2 || run.code == 3, "{}", run.stderr);
    sign(directory.path(), &[token, here], "hashivault://p256").is_one_clear_error(3, &["127.0.0.1:1"]);
}

#[test]
fn only_the_authority_that_is_named_vouches_for_vault() {
    let port = tls::serve(None, b"not Vault");
    let address = format!("https://localhost:{port}");
    let directory = model();
    let authority = |name: &str| super::repository().join("testdata/tls").join(name).display().to_string();
    let sign_trusting = |file: &str| {
        let set = [("VAULT_ADDR", address.as_str()), ("VAULT_TOKEN", TOKEN), ("VAULT_CACERT", file)];
        sign(directory.path(), &set, "hashivault://p256")
    };
    sign_trusting(&authority("authority.pem")).is_one_clear_error(3, &["Vault answered 206"]);
    sign_trusting(&authority("unrelated.pem")).is_one_clear_error(3, &["no secure connection"]);
    sign_trusting("/nowhere.pem").is_one_clear_error(2, &["/nowhere.pem"]);
    // It is named for Vault alone, and the system's do not count beside it.
    let set = [
        ("VAULT_ADDR", address.as_str()),
        ("VAULT_TOKEN", TOKEN),
        ("VAULT_CACERT", &authority("unrelated.pem")),
        ("SSL_CERT_FILE", &authority("authority.pem")),
    ];
    sign(directory.path(), &set, "hashivault://p256").is_one_clear_error(3, &["no secure connection"]);
}
