//! The largest head a reader has seen, kept outside the ledger: what makes a rollback visible.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::tree::Tree;
use super::{DirectoryStorage, Error, Ledger, Storage};
use crate::files::open_lock;
use crate::note::{self, Checkpoint, NoteKey};

/// The head kept in the file `path`, or `None` when there is no such file.
///
/// # Errors
/// [`Error::Checkpoint`] when it is not a head signed by `key`, [`Error::Storage`].
pub fn remembered(path: &Path, key: &NoteKey) -> Result<Option<Checkpoint>, Error> {
    let (storage, name) = storage(path)?;
    let Some(bytes) = storage.read(&name, note::BYTES_MAX as u64)? else { return Ok(None) };
    Ok(Some(Checkpoint::open(&bytes, key)?))
}

impl Ledger {
    /// Keeps the present head in the file `path`, when it continues the one kept there.
    ///
    /// # Errors
    /// [`Error::RolledBack`] when it does not, and the file stays as it is; those of [`Ledger::checkpoint`].
    pub fn remember(&self, path: &Path) -> Result<Checkpoint, Error> {
        // Held from reading the old head to writing the new one: a slower reader must not put back a smaller head.
        let _turn = turn(path)?;
        let _lock = self.read_lock()?;
        let bytes = self.checkpoint_bytes()?;
        let (head, _) = self.trust.open_head(&bytes)?;
        if let Some(old) = remembered(path, &self.trust.ledger)? {
            self.continues(&old, &head)?;
        }
        let (storage, name) = storage(path)?;
        storage.write_durable(&[(name, bytes)])?;
        Ok(head)
    }

    /// Refuses when the ledger does not continue the head `old`, by the stored tiles; whether those are true is for
    /// [`Ledger::verify`] to say.
    ///
    /// # Errors
    /// [`Error::RolledBack`]; those of [`Ledger::checkpoint`]; [`Error::Damaged`].
    pub fn require_continues(&self, old: &Checkpoint) -> Result<(), Error> {
        let _lock = self.read_lock()?;
        self.continues(old, &self.checkpoint()?)
    }

    /// Refuses a `head` that does not continue `old`, by the stored tiles.
    pub(super) fn continues(&self, old: &Checkpoint, head: &Checkpoint) -> Result<(), Error> {
        if head.origin != old.origin {
            return Err(Error::RolledBack { what: format!("that head is of `{}`", old.origin) });
        }
        if head.size < old.size {
            let what = format!("it has {} records, {} were seen before", head.size, old.size);
            return Err(Error::RolledBack { what });
        }
        let mut tree = Tree::new(self.storage.as_ref(), head.size);
        let root = if old.size == head.size { head.root } else { tree.head(0..old.size)? };
        match root == old.root {
            true => Ok(()),
            false => {
                Err(Error::RolledBack { what: format!("its first {} records are not those seen before", old.size) })
            }
        }
    }
}

/// The lock of those who remember heads in `path`; it lies beside it.
pub(super) fn turn(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let file = open_lock(Path::new(&name))?;
    file.lock()?;
    Ok(file)
}

pub(super) fn storage(path: &Path) -> Result<(DirectoryStorage, String), Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("`{}`: no file name", path.display())))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((DirectoryStorage::open(directory), name.into()))
}
