//! Files of key-encryption keys: made, saved, and read whatever kind they are of.
//!
//! Keys of our own are PEM (RFC 7468): `CASEMATE AES-256 KEK`, `CASEMATE MLKEM768X25519 PRIVATE KEY` and `… PUBLIC KEY`. age
//! identities and recipients are read as `age-keygen` writes them. A private key that others may read is refused.

use std::path::Path;

use casemate_core::Secret;

use super::age::{AgeIdentity, AgeRecipient};
use super::hybrid::{HybridKey, HybridRecipient};
use super::local::LocalKey;
use super::wrap::{KeyWrapper, Recipient};
use crate::keys::{Error, pem, read, write_new};

const LOCAL: &str = "CASEMATE AES-256 KEK";
const HYBRID_PRIVATE: &str = "CASEMATE MLKEM768X25519 PRIVATE KEY";
const HYBRID_PUBLIC: &str = "CASEMATE MLKEM768X25519 PUBLIC KEY";
/// Most identities or recipients of one file.
const KEYS_MAX: usize = 64;

/// Longest key file that is looked at.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 10;

/// Writes an AES-256 key with mode 0600.
///
/// # Errors
/// Those of [`crate::keys::Error`]; an existing file is left as it is.
pub fn save_local(key: &LocalKey, path: &Path) -> Result<(), Error> {
    save(path, LOCAL, key.secret().expose(), 0o600)
}

/// Writes a hybrid key with mode 0600 and its public half, readable by all.
///
/// # Errors
/// Those of [`crate::keys::Error`]; existing files are left as they are.
pub fn save_hybrid(key: &HybridKey, private: &Path, public: &Path) -> Result<(), Error> {
    save(private, HYBRID_PRIVATE, key.to_bytes().expose(), 0o600)?;
    save(public, HYBRID_PUBLIC, &key.recipient().to_bytes(), 0o644)
}

fn save(path: &Path, label: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let text = Secret::new(pem::encode(bytes, label));
    write_new(path, text.expose().as_bytes(), mode)
}

/// The keys in the file at `path`: an AES-256 or hybrid key, or age identities.
///
/// # Errors
/// [`Error::Exposed`], [`Error::Malformed`] when it holds none, [`Error::Io`].
pub fn load_keys(path: &Path) -> Result<Vec<Box<dyn KeyWrapper>>, Error> {
    let text = Secret::new(read(path, true)?);
    match parse_keys(text.expose()) {
        keys if keys.is_empty() => Err(Error::Malformed {
            path: path.into(),
            expected: "a key-encryption key or an age identity; `casemate keygen --type aes-256-kek` makes one",
        }),
        keys => Ok(keys),
    }
}

/// The keys in `text`; none where it is anything else.
pub fn parse_keys(text: &[u8]) -> Vec<Box<dyn KeyWrapper>> {
    if let Some(bytes) = pem::decode(text, LOCAL).map(Secret::new) {
        let key = bytes.expose().as_slice().try_into().ok().map(|key| LocalKey::of(Secret::new(key)));
        return key.map(|key| Box::new(key) as Box<dyn KeyWrapper>).into_iter().collect();
    }
    if let Some(bytes) = pem::decode(text, HYBRID_PRIVATE).map(Secret::new) {
        let key = HybridKey::from_bytes(bytes.expose());
        return key.map(|key| Box::new(key) as Box<dyn KeyWrapper>).into_iter().collect();
    }
    let Ok(text) = std::str::from_utf8(text) else { return Vec::new() };
    let identities = lines(text).filter_map(AgeIdentity::parse).take(KEYS_MAX);
    identities.map(|identity| Box::new(identity) as Box<dyn KeyWrapper>).collect()
}

/// Whom the file at `path` names: a hybrid public key, age recipients, or a private key, whose holder can also wrap.
///
/// # Errors
/// [`Error::Malformed`] when it holds none, [`Error::Exposed`], [`Error::Io`].
pub fn load_recipients(path: &Path) -> Result<Vec<Box<dyn Recipient>>, Error> {
    let text = Secret::new(read(path, false)?);
    if let Some(bytes) = pem::decode(text.expose(), HYBRID_PUBLIC) {
        let malformed = || Error::Malformed { path: path.into(), expected: "an mlkem768x25519 public key" };
        return Ok(vec![Box::new(HybridRecipient::from_bytes(&bytes).ok_or_else(malformed)?)]);
    }
    let public = std::str::from_utf8(text.expose()).unwrap_or_default();
    let recipients: Vec<_> = lines(public).take(KEYS_MAX + 1).map(AgeRecipient::parse).collect();
    if !recipients.is_empty() && recipients.len() <= KEYS_MAX && recipients.iter().all(Option::is_some) {
        return Ok(recipients.into_iter().flatten().map(|one| Box::new(one) as Box<dyn Recipient>).collect());
    }
    if parse_keys(text.expose()).is_empty() {
        let expected = "a public key: an mlkem768x25519 public key or age recipients";
        return Err(Error::Malformed { path: path.into(), expected });
    }
    Ok(load_keys(path)?.into_iter().map(|key| Box::new(key) as Box<dyn Recipient>).collect())
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_kind_of_key_file_is_read_and_an_exposed_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let local = LocalKey::generate().unwrap();
        save_local(&local, &at("kek.pem")).unwrap();
        let hybrid = HybridKey::generate().unwrap();
        save_hybrid(&hybrid, &at("pq.pem"), &at("pq.pub.pem")).unwrap();
        let age = AgeIdentity::generate().unwrap();
        let text = format!("# public key: {}\n{}\n", age.recipient(), age.to_text().expose());
        write_new(&at("age.txt"), text.as_bytes(), 0o600).unwrap();
        std::fs::write(at("age.pub"), format!("# two\n{}\n\n{}\n", age.recipient(), age.recipient())).unwrap();
        let ids = |name: &str| load_keys(&at(name)).unwrap().iter().map(KeyWrapper::kek_id).collect::<Vec<_>>();
        assert_eq!(ids("kek.pem"), [KeyWrapper::kek_id(&local)]);
        assert_eq!(ids("pq.pem"), [KeyWrapper::kek_id(&hybrid)]);
        assert_eq!(ids("age.txt"), [KeyWrapper::kek_id(&age)]);
        for (name, count) in [("pq.pub.pem", 1), ("age.pub", 2), ("kek.pem", 1), ("age.txt", 1)] {
            assert_eq!(load_recipients(&at(name)).unwrap().len(), count, "{name}");
        }
        for name in ["pq.pub.pem", "age.pub"] {
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(0o600)).unwrap();
            assert!(matches!(load_keys(&at(name)), Err(Error::Malformed { .. })), "{name} opens nothing");
        }
        std::fs::set_permissions(at("kek.pem"), PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(load_keys(&at("kek.pem")), Err(Error::Exposed { .. })));
        assert!(matches!(load_recipients(&at("kek.pem")), Err(Error::Exposed { .. })));
        assert!(matches!(save_local(&local, &at("kek.pem")), Err(Error::Exists { .. })));
    }
}
