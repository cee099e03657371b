//! The same model again and again: a look tells whether anything changed, and only what changed is read again.
//!
//! The threat is a file replaced while a model is in use. What tells is the stamp: inode, size, and both times to the
//! nanosecond, the second of which no program may set. A clock that was turned back, or a disk written to underneath its file
//! system, leaves stamps alone; so every digest is forgotten after a while ([`Remembered::forget`]) and read anew.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Entry, Error, Listing, Manifest, Stamp, hashing};
use crate::hash::{HashChoice, Hashes};

/// A stamp this young may hide a second change within the same tick of a coarse clock.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Names, places and stamps of a model's files at one moment; two that are equal saw the same files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    files: Vec<(String, PathBuf, Stamp)>,
}

impl Look {
    /// Looks at the directory or single file `root` without reading what its files hold.
    ///
    /// # Errors
    /// [`Error`] names the first path that cannot be part of a manifest.
    pub fn at(root: &Path) -> Result<Self, Error> {
        let listing = Listing::of_path(root)?;
        let files = listing.files.into_iter().map(|(name, path)| stamp(&path).map(|stamp| (name, path, stamp)));
        Ok(Self { files: files.collect::<Result<_, _>>()? })
    }

    /// Whether nobody wrote to any of the files for a moment: a file that is being written is not worth reading yet.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        self.files.iter().all(|(_, _, stamp)| stamp.is_settled(now, SETTLED_AFTER))
    }
}

/// What earlier manifests of the same files were made of.
#[derive(Debug, Default)]
pub struct Remembered {
    files: HashMap<PathBuf, Known>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    hashes: Hashes,
    hashed_at: SystemTime,
    was_settled: bool,
}

impl Remembered {
    /// The manifest of `root` as [`Manifest::of_path`] makes it, reading only files whose stamps are not those they were last
    /// read under.
    ///
    /// # Errors
    /// Those of [`Manifest::of_path`].
    pub fn manifest(
        &mut self,
        root: &Path,
        now: SystemTime,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Manifest, Error> {
        let listing = Listing::of_path(root)?;
        let there: HashSet<&PathBuf> = listing.files.iter().map(|(_, path)| path).collect();
        self.files.retain(|path, _| there.contains(path));
        let stamps = listing.files.iter().map(|(_, path)| stamp(path)).collect::<Result<Vec<_>, _>>()?;
        let pairs = listing.files.iter().zip(&stamps);
        let to_read: HashSet<&str> =
            pairs.filter(|((_, path), stamp)| !self.holds(path, stamp)).map(|((name, _), _)| name.as_str()).collect();
        let wanted = |name: &str| to_read.contains(name);
        let read = hashing::hash_files(&listing.files, HashChoice::Sha256AndBlake3, &wanted, None, progress)?;
        for ((_, path), read) in listing.files.iter().zip(read) {
            let Some((hashes, stamp)) = read else { continue };
            let was_settled = stamp.is_settled(now, SETTLED_AFTER);
            self.files.insert(path.clone(), Known { stamp, hashes, hashed_at: now, was_settled });
        }
        let mut entries = Vec::with_capacity(listing.files.len());
        for (name, path) in &listing.files {
            let known = self.files.get(path).map(|known| &known.hashes);
            // Both hashes were asked for, of every file.
            let Some(Hashes { size_bytes, sha256: Some(sha256), blake3: Some(blake3) }) = known else { continue };
            entries.push(Entry { path: name.clone(), size_bytes: *size_bytes, sha256: *sha256, blake3: *blake3 });
        }
        let Listing { name, skipped, collisions, .. } = listing;
        Ok(Manifest { name, entries, skipped, collisions })
    }

    /// Forgets files read before `before`, the oldest first, until `bytes_max` are to be read again; one file at least.
    /// Returns how many were forgotten.
    pub fn forget(&mut self, before: SystemTime, bytes_max: u64) -> usize {
        let mut old: Vec<_> = self.files.iter().filter(|(_, known)| known.hashed_at < before).collect();
        old.sort_by_key(|(_, known)| known.hashed_at);
        let mut bytes = 0_u64;
        let mut paths = HashSet::new();
        for (path, known) in old {
            bytes = bytes.saturating_add(known.hashes.size_bytes);
            if bytes > bytes_max && !paths.is_empty() {
                break;
            }
            paths.insert(path.clone());
        }
        self.files.retain(|path, _| !paths.contains(path));
        paths.len()
    }

    /// Whether a file was read so soon after it was written that its stamp may hide another change.
    pub fn is_unsettled(&self) -> bool {
        self.files.values().any(|known| !known.was_settled)
    }

    fn holds(&self, path: &Path, stamp: &Stamp) -> bool {
        self.files.get(path).is_some_and(|known| known.was_settled && known.stamp == *stamp)
    }
}

fn stamp(path: &Path) -> Result<Stamp, Error> {
    let metadata =
        std::fs::symlink_metadata(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    Ok(Stamp::of(&metadata))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// Bytes read for the manifest of `root`, and its digest.
    fn read(remembered: &mut Remembered, root: &Path, now: SystemTime) -> (u64, casemate_core::Digest) {
        let bytes = AtomicU64::new(0);
        let count = |done| {
            bytes.fetch_max(done, Relaxed);
        };
        let manifest = remembered.manifest(root, now, &count).unwrap();
        (bytes.into_inner(), manifest.digest())
    }

    #[test]
    fn only_what_changed_is_read_again_and_the_manifest_is_the_same_as_ever() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::write(root.join("a"), vec![1; 1000]).unwrap();
        fs::write(root.join("b"), vec![2; 10]).unwrap();
        let plain = || Manifest::of_path(root, &|_| ()).unwrap().digest();
        let mut remembered = Remembered::default();
        let later = SystemTime::now() + Duration::from_secs(10);
        assert_eq!(read(&mut remembered, root, later), (1010, plain()));
        assert_eq!(read(&mut remembered, root, later), (0, plain()));
        let before = Look::at(root).unwrap();
        fs::write(root.join("b"), vec![3; 10]).unwrap();
        assert_ne!(Look::at(root).unwrap(), before, "a rewrite of the same length shows");
        assert_eq!(read(&mut remembered, root, later), (10, plain()));
        fs::remove_file(root.join("a")).unwrap();
        assert_eq!(read(&mut remembered, root, later), (0, plain()));
    }

    #[test]
    fn a_file_read_right_after_it_was_written_is_read_again_and_so_is_an_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["a", "b", "c"] {
            fs::write(root.join(name), vec![1; 100]).unwrap();
        }
        let mut remembered = Remembered::default();
        let now = SystemTime::now();
        assert_eq!(read(&mut remembered, root, now).0, 300);
        assert!(remembered.is_unsettled() && !Look::at(root).unwrap().is_settled(now));
        let later = now + Duration::from_secs(10);
        assert!(Look::at(root).unwrap().is_settled(later));
        assert_eq!(read(&mut remembered, root, later).0, 300);
        assert!(!remembered.is_unsettled());
        assert_eq!(remembered.forget(later, 150), 0, "nothing is older");
        let old = later + Duration::from_secs(1);
        assert_eq!((remembered.forget(old, 1), remembered.forget(old, 250)), (1, 2), "one at least, the rest by bytes");
        assert_eq!(read(&mut remembered, root, old).0, 300);
    }
}
