//! Chunks of a sealed file: AES-256-GCM in the STREAM construction, on several threads, written in order.
//!
//! Every chunk has a nonce of its own: 7 bytes of the file, the chunk's number as u32, and 1 on the last chunk alone. A chunk
//! that is dropped, moved, doubled or cut off then meets another nonce and does not open. Source: Hoang, Reyhanitabar, Rogaway
//! and Vizár, CRYPTO 2015 (eprint 2015/189), as RustCrypto's `StreamBE32` lays it out.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::Error;
use super::header::damaged;

/// Bytes a chunk grows by.
pub(super) const TAG_BYTES: u64 = 16;
/// Most threads on one file: above, memory grows and the disk decides.
const WORKERS_MAX: usize = 8;
/// The flag of a chunk's nonce: there is another one behind, it is the last, it is no chunk but the metadata.
const MORE: u8 = 0;
const LAST: u8 = 1;
const METADATA: u8 = 2;

/// How plaintext is cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    chunk_bytes: u64,
    /// Bytes of plaintext.
    pub(super) size_bytes: u64,
    /// Chunks, at least one.
    pub(super) chunks: u64,
}

impl Layout {
    /// The chunks of `size_bytes` of plaintext.
    pub(super) fn of_plaintext(size_bytes: u64, chunk_bytes: u64) -> Result<Self, Error> {
        let chunks = size_bytes.div_ceil(chunk_bytes).max(1);
        match chunks <= 1 << 32 {
            true => Ok(Self { chunk_bytes, size_bytes, chunks }),
            false => Err(Error::TooLong { size_bytes }),
        }
    }

    /// The chunks of `payload_bytes` of ciphertext.
    pub(super) fn of_payload(payload_bytes: u64, chunk_bytes: u64) -> Result<Self, Error> {
        let sealed_bytes = chunk_bytes + TAG_BYTES;
        let chunks = payload_bytes.div_ceil(sealed_bytes);
        let last = payload_bytes.saturating_sub(chunks.saturating_sub(1) * sealed_bytes);
        // Only an empty file ends in an empty chunk.
        if last < TAG_BYTES || (last == TAG_BYTES && chunks > 1) {
            return Err(damaged("the last chunk is cut off"));
        }
        Self::of_plaintext(payload_bytes - chunks * TAG_BYTES, chunk_bytes)
    }

    /// Where chunk `n` begins, in plaintext and in ciphertext.
    pub(super) fn offsets(&self, n: u64) -> (u64, u64) {
        (n * self.chunk_bytes, n * (self.chunk_bytes + TAG_BYTES))
    }

    /// Bytes of plaintext in chunk `n`.
    pub(super) fn len(&self, n: u64) -> usize {
        let rest = self.size_bytes.saturating_sub(n * self.chunk_bytes);
        usize::try_from(rest.min(self.chunk_bytes)).unwrap_or(usize::MAX)
    }

    /// The chunks that hold the plaintext `offset..offset + length`.
    pub(super) fn covering(&self, offset: u64, length: u64) -> Range<u64> {
        match length {
            0 => 0..0,
            _ => offset / self.chunk_bytes..(offset + length - 1) / self.chunk_bytes + 1,
        }
    }
}

/// The key of a file's chunks, and what they are bound to.
pub(super) struct Cipher {
    key: LessSafeKey,
    prefix: [u8; 7],
    aad: [u8; 32],
}

impl Cipher {
    pub(super) fn new(key: &[u8; 32], prefix: [u8; 7], aad: [u8; 32]) -> Result<Self, Error> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Random)?;
        Ok(Self { key: LessSafeKey::new(key), prefix, aad })
    }

    /// Encrypts chunk `n` in place and appends its tag.
    pub(super) fn seal(&self, n: u64, is_last: bool, chunk: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_flagged(n, if is_last { LAST } else { MORE }, chunk)
    }

    /// Verifies chunk `n` and decrypts it in place; what follows the plaintext is garbage.
    pub(super) fn open<'c>(&self, n: u64, is_last: bool, chunk: &'c mut [u8]) -> Result<&'c [u8], Error> {
        self.open_flagged(n, if is_last { LAST } else { MORE }, chunk)
            .ok_or_else(|| damaged(format!("chunk {n} is not what was sealed")))
    }

    pub(super) fn seal_metadata(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_flagged(0, METADATA, bytes)
    }

    pub(super) fn open_metadata<'c>(&self, bytes: &'c mut [u8]) -> Option<&'c [u8]> {
        self.open_flagged(0, METADATA, bytes)
    }

    fn seal_flagged(&self, n: u64, flag: u8, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let nonce = self.nonce(n, flag).ok_or(Error::TooLong { size_bytes: u64::MAX })?;
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(self.aad), bytes).map_err(|_| Error::Random)?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn open_flagged<'c>(&self, n: u64, flag: u8, bytes: &'c mut [u8]) -> Option<&'c [u8]> {
        let opened = self.key.open_in_place(self.nonce(n, flag)?, Aad::from(self.aad), bytes).ok()?;
        Some(opened)
    }

    /// `None` past the last number there is.
    fn nonce(&self, n: u64, flag: u8) -> Option<Nonce> {
        let mut nonce = [0; 12];
        let number = u32::try_from(n).ok()?.to_be_bytes();
        let bytes = self.prefix.into_iter().chain(number).chain([flag]);
        nonce.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Some(Nonce::assume_unique_for_key(nonce))
    }
}

/// Lets through one chunk after the other, whoever comes first.
pub(super) struct Turnstile<S> {
    state: Mutex<(u64, S)>,
    moved: Condvar,
    stopped: AtomicBool,
}

impl<S> Turnstile<S> {
    pub(super) fn new(first: u64, state: S) -> Self {
        Self { state: Mutex::new((first, state)), moved: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    /// Waits for turn `n`, then does what has to be done in order.
    pub(super) fn pass(&self, n: u64, act: impl FnOnce(&mut S) -> Result<(), Error>) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.0 != n {
            if self.stopped.load(Ordering::SeqCst) {
                return Err(Error::Interrupted);
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if self.stopped.load(Ordering::SeqCst) {
            return Err(Error::Interrupted);
        }
        act(&mut state.1)?;
        state.0 += 1;
        self.moved.notify_all();
        Ok(())
    }

    /// Lets nobody through any more.
    pub(super) fn stop(&self) {
        // Under the lock, or somebody between its look and its wait would sleep through it.
        let _state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopped.store(true, Ordering::SeqCst);
        self.moved.notify_all();
    }

    pub(super) fn into_inner(self) -> S {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Threads for one file: as many as there are cores, within bounds.
pub(super) fn workers(asked: usize, chunks: u64) -> usize {
    let cores = match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        asked => asked,
    };
    cores.min(WORKERS_MAX).min(usize::try_from(chunks).unwrap_or(WORKERS_MAX)).max(1)
}

/// What is done with a chunk, by its number, in a worker's buffer.
pub(super) type Work<'a> = &'a (dyn Fn(u64, &mut Zeroizing<Vec<u8>>) -> Result<(), Error> + Sync);

/// Does `work` for every chunk of `chunks`, each worker in a buffer of its own. The first error ends it: `stop` is called so
/// that whoever waits gives up.
pub(super) fn each_chunk(
    chunks: Range<u64>,
    workers: usize,
    stop: &(dyn Fn() + Sync),
    work: Work<'_>,
) -> Result<(), Error> {
    let next = AtomicU64::new(chunks.start);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let run = || {
        let _guard = StopOnPanic(stop);
        let mut buffer = Zeroizing::new(Vec::new());
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            if n >= chunks.end {
                return;
            }
            let Err(error) = work(n, &mut buffer) else { continue };
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that were waiting gave up because of somebody else's reason.
            if failure.as_ref().is_none_or(|known| matches!(known, Error::Interrupted)) {
                *failure = Some(error);
            }
            drop(failure);
            next.store(chunks.end, Ordering::SeqCst);
            stop();
            return;
        }
    };
    match workers {
        1 => run(),
        _ => std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(run);
            }
        }),
    }
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

struct StopOnPanic<'a>(&'a (dyn Fn() + Sync));

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

#[cfg(test)]
mod tests {
    use aes_gcm::aead::KeyInit;
    use aes_gcm::aead::stream::{DecryptorBE32, EncryptorBE32};
    use aes_gcm::{Aes256Gcm, aead::Payload};

    use super::*;

    /// Test cases 14 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B.
    #[test]
    fn published_vectors_of_aes_256_gcm_come_out() {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
        };
        let zeros = "00".repeat(32);
        let vectors = [
            (
                zeros.as_str(),
                "000000000000000000000000",
                "",
                "00000000000000000000000000000000",
                "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
            ),
            (
                "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
                "cafebabefacedbaddecaf888",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
            ),
        ];
        for (key, nonce, aad, plain, sealed) in vectors {
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes(key)).unwrap());
            let mut text = bytes(plain);
            let nonce = Nonce::try_assume_unique_for_key(&bytes(nonce)).unwrap();
            key.seal_in_place_append_tag(nonce, Aad::from(bytes(aad)), &mut text).unwrap();
            assert_eq!(text, bytes(sealed));
        }
    }

    /// No published vectors of this construction are known to us; RustCrypto's is an implementation of somebody else's.
    #[test]
    fn an_independent_stream_reads_ours_and_we_read_its_own() {
        let (key, prefix, aad) = ([0x42; 32], [1, 2, 3, 4, 5, 6, 7], [9; 32]);
        let chunks: Vec<Vec<u8>> = vec![vec![1; 4096], vec![2; 4096], vec![3; 4096], vec![4; 17]];
        let ours = Cipher::new(&key, prefix, aad).unwrap();
        let last = chunks.len() as u64 - 1;
        let sealed: Vec<Vec<u8>> = (0..)
            .zip(&chunks)
            .map(|(n, chunk)| {
                let mut chunk = chunk.clone();
                ours.seal(n, n == last, &mut chunk).unwrap();
                chunk
            })
            .collect();
        let theirs = || Aes256Gcm::new(&key.into());
        let mut encryptor = EncryptorBE32::from_aead(theirs(), &prefix.into());
        let mut decryptor = DecryptorBE32::from_aead(theirs(), &prefix.into());
        let payload = |msg| Payload { msg, aad: &aad };
        for (chunk, sealed) in chunks.iter().zip(&sealed).take(3) {
            assert_eq!(&encryptor.encrypt_next(payload(chunk.as_slice())).unwrap(), sealed);
            assert_eq!(&decryptor.decrypt_next(payload(sealed.as_slice())).unwrap(), chunk);
        }
        assert_eq!(encryptor.encrypt_last(payload(chunks[3].as_slice())).unwrap(), sealed[3]);
        assert_eq!(decryptor.decrypt_last(payload(sealed[3].as_slice())).unwrap(), chunks[3]);
    }

    #[test]
    fn the_counter_ends_where_four_bytes_do() {
        let cipher = Cipher::new(&[1; 32], [0; 7], [0; 32]).unwrap();
        let mut chunk = b"last there is".to_vec();
        cipher.seal(u64::from(u32::MAX), true, &mut chunk).unwrap();
        assert_eq!(cipher.open(u64::from(u32::MAX), true, &mut chunk.clone()).unwrap(), b"last there is");
        assert!(cipher.open(0, true, &mut chunk.clone()).is_err(), "it does not begin again");
        assert!(matches!(cipher.seal(1 << 32, true, &mut chunk), Err(Error::TooLong { .. })));
        assert!(matches!(cipher.open(1 << 32, true, &mut chunk), Err(Error::Damaged { .. })));
        assert_eq!(Layout::of_plaintext(1 << 52, 1 << 20).unwrap().chunks, 1 << 32);
        assert!(matches!(Layout::of_plaintext((1 << 52) + 1, 1 << 20), Err(Error::TooLong { .. })));
        assert!(Layout::of_payload(u64::MAX, 1 << 12).is_err());
    }

    #[test]
    fn the_length_of_ciphertext_says_that_of_plaintext_and_nothing_else_is_a_length() {
        for size in (0..10).chain(4090..4100).chain(8190..8200) {
            let layout = Layout::of_plaintext(size, 4096).unwrap();
            assert_eq!(Layout::of_payload(size + layout.chunks * TAG_BYTES, 4096).unwrap(), layout);
            assert_eq!((0..layout.chunks).map(|n| layout.len(n) as u64).sum::<u64>(), size);
        }
        for payload in [0, 15, 4112 + 16, 4112 + 15, 2 * 4112 + 1] {
            assert!(Layout::of_payload(payload, 4096).is_err(), "{payload}");
        }
    }
}
