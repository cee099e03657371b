//! Files that others may have prepared for us: locks and temporaries that never follow a link.
//!
//! A repository can carry a link under a name we are about to write. Answers CWE-59 (link following).

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens the lock file `path`, making it where it is missing; what stands there already keeps its bytes.
///
/// # Errors
/// When something other than a regular file has the name, or it cannot be opened.
pub fn open_lock(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(named(
            path,
            io::Error::new(io::ErrorKind::InvalidInput, "a lock must be a regular file; remove what is there"),
        ));
    }
    File::options().create(true).append(true).open(path).map_err(|error| named(path, error))
}

/// Makes the file `path` anew for writing; what had the name is removed, not written through.
///
/// # Errors
/// When it cannot be removed or made.
pub fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).open(path)
}

/// The error with the file's name in front.
pub(crate) fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_neither_locked_nor_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        let link = directory.path().join("link");
        fs::write(&victim, b"precious").unwrap();
        symlink(&victim, &link).unwrap();
        assert!(open_lock(&link).unwrap_err().to_string().contains("regular file"));
        create_anew(&link).unwrap().write_all(b"ours").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read(&link).unwrap(), b"ours");
        drop(open_lock(&victim).unwrap());
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "a lock keeps what is in the file");
    }
}
