//! The inventory of cryptography: what is in use is listed, and what nobody knows is caught.

use std::fs;

use super::{casemate, example};

fn fact(project: &std::path::Path, name: &str) -> serde_json::Value {
    let records = casemate(project, &["ledger", "show", "--format", "json"]).stdout;
    let last = records.lines().rfind(|line| line.contains("provenance.crypto-inventory")).unwrap().to_owned();
    serde_json::from_str::<serde_json::Value>(&last).unwrap()["evidence"]["facts"][name].clone()
}

#[test]
fn every_key_and_algorithm_is_listed_with_its_name() {
    let digits = example("digits");
    casemate(digits.path(), &["check", "-q"]);
    let run = casemate(digits.path(), &["crypto", "inventory"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for listed in ["ed25519", "sha-256", "x25519mlkem768", "aes-256-gcm", "hmac-sha-256", "0 unlisted"] {
        assert!(run.stdout.contains(listed), "{listed}: {}", run.stdout);
    }
    assert!(run.stdout.contains("connections prefer a hybrid key exchange: yes"), "{}", run.stdout);
    assert!(run.stdout.contains("signatures of every declared model are hybrid: no"), "{}", run.stdout);
    let told = casemate(digits.path(), &["crypto", "inventory", "--format", "json"]).json();
    let keys = told["uses"].as_array().unwrap().iter().filter(|one| one["has_key"] == true);
    assert!(keys.clone().count() >= 4 && keys.clone().all(|one| one["key_id"].is_string()), "{told}");
    let csv = casemate(digits.path(), &["crypto", "inventory", "--format", "csv"]).stdout;
    assert!(csv.starts_with("algorithm,quantum_safe,standard,purpose,key_id,place\r\n"), "{csv}");
    assert_eq!((fact(digits.path(), "uses_unlisted"), fact(digits.path(), "keys_without_id")), (0.into(), 0.into()));
    assert_eq!(fact(digits.path(), "self_test_caught"), 2);
    assert!(fact(digits.path(), "waiver_active").is_null(), "a waiver is no finding");
}

#[test]
fn a_model_with_both_signatures_is_hybrid_and_one_that_lost_either_is_not() {
    let digits = example("digits");
    let path = digits.path();
    casemate(path, &["keygen", "-o", "release.pem"]);
    casemate(path, &["keygen", "--type", "ml-dsa-65", "-o", "pq.pem"]);
    let config = fs::read_to_string(path.join("casemate.toml")).unwrap();
    let config = config.replacen("stage = \"staged\"", "signature = \"model.sig\"\nstage = \"staged\"", 1);
    let trust = "\n[trust]\nkeys = [\"release.pub.pem\"]\npq_key = \"pq.pub.pem\"\n";
    fs::write(path.join("casemate.toml"), config + trust).unwrap();
    let hybrid = |sign: &[&str]| {
        let signed =
            casemate(path, &[&["sign", "model", "--key", "release.pem", "--signature", "model.sig"], sign].concat());
        assert_eq!(signed.code, 0, "{}", signed.stderr);
        let told = casemate(path, &["crypto", "inventory", "--format", "json"]);
        assert_eq!(told.code, 0, "{}", told.stderr);
        let told = told.json();
        assert!(told["uses"].to_string().contains("signs model digits"), "{told}");
        told["signatures_hybrid"].as_bool().unwrap()
    };
    assert!(hybrid(&["--pq-key", "pq.pem"]));
    casemate(path, &["check", "-q"]);
    assert_eq!(fact(path, "signatures_hybrid"), true);
    let explained = casemate(path, &["controls", "explain", "GOV-12"]).stdout;
    assert!(explained.contains("pass"), "{explained}");
    fs::remove_file(path.join("model.sig")).unwrap();
    assert!(!hybrid(&[]));
    // A second signature that is only claimed: the bytes are there and do not verify.
    fs::remove_file(path.join("model.sig")).unwrap();
    casemate(path, &["keygen", "--type", "ml-dsa-65", "-o", "other.pem"]);
    assert!(!hybrid(&["--pq-key", "other.pem"]));
}

#[test]
fn a_key_of_another_kind_fails_the_control() {
    let digits = example("digits");
    casemate(digits.path(), &["check", "-q"]);
    fs::write(
        digits.path().join(".casemate/keys/legacy.pub.pem"),
        "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n",
    )
    .unwrap();
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    assert_eq!((fact(digits.path(), "uses_unlisted"), fact(digits.path(), "keys_without_id")), (1.into(), 1.into()));
    let told = casemate(digits.path(), &["crypto", "inventory"]).stdout;
    assert!(told.contains("UNLISTED") && told.contains("keys/legacy.pub.pem"), "{told}");
}
