//! Keyed tags over what this machine wrote for itself, so that it believes nobody else's.
//!
//! The key lies in a file of mode 0600, and a tag is bound to that very file: its inode and the time its inode last changed,
//! which no archive and no clone can choose. A key that came with a repository is then a key nothing was ever written under,
//! whatever came with it. Copying or restoring the state has the same effect, and costs no more than doing the work again.
//! Source: RFC 2104 (HMAC, by aws-lc-rs with SHA-256).

use std::path::Path;

use aws_lc_rs::{hmac, rand};
use casemate_core::{Digest, Secret};

use crate::keys::{self, Error};

/// A key for tags.
pub struct MacKey(Secret<hmac::Key>);

impl MacKey {
    /// The key in the file at `path`; makes a new one where there is none.
    ///
    /// # Errors
    /// [`Error::Exposed`] when others have any permission on it, [`Error::Malformed`] when it is no such key,
    /// [`Error::Generate`], [`Error::Io`]; always on systems that do not say when an inode changed.
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            let mut bytes = [0; 32];
            rand::fill(&mut bytes).map_err(|_| Error::Generate)?;
            let text = Secret::new(format!("{}\n", Digest(bytes)));
            match keys::write_new(path, text.expose().as_bytes(), 0o600) {
                // Somebody else was first, and theirs is as good.
                Ok(()) | Err(Error::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let text = Secret::new(keys::read(path, true)?);
        let malformed = || Error::Malformed { path: path.into(), expected: "a key of 64 hexadecimal digits" };
        let word = std::str::from_utf8(text.expose()).map_err(|_| malformed())?.trim_end();
        let key: Digest = word.parse().map_err(|_| malformed())?;
        let whole = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
        let bound = hmac::sign(&whole, &place(path)?);
        Ok(Self(Secret::new(hmac::Key::new(hmac::HMAC_SHA256, bound.as_ref()))))
    }

    /// The tag of `message`.
    pub fn tag(&self, message: &[u8]) -> Digest {
        let tag = hmac::sign(self.0.expose(), message);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Digest(bytes)
    }

    /// Whether `tag` is this key's tag of `message`; takes as long for every wrong one.
    pub fn verifies(&self, message: &[u8], tag: &Digest) -> bool {
        hmac::verify(self.0.expose(), message, &tag.0).is_ok()
    }
}

/// What only this very file has.
#[cfg(unix)]
fn place(path: &Path) -> Result<Vec<u8>, Error> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).map_err(|source| Error::Io { path: path.into(), source })?;
    let mut bytes = b"casemate-mac-v1\0".to_vec();
    bytes.extend(metadata.ino().to_be_bytes());
    bytes.extend(metadata.ctime().to_be_bytes());
    bytes.extend(metadata.ctime_nsec().to_be_bytes());
    Ok(bytes)
}

#[cfg(not(unix))]
fn place(path: &Path) -> Result<Vec<u8>, Error> {
    let source = std::io::Error::new(std::io::ErrorKind::Unsupported, "this system does not say when an inode changed");
    Err(Error::Io { path: path.into(), source })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_tag_holds_for_its_message_and_for_its_key_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mac.key");
        let tag = MacKey::load_or_create(&path).unwrap().tag(b"message");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = MacKey::load_or_create(&path).unwrap();
        assert!(again.verifies(b"message", &tag));
        assert!(!again.verifies(b"massage", &tag));
        // What an archive or a clone brings: the same bytes in another file.
        let copy = directory.path().join("copy.key");
        std::fs::copy(&path, &copy).unwrap();
        assert!(!MacKey::load_or_create(&copy).unwrap().verifies(b"message", &tag));
        std::fs::rename(&copy, &path).unwrap();
        assert!(!MacKey::load_or_create(&path).unwrap().verifies(b"message", &tag));
    }

    #[test]
    fn a_key_others_can_read_and_a_file_that_is_none_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mac.key");
        MacKey::load_or_create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(MacKey::load_or_create(&path), Err(Error::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short\n").unwrap();
        assert!(matches!(MacKey::load_or_create(&path), Err(Error::Malformed { .. })));
    }
}
