//! Sealing and opening in memory beside the bare cipher, on one thread: `cargo xtask bench seal` runs it.
//!
//! Prints CPU seconds for 1 GiB, the least of several rounds: `bare SECONDS`, `seal SECONDS`, `open SECONDS`,
//! `seal-digest SECONDS`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::io::{Seek, SeekFrom, Write};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use casemate_core::MemorySource;
use casemate_provenance::seal::{CHUNK_LOG2, Container, LocalKey, SealSettings, seal};

const BYTES: usize = 256 << 20;
const TIMES: usize = 4;
const ROUNDS: usize = 5;

fn main() {
    let plain: Vec<u8> = (0..BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let mut buffer = plain.clone();
    let source = MemorySource::new(plain);
    let key = LocalKey::generate().unwrap();
    let sealed = {
        let mut out = std::io::Cursor::new(Vec::new());
        seal(&source, &mut out, &[&key], &settings(false)).unwrap();
        MemorySource::new(out.into_inner())
    };
    let mut best = [f64::MAX; 4];
    for _ in 0..ROUNDS {
        let rounds = [
            timed(|| bare(&mut buffer)),
            timed(|| drop(seal(&source, &mut Nowhere, &[&key], &settings(false)).unwrap())),
            timed(|| {
                Container::read(&sealed).unwrap().unlock(&[&key]).unwrap().copy_to(&mut Nowhere, 1, &|_| true).unwrap()
            }),
            timed(|| drop(seal(&source, &mut Nowhere, &[&key], &settings(true)).unwrap())),
        ];
        best.iter_mut().zip(rounds).for_each(|(best, seconds)| *best = best.min(seconds));
    }
    for (name, seconds) in ["bare", "seal", "open", "seal-digest"].into_iter().zip(best) {
        println!("{name} {seconds:.4}");
    }
}

fn settings(digest: bool) -> SealSettings<'static> {
    SealSettings { name: "speed", digest, chunk_log2: CHUNK_LOG2, workers: 1, progress: &|_| true }
}

/// The cipher over memory in chunks of 1 MiB and nothing else.
fn bare(buffer: &mut [u8]) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    for (n, chunk) in (0u32..).zip(buffer.chunks_mut(1 << 20)) {
        let mut nonce = [0; 12];
        nonce.iter_mut().zip(n.to_be_bytes()).for_each(|(to, from)| *to = from);
        let _tag =
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from([1; 32]), chunk).unwrap();
    }
}

/// CPU seconds of this thread for 1 GiB.
fn timed(mut work: impl FnMut()) -> f64 {
    let before = cpu_nanoseconds();
    (0..TIMES).for_each(|_| work());
    std::time::Duration::from_nanos(cpu_nanoseconds() - before).as_secs_f64()
}

/// Linux's own accounting of the time this thread ran.
fn cpu_nanoseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Nowhere {
    fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
        Ok(0)
    }
}
