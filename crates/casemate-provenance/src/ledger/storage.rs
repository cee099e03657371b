//! Where a ledger's files lie: the few operations it needs, and a directory that has them.
//!
//! Durable means: after power is lost, a file is there whole or not at all. Which file is written when is left to
//! [`super::append`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::files::{create_anew, named, open_lock};
use crate::keys::sync_directory;

/// Ends the names of files that are not whole yet.
pub(super) const TEMPORARY: &str = ".tmp";

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// By one writer, with no reader.
    Exclusive,
    /// By readers together.
    Shared,
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, device, socket, or a name that is not UTF-8.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name alone.
    pub name: String,
    /// What it stands for.
    pub kind: ListedKind,
}

/// Files by path below the ledger, `/` between components. Errors name the file.
pub trait Storage: Send + Sync {
    /// The contents of a file, or `None` when there is none.
    ///
    /// # Errors
    /// What the medium reports; `InvalidData` above `bytes_max` bytes or when it is not a regular file.
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>>;

    /// Writes whole files, replacing what is there; on return all are durable. On an error, any of them may be there.
    ///
    /// # Errors
    /// What the medium reports.
    fn write_durable(&self, files: &[(String, Vec<u8>)]) -> io::Result<()>;

    /// Removes a file, and its directory when that is empty then. A missing file is removed already.
    ///
    /// # Errors
    /// What the medium reports.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The names in a directory, sorted; `""` is the ledger itself. A missing directory is empty.
    ///
    /// # Errors
    /// What the medium reports.
    fn list(&self, directory: &str) -> io::Result<Vec<Listed>>;

    /// Waits for the lock and holds it until what is returned is dropped.
    ///
    /// # Errors
    /// What the medium reports.
    fn lock(&self, kind: LockKind) -> io::Result<Box<dyn Send>>;
}

/// A directory of the file system.
#[derive(Clone, Debug)]
pub struct DirectoryStorage {
    root: PathBuf,
}

impl DirectoryStorage {
    /// The directory `root`, which exists.
    pub fn open(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The directory `root`, made with its parents when missing.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn create(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root).map_err(|error| named(root, error))?;
        Ok(Self { root: root.into() })
    }

    fn lock_path(&self) -> PathBuf {
        self.root.with_added_extension("lock")
    }

    fn write_temporary(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.root.join(format!("{path}{TEMPORARY}"));
        let write = || {
            let mut file = create_anew(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| named(&temporary, error))
    }

    /// Makes `directory` and what is missing above it; returns the directories that got a new name in them.
    fn make_directory(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let missing: Vec<_> = directory.ancestors().take_while(|path| !path.is_dir()).collect();
        fs::create_dir_all(directory).map_err(|error| named(directory, error))?;
        Ok(missing.into_iter().filter_map(Path::parent).map(Path::to_path_buf).collect())
    }
}

impl Storage for DirectoryStorage {
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.root.join(path);
        let invalid = |what| named(&path, io::Error::new(io::ErrorKind::InvalidData, what));
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(&path, error)),
        };
        if !metadata.is_file() {
            return Err(invalid("not a regular file"));
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(|error| named(&path, error))?;
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| named(&path, error))?;
        match bytes.len() as u64 > bytes_max {
            true => Err(invalid("larger than such a file can be")),
            false => Ok(Some(bytes)),
        }
    }

    fn write_durable(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        let mut directories = BTreeSet::new();
        for (path, _) in files {
            let path = self.root.join(path);
            let directory = path.parent().unwrap_or(&self.root);
            if directories.insert(directory.to_path_buf()) {
                directories.extend(self.make_directory(directory)?);
            }
        }
        files.par_iter().try_for_each(|(path, bytes)| self.write_temporary(path, bytes))?;
        for (path, _) in files {
            let to = self.root.join(path);
            let from = self.root.join(format!("{path}{TEMPORARY}"));
            fs::rename(from, &to).map_err(|error| named(&to, error))?;
        }
        directories.par_iter().try_for_each(|path| sync_directory(path).map_err(|error| named(path, error)))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.root.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(&path, error)),
            _ => {}
        }
        if let Some(directory) = path.parent().filter(|directory| *directory != self.root) {
            // Fails on a directory that still holds something, as it should.
            let _ = fs::remove_dir(directory);
        }
        Ok(())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        let path = self.root.join(directory);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.is_empty() => return Ok(Vec::new()),
            entries => entries.map_err(|error| named(&path, error))?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| named(&path, error))?;
            let kind = entry.file_type().map_err(|error| named(&path, error))?;
            let name = entry.file_name();
            let kind = match name.to_str() {
                Some(_) if kind.is_file() => ListedKind::File,
                Some(_) if kind.is_dir() => ListedKind::Directory,
                _ => ListedKind::Other,
            };
            listed.push(Listed { name: name.to_string_lossy().into_owned(), kind });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn lock(&self, kind: LockKind) -> io::Result<Box<dyn Send>> {
        let path = self.lock_path();
        let fail = |error| named(&path, error);
        if kind == LockKind::Exclusive {
            let file = open_lock(&path)?;
            file.lock().map_err(fail)?;
            return Ok(Box::new(file));
        }
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "a lock must be a regular file")));
        }
        match File::open(&path) {
            Ok(file) => {
                file.lock_shared().map_err(fail)?;
                Ok(Box::new(file))
            }
            // A copy brought here to be read has no writer to wait for.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(())),
            Err(error) => Err(fail(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit_and_only_when_it_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let storage = DirectoryStorage::open(dir.path());
        storage.write_durable(&[("a/b/c".into(), vec![7; 10])]).unwrap();
        assert_eq!(storage.read("a/b/c", 10).unwrap(), Some(vec![7; 10]));
        let error = storage.read("a/b/c", 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("a/b/c"), "{error}");
        assert_eq!(storage.read("a/b", 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(storage.read("a/none", 10).unwrap(), None);
    }

    #[test]
    fn what_is_listed_is_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let storage = DirectoryStorage::open(dir.path());
        storage.write_durable(&[("b".into(), vec![1]), ("a/x".into(), vec![2])]).unwrap();
        let listed = |name: &str, kind| Listed { name: name.into(), kind };
        assert_eq!(storage.list("").unwrap(), [listed("a", ListedKind::Directory), listed("b", ListedKind::File)]);
        storage.remove("a/x").unwrap();
        storage.remove("a/x").unwrap();
        assert_eq!(storage.list("").unwrap(), [listed("b", ListedKind::File)], "an empty directory goes too");
        assert_eq!(storage.list("none").unwrap(), []);
    }
}
