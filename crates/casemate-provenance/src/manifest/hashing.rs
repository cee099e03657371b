//! Hashes the files of a listing: those it must, on all cores, the large ones first.
//!
//! Memory does not grow with the model: 256 KiB a thread, and 2 MiB for each of at most two files that are hashed by several
//! threads at once. A file that is written to meanwhile is an error, however it is hashed.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use casemate_core::{FileSource, Source as _};

use super::{Error, Stamp};
use crate::digests::KnownDigests;
use crate::hash::{self, HashChoice, Hashes};

/// A file below this is hashed by one thread: starting others costs more than they save.
const WIDE_BYTES_MIN: u64 = 16 << 20;

/// Files hashed by several threads at the same time.
const WIDE_MAX: usize = 2;

/// Where all files together are smaller, this thread hashes them.
const PARALLEL_BYTES_MIN: u64 = 4 << 20;

/// What is counted over all files.
struct Work<'a> {
    choice: HashChoice,
    done: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
    /// Files hashed by several threads at the moment.
    wide: AtomicUsize,
    /// Bytes from which a file is worth several threads.
    wide_bytes: u64,
}

/// A file to be read, and its length as far as is known.
struct Task<'a> {
    place: usize,
    file: &'a Path,
    size_bytes: u64,
}

/// The hashes of `files` where `wanted` says so, read or, where they are `known` and were not drawn, taken from there.
pub(super) fn hash_files(
    files: &[(String, PathBuf)],
    choice: HashChoice,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    known: Option<&KnownDigests>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Option<(Hashes, Stamp)>>, Error> {
    let mut hashed = vec![None; files.len()];
    let (mut tasks, mut remembered) = (Vec::new(), Vec::new());
    for (place, (_, file)) in files.iter().enumerate().filter(|(_, (name, _))| wanted(name)) {
        let stamp = stamp(file)?;
        let task = Task { place, file, size_bytes: stamp.size_bytes() };
        match known.and_then(|known| known.get(&stamp, choice)) {
            Some(hashes) => remembered.push((task, stamp, hashes)),
            None => tasks.push(task),
        }
    }
    // Where a file was drawn, what it is said to hold.
    let mut drawn: HashMap<usize, (Stamp, Hashes)> = HashMap::new();
    let mut taken_bytes = 0u64;
    let is_drawn = known.map(|known| known.draw().of(remembered.len())).unwrap_or_default();
    for ((task, stamp, hashes), is_drawn) in remembered.into_iter().zip(is_drawn) {
        if is_drawn {
            drawn.insert(task.place, (stamp, hashes));
            tasks.push(task);
        } else if let Some((place, known)) = hashed.get_mut(task.place).zip(known) {
            known.took(&stamp, hashes);
            taken_bytes = taken_bytes.saturating_add(hashes.size_bytes);
            *place = Some((hashes, stamp));
        }
    }
    let results = read_all(&tasks, choice, taken_bytes, progress)?;
    let mut others = Vec::new();
    for (task, (hashes, stamp)) in tasks.iter().zip(results) {
        let before = drawn.get(&task.place);
        // A file whose stamp is another by now was changed openly, and what was read is what it holds.
        if before.is_some_and(|(stamp_before, before)| *stamp_before == stamp && *before != hashes) {
            others.push(task.file.to_owned());
        }
        if let Some(known) = known {
            known.read(&stamp, hashes, before.is_some());
        }
        if let Some(place) = hashed.get_mut(task.place) {
            *place = Some((hashes, stamp));
        }
    }
    match others.first() {
        Some(path) => Err(Error::ChangedUnseen { path: path.clone(), more: others.len() - 1 }),
        None => Ok(hashed),
    }
}

/// The hashes of all `tasks`, in their order; the error of the first that has one.
fn read_all(
    tasks: &[Task<'_>],
    choice: HashChoice,
    taken_bytes: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<(Hashes, Stamp)>, Error> {
    let bytes = tasks.iter().fold(0, |sum: u64, task| sum.saturating_add(task.size_bytes));
    let threads = if bytes < PARALLEL_BYTES_MIN { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    // A file with more than its share of all bytes would keep one core busy when the others have nothing left.
    let share = bytes / u64::try_from(threads).unwrap_or(1).max(1);
    let wide_bytes = if threads > 1 { share.saturating_add(1).max(WIDE_BYTES_MIN) } else { u64::MAX };
    let work = Work { choice, done: AtomicU64::new(taken_bytes), progress, wide: AtomicUsize::new(0), wide_bytes };
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|n| std::cmp::Reverse(tasks.get(*n).map(|task| task.size_bytes)));
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new(Vec::with_capacity(tasks.len()));
    let turn = || {
        while let Some((n, task)) = order.get(next.fetch_add(1, Relaxed)).and_then(|n| Some((*n, tasks.get(*n)?)))
            && !failed.load(Relaxed)
        {
            let result = work.hash_file(task);
            failed.fetch_or(result.is_err(), Relaxed);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((n, result));
        }
    };
    match threads.min(tasks.len()) {
        0 | 1 => turn(),
        // Threads of its own: a worker of a pool that waits for a part of one file would begin another, and not come back soon.
        n => thread::scope(|scope| {
            (1..n).for_each(|_| drop(scope.spawn(turn)));
            turn();
        }),
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, result)| result).collect()
}

impl Work<'_> {
    fn hash_file(&self, task: &Task<'_>) -> Result<(Hashes, Stamp), Error> {
        let file = task.file;
        let unreadable = |source| Error::Unreadable { path: file.into(), source };
        let before = stamp(file)?;
        let source = FileSource::open(file).map_err(unreadable)?;
        let seen = AtomicU64::new(0);
        let count = |bytes: u64| {
            let step = bytes - seen.swap(bytes, Relaxed);
            (self.progress)(self.done.fetch_add(step, Relaxed) + step);
        };
        let is_wide = source.size_bytes() >= self.wide_bytes && self.wide.fetch_add(1, Relaxed) < WIDE_MAX;
        let hashes = match is_wide {
            true => hash::hash_wide(&source, self.choice, &count),
            false => hash::hash(&source, self.choice, &count),
        };
        if source.size_bytes() >= self.wide_bytes {
            self.wide.fetch_sub(1, Relaxed);
        }
        let hashes = hashes.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::Changed { path: file.into() },
            _ => unreadable(source),
        })?;
        match before.is_file() && before == stamp(file)? && before.size_bytes() == hashes.size_bytes {
            true => Ok((hashes, before)),
            false => Err(Error::Changed { path: file.into() }),
        }
    }
}

/// The path is canonical: a link there by now has been put in the file's place.
fn stamp(file: &Path) -> Result<Stamp, Error> {
    let metadata = std::fs::symlink_metadata(file).map_err(|source| Error::Unreadable { path: file.into(), source })?;
    Ok(Stamp::of(&metadata))
}
