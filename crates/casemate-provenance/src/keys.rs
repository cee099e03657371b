//! Ed25519 keys: made, kept in PEM files, named by a hash.
//!
//! A private key that others on the machine can read signs for them too, so such a file is refused, not warned about.
//! Sources: RFC 8032 (Ed25519, by aws-lc-rs), RFC 8410 (PKCS#8 and SPKI forms), RFC 7468 (PEM). The keys that sign models
//! are in [`signing`]; these sign evidence and the ledger. [`attesting`] is where either will do.

pub mod attesting;
pub mod certificate;
pub(crate) mod der;
pub mod ml_dsa_44;
pub(crate) mod path;
mod pbes2;
pub(crate) mod pem;
pub mod signer;
pub mod signing;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use casemate_core::Secret;

use crate::hash;

/// A key file longer than this is no Ed25519 key.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// What stands before the 32 key bytes in an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key could not be made, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read or written.
    #[error("key file `{path}`: {source}")]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key is never overwritten: what it signed would lose its verifier.
    #[error("key file `{path}` exists and is not overwritten")]
    Exists {
        /// The key file.
        path: PathBuf,
    },
    /// Others on the machine may read the private key.
    #[error("private key `{path}` can be read by others (mode {mode:03o}): run `chmod 600 {path}`")]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not the PEM of an Ed25519 key.
    #[error("`{path}` is not {expected}")]
    Malformed {
        /// The key file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// An encrypted key without its password.
    #[error("private key `{path}` is encrypted: {}", if *.given { "the password does not open it" } else { "give its password" })]
    Password {
        /// The key file.
        path: PathBuf,
        /// Whether there was a password.
        given: bool,
    },
    /// The system gave no randomness.
    #[error("no key could be generated")]
    Generate,
    /// A key service did not do what it was asked.
    #[error("`{key}`: {what}")]
    Elsewhere {
        /// The key's address.
        key: String,
        /// What happened and what to do next, without anything secret.
        what: String,
    },
}

/// A private key and its public key.
#[derive(Debug)]
pub struct KeyPair {
    pair: Secret<Ed25519KeyPair>,
    public: PublicKey,
}

/// An Ed25519 public key: 32 bytes (RFC 8032, section 5.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl KeyPair {
    /// A new key from the system's random generator.
    ///
    /// # Errors
    /// [`Error::Generate`] when there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        let pair = Ed25519KeyPair::generate().map_err(|_| Error::Generate)?;
        Self::of(pair).ok_or(Error::Generate)
    }

    /// Reads a private key from the PKCS#8 PEM file at `path`.
    ///
    /// # Errors
    /// [`Error::Exposed`] on Unix when group or others have any permission on the file, [`Error::Malformed`] when it is
    /// not an unencrypted PKCS#8 Ed25519 key, [`Error::Io`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let malformed = || Error::Malformed { path: path.into(), expected: "an Ed25519 private key in PKCS#8 PEM" };
        let text = Secret::new(read(path, true)?);
        let der = Secret::new(pem::decode(text.expose(), "PRIVATE KEY").ok_or_else(malformed)?);
        let pair = Ed25519KeyPair::from_pkcs8(der.expose()).map_err(|_| malformed())?;
        Self::of(pair).ok_or_else(malformed)
    }

    /// Writes the private key as PKCS#8 PEM with mode 0600. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a file at `path`, which is left as it is; [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let der = self.pair.expose().to_pkcs8v1().map_err(|_| Error::Generate)?;
        let text = Secret::new(pem::encode(der.as_ref(), "PRIVATE KEY"));
        write_new(path, text.expose().as_bytes(), 0o600)
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The signature of `message`, 64 bytes (RFC 8032, section 5.1.6).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.expose().sign(message).as_ref().to_vec()
    }

    fn of(pair: Ed25519KeyPair) -> Option<Self> {
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { pair: Secret::new(pair), public })
    }
}

impl PublicKey {
    /// Reads a public key from the SPKI PEM file at `path`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not an Ed25519 public key, [`Error::Io`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let malformed = || Error::Malformed { path: path.into(), expected: "an Ed25519 public key in PEM" };
        Self::from_pem(&read(path, false)?).ok_or_else(malformed)
    }

    /// Writes the public key as SPKI PEM, readable by all. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a file at `path`, which is left as it is; [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_new(path, self.to_pem().as_bytes(), 0o644)
    }

    /// The key in SPKI PEM, as `openssl pkey -pubin` reads it.
    pub fn to_pem(&self) -> String {
        pem::encode(&[SPKI_PREFIX.as_slice(), &self.0].concat(), "PUBLIC KEY")
    }

    /// The key in SPKI PEM `text`, or `None` when it is anything else.
    pub fn from_pem(text: &[u8]) -> Option<Self> {
        let der = pem::decode(text, "PUBLIC KEY")?;
        Some(Self(der.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?))
    }

    /// The key's name: hexadecimal SHA-256 of its 32 bytes.
    pub fn key_id(&self) -> String {
        hash::sha256(&self.0).to_string()
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

pub(crate) fn read(path: &Path, private: bool) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io { path: path.into(), source };
    // Looked at before opening: opening a FIFO blocks until somebody writes.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let file = File::open(path).map_err(io)?;
    if private {
        refuse_exposed(path, &file.metadata().map_err(io)?)?;
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Error> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(Error::Exposed { path: path.into(), mode }),
    }
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Path, _: &std::fs::Metadata) -> Result<(), Error> {
    Ok(())
}

/// Writes a temporary file and links it to `path`: unlike a rename, a link fails where a file already is.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let unique = format!("tmp-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_added_extension(unique);
    let written = write_synced(&temporary, bytes, mode).and_then(|()| std::fs::hard_link(&temporary, path));
    // Only this call made the temporary file; when even that failed there may be nothing to remove.
    let _ = std::fs::remove_file(&temporary);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    written.and_then(|()| sync_directory(parent)).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.into() },
        _ => Error::Io { path: path.into(), source },
    })
}

fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes names in `directory` durable, where the system knows how.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(directory)?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_key_loads_and_signs_for_its_public_key() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("key.pem"), dir.path().join("key.pub.pem"));
        let pair = KeyPair::generate().unwrap();
        pair.save(&private).unwrap();
        pair.public().save(&public).unwrap();
        let signature = KeyPair::load(&private).unwrap().sign(b"message");
        let key = PublicKey::load(&public).unwrap();
        assert_eq!(key, pair.public());
        assert!(key.verifies(b"message", &signature));
        assert!(!key.verifies(b"massage", &signature));
        assert!(!KeyPair::generate().unwrap().public().verifies(b"message", &signature));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file stays");
        assert!(!format!("{pair:?}").contains("Ed25519KeyPair"));
    }

    #[test]
    fn openssl_keys_of_rfc_8410_are_read_and_written_alike() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        // RFC 8410, sections 10.3 and 10.1.
        let private = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        write_new(&path, private.as_bytes(), 0o600).unwrap();
        let pair = KeyPair::load(&path).unwrap();
        assert_eq!(pair.public().to_pem(), public);
        assert_eq!(PublicKey::from_pem(public.as_bytes()), Some(pair.public()));
        let again = dir.path().join("again.pem");
        pair.save(&again).unwrap();
        assert_eq!(std::fs::read_to_string(again).unwrap(), private);
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        std::fs::write(&path, "precious").unwrap();
        let pair = KeyPair::generate().unwrap();
        assert!(matches!(pair.save(&path), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[cfg(unix)]
    #[test]
    fn a_private_key_others_can_read_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        KeyPair::generate().unwrap().save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let message = KeyPair::load(&path).unwrap_err().to_string();
            assert!(message.contains(&format!("(mode {mode:o}): run `chmod 600 ")), "{message}");
        }
    }

    #[test]
    fn other_files_are_not_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        for text in ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let _ = std::fs::remove_file(&path);
            write_new(&path, text.as_bytes(), 0o600).unwrap();
            assert!(matches!(KeyPair::load(&path), Err(Error::Malformed { .. })), "{text}");
        }
        assert!(matches!(PublicKey::load(dir.path()), Err(Error::Io { .. })));
        assert!(matches!(KeyPair::load(&dir.path().join("none")), Err(Error::Io { .. })));
    }
}
