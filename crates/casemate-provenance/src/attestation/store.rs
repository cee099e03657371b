//! The file of attestations: one DSSE envelope a line, appended and never rewritten.
//!
//! Several steps of a pipeline may append at once, and any may be killed: a line is written under a lock, in one piece and
//! durably, or taken back. A last line that was cut short is never continued.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::keys::sync_directory;

/// Bytes a file of attestations may have.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Lines it may have.
pub const LINES_MAX: usize = 100_000;

/// Why attestations cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("`{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Longer than [`FILE_BYTES_MAX`], with what was to be added.
    #[error("`{path}` has or would have more than {FILE_BYTES_MAX} bytes; begin another file for this version")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// More than [`LINES_MAX`].
    #[error("`{path}` has more than {LINES_MAX} lines")]
    TooManyLines {
        /// The file.
        path: PathBuf,
    },
    /// The last line is not whole.
    #[error("the last line of `{path}` was cut short; remove it, then attest again")]
    CutShort {
        /// The file.
        path: PathBuf,
    },
}

/// The lines of the file at `path`, without empty ones and newlines. Whether each is an attestation is for
/// [`super::judge`](mod@super::judge) to say.
///
/// # Errors
/// [`Error::Io`], [`Error::TooLarge`], [`Error::TooManyLines`].
pub fn read(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let io = |source| Error::Io { path: path.into(), source };
    // Looked at before opening: opening a FIFO blocks until somebody writes.
    require_regular(&std::fs::metadata(path).map_err(io)?).map_err(io)?;
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.into() });
    }
    lines(&bytes).ok_or(Error::TooManyLines { path: path.into() })
}

/// The lines of a file with these bytes; `None` where there are too many.
pub fn lines(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let lines = || bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    (lines().count() <= LINES_MAX).then(|| lines().map(<[u8]>::to_vec).collect())
}

/// Appends `added` to the file at `path`, all of it or nothing; the file is made where it is missing.
///
/// # Errors
/// [`Error`]; the file then holds what it held.
pub fn append(path: &Path, added: &[Vec<u8>]) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.into(), source };
    // A link that somebody left there leads to a file that is not meant.
    let is_new = match std::fs::symlink_metadata(path) {
        Ok(metadata) => require_regular(&metadata).map(|()| false).map_err(io)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(io(error)),
    };
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
    file.lock().map_err(io)?;
    let before = file.metadata().map_err(io)?.len();
    let text: Vec<u8> = added.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
    if before.saturating_add(text.len() as u64) > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.into() });
    }
    if before > 0 && !ends_a_line(&mut file).map_err(io)? {
        return Err(Error::CutShort { path: path.into() });
    }
    let written = file.write_all(&text).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // What of it arrived is taken back; where even that fails, the next append sees a line that was cut short.
        let _ = file.set_len(before);
        return Err(io(source));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if is_new { sync_directory(parent).map_err(io) } else { Ok(()) }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn require_regular(metadata: &std::fs::Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}
