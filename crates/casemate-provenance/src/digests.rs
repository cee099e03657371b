//! Digests of files that earlier runs computed, and how far they are believed.
//!
//! Reading a model of 140 GB again because its README changed is what makes people stop verifying. A file whose device, inode,
//! size and times are as they were is very likely as it was. Very likely is not certain: a disk that rots, or somebody who
//! writes below the file system, changes contents and no times. So
//! - files are drawn at random and read in spite of what is known ([`Draw`]), and the chance to notice is a number to print;
//! - a digest counts for [`AGE_MAX`] since the bytes were read, so that nothing hides for longer;
//! - a digest of a file that was touched just before it was read is not kept: a second change within the same tick of the file
//!   system's clock would show nowhere (the "racy git" problem, git's Documentation/technical/racy-git.txt).
//!
//! Keeping them between runs, and knowing them for one's own, is left to the caller.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use casemate_core::{Digest, Seed};
use serde::{Deserialize, Serialize};

use crate::hash::{HashChoice, Hashes};
use crate::keys::Error;
use crate::manifest::Stamp;

/// How long a digest is believed after the bytes were read.
pub const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a file has to be left alone before its digest is kept: more than the tick of any file system's clock (FAT: 2 s).
pub const LEFT_ALONE_MIN: Duration = Duration::from_secs(3);

/// The hash function of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashName {
    /// SHA-256.
    Sha256,
    /// BLAKE3.
    Blake3,
}

/// A digest of a file that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownDigest {
    /// [`Stamp::id`] of the file.
    pub stamp: Digest,
    /// By which function.
    pub hash: HashName,
    /// Of all its bytes.
    pub digest: Digest,
    /// When reading began, in milliseconds since 1970.
    pub read_at: u64,
}

/// Which of the known files are read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Files read of a million; the whole million reads everything.
    per_million: u32,
    /// What decides which.
    pub seed: Seed,
}

/// What a run read and what it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Files whose digest was asked for.
    pub files: u64,
    /// Files that were read, the drawn ones among them.
    pub files_read: u64,
    /// Files that were known, drawn, and read.
    pub files_drawn: u64,
    /// Files whose digest was taken from an earlier run.
    pub files_from_cache: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes of the files that were not read.
    pub bytes_from_cache: u64,
}

/// Digests of earlier runs, and what this run adds to them.
pub struct KnownDigests {
    known: HashMap<(Digest, HashName), KnownDigest>,
    draw: Draw,
    now: SystemTime,
    run: Mutex<Run>,
}

#[derive(Default)]
struct Run {
    account: Account,
    /// What was read, and what was taken and still counts.
    seen: Vec<KnownDigest>,
}

impl Draw {
    /// One of two hundred: what a run over known files costs stays below one in a hundred of reading them.
    pub const USUAL_PER_MILLION: u32 = 5_000;

    /// Every file is read.
    pub fn all() -> Self {
        Self { per_million: 1_000_000, seed: Seed(0) }
    }

    /// `per_million` files of a million, at most all.
    pub fn new(per_million: u32, seed: Seed) -> Self {
        Self { per_million: per_million.min(1_000_000), seed }
    }

    /// `per_million` files of a million, with a seed nobody can foresee: who could would choose which files to change.
    ///
    /// # Errors
    /// [`Error::Generate`] when the system has no randomness.
    pub fn at_random(per_million: u32) -> Result<Self, Error> {
        let mut seed = [0; 8];
        rand::fill(&mut seed).map_err(|_| Error::Generate)?;
        Ok(Self::new(per_million, Seed(u64::from_be_bytes(seed))))
    }

    /// Share of the files that is read, 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.per_million) / 1e6
    }

    /// For each of `n` files, whether it is drawn. As many as the share says, rounded up or down at random so that every file
    /// has exactly this share as its chance.
    pub(crate) fn of(&self, n: usize) -> Vec<bool> {
        let (least, rest) = self.split(n);
        let more = self.seed.part(0).0 % 1_000_000 < rest;
        let count = least + usize::from(more);
        let mut order: Vec<(Seed, usize)> = (0..n).map(|file| (self.seed.part(file as u64 + 1), file)).collect();
        order.sort_unstable();
        let mut drawn = vec![false; n];
        for (_, file) in order.into_iter().take(count) {
            if let Some(drawn) = drawn.get_mut(file) {
                *drawn = true;
            }
        }
        drawn
    }

    /// Files drawn for certain of `n`, and the chance of one more in millionths.
    fn split(&self, n: usize) -> (usize, u64) {
        let millionths = n as u128 * u128::from(self.per_million);
        let least = usize::try_from(millionths / 1_000_000).unwrap_or(n);
        (least, u64::try_from(millionths % 1_000_000).unwrap_or_default())
    }

    /// The chance that a run over `n` known files notices that `changed` of them hold other bytes, 0 to 1.
    ///
    /// Drawing without replacement: 1 - C(n - changed, drawn) / C(n, drawn), weighted over the two counts that may be drawn.
    pub fn chance(&self, n: usize, changed: usize) -> f64 {
        let changed = changed.min(n);
        #[expect(clippy::cast_precision_loss, reason = "counts of files, at most 2^20")]
        let noticed = |drawn: usize| {
            let missed: f64 = (0..changed).map(|i| n.saturating_sub(drawn + i) as f64 / (n - i) as f64).product();
            1.0 - missed
        };
        let (least, rest) = self.split(n);
        #[expect(clippy::cast_precision_loss, reason = "below a million")]
        let more = rest as f64 / 1e6;
        noticed(least) * (1.0 - more) + noticed(least + 1) * more
    }
}

impl KnownDigests {
    /// What is `known` at the beginning of a run, `now`.
    pub fn new(known: impl IntoIterator<Item = KnownDigest>, draw: Draw, now: SystemTime) -> Self {
        let millis = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis());
        let (oldest, newest) = (millis(now.checked_sub(AGE_MAX).unwrap_or(now)), millis(now));
        // What was read in the future was written under another clock, and its age is unknown.
        let counts = |one: &KnownDigest| (oldest..=newest).contains(&u128::from(one.read_at));
        let known = known.into_iter().filter(counts).map(|one| ((one.stamp, one.hash), one)).collect();
        Self { known, draw, now, run: Mutex::default() }
    }

    /// Which of the known files are read all the same.
    pub fn draw(&self) -> &Draw {
        &self.draw
    }

    /// What this run read so far.
    pub fn account(&self) -> Account {
        self.run().account
    }

    /// What the next run may know: files this run read, those it knew and saw, and with `others` those it did not look at.
    pub fn for_next_run(&self, others: bool) -> Vec<KnownDigest> {
        let run = self.run();
        let mut all: HashMap<(Digest, HashName), KnownDigest> = HashMap::new();
        if others {
            all.extend(&self.known);
        }
        all.extend(run.seen.iter().map(|one| ((one.stamp, one.hash), *one)));
        let mut all: Vec<KnownDigest> = all.into_values().collect();
        all.sort_by_key(|one| (one.stamp, one.hash == HashName::Blake3));
        all
    }

    /// Whether the next run would know what this one knew, and nothing else.
    pub fn is_unchanged(&self) -> bool {
        let run = self.run();
        run.seen.len() == self.known.len()
            && run.seen.iter().all(|one| self.known.get(&(one.stamp, one.hash)) == Some(one))
    }

    /// The hashes of the file with this stamp, where all that are asked for are known.
    pub(crate) fn get(&self, stamp: &Stamp, choice: HashChoice) -> Option<Hashes> {
        let id = stamp.id()?;
        let of = |hash| self.known.get(&(id, hash)).map(|one| one.digest);
        let wants = |hash| names(choice).contains(&hash);
        let get = |hash| if wants(hash) { of(hash).map(Some) } else { Some(None) };
        Some(Hashes { size_bytes: stamp.size_bytes(), sha256: get(HashName::Sha256)?, blake3: get(HashName::Blake3)? })
    }

    /// Counts a file that was not read.
    pub(crate) fn took(&self, stamp: &Stamp, hashes: Hashes) {
        let mut run = self.run();
        run.account.files += 1;
        run.account.files_from_cache += 1;
        run.account.bytes_from_cache += hashes.size_bytes;
        let Some(id) = stamp.id() else { return };
        // The other function's digest stands as well: the file is the same.
        run.seen.extend([HashName::Sha256, HashName::Blake3].iter().filter_map(|hash| self.known.get(&(id, *hash))));
    }

    /// Counts a file that was read, and keeps its hashes where any later change of it will show in its stamp.
    pub(crate) fn read(&self, stamp: &Stamp, hashes: Hashes, drawn: bool) {
        let mut run = self.run();
        run.account.files += 1;
        run.account.files_read += 1;
        run.account.files_drawn += u64::from(drawn);
        run.account.bytes_read += hashes.size_bytes;
        // By the beginning of the run: reading began later.
        let settled = stamp.is_settled(self.now, LEFT_ALONE_MIN);
        let Some(id) = stamp.id().filter(|_| settled) else { return };
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis());
        let read_at = u64::try_from(since).unwrap_or(u64::MAX);
        for (hash, digest) in [(HashName::Sha256, hashes.sha256), (HashName::Blake3, hashes.blake3)] {
            // What this run did not compute was read at another time, and not compared.
            run.seen.extend(digest.map(|digest| KnownDigest { stamp: id, hash, digest, read_at }));
        }
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(choice: HashChoice) -> &'static [HashName] {
    match choice {
        HashChoice::Sha256 => &[HashName::Sha256],
        HashChoice::Blake3 => &[HashName::Blake3],
        HashChoice::Sha256AndBlake3 => &[HashName::Sha256, HashName::Blake3],
    }
}

#[cfg(test)]
mod tests;
