//! Lists in shards: those that are all of a file, and every way not to be.

use std::fs;
use std::path::Path;

use super::super::compare::{CompareSettings, Comparison, compare};
use super::super::payload::Signed;
use super::*;
use crate::sha256;

/// A payload as the reference writes it, over these shards of these contents.
fn payload(shards: &[(&str, &str, &[u8])], shard_size: &str) -> String {
    let digests: Vec<u8> = shards.iter().flat_map(|(_, _, bytes)| sha256(bytes).0).collect();
    let one = |(name, algorithm, bytes): &(&str, &str, &[u8])| {
        format!(r#"{{"name":{name:?},"algorithm":"{algorithm}","digest":"{}"}}"#, sha256(bytes))
    };
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"m","digest":{{"sha256":"{}"}}}}],
        "predicateType":"https://model_signing/signature/v1.0","predicate":{{"resources":[{}],"serialization":
        {{"ignore_paths":[".git"],"method":"shards","allow_symlinks":false,"shard_size":{shard_size},"hash_type":"sha256"}}}}}}"#,
        sha256(&digests),
        shards.iter().map(one).collect::<Vec<_>>().join(",")
    )
}

fn parsed(shards: &[(&str, &str)], shard_size: &str) -> Result<Signed, Error> {
    let shards: Vec<_> = shards.iter().map(|(name, algorithm)| (*name, *algorithm, &b"x"[..])).collect();
    Signed::parse(payload(&shards, shard_size).as_bytes(), false)
}

fn compared(signed: &Signed, root: &Path) -> Comparison {
    let settings =
        CompareSettings { partial: &[], signature_names: &[], is_loadable: &|_| false, known: None, progress: &|_| () };
    compare(signed, root, &settings).unwrap()
}

const FOUR: &str = "sha256-sharded-4";

#[test]
fn a_file_is_as_signed_when_all_its_shards_are_and_nothing_follows() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let shards: [(&str, &str, &[u8]); 5] = [
        ("a:0:4", FOUR, b"0123"),
        ("a:4:8", FOUR, b"4567"),
        ("a:8:9", FOUR, b"8"),
        ("b:c:0:4", FOUR, b"full"),
        ("d:0:1", FOUR, b"d"),
    ];
    let signed = Signed::parse(payload(&shards, "4.0").as_bytes(), false).unwrap();
    let write = |name: &str, contents: &str| fs::write(root.join(name), contents).unwrap();
    let good = [("a", "012345678"), ("b:c", "full"), ("d", "d")];
    good.iter().for_each(|(name, contents)| write(name, contents));
    let comparison = compared(&signed, root);
    assert_eq!((comparison.equal, comparison.holds()), (3, true), "{comparison:?}");
    for bad in ["012345679", "112345678", "01234567", "0123456789", "012345678\0\0\0", "456701238", ""] {
        write("a", bad);
        assert_eq!(compared(&signed, root).changed, ["a"], "{bad}");
    }
    write("a", "012345678");
    write("empty", "");
    assert_eq!(compared(&signed, root).added, ["empty"], "no shard covers it");
    fs::remove_file(root.join("empty")).unwrap();
    fs::remove_file(root.join("d")).unwrap();
    assert_eq!(compared(&signed, root).missing, ["d"]);
}

#[test]
fn shards_that_are_not_all_of_a_file_are_malformed() {
    parsed(&[("a:0:4", FOUR), ("a:4:5", FOUR)], "4").unwrap();
    for (names, why) in [
        (&["a:4:8"][..], "the beginning is missing"),
        (&["a:0:4", "a:8:12"], "a gap"),
        (&["a:0:4", "a:3:7"], "an overlap"),
        (&["a:0:3", "a:3:6"], "a short shard before the last"),
        (&["a:0:5"], "a shard too long"),
        (&["a:0:0"], "an empty shard"),
        (&["a:4:0"], "the end before the start"),
        (&["a:0:4", "a:4:6", "a:6:8"], "a shard after the last"),
    ] {
        let shards: Vec<_> = names.iter().map(|name| (*name, FOUR)).collect();
        assert!(parsed(&shards, "4").unwrap_err().to_string().contains("gap or overlaps"), "{why}");
    }
    for names in [&["a:0:4", "b:0:4", "a:4:8"][..], &["a:0:4", "a:0:4"], &["a:0:4", "b:0:4", "a:0:4"]] {
        let shards: Vec<_> = names.iter().map(|name| (*name, FOUR)).collect();
        let message = parsed(&shards, "4").unwrap_err().to_string();
        assert!(message.contains("gap or overlaps") || message.contains("named twice"), "{names:?}: {message}");
    }
}

#[test]
fn names_and_sizes_have_one_spelling() {
    for name in ["a", "a:0", "a:00:4", "a:0:04", "a:+0:4", "a: 0:4", "a:0:4x", "a:0:99999999999999999999", ":0:4:"] {
        assert!(parsed(&[(name, FOUR)], "4").unwrap_err().to_string().contains("path:start:end"), "{name}");
    }
    for name in ["../a:0:4", "/a:0:4", "./a:0:4", ":0:4", "a//b:0:4"] {
        assert!(parsed(&[(name, FOUR)], "4").unwrap_err().to_string().contains("the name"), "{name}");
    }
    for (algorithm, declared) in [
        ("sha256", "4"),
        ("sha256-sharded-0", "0"),
        ("sha256-sharded-04", "4"),
        ("sha512-sharded-4", "4"),
        (FOUR, "5"),
        (FOUR, "4.5"),
        (FOUR, "null"),
    ] {
        let message = parsed(&[("a:0:4", algorithm)], declared).unwrap_err().to_string();
        assert!(message.contains("sha256-sharded") || message.contains("size of its shards"), "{algorithm}: {message}");
    }
    assert!(parsed(&[("a:0:4", FOUR), ("b:0:4", "sha256-sharded-5")], "4").is_err());
    assert!(parsed(&[], "4").is_err());
}

#[test]
fn a_list_in_shards_is_never_written() {
    let signed = parsed(&[("a:0:4", FOUR)], "4").unwrap();
    let key = crate::keys::signing::SigningKey::generate(crate::keys::signing::KeyType::EcdsaP256).unwrap();
    let with = super::super::SignWith { key: &key, pq_key: None, certificates: &[] };
    assert!(super::super::sign(signed, with).unwrap_err().to_string().contains("never written"));
}
