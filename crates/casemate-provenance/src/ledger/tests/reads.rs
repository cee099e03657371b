//! What a proof costs, and that it is the one another implementation makes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::super::self_test::Memory;
use super::*;
use crate::tiles::{self, HEIGHT, Kind, Tile, WIDTH};

/// Notes what is read.
struct Counting(Memory, Arc<Mutex<Vec<String>>>);

impl Storage for Counting {
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        self.1.lock().unwrap().push(path.into());
        self.0.read(path, bytes_max)
    }

    fn write_durable(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        self.0.write_durable(files)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        self.0.list(directory)
    }

    fn lock(&self, kind: LockKind) -> io::Result<Box<dyn Send>> {
        self.0.lock(kind)
    }
}

/// Checkpoint, tiles and bundles of `size` events, without their envelopes.
fn files(size: u64, key: &KeyPair) -> BTreeMap<String, Vec<u8>> {
    let entries: Vec<_> = (0..size).map(|n| Event::of(&evidence(n), b"envelope").to_bytes()).collect();
    let mut hashes: Vec<_> = entries.iter().map(|entry| merkle::leaf_hash(entry)).collect();
    let root = merkle::root(&hashes);
    let mut files = BTreeMap::new();
    for (n, bundle) in (0..).zip(entries.chunks(256)) {
        let tile = Tile::in_tree(Kind::Entries, n, size).unwrap();
        files.insert(tile.to_string(), tiles::write_entries(bundle).unwrap());
    }
    for level in 0..HEIGHT {
        for (n, chunk) in (0..).zip(hashes.chunks(256)) {
            let tile = Tile::in_tree(Kind::Hashes(level), n, size).unwrap();
            assert_eq!(tile.width, chunk.len() as u64);
            files.insert(tile.to_string(), tiles::write_hashes(chunk));
        }
        hashes = hashes.as_chunks::<256>().0.iter().map(|chunk| tiles::head(chunk)).collect();
    }
    let head = Checkpoint { origin: ORIGIN.into(), size, root, extensions: Vec::new() };
    files.insert(CHECKPOINT.into(), Note::sign(&head.to_text(), ORIGIN, key).unwrap().to_bytes());
    files
}

#[test]
fn a_proof_reads_two_tiles_a_level_at_most_and_one_bundle() {
    const SIZE: u64 = 70_000;
    let key = KeyPair::generate().unwrap();
    let files = files(SIZE, &key);
    for (level, full, rest) in [(0, 273, 112), (1, 1, 17), (2, 0, 1)] {
        let width = |n| Tile::in_tree(Kind::Hashes(level), n, SIZE).unwrap().width;
        assert!((0..full).all(|n| width(n) == WIDTH));
        assert_eq!(width(full), rest);
    }
    let read = Arc::new(Mutex::new(Vec::new()));
    let trust = Trust { ledger: NoteKey::new(ORIGIN, key.public()).unwrap(), evidence: vec![], witnesses: vec![] };
    let storage = Counting(Memory(files), Arc::clone(&read));
    let ledger = Ledger::open_storage(Box::new(storage), trust.clone()).unwrap();
    let mut most = 0;
    for index in [0, 1, 255, 256, 4_095, 32_768, 65_535, 65_536, 69_631, 69_632, 69_888, 69_998, SIZE - 1] {
        read.lock().unwrap().clear();
        let proof = ledger.prove(index).unwrap();
        assert_eq!(proof.verify(&trust.ledger).unwrap().index, index);
        let read = read.lock().unwrap();
        let of = |beginning: &str| read.iter().filter(|path| path.starts_with(beginning)).count();
        assert_eq!((of("tile/entries/"), of(CHECKPOINT)), (1, 1), "{read:?}");
        assert!((0..HEIGHT).all(|level| of(&format!("tile/{level}/")) <= 2), "record {index}: {read:?}");
        assert!(read.len() <= 2 + 6, "{read:?}");
        most = most.max(read.len());
    }
    assert!(most > 4, "the record with the longest way reads more than its own tiles");
    read.lock().unwrap().clear();
    let id = ledger.prove(300).unwrap().verify(&trust.ledger).unwrap().id;
    assert_eq!(ledger.index_of_beginning(&id[..16]).unwrap(), 300);
    assert!(matches!(ledger.index_of_beginning("a"), Err(Error::SeveralRecords { .. })));
    assert!(matches!(ledger.index_of_beginning("x"), Err(Error::UnknownRecord { .. })));
}
