//! What one run keeps for the next, so that nobody else's is believed.
//!
//! Entries lie under `cache/` of the project's state, one file each, found under a digest of what they are about. Each is
//! authenticated with a key of this very state ([`MacKey`]) and bound to what it is about, so neither an edited entry, nor one
//! put in another's place, nor one that came with a repository is believed. Entries are written beside their place and renamed:
//! runs may overlap, and everything may be deleted at any time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use casemate_core::{Digest, FileSource, Source as _, SourceExt as _};
use casemate_provenance::files::{create_anew, open_lock};
use casemate_provenance::{MacKey, sha256};

/// Entries of one sort.
pub(super) struct Store {
    pub(super) directory: PathBuf,
    key: MacKey,
    entry_bytes_max: u64,
    written: AtomicU64,
}

/// What was found under a name.
pub(super) enum Kept {
    /// Nothing.
    Nothing,
    /// Something that is not believed.
    Disbelieved,
    /// The bytes that were kept.
    Bytes(Vec<u8>),
}

/// How much is kept.
pub(super) struct Bound {
    pub(super) entries: usize,
    pub(super) bytes: u64,
}

impl Store {
    /// The entries called `name` of a state directory. One larger than `entry_bytes_max` is neither written nor read.
    pub(super) fn open(state: &Path, name: &str, entry_bytes_max: u64) -> Result<Self, String> {
        let directory = state.join("cache").join(name);
        for path in [state, &state.join("keys"), &state.join("cache"), &directory] {
            if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(format!("`{}` is a link", path.display()));
            }
        }
        fs::create_dir_all(&directory).map_err(|error| format!("`{}`: {error}", directory.display()))?;
        // Two first runs at once must end up with one key.
        let lock = open_lock(&state.join("create.lock")).map_err(|error| error.to_string())?;
        lock.lock().map_err(|error| error.to_string())?;
        let key = MacKey::load_or_create(&state.join("keys").join("cache.key")).map_err(|error| error.to_string())?;
        Ok(Self { directory, key, entry_bytes_max, written: AtomicU64::default() })
    }

    /// What an earlier run kept about this.
    pub(super) fn get(&self, about: Digest) -> Kept {
        let Ok(source) = FileSource::open(&self.directory.join(about.to_string())) else { return Kept::Nothing };
        self.believed(&source, about).map_or(Kept::Disbelieved, Kept::Bytes)
    }

    fn believed(&self, source: &FileSource, about: Digest) -> Option<Vec<u8>> {
        if source.size_bytes() > self.entry_bytes_max {
            return None;
        }
        let mut bytes = source.bytes_at(0, self.entry_bytes_max).ok()?;
        let (tag, body) = bytes.split_at_checked(64)?;
        let tag: Digest = std::str::from_utf8(tag).ok()?.parse().ok()?;
        self.key.verifies(&sealed(about, body), &tag).then(|| bytes.split_off(64))
    }

    /// Keeps `body` about this; says whether it was. What cannot be kept is worked out again next time.
    pub(super) fn put(&self, about: Digest, body: &[u8]) -> bool {
        let mut bytes = self.key.tag(&sealed(about, body)).to_string().into_bytes();
        bytes.extend(body);
        if bytes.len() as u64 > self.entry_bytes_max {
            return false;
        }
        let n = self.written.fetch_add(1, Relaxed);
        let temporary = self.directory.join(format!("{}-{n}.tmp", std::process::id()));
        let written = create_anew(&temporary)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
            .and_then(|()| fs::rename(&temporary, self.directory.join(about.to_string())));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.is_ok()
    }

    /// Removes the oldest entries until three quarters of the bound are left, where it is passed.
    pub(super) fn evict(&self, bound: &Bound) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        if files.len() <= bound.entries && bytes <= bound.bytes {
            return;
        }
        files.sort();
        let mut left = files.len();
        for (_, size, path) in files {
            if left <= bound.entries / 4 * 3 && bytes <= bound.bytes / 4 * 3 {
                return;
            }
            // Another run may have removed it already.
            let _ = fs::remove_file(path);
            left -= 1;
            bytes -= size;
        }
    }

    /// Removes every entry.
    pub(super) fn clear(&self) {
        self.evict(&Bound { entries: 0, bytes: 0 });
    }
}

/// The digest of all parts, each behind its length.
pub(super) fn digest(parts: &[&[u8]]) -> Digest {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    sha256(&bytes)
}

fn sealed(about: Digest, body: &[u8]) -> Vec<u8> {
    [about.0.as_slice(), body].concat()
}
