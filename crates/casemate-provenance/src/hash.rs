//! SHA-256 and BLAKE3 of a source, in one pass over its bytes.
//!
//! Sources: FIPS 180-4 (SHA-256, by aws-lc-rs), the BLAKE3 paper (2020, by the `blake3` crate). Which files are hashed, and
//! whether they held still meanwhile, is the business of [`crate::manifest`].

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use aws_lc_rs::{digest, hmac};
use casemate_core::{Digest, Hasher, Source, SourceExt};

/// Bytes read at once; also the memory of one call of [`hash`].
const BUFFER_BYTES: usize = 256 << 10;

/// Buffers of [`hash_wide`]: one is hashed while the next is filled.
const WIDE_BUFFERS: usize = 2;

/// Bytes [`hash_wide`] reads at once. What one core read another hashes from the cache they share: with 4 MiB a SHA-256 of 1 GiB
/// took 1.55 CPU seconds, with 1 MiB 1.25, with 256 KiB 1.05, as much as one thread alone takes. BLAKE3 needs more to divide.
fn wide_buffer_bytes(choice: HashChoice) -> usize {
    match choice {
        HashChoice::Blake3 => 1 << 20,
        HashChoice::Sha256 | HashChoice::Sha256AndBlake3 => BUFFER_BYTES,
    }
}

/// Which hashes to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashChoice {
    /// SHA-256 alone.
    Sha256,
    /// BLAKE3 alone.
    Blake3,
    /// SHA-256 and BLAKE3 in the same pass.
    Sha256AndBlake3,
}

/// What one pass over a source gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of all bytes, when it was asked for.
    pub sha256: Option<Digest>,
    /// BLAKE3 of all bytes, when it was asked for.
    pub blake3: Option<Digest>,
}

/// The hashes of all bytes of `source`, by this thread alone.
///
/// `progress` is called after each buffer with the number of bytes of this source done so far, the last time with all.
///
/// # Errors
/// Whatever the source reports, and `UnexpectedEof` when it holds fewer bytes than it said.
pub fn hash(source: &dyn Source, choice: HashChoice, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Hashes> {
    let size_bytes = source.size_bytes();
    let mut hashing = Hashing::new(choice);
    let mut buffer = vec![0; usize::try_from(size_bytes).unwrap_or(usize::MAX).min(BUFFER_BYTES)];
    let mut done = 0;
    while done < size_bytes {
        let bytes = read_next(source, done, &mut buffer)?;
        hashing.update(bytes);
        done += bytes.len() as u64;
        progress(done);
    }
    Ok(hashing.finish(size_bytes))
}

/// [`hash`] of one large source, by several threads: one reads ahead, SHA-256 and BLAKE3 run beside each other, and BLAKE3 on
/// all cores. Holds 2 MiB at most.
///
/// # Errors
/// Those of [`hash`].
pub fn hash_wide(source: &dyn Source, choice: HashChoice, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Hashes> {
    let size_bytes = source.size_bytes();
    let mut hashing = Hashing::new(choice);
    thread::scope(|scope| {
        let (give_empty, take_empty) = channel();
        let (give_full, take_full) = sync_channel(WIDE_BUFFERS);
        for _ in 0..WIDE_BUFFERS {
            let _ = give_empty.send(vec![0; wide_buffer_bytes(choice)]);
        }
        scope.spawn(move || read_ahead(source, &take_empty, &give_full));
        let mut done = 0;
        // Both ends are dropped with this loop, early or not, which ends the reader.
        for read in take_full {
            let (buffer, filled) = read?;
            hashing.update_wide(buffer.get(..filled).unwrap_or_default());
            done += filled as u64;
            progress(done);
            let _ = give_empty.send(buffer);
        }
        match done == size_bytes {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    })?;
    Ok(hashing.finish(size_bytes))
}

/// A buffer and how much of it was filled.
type Read = io::Result<(Vec<u8>, usize)>;

/// Fills empty buffers with the bytes of `source` in order, until its end or an error.
fn read_ahead(source: &dyn Source, empty: &Receiver<Vec<u8>>, full: &SyncSender<Read>) {
    let mut done = 0;
    while done < source.size_bytes()
        && let Ok(mut buffer) = empty.recv()
    {
        let filled = read_next(source, done, &mut buffer).map(<[u8]>::len);
        let step = *filled.as_ref().unwrap_or(&0) as u64;
        if full.send(filled.map(|filled| (buffer, filled))).is_err() || step == 0 {
            return;
        }
        done += step;
    }
}

/// The bytes of `source` from `done` on, as many as `buffer` holds or as are left.
fn read_next<'a>(source: &dyn Source, done: u64, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    // A source that grows while it is read gives no more than the length it was opened with.
    let wanted = usize::try_from(source.size_bytes() - done).unwrap_or(usize::MAX).min(buffer.len());
    let bytes = buffer.get_mut(..wanted).unwrap_or_default();
    match source.fill_at(done, bytes)? == wanted && wanted > 0 {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The hashes under way.
struct Hashing {
    sha256: Option<digest::Context>,
    blake3: Option<blake3::Hasher>,
}

impl Hashing {
    fn new(choice: HashChoice) -> Self {
        Self {
            sha256: (choice != HashChoice::Blake3).then(|| digest::Context::new(&digest::SHA256)),
            blake3: (choice != HashChoice::Sha256).then(blake3::Hasher::new),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(blake3) = &mut self.blake3 {
            blake3.update(bytes);
        }
    }

    fn update_wide(&mut self, bytes: &[u8]) {
        match (&mut self.sha256, &mut self.blake3) {
            (Some(sha256), Some(blake3)) => {
                rayon::join(|| sha256.update(bytes), || blake3.update_rayon(bytes));
            }
            (Some(sha256), None) => sha256.update(bytes),
            (None, Some(blake3)) => {
                blake3.update_rayon(bytes);
            }
            (None, None) => {}
        }
    }

    fn finish(self, size_bytes: u64) -> Hashes {
        let blake3 = self.blake3.map(|hasher| Digest(*hasher.finalize().as_bytes()));
        Hashes { size_bytes, sha256: self.sha256.map(finish), blake3 }
    }
}

/// The SHA-256 of all bytes of `source`; `progress` as for [`hash`].
///
/// # Errors
/// Those of [`hash`].
pub fn sha256_of(source: &dyn Source, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Digest> {
    hash(source, HashChoice::Sha256, progress)?.sha256.ok_or_else(|| io::Error::other("no digest was computed"))
}

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    to_digest(&digest::digest(&digest::SHA256, bytes))
}

/// HMAC-SHA-256 of `bytes` under `key` (RFC 2104), as request signatures are built of it.
pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> Digest {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes);
    let mut digest = [0; 32];
    digest.copy_from_slice(tag.as_ref());
    Digest(digest)
}

/// A SHA-256 for parts that read bytes themselves.
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Hasher for Sha256 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> Digest {
        finish(self.0)
    }
}

/// The digest a SHA-256 context has arrived at.
pub(crate) fn finish(context: digest::Context) -> Digest {
    to_digest(&context.finish())
}

fn to_digest(digest: &digest::Digest) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Digest(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use casemate_core::MemorySource;

    use super::*;

    #[test]
    fn known_hashes_come_out() {
        let hashes = hash(&MemorySource::new(*b"abc"), HashChoice::Sha256AndBlake3, &|_| {}).unwrap();
        assert_eq!(
            hashes.sha256.unwrap().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hashes.blake3.unwrap().to_string(),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        assert_eq!(hashes.sha256, Some(sha256(b"abc")));
        let alone = hash(&MemorySource::new(*b"abc"), HashChoice::Blake3, &|_| {}).unwrap();
        assert_eq!((alone.sha256, alone.blake3), (None, hashes.blake3));
        let mut pieces = Box::new(Sha256::default());
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(pieces.finish(), sha256(b"abc"));
        let empty = hash(&MemorySource::new(*b""), HashChoice::Sha256, &|_| {}).unwrap();
        assert_eq!((empty.sha256, empty.blake3), (Some(sha256(b"")), None));
    }

    #[test]
    fn the_second_test_case_of_rfc_4231_comes_out() {
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(tag.to_string(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn buffers_do_not_show_in_the_result_and_progress_reaches_the_end() {
        for extra in [0usize, 1, 4095] {
            let bytes: Vec<u8> = (0..3 * (1 << 20) + extra).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let seen = AtomicU64::new(0);
            let source = MemorySource::new(bytes.clone());
            let hashes = hash(&source, HashChoice::Sha256AndBlake3, &|done| {
                assert!(seen.swap(done, Ordering::Relaxed) < done);
            });
            assert_eq!(hashes.unwrap().sha256, Some(sha256(&bytes)));
            assert_eq!(seen.load(Ordering::Relaxed), bytes.len() as u64);
        }
    }

    #[test]
    fn several_threads_come_to_the_same() {
        let bytes: Vec<u8> = (0..13 * (1 << 20) + 5).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for cut in [0, 1, BUFFER_BYTES, 2 * BUFFER_BYTES + 1, bytes.len()] {
            let source = MemorySource::new(&bytes[..cut]);
            for choice in [HashChoice::Sha256, HashChoice::Blake3, HashChoice::Sha256AndBlake3] {
                let seen = AtomicU64::new(0);
                let hashes = hash_wide(&source, choice, &|done| seen.store(done, Ordering::Relaxed)).unwrap();
                assert_eq!(hashes, hash(&source, choice, &|_| {}).unwrap());
                assert_eq!(seen.load(Ordering::Relaxed), cut as u64);
            }
        }
    }

    struct Short;

    impl Source for Short {
        fn size_bytes(&self) -> u64 {
            10
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            buffer[0] = 7;
            Ok(usize::from(offset < 4))
        }
    }

    #[test]
    fn a_source_that_ends_early_is_an_error_not_a_hash() {
        for hash in [hash, hash_wide] {
            let error = hash(&Short, HashChoice::Sha256, &|_| {}).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
