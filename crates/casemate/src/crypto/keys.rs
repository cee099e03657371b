//! Key files: of which kind, and whose. Public halves are read; a private key is opened only where its public half is missing.

use std::collections::BTreeMap;
use std::path::Path;

use casemate_provenance::keys::ml_dsa_44::{self, MlDsa44Pair};
use casemate_provenance::keys::signing::{SigningKey, VerifyingKey};
use casemate_provenance::{KeyPair, PublicKey};

use super::{CryptoInventory, Use, shown};
use crate::small_file;

/// Files looked at in one directory, and bytes of each.
const FILES_MAX: usize = 1000;
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A public key of a kind that is not listed: RSA, 1024 bits, made for the purpose; nobody has its private half.
const PLANTED: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQD01j3+hmGvfRfEFXzeA4C784Ww
8w2Jvr1azOtzNqoFxPHHrFYnYeaXwSClkFYejs5KfhXVWNMPBZW7I95Wv9x9pfXc
uTpWRVKRRInxdFyC8cKUWpxrbKCdupHL/N4ZCb/vtM2S+6Ra/Z2lsuKO1Fozmo6X
NmPcy/4dTUHUl4KH0wIDAQAB
-----END PUBLIC KEY-----
";

/// Adds every key in `directory`.
pub(super) fn in_directory(directory: &Path, found: &mut CryptoInventory) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => return found.unread.push(format!("`{}`: {error}", directory.display())),
    };
    let mut texts = BTreeMap::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if texts.len() == FILES_MAX {
            found.unread.push(format!("`{}` holds more than {FILES_MAX} files", directory.display()));
            break;
        }
        match small_file::bytes(&path, FILE_BYTES_MAX) {
            Ok(bytes) => drop(texts.insert(shown(&path), bytes)),
            Err(why) => found.unread.push(why),
        }
    }
    let opened = |name: &str| private_key(&directory.join(name));
    found.uses.extend(texts.keys().filter_map(|name| of_file(name, &texts, &opened)));
}

/// What a directory with the planted key among good ones gives.
pub(super) fn planted() -> CryptoInventory {
    let texts = BTreeMap::from([("planted.pub.pem".to_owned(), PLANTED.as_bytes().to_vec())]);
    let uses = texts.keys().filter_map(|name| of_file(name, &texts, &|_| None)).collect();
    CryptoInventory { uses, ..CryptoInventory::default() }
}

/// The use of the key in the file `name`; nothing for a public half whose private one is there and speaks for both.
fn of_file(
    name: &str,
    texts: &BTreeMap<String, Vec<u8>>,
    opened: &dyn Fn(&str) -> Option<(String, String)>,
) -> Option<Use> {
    let place = format!("keys/{name}");
    let text = texts.get(name)?;
    // The key of the cache of verdicts: 32 bytes in hexadecimal, bound to this machine and never told to anybody.
    if name == "cache.key" {
        let one = Use::new("authenticates cached verdicts", "hmac-sha-256", &place);
        return Some(one.with_key(Some("local:cache.key".into())));
    }
    if let Some(private) = name.strip_suffix(".pub.pem") {
        if texts.contains_key(&format!("{private}.pem")) {
            return None;
        }
        return Some(named("public key", &place, public_key(text)));
    }
    let public = name.strip_suffix(".pem").and_then(|stem| texts.get(&format!("{stem}.pub.pem")));
    let key = public.and_then(|text| public_key(text)).or_else(|| opened(name)).or_else(|| public_key(text));
    Some(named(&format!("private key {}", name.trim_end_matches(".pem")), &place, key))
}

fn named(purpose: &str, place: &str, key: Option<(String, String)>) -> Use {
    match key {
        Some((algorithm, id)) => Use::new(purpose, &algorithm, place).with_key(Some(id)),
        None => Use::new(purpose, "not known", place).with_key(None),
    }
}

/// Kind and name of a public key in PEM.
fn public_key(text: &[u8]) -> Option<(String, String)> {
    if let Some(key) = PublicKey::from_pem(text) {
        return Some(("ed25519".into(), format!("ed25519:{}", key.key_id())));
    }
    if let Some(key) = VerifyingKey::from_pem(text) {
        return Some((key.key_type.as_str().into(), key.key_id()));
    }
    ml_dsa_44::public_from_pem(text).map(|key| ("ml-dsa-44".into(), ml_dsa_44::key_id(&key)))
}

/// Kind and name of a private key without a public half beside it.
fn private_key(path: &Path) -> Option<(String, String)> {
    if let Ok(pair) = KeyPair::load(path) {
        return Some(("ed25519".into(), format!("ed25519:{}", pair.public().key_id())));
    }
    if let Ok(key) = SigningKey::load(path, None) {
        return Some((key.key_type().as_str().into(), key.public().key_id()));
    }
    MlDsa44Pair::load(path).ok().map(|pair| ("ml-dsa-44".into(), ml_dsa_44::key_id(pair.public())))
}
