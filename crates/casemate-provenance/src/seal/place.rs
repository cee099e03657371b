//! Sealed files where they lie: written whole or not at all, rewrapped in place, their keys destroyed.
//!
//! Rewrapping writes the new list of keys into the slot that is not in use, makes it durable, reads it back, and only then
//! wipes the old one. At every moment one whole slot is on the disk, so a crash loses nothing; the chunks are never touched.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use casemate_core::{Digest, FileSource, SourceExt as _};

use super::header::{FIXED_BYTES, Fixed, Slot, SlotState, Wrapped, damaged};
use super::wrap::{KeyWrapper, Recipient, WrapKind};
use super::{Container, Error, Opened, Output, Progress, SealSettings, Sealed, seal, wrapped};
use crate::files::named;
use crate::keys::sync_directory;

/// A file that appears under its name whole or not at all, for its owner only.
struct Fresh {
    temporary: PathBuf,
    done: bool,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Calls `write` with a temporary file beside `path`, then gives it that name. An existing file is replaced only when asked.
fn write_fresh<T>(path: &Path, replace: bool, write: impl FnOnce(&mut File) -> Result<T, Error>) -> Result<T, Error> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let refuse = || Error::Write(named(path, io::ErrorKind::AlreadyExists.into()));
    if !replace && fs::symlink_metadata(path).is_ok() {
        return Err(refuse());
    }
    let unique = format!("casemate-{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_added_extension(unique);
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let fail = |error| Error::Write(named(path, error));
    let mut file = options.open(&temporary).map_err(fail)?;
    let mut fresh = Fresh { temporary, done: false };
    let written = write(&mut file)?;
    file.sync_all().map_err(fail)?;
    drop(file);
    match replace {
        true => fs::rename(&fresh.temporary, path).map(|()| fresh.done = true),
        // Unlike a rename, a link fails where a file has come meanwhile; the temporary name goes when `fresh` does.
        false => fs::hard_link(&fresh.temporary, path),
    }
    .map_err(fail)?;
    drop(fresh);
    sync_directory(parent(path)).map_err(fail)?;
    Ok(written)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Seals the file at `from` into a new file at `to`; an existing one is replaced only with `replace`.
///
/// # Errors
/// Those of [`seal`]; [`Error::Changed`] also when the file was written to meanwhile.
pub fn seal_file(
    from: &Path,
    to: &Path,
    replace: bool,
    recipients: &[&dyn Recipient],
    settings: &SealSettings<'_>,
) -> Result<Sealed, Error> {
    let before = stamp(from)?;
    let source = FileSource::open(from).map_err(Error::Read)?;
    write_fresh(to, replace, |file| {
        let sealed = seal(&source, file as &mut dyn Output, recipients, settings)?;
        match stamp(from)? == before {
            true => Ok(sealed),
            false => Err(Error::Changed),
        }
    })
}

fn stamp(path: &Path) -> Result<crate::manifest::Stamp, Error> {
    fs::metadata(path).map(|metadata| crate::manifest::Stamp::of(&metadata)).map_err(Error::Read)
}

/// Writes the plaintext of `opened` to a new file at `to`. The name appears after the last chunk was verified.
///
/// # Errors
/// Those of [`Opened::copy_to`].
pub fn open_file(
    opened: &Opened<'_>,
    to: &Path,
    replace: bool,
    threads: usize,
    progress: Progress<'_>,
) -> Result<(), Error> {
    write_fresh(to, replace, |file| {
        let mut out = BufWriter::with_capacity(64 << 10, file);
        opened.copy_to(&mut out, threads, progress)?;
        out.flush().map_err(Error::Write)
    })
}

/// A wrapped key by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// How it is wrapped.
    pub kind: WrapKind,
    /// Under which key.
    pub kek_id: String,
}

impl Named {
    fn of(wrap: &Wrapped) -> Self {
        Self { kind: wrap.kind, kek_id: wrap.kek_id.clone() }
    }
}

/// Adds wrapped keys for `add` to the file at `path`, and takes away those named in `remove`; returns what opens it then.
///
/// Whoever could open the file before and kept a copy of it, or of its head, still can: only sealing anew changes the data key.
///
/// # Errors
/// Those of [`Container::unlock`]; [`Error::NoSuchKey`], [`Error::Full`], [`Error::Wraps`], [`Error::Write`].
pub fn rewrap(
    path: &Path,
    keys: &[&dyn KeyWrapper],
    add: &[&dyn Recipient],
    remove: &[String],
) -> Result<Vec<Named>, Error> {
    let file = open_for_change(path)?;
    let source = FileSource::open(path).map_err(Error::Read)?;
    let container = Container::read(&source)?;
    let (current, slot) = container.current()?;
    let (generation, mut wraps) = (slot.generation, slot.wraps.clone());
    let opened = container.unlock(keys)?;
    let fixed = &opened.container.fixed;
    for name in remove {
        let before = wraps.len();
        let has = wraps.iter().map(|wrap| wrap.kek_id.clone()).collect();
        wraps.retain(|wrap| wrap.kek_id != *name);
        if wraps.len() == before {
            return Err(Error::NoSuchKey { kek_id: name.clone(), has });
        }
    }
    for recipient in add {
        let new = wrapped(*recipient, &opened.keys.data, fixed)?;
        wraps.retain(|wrap| (wrap.kind, &wrap.kek_id) != (new.kind, &new.kek_id));
        wraps.push(new);
    }
    let generation = generation.checked_add(1).ok_or_else(|| damaged("its keys were exchanged too often"))?;
    let slot = Slot::new(generation, wraps, fixed, &opened.keys.mac)?;
    let other = 1 - current;
    write_slot(&file, fixed.slot_offset(other), &slot.encode(fixed)?)?;
    // What the disk gives back, not what was meant to be written, decides whether the old keys may go.
    match fixed.slot(&source, other)? {
        SlotState::Whole(read) if read == slot && read.is_authentic(fixed, &opened.keys.mac) => {}
        _ => return Err(damaged("the new list of wrapped keys does not read back; the old one is left")),
    }
    let zeros = vec![0; usize::try_from(fixed.slot_bytes()).map_err(|_| Error::Full)?];
    write_slot(&file, fixed.slot_offset(current), &zeros)?;
    Ok(slot.wraps.iter().map(Named::of).collect())
}

/// Destroys the wrapped keys of the file at `path`: overwritten with random bytes, then with zeros, each made durable. Returns
/// what was there, as far as it could be read.
///
/// # Errors
/// [`Error::NotSealed`], [`Error::Damaged`], [`Error::Write`].
pub fn erase(path: &Path) -> Result<Vec<Named>, Error> {
    let file = open_for_change(path)?;
    let source = FileSource::open(path).map_err(Error::Read)?;
    // Not the whole container: keys are destroyed also where the chunks are cut off.
    let fixed = Fixed::parse(&source.bytes_at(0, FIXED_BYTES as u64).map_err(Error::Read)?)?;
    let mut destroyed = Vec::new();
    for n in 0..2 {
        if let SlotState::Whole(slot) = fixed.slot(&source, n)? {
            destroyed.extend(slot.wraps.iter().map(Named::of));
        }
    }
    let mut bytes = vec![0; usize::try_from(fixed.slot_bytes()).map_err(|_| Error::Full)?];
    let zeros = bytes.clone();
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    for fill in [&bytes, &zeros] {
        for n in 0..2 {
            write_slot(&file, fixed.slot_offset(n), fill)?;
        }
    }
    match (fixed.slot(&source, 0)?, fixed.slot(&source, 1)?) {
        (SlotState::Empty, SlotState::Empty) => Ok(destroyed),
        _ => Err(damaged("the wrapped keys still read after they were overwritten")),
    }
}

/// Overwrites the key file at `path`, makes that durable, and removes it.
///
/// # Errors
/// When it is no regular file or cannot be written; it is then still there.
pub fn erase_key_file(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(named(path, io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut file = File::options().write(true).open(path)?;
    let mut bytes = vec![0; usize::try_from(metadata.len().min(1 << 20)).unwrap_or_default()];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::remove_file(path)?;
    sync_directory(parent(path))
}

/// Makes the names of `path` and of every directory above it durable, as far as they may be opened.
///
/// # Errors
/// When its own directory cannot be made durable.
pub fn sync_names(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    sync_directory(parent(&path))?;
    for above in path.ancestors().skip(2) {
        // Somebody else's directory did not change.
        let _ = sync_directory(above);
    }
    Ok(())
}

/// What stands for several sealed files together, whatever their order and names: SHA-256 over their sorted digests.
pub fn set_digest(digests: &[Digest]) -> Digest {
    let mut sorted = digests.to_vec();
    sorted.sort_unstable_by_key(|digest| digest.0);
    let bytes: Vec<u8> = sorted.iter().flat_map(|digest| digest.0).collect();
    crate::sha256(&[&b"casemate CMV1 set\0"[..], &bytes].concat())
}

/// The file, writable, and locked against another rewrap.
fn open_for_change(path: &Path) -> Result<File, Error> {
    let fail = |error| Error::Write(named(path, error));
    // Looked at before opening: a FIFO would block.
    if !fs::metadata(path).map_err(Error::Read)?.is_file() {
        return Err(Error::Read(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let file = File::options().read(true).write(true).open(path).map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

fn write_slot(mut file: &File, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    use std::io::{Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.write_all(bytes)).map_err(Error::Write)?;
    file.sync_all().map_err(Error::Write)
}
