//! The manifest of a model: every file with its size and hashes, and from it the model's identity.
//!
//! Two models with the same contents under other names are two models: the subject digest of OpenSSF Model Signing v1.0
//! binds contents alone, so it is never used as an id here. Finding the files is left to [`walk`]; signatures over a
//! manifest are left to other modules. Unicode normalisation of names is not folded, only case.

mod again;
mod hashing;
mod stamp;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use casemate_core::Digest;
use serde::{Deserialize, Serialize};

use crate::digests::KnownDigests;
use crate::hash::{self, HashChoice, Hashes};
pub use stamp::Stamp;

pub use again::{Look, Remembered};

/// Files a manifest may list.
pub const ENTRIES_MAX: usize = 1 << 20;
/// Directories a file may lie deep.
pub const DEPTH_MAX: usize = 128;

/// Opens the canonical form under [`Manifest::digest`]; a change of the form changes it.
const DOMAIN: &[u8] = b"casemate-manifest-v1\0";

/// All files of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the directory or file, for people; not part of the identity.
    pub name: String,
    /// The files, sorted by path components.
    pub entries: Vec<Entry>,
    /// What lies under the root and is not covered.
    pub skipped: Vec<Skipped>,
    /// Names that are one name where case does not count.
    pub collisions: Vec<Collision>,
}

/// A manifest with the means to tell whether it still holds: what was judged meanwhile is what was hashed.
#[derive(Debug)]
pub struct Snapshot {
    /// The manifest.
    pub manifest: Manifest,
    root: PathBuf,
    files: Vec<(String, PathBuf)>,
    stamps: Vec<Stamp>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the root, `/` between components; `.` for a model that is a single file.
    pub path: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the contents.
    pub sha256: Digest,
    /// BLAKE3 of the contents.
    pub blake3: Digest,
}

/// Something under the root that is not part of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Relative to the root; everything below is skipped too.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Two names of files or directories that differ in case alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collision {
    /// The first in the order of the manifest.
    pub path: String,
    /// The other.
    pub other: String,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read.
    #[error("`{path}` cannot be read: {source}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that is not UTF-8 has no single spelling in a manifest.
    #[error("`{path}` has a name that is not UTF-8")]
    NameNotUtf8 {
        /// The name, lossily shown.
        path: PathBuf,
    },
    /// A backslash separates components on some systems.
    #[error("`{path}` has a backslash in its name, which is another path on other systems")]
    NameWithBackslash {
        /// Which one.
        path: PathBuf,
    },
    /// A socket, FIFO or device.
    #[error("`{path}` is neither a file nor a directory")]
    SpecialFile {
        /// Which one.
        path: PathBuf,
    },
    /// A symbolic link whose target lies outside the model.
    #[error("symbolic link `{path}` points outside the model, to `{target}`")]
    LinkLeavesRoot {
        /// The link.
        path: PathBuf,
        /// Where it ends.
        target: PathBuf,
    },
    /// A symbolic link that leads back to itself or to a directory it lies in.
    #[error("symbolic link `{path}` loops")]
    LinkLoops {
        /// The link.
        path: PathBuf,
    },
    /// The file was written to while it was hashed.
    #[error("`{path}` changed while it was looked at; run again when nothing writes to it")]
    Changed {
        /// Which one.
        path: PathBuf,
    },
    /// A file whose contents are others than those it was remembered with, though its size, times and inode are the same.
    #[error(
        "`{path}`{} has other contents than when it was last read, behind the same size, times and inode",
        and_more(*more)
    )]
    ChangedUnseen {
        /// The first.
        path: PathBuf,
        /// How many others.
        more: usize,
    },
    /// No file at all: an empty manifest would match any directory.
    #[error("`{path}` holds no files")]
    Empty {
        /// The root.
        path: PathBuf,
    },
    /// More files than [`ENTRIES_MAX`].
    #[error("`{path}` holds more than {max} files")]
    TooManyFiles {
        /// The root.
        path: PathBuf,
        /// The limit.
        max: usize,
    },
    /// Deeper than [`DEPTH_MAX`].
    #[error("`{path}` lies deeper than {max} directories")]
    TooDeep {
        /// The first directory beyond the limit.
        path: PathBuf,
        /// The limit.
        max: usize,
    },
}

impl Manifest {
    /// The manifest of the directory or single file `root`.
    ///
    /// `.git` and `.casemate` directly under the root are left out and named in `skipped`. A symbolic link that stays
    /// inside the root is followed and listed under its own name. Files are hashed in parallel, each thread holding
    /// 256 KiB; beyond that, memory is the list of names and 4 MiB. `progress` gets the bytes hashed so far over all files.
    ///
    /// # Errors
    /// [`Error`] names the first path that cannot be part of a manifest.
    pub fn of_path(root: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Self, Error> {
        Snapshot::take(root, None, progress).map(|snapshot| snapshot.manifest)
    }

    /// The model's identity: SHA-256 of names, sizes and contents.
    ///
    /// Hashed are, all integers as big-endian u64: `casemate-manifest-v1` and a zero byte, the number of entries, then
    /// for each entry in order the length of its path, the path, its size, and the 32 bytes of its SHA-256. Every part
    /// has a length known before it is read, so no two manifests share a form.
    pub fn digest(&self) -> Digest {
        let entries = self.entries.iter().map(|entry| (entry.path.as_str(), entry.size_bytes, entry.sha256));
        digest_of(entries)
    }

    /// The identity of a model that is one file with this content: [`Manifest::digest`] of its manifest.
    pub fn digest_of_file(size_bytes: u64, sha256: Digest) -> Digest {
        digest_of(std::iter::once((".", size_bytes, sha256)))
    }

    /// Bytes of all files together.
    pub fn size_bytes(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.size_bytes))
    }
}

fn digest_of<'a>(entries: impl ExactSizeIterator<Item = (&'a str, u64, Digest)>) -> Digest {
    let mut bytes = DOMAIN.to_vec();
    bytes.extend((entries.len() as u64).to_be_bytes());
    for (path, size_bytes, sha256) in entries {
        bytes.extend((path.len() as u64).to_be_bytes());
        bytes.extend(path.as_bytes());
        bytes.extend(size_bytes.to_be_bytes());
        bytes.extend(sha256.0);
    }
    hash::sha256(&bytes)
}

/// The files of a model by name, before any is read.
#[derive(Debug)]
pub struct Listing {
    /// Name of the directory or file, for people.
    pub name: String,
    /// The canonical root.
    pub root: PathBuf,
    /// Name and real path of each file, sorted by path components; `.` for a model that is a single file.
    pub files: Vec<(String, PathBuf)>,
    /// What lies under the root and is not part of the model.
    pub skipped: Vec<Skipped>,
    /// Names that are one name where case does not count.
    pub collisions: Vec<Collision>,
}

impl Listing {
    /// Lists the directory or single file `root`, by the rules of [`Manifest::of_path`].
    ///
    /// # Errors
    /// [`Error`] names the first path that cannot be part of a manifest.
    pub fn of_path(root: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: root.into(), source };
        let root = std::fs::canonicalize(root).map_err(unreadable)?;
        let name = root.file_name().and_then(|name| name.to_str()).unwrap_or(".").to_string();
        let walked = walk::walk(&root)?;
        let collisions = collisions(&walked.files);
        Ok(Self { name, root, files: walked.files, skipped: walked.skipped, collisions })
    }

    /// Whether the file of this name is reached through a symbolic link.
    pub fn is_link(&self, (name, real): &(String, PathBuf)) -> bool {
        name != "." && self.root.join(name) != *real
    }

    /// The identity of the model whose files, in the order of [`Listing::files`], have these sizes and contents:
    /// [`Manifest::digest`] of its manifest. `None` when they are not as many.
    pub fn digest(&self, contents: &[(u64, Digest)]) -> Option<Digest> {
        let entries =
            self.files.iter().zip(contents).map(|((name, _), (size, sha256))| (name.as_str(), *size, *sha256));
        (contents.len() == self.files.len()).then(|| digest_of(entries))
    }

    /// The hashes of the files `wanted` by name, in order and in parallel; `None` for the others. Files that are `known` are read
    /// only as far as they were drawn. Memory is 256 KiB a thread and at most 4 MiB more.
    ///
    /// # Errors
    /// [`Error::Changed`] when a file is written to meanwhile, [`Error::ChangedUnseen`], [`Error::Unreadable`].
    pub fn hashes(
        &self,
        choice: HashChoice,
        wanted: &(dyn Fn(&str) -> bool + Sync),
        known: Option<&KnownDigests>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Option<Hashes>>, Error> {
        let hashed = hashing::hash_files(&self.files, choice, wanted, known, progress)?;
        Ok(hashed.into_iter().map(|hashed| hashed.map(|(hashes, _)| hashes)).collect())
    }
}

impl Snapshot {
    /// The manifest of `root`, as [`Manifest::of_path`] makes it, with what tells whether it still holds; `known` as for
    /// [`Listing::hashes`].
    ///
    /// # Errors
    /// Those of [`Manifest::of_path`], [`Error::ChangedUnseen`].
    pub fn take(root: &Path, known: Option<&KnownDigests>, progress: &(dyn Fn(u64) + Sync)) -> Result<Self, Error> {
        let listing = Listing::of_path(root)?;
        let hashed = hashing::hash_files(&listing.files, HashChoice::Sha256AndBlake3, &|_| true, known, progress)?;
        let mut entries = Vec::with_capacity(hashed.len());
        let mut stamps = Vec::with_capacity(hashed.len());
        for ((path, _), hashed) in listing.files.iter().zip(hashed) {
            // Both hashes were asked for, of every file.
            let Some((Hashes { size_bytes, sha256: Some(sha256), blake3: Some(blake3) }, stamp)) = hashed else {
                continue;
            };
            entries.push(Entry { path: path.clone(), size_bytes, sha256, blake3 });
            stamps.push(stamp);
        }
        let Listing { name, root, files, skipped, collisions } = listing;
        Ok(Self { manifest: Manifest { name, entries, skipped, collisions }, root, files, stamps })
    }

    /// The files, by their name in the manifest and where they are.
    pub fn files(&self) -> &[(String, PathBuf)] {
        &self.files
    }

    /// Whether root still holds exactly the files that were hashed, none of them written to or replaced since.
    ///
    /// # Errors
    /// [`Error::Changed`] names the first that differs; those of walking.
    pub fn still_holds(&self) -> Result<(), Error> {
        let walked = walk::walk(&self.root)?;
        let pairs = walked.files.iter().zip(&self.files);
        if let Some(((_, new), _)) = pairs.clone().find(|(new, old)| new != old) {
            return Err(Error::Changed { path: new.clone() });
        }
        if walked.files.len() != self.files.len() {
            return Err(Error::Changed { path: self.root.clone() });
        }
        for ((_, path), stamp) in self.files.iter().zip(&self.stamps) {
            let metadata =
                std::fs::symlink_metadata(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
            if Stamp::of(&metadata) != *stamp {
                return Err(Error::Changed { path: path.clone() });
            }
        }
        Ok(())
    }
}

fn and_more(more: usize) -> String {
    if more > 0 { format!(" (and {more} more)") } else { String::new() }
}

/// Files and directories whose names fold to one; `A/x` and `a/y` meet in their directory.
fn collisions(files: &[(String, PathBuf)]) -> Vec<Collision> {
    let mut spelled: BTreeMap<String, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, _) in files {
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        for path in ends.filter_map(|end| name.get(..end)) {
            let first = *spelled.entry(path.to_lowercase()).or_insert(path);
            let collision = Collision { path: first.into(), other: path.into() };
            // One directory heads many entries; it is reported once.
            if first != path && !found.contains(&collision) {
                found.push(collision);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
