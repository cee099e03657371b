//! Sealed files damaged, cut, mixed and rewrapped by strangers: nothing opens that was not sealed so.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use casemate_core::{FileSource, MemorySource};
use proptest::prelude::*;

use super::age::AgeIdentity;
use super::hybrid::HybridKey;
use super::passphrase::Passphrase;
use super::place::{Named, erase, open_file, rewrap, seal_file};
use super::*;

/// Small chunks, so that a few kilobytes have many.
const CHUNK: usize = 4096;

fn settings(name: &str) -> SealSettings<'_> {
    SealSettings { name, digest: true, chunk_log2: 12, workers: 3, progress: &|_| true }
}

fn sealed(plain: &[u8], recipients: &[&dyn Recipient]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    seal(&MemorySource::new(plain), &mut out, recipients, &settings("m/weights")).unwrap();
    out.into_inner()
}

/// What opening gives, and what was released until then.
fn opened(bytes: &[u8], key: &dyn KeyWrapper) -> (Result<(), Error>, Vec<u8>) {
    let source = MemorySource::new(bytes);
    let mut out = Vec::new();
    let done = Container::read(&source)
        .and_then(|container| container.unlock(&[key]))
        .and_then(|opened| opened.copy_to(&mut out, 4, &|_| true));
    (done, out)
}

fn refused(bytes: &[u8], key: &dyn KeyWrapper, plain: &[u8], released_max: usize, what: &str) {
    let (done, released) = opened(bytes, key);
    let error = done.expect_err(what);
    assert!(error.is_integrity(), "{what}: {error}");
    assert!(released.len() <= released_max, "{what}: {} bytes were released", released.len());
    assert_eq!(released, plain[..released.len()], "{what}");
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|at| u8::try_from(at % 251).unwrap() ^ u8::try_from(at / 4096 % 256).unwrap()).collect()
}

fn head_bytes() -> usize {
    4096 + 2 * header::SLOT_BYTES as usize
}

#[test]
fn what_was_sealed_opens_whatever_its_length() {
    let key = LocalKey::generate().unwrap();
    for n in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 20 * CHUNK + 7] {
        let plain = pattern(n);
        let bytes = sealed(&plain, &[&key]);
        let (done, out) = opened(&bytes, &key);
        done.unwrap();
        assert_eq!(out, plain, "{n}");
        let source = MemorySource::new(bytes);
        let container = Container::read(&source).unwrap();
        assert!(!container.has_rests());
        let opened = container.unlock(&[&key]).unwrap();
        let metadata = Metadata { size_bytes: n as u64, sha256: Some(crate::sha256(&plain)), name: "m/weights".into() };
        assert_eq!(opened.metadata(), &metadata);
    }
}

#[test]
fn every_kind_of_key_opens_and_another_of_its_kind_does_not_and_says_which_would() {
    let plain = pattern(100);
    let (local, age) = (LocalKey::generate().unwrap(), AgeIdentity::generate().unwrap());
    let hybrid = HybridKey::generate().unwrap();
    let words = |text: &str| Passphrase::new(Secret::new(text.into())).unwrap();
    let passphrase = words("correct horse");
    let bytes = sealed(&plain, &[&local, age.recipient(), hybrid.recipient(), &passphrase]);
    let again = words("correct horse");
    for key in [&local as &dyn KeyWrapper, &age, &hybrid, &again] {
        let (done, out) = opened(&bytes, key);
        done.unwrap();
        assert_eq!(out, plain);
    }
    let others = (LocalKey::generate().unwrap(), AgeIdentity::generate().unwrap(), HybridKey::generate().unwrap());
    for key in [&others.0 as &dyn KeyWrapper, &others.1, &others.2, &words("battery staple")] {
        let (done, out) = opened(&bytes, key);
        let error = done.unwrap_err();
        assert!(matches!(error, Error::NoKey { .. }) && error.is_integrity() && out.is_empty());
        for kek_id in [KeyWrapper::kek_id(&local), KeyWrapper::kek_id(&age), KeyWrapper::kek_id(&hybrid)] {
            assert!(error.to_string().contains(&kek_id), "{error}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_does_not_open() {
    let key = LocalKey::generate().unwrap();
    let plain = pattern(3 * CHUNK + 100);
    let bytes = sealed(&plain, &[&key]);
    let chunk = CHUNK + 16;
    let edges = (0..4).map(|n| head_bytes() + n * chunk);
    let near = edges.clone().flat_map(|edge| [edge - 1, edge + 1, edge + 16, edge + 17]);
    for cut in edges.chain(near).chain([0, 3, 4, 63, 64, 4096, bytes.len() - 1]) {
        // The size stands in the head: a file of another length gives nothing at all.
        refused(&bytes[..cut], &key, &plain, 0, &format!("cut at {cut}"));
    }
    refused(&[&bytes[..], &[0]].concat(), &key, &plain, 0, "one byte more");
    refused(&[&bytes[..], &bytes[bytes.len() - chunk..]].concat(), &key, &plain, 0, "a chunk more");
}

/// The stream by itself, without the size in the head: cutting it off at a chunk's edge leaves no last chunk.
#[test]
fn a_dropped_last_chunk_is_seen_by_the_stream_itself() {
    let cipher = Cipher::new(&[7; 32], [1; 7], [2; 32]).unwrap();
    let mut chunk = b"in the middle".to_vec();
    cipher.seal(3, false, &mut chunk).unwrap();
    assert!(cipher.open(3, true, &mut chunk.clone()).is_err());
    assert!(cipher.open(3, false, &mut chunk).is_ok());
}

#[test]
fn chunks_swapped_within_and_between_files_do_not_open() {
    let key = LocalKey::generate().unwrap();
    let plain = pattern(4 * CHUNK);
    let (bytes, other) = (sealed(&plain, &[&key]), sealed(&plain, &[&key]));
    let chunk = |bytes: &[u8], n: usize| bytes[head_bytes() + n * (CHUNK + 16)..][..CHUNK + 16].to_vec();
    let with = |n: usize, chunk: &[u8]| {
        let mut changed = bytes.clone();
        changed[head_bytes() + n * (CHUNK + 16)..][..CHUNK + 16].copy_from_slice(chunk);
        changed
    };
    for (from, to) in [(0, 1), (1, 0), (1, 2), (3, 0), (0, 3), (2, 3)] {
        refused(&with(to, &chunk(&bytes, from)), &key, &plain, to * CHUNK, &format!("{from} in the place of {to}"));
    }
    for n in 0..4 {
        refused(&with(n, &chunk(&other, n)), &key, &plain, n * CHUNK, &format!("{n} of another file"));
    }
    let mut swapped = with(1, &chunk(&bytes, 2));
    swapped[head_bytes() + 2 * (CHUNK + 16)..][..CHUNK + 16].copy_from_slice(&chunk(&bytes, 1));
    refused(&swapped, &key, &plain, CHUNK, "two exchanged");
    let mut head = other.clone();
    head[..head_bytes()].copy_from_slice(&bytes[..head_bytes()]);
    refused(&head, &key, &plain, 0, "the head of another file");
}

#[test]
fn a_flipped_bit_is_seen_wherever_it_is() {
    let key = LocalKey::generate().unwrap();
    let plain = pattern(2 * CHUNK + 5);
    let bytes = sealed(&plain, &[&key]);
    let slot_b = 4096 + header::SLOT_BYTES as usize..head_bytes();
    let used = 4096 + 4 + 10 + 5 + 64 + 60 + 64;
    let every = (0..64).chain(64..100).chain(4090..used);
    let some = (used..slot_b.start).step_by(997).chain((head_bytes()..bytes.len()).step_by(61));
    let edges =
        (0..3).flat_map(|n| [0, 1, CHUNK - 1, CHUNK, CHUNK + 15].map(|at| head_bytes() + n * (CHUNK + 16) + at));
    for at in every.chain(some).chain(edges).filter(|at| *at < bytes.len()) {
        for bit in [0, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let whole = at.saturating_sub(head_bytes()) / (CHUNK + 16) * CHUNK;
            refused(&flipped, &key, &plain, whole, &format!("bit {bit} of byte {at}"));
        }
    }
    // The slot not in use is believed in nothing, as a crash may leave anything there.
    let mut flipped = bytes.clone();
    flipped[slot_b.start + 100] ^= 1;
    assert_eq!(opened(&flipped, &key).1, plain);
    assert!(Container::read(&MemorySource::new(flipped)).unwrap().has_rests());
}

#[test]
fn a_head_longer_than_its_file_or_of_impossible_size_is_refused_before_anything_is_read() {
    let bytes = sealed(b"x", &[&LocalKey::generate().unwrap()]);
    for value in [0u32, 64, 4096, 4097, 12 << 20, u32::MAX, 36865] {
        let mut changed = bytes.clone();
        changed[4..8].copy_from_slice(&value.to_be_bytes());
        assert!(Container::read(&MemorySource::new(changed)).is_err_and(|error| error.is_integrity()), "{value}");
    }
    let longer = (4096u32 + 2 * (1 << 20)).to_be_bytes();
    let mut changed = bytes;
    changed[4..8].copy_from_slice(&longer);
    let error = Container::read(&MemorySource::new(changed)).err().unwrap();
    assert!(error.to_string().contains("longer than the file"), "{error}");
}

/// Somebody who can write the file but holds none of its keys.
#[test]
fn a_stranger_cannot_exchange_the_keys() {
    let (key, stranger) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    let plain = pattern(10);
    let bytes = sealed(&plain, &[&key, &LocalKey::generate().unwrap()]);
    let source = MemorySource::new(bytes.clone());
    let container = Container::read(&source).unwrap();
    let (_, slot) = container.current().unwrap();
    let forge = |wraps: Vec<Wrapped>, generation| {
        let guessed = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
        let slot = Slot::new(generation, wraps, &container.fixed, &guessed).unwrap().encode(&container.fixed).unwrap();
        let mut forged = bytes.clone();
        forged[4096..4096 + slot.len()].copy_from_slice(&slot);
        forged
    };
    let own = Wrapped {
        kind: WrapKind::Local,
        kek_id: KeyWrapper::kek_id(&stranger),
        blob: KeyWrapper::wrap(&stranger, &Secret::new([1; 32]), &container.fixed.hash()).unwrap(),
    };
    let added = forge([slot.wraps.clone(), vec![own.clone()]].concat(), 2);
    refused(&added, &key, &plain, 0, "a key added");
    refused(&added, &stranger, &plain, 0, "a data key of the stranger's choice");
    refused(&forge(slot.wraps[..1].to_vec(), 2), &key, &plain, 0, "a key taken away");
    refused(&forge(vec![own], 2), &stranger, &plain, 0, "every key exchanged");
    // A list that is authentic, from another file sealed for the same key.
    let other = sealed(&plain, &[&key]);
    let mut moved = bytes.clone();
    moved[4096..head_bytes()].copy_from_slice(&other[4096..head_bytes()]);
    refused(&moved, &key, &plain, 0, "the list of another file");
}

#[test]
fn many_passphrases_in_a_head_do_not_keep_anybody_busy() {
    let cheap = |n: u8| {
        // Parameters, salt, and a wrapped key of noise.
        [&(64u32).to_be_bytes()[..], &1u32.to_be_bytes(), &[1], &[n; 16], &[0; 60]].concat()
    };
    let wraps: Vec<Wrapped> = (0..60)
        .map(|n| Wrapped { kind: WrapKind::Passphrase, kek_id: format!("passphrase:{n}"), blob: cheap(n) })
        .collect();
    let bytes = sealed(b"x", &[&LocalKey::generate().unwrap()]);
    let source = MemorySource::new(bytes);
    let mut container = Container::read(&source).unwrap();
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
    container.slots[0] = SlotState::Whole(Slot::new(1, wraps, &container.fixed, &mac).unwrap());
    let opener = Passphrase::new(Secret::new(b"any".to_vec())).unwrap();
    match container.unlock(&[&opener]) {
        Err(Error::NoKey { refused, .. }) => assert_eq!(refused.len(), PASSPHRASE_TRIES_MAX),
        _ => panic!("noise opened"),
    }
}

fn on_disk(plain: &[u8], recipients: &[&dyn Recipient]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("plain"), plain).unwrap();
    let path = directory.path().join("plain.cmv");
    seal_file(&directory.path().join("plain"), &path, false, recipients, &settings("plain")).unwrap();
    (directory, path)
}

fn opens(path: &Path, key: &dyn KeyWrapper) -> Result<Vec<u8>, Error> {
    let source = FileSource::open(path).unwrap();
    let mut out = Vec::new();
    Container::read(&source)?.unlock(&[key])?.copy_to(&mut out, 0, &|_| true)?;
    Ok(out)
}

#[test]
fn rewrapping_exchanges_keys_and_leaves_every_chunk_as_it_was() {
    let (old, new) = (LocalKey::generate().unwrap(), HybridKey::generate().unwrap());
    let plain = pattern(3 * CHUNK);
    let (_directory, path) = on_disk(&plain, &[&old]);
    let before = fs::read(&path).unwrap();
    let digest = Container::read(&MemorySource::new(before.clone())).unwrap().digest().unwrap();
    let both = rewrap(&path, &[&old], &[new.recipient()], &[]).unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(opens(&path, &old).unwrap(), plain);
    assert_eq!(opens(&path, &new).unwrap(), plain);
    let gone = KeyWrapper::kek_id(&old);
    let left = rewrap(&path, &[&new], &[], std::slice::from_ref(&gone)).unwrap();
    assert_eq!(left, [Named { kind: WrapKind::Mlkem768X25519, kek_id: KeyWrapper::kek_id(&new) }]);
    assert!(matches!(opens(&path, &old), Err(Error::NoKey { .. })));
    assert_eq!(opens(&path, &new).unwrap(), plain);
    let after = fs::read(&path).unwrap();
    assert_eq!(after[..4096], before[..4096]);
    assert_eq!(after[head_bytes()..], before[head_bytes()..]);
    assert!(!after.windows(gone.len()).any(|window| window == gone.as_bytes()), "nothing of the old key is left");
    let source = MemorySource::new(after);
    let container = Container::read(&source).unwrap();
    assert_eq!((container.digest().unwrap(), container.has_rests()), (digest, false));
}

#[test]
fn rewrapping_without_a_key_or_down_to_none_changes_nothing() {
    let (key, stranger) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    let (_directory, path) = on_disk(b"plain", &[&key]);
    let before = fs::read(&path).unwrap();
    assert!(matches!(rewrap(&path, &[&stranger], &[&stranger], &[]), Err(Error::NoKey { .. })));
    assert!(matches!(rewrap(&path, &[&key], &[], &[KeyWrapper::kek_id(&key)]), Err(Error::Wraps { count: 0 })));
    assert!(matches!(rewrap(&path, &[&key], &[], &["local:none".into()]), Err(Error::NoSuchKey { .. })));
    let many: Vec<_> = (0..14).map(|_| HybridKey::generate().unwrap()).collect();
    let many: Vec<&dyn Recipient> = many.iter().map(|key| key.recipient() as &dyn Recipient).collect();
    assert!(matches!(rewrap(&path, &[&key], &many, &[]), Err(Error::Full)));
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// The states a crash can leave: the new list half written, the new one whole beside the old one, the old one half wiped.
#[test]
fn a_crash_at_any_moment_of_a_rewrap_leaves_a_file_that_opens() {
    let (old, new) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    let (_directory, path) = on_disk(b"plain", &[&old]);
    let before = fs::read(&path).unwrap();
    rewrap(&path, &[&old], &[&new], &[KeyWrapper::kek_id(&old)]).unwrap();
    let after = fs::read(&path).unwrap();
    let slot = header::SLOT_BYTES as usize;
    let state = |a: &[u8], b: &[u8]| [&before[..4096], a, b, &before[head_bytes()..]].concat();
    let (old_list, new_list) = (&before[4096..4096 + slot], &after[4096 + slot..head_bytes()]);
    let written = new_list.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for at in (0..written).step_by(7).chain([written - 1]) {
        let torn = [&new_list[..at], &vec![0; slot - at][..]].concat();
        let bytes = state(old_list, &torn);
        assert_eq!(opened(&bytes, &old).1, b"plain", "torn at {at}");
        assert!(opened(&bytes, &new).0.is_err());
    }
    let both = state(old_list, new_list);
    assert_eq!(opened(&both, &new).1, b"plain");
    assert!(opened(&both, &old).0.is_err(), "a key that was removed stays removed");
    for at in (0..written).step_by(7) {
        let wiped = [&vec![0; at][..], &old_list[at..]].concat();
        let bytes = state(&wiped, new_list);
        assert_eq!(opened(&bytes, &new).1, b"plain", "wiped up to {at}");
        // The next rewrap clears away what is left.
        fs::write(&path, &bytes).unwrap();
        rewrap(&path, &[&new], &[], &[]).unwrap();
        assert!(!Container::read(&FileSource::open(&path).unwrap()).unwrap().has_rests());
        assert_eq!(opens(&path, &new).unwrap(), b"plain");
    }
}

#[test]
fn erased_files_open_with_no_key_and_say_so() {
    let key = LocalKey::generate().unwrap();
    let (_directory, path) = on_disk(&pattern(9000), &[&key]);
    let before = fs::read(&path).unwrap();
    let destroyed = erase(&path).unwrap();
    assert_eq!(destroyed, [Named { kind: WrapKind::Local, kek_id: KeyWrapper::kek_id(&key) }]);
    assert!(matches!(opens(&path, &key), Err(Error::Erased)));
    let after = fs::read(&path).unwrap();
    assert!(after[4096..head_bytes()].iter().all(|byte| *byte == 0));
    assert_eq!(after[head_bytes()..], before[head_bytes()..]);
    assert!(erase(&path).unwrap().is_empty());
    assert!(erase(&path.with_file_name("plain")).is_err());
    fs::write(&path, &before[..head_bytes() + 5]).unwrap();
    assert_eq!(erase(&path).unwrap(), destroyed, "also where the chunks are cut off");
}

#[test]
fn a_file_appears_only_when_its_last_chunk_is_verified() {
    let key = LocalKey::generate().unwrap();
    let (directory, path) = on_disk(&pattern(5 * CHUNK), &[&key]);
    let mut bytes = fs::read(&path).unwrap();
    let out = directory.path().join("out");
    let open = |bytes: &[u8], replace| {
        let source = MemorySource::new(bytes);
        let opened = Container::read(&source).unwrap().unlock(&[&key]).unwrap();
        open_file(&opened, &out, replace, 0, &|_| true)
    };
    *bytes.last_mut().unwrap() ^= 1;
    assert!(open(&bytes, false).unwrap_err().is_integrity());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing stays behind");
    *bytes.last_mut().unwrap() ^= 1;
    open(&bytes, false).unwrap();
    assert_eq!(fs::read(&out).unwrap(), pattern(5 * CHUNK));
    assert!(matches!(open(&bytes, false), Err(Error::Write(_))), "nothing is overwritten unasked");
    open(&bytes, true).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let stopped = SealSettings { progress: &|_| false, ..settings("x") };
    let there = directory.path().join("stopped.cmv");
    assert!(matches!(seal_file(&out, &there, false, &[&key], &stopped), Err(Error::Interrupted)));
    assert!(!there.exists());
}

struct Counting {
    inner: MemorySource,
    read: AtomicU64,
}

impl Source for Counting {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read_at(offset, buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_range_is_what_the_whole_has_there_and_reads_two_chunks_more_at_most(
        n in 0usize..6 * CHUNK, offset in 0u64..7 * CHUNK as u64, length in 0u64..7 * CHUNK as u64,
    ) {
        let key = LocalKey::generate().unwrap();
        let plain = pattern(n);
        let source = Counting { inner: MemorySource::new(sealed(&plain, &[&key])), read: AtomicU64::new(0) };
        let opened = Container::read(&source).unwrap().unlock(&[&key]).unwrap();
        source.read.store(0, Ordering::Relaxed);
        let mut out = Vec::new();
        match opened.open_range(offset, length, &mut out) {
            Ok(()) => {
                let from = usize::try_from(offset).unwrap();
                prop_assert_eq!(out.as_slice(), &plain[from..from + usize::try_from(length).unwrap()]);
                let read = source.read.load(Ordering::Relaxed) / (CHUNK as u64 + 16);
                prop_assert!(read <= length / CHUNK as u64 + 2, "{} chunks for {} bytes", read, length);
            }
            Err(error) => {
                let is_out = matches!(error, Error::OutOfRange { .. });
                prop_assert!(is_out && offset + length > n as u64);
            }
        }
    }

    #[test]
    fn what_is_sealed_opens_with_any_number_of_threads(n in 0usize..9 * CHUNK, workers in 1usize..9, digest: bool) {
        let key = LocalKey::generate().unwrap();
        let plain = pattern(n);
        let mut out = Cursor::new(Vec::new());
        let settings = SealSettings { workers, digest, ..settings("n") };
        let summary = seal(&MemorySource::new(plain.clone()), &mut out, &[&key], &settings).unwrap();
        let source = MemorySource::new(out.into_inner());
        let container = Container::read(&source).unwrap();
        prop_assert_eq!(container.digest().unwrap(), summary.digest);
        let mut back = Vec::new();
        let opened = container.unlock(&[&key]).unwrap();
        opened.copy_to(&mut back, workers, &|_| true).unwrap();
        prop_assert_eq!(opened.metadata().sha256, digest.then(|| crate::sha256(&plain)));
        prop_assert_eq!(back, plain);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, at in 0usize..40_000) {
        let key = LocalKey::generate().unwrap();
        let mut whole = sealed(b"some", &[&key]);
        let at = at.min(whole.len());
        let end = (at + bytes.len()).min(whole.len());
        let changed = whole[at..end] != bytes[..end - at];
        whole.splice(at..end, bytes.clone());
        let used = !(4096 + header::SLOT_BYTES as usize..head_bytes()).contains(&at);
        let (done, _) = opened(&whole, &key);
        prop_assert!(done.is_err() || !changed || !used);
        let mut bare = header::MAGIC.to_vec();
        bare.extend(bytes);
        let _ = opened(&bare, &key);
    }
}
