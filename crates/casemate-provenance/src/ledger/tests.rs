//! The ledger as its users meet it: whole, tampered with, and interrupted.

mod crash;
mod reads;
mod tamper;
mod witnesses;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use casemate_core::{EvidenceSink, Fact};
use tempfile::TempDir;

use super::*;
use crate::testing::evidence;

const ORIGIN: &str = "casemate.test/ledger";

/// A ledger in a temporary directory, and its keys.
struct Fixture {
    dir: TempDir,
    evidence_key: KeyPair,
    ledger_key: KeyPair,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (evidence_key, ledger_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        Ledger::create(&dir.path().join("ledger"), ORIGIN, &ledger_key).unwrap();
        Self { dir, evidence_key, ledger_key }
    }

    fn with_records(n: u64) -> Self {
        let fixture = Self::new();
        fixture.append(0..n);
        fixture
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    fn trust(&self) -> Trust {
        Trust {
            ledger: NoteKey::new(ORIGIN, self.ledger_key.public()).unwrap(),
            evidence: vec![self.evidence_key.public()],
            witnesses: Vec::new(),
        }
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.path(), self.trust()).unwrap()
    }

    fn append(&self, range: std::ops::Range<u64>) -> Appended {
        let batch: Vec<_> = range.map(evidence).collect();
        self.open().append(&batch, &self.evidence_key, &self.ledger_key).unwrap()
    }

    fn verify(&self) -> VerifyReport {
        self.open().verify(None)
    }

    fn files(&self) -> Vec<String> {
        files_below(&self.path(), &self.path())
    }
}

fn files_below(root: &Path, directory: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(root, &path)),
            false => files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_string()),
        }
    }
    files.sort();
    files
}

#[test]
fn an_empty_ledger_verifies_and_an_empty_batch_changes_nothing() {
    let fixture = Fixture::new();
    assert_eq!(fixture.append(0..0), Appended::default());
    let report = fixture.verify();
    assert_eq!((report.problems.len(), report.tree_size, report.root), (0, 0, Some(merkle::empty_root())));
    assert_eq!(fixture.files(), [CHECKPOINT]);
    assert_eq!(fixture.open().records().unwrap(), Records::default());
}

#[test]
fn appended_records_come_back_with_their_ids() {
    let fixture = Fixture::new();
    let mut ids = fixture.append(0..3).ids;
    ids.extend(fixture.append(3..10).ids);
    let read = fixture.open().records().unwrap();
    assert_eq!(read.problems, []);
    assert_eq!(read.records.len(), 10);
    for (n, id) in (0u64..).zip(&ids) {
        let record = &read.records[usize::try_from(n).unwrap()].record;
        assert_eq!((&record.id, record.index, &record.evidence), (id, n, &evidence(n)));
    }
    assert_eq!(fixture.files().iter().filter(|file| file.starts_with("tile")).count(), 2, "obsolete tiles are gone");
}

#[test]
fn six_hundred_records_in_uneven_batches_cross_tile_boundaries() {
    let fixture = Fixture::new();
    let mut remembered = Vec::new();
    for (from, to) in [(0, 255), (255, 256), (256, 257), (257, 511), (511, 514), (514, 600)] {
        assert_eq!(fixture.append(from..to).notes, [""; 0]);
        remembered.push(fixture.open().checkpoint().unwrap());
        let report = fixture.open().verify(remembered.first());
        assert_eq!((report.problems, report.notes, report.records), (vec![], vec![], to));
    }
    let tiles: Vec<_> = fixture.files().into_iter().filter(|file| file.starts_with("tile")).collect();
    let expected =
        ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000", "tile/entries/001"];
    assert_eq!(tiles[..6], expected);
    assert_eq!(tiles[6..], ["tile/entries/002.p/88"]);
    let all: Vec<_> = fixture.open().records().unwrap().records.iter().map(|r| r.record.id.parse().unwrap()).collect();
    assert_eq!(fixture.open().checkpoint().unwrap().root, merkle::root(&all));
    for old in &remembered {
        assert!(fixture.open().verify(Some(old)).is_intact());
        let proof = fixture.open().consistency(old).unwrap();
        assert_eq!(proof.verify(old, &fixture.trust().ledger).unwrap().size, 600);
    }
}

#[test]
fn the_same_evidence_may_be_appended_twice() {
    let fixture = Fixture::with_records(2);
    let ids = fixture.append(0..2).ids;
    let read = fixture.open().records().unwrap();
    assert_eq!(read.records.len(), 4);
    assert_eq!(read.records[0].envelope, read.records[2].envelope);
    assert_eq!(fixture.open().index_of(&ids[1]).unwrap(), 1, "an id leads to the first of its kind");
    assert!(fixture.verify().is_intact());
}

#[test]
fn evidence_that_cannot_be_stored_leaves_the_ledger_as_it_was() {
    let fixture = Fixture::with_records(2);
    let before = fixture.files();
    let mut long = evidence(7);
    long.actor = "a".repeat(70_000);
    let mut nan = evidence(8);
    nan.facts.insert("x".into(), Fact::Number(f64::NAN));
    for bad in [long, nan] {
        let batch = [evidence(5), bad];
        let result = fixture.open().append(&batch, &fixture.evidence_key, &fixture.ledger_key);
        assert!(matches!(result, Err(Error::Entry(_) | Error::Statement(_))));
        assert_eq!(fixture.files(), before);
    }
}

#[test]
fn keys_that_readers_do_not_believe_are_refused_before_writing() {
    let fixture = Fixture::with_records(1);
    let stranger = KeyPair::generate().unwrap();
    let batch = [evidence(5)];
    let append = |evidence_key, ledger_key| fixture.open().append(&batch, evidence_key, ledger_key);
    assert!(matches!(append(&stranger, &fixture.ledger_key), Err(Error::ForeignKey { role: "evidence" })));
    assert!(matches!(append(&fixture.evidence_key, &stranger), Err(Error::ForeignKey { role: "ledger" })));
    assert_eq!(fixture.verify().records, 1);
}

#[test]
fn a_ledger_is_neither_made_over_files_nor_found_without_them() {
    let fixture = Fixture::new();
    assert!(matches!(Ledger::create(&fixture.path(), ORIGIN, &fixture.ledger_key), Err(Error::Exists { .. })));
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(matches!(Ledger::open(elsewhere.path(), fixture.trust()), Err(Error::NotALedger { .. })));
    let missing = Ledger::open(&elsewhere.path().join("none"), fixture.trust());
    assert!(matches!(missing, Err(Error::Storage(error)) if error.to_string().contains("none")));
    let origin = Ledger::create(&elsewhere.path().join("x"), "two words", &fixture.ledger_key);
    assert!(matches!(origin, Err(Error::Checkpoint(_))));
}

#[test]
fn a_sink_appends_and_says_what_failed() {
    let fixture = Fixture::new();
    let (mut open, path) = (fixture.open(), fixture.path());
    let Fixture { evidence_key, ledger_key, dir } = fixture;
    let mut sink = LedgerSink { ledger: &mut open, evidence_key: &evidence_key, ledger_key: &ledger_key };
    assert_eq!(sink.append(&[evidence(1), evidence(2)]).unwrap().len(), 2);
    assert!(sink.ledger.verify(None).is_intact());
    fs::write(path.join(CHECKPOINT), "gone").unwrap();
    let error = sink.append(&[evidence(3)]).unwrap_err();
    assert!(error.damaged && error.to_string().contains("`checkpoint`"), "{error}");
    drop(dir);
}

#[test]
fn concurrent_writers_take_turns_and_readers_see_whole_ledgers() {
    let fixture = Arc::new(Fixture::new());
    let writers: Vec<_> = (0..2u64)
        .map(|writer| {
            let fixture = Arc::clone(&fixture);
            std::thread::spawn(move || {
                for n in 0..8 {
                    let from = 1000 * writer + 3 * n;
                    assert_eq!(fixture.append(from..from + 3).ids.len(), 3);
                    let report = fixture.verify();
                    assert_eq!(report.problems, []);
                    assert_eq!(report.tree_size % 3, 0);
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let report = fixture.verify();
    assert_eq!((report.records, report.notes.len()), (48, 0));
}

#[test]
fn a_proof_stands_without_the_ledger() {
    let fixture = Fixture::with_records(300);
    let ledger = fixture.open();
    let key = fixture.trust().ledger;
    let records = ledger.records().unwrap().records;
    for index in [0, 1, 255, 256, 299] {
        let id = &records[usize::try_from(index).unwrap()].record.id;
        assert_eq!(ledger.index_of(id).unwrap(), index);
        let proof = ledger.prove(index).unwrap();
        let read = InclusionProof::parse(proof.to_text().as_bytes()).unwrap();
        assert_eq!(read, proof);
        let proven = read.verify(&key).unwrap();
        assert_eq!((&proven.id, proven.index, proven.checkpoint.size), (id, index, 300));
        assert_eq!(proven.event.subject.name, format!("model-{index}"));
        let moved = InclusionProof { index: index ^ 1, ..proof.clone() };
        assert_eq!(moved.verify(&key), Err(ProofError::Mismatch));
        let mut other = proof.clone();
        other.entry = ledger.prove((index + 7) % 300).unwrap().entry;
        assert_eq!(other.verify(&key), Err(ProofError::Mismatch));
        let stranger = NoteKey::new(ORIGIN, KeyPair::generate().unwrap().public()).unwrap();
        assert!(matches!(proof.verify(&stranger), Err(ProofError::Checkpoint(_))));
    }
    assert!(matches!(ledger.prove(300), Err(Error::UnknownRecord { .. })));
    assert!(matches!(ledger.index_of(&"0".repeat(64)), Err(Error::UnknownRecord { .. })));
    assert!(matches!(ledger.index_of("7"), Err(Error::UnknownRecord { .. })));
}

#[test]
fn broken_proof_texts_are_refused() {
    let text = Fixture::with_records(5).open().prove(3).unwrap().to_text();
    for (from, to) in
        [("@v1", "@v2"), ("extra ", ""), ("index 3", "index 03"), ("index 3\n", "index 3\nAAAA\n"), ("\n\n", "\n")]
    {
        assert!(text.contains(from));
        assert!(InclusionProof::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
    }
    let many = text.replacen("index 3\n", &format!("index 3\n{}", format!("{}=\n", "A".repeat(43)).repeat(66)), 1);
    assert_eq!(InclusionProof::parse(many.as_bytes()), Err(ProofError::Malformed { what: "hashes" }));
}

#[test]
fn a_consistency_proof_is_for_one_old_head_alone() {
    let fixture = Fixture::with_records(5);
    let old = fixture.open().checkpoint().unwrap();
    fixture.append(5..270);
    let proof = fixture.open().consistency(&old).unwrap();
    let text = proof.to_text();
    assert_eq!(ConsistencyProof::parse(text.as_bytes()), Ok(proof.clone()));
    assert!(ConsistencyProof::is_one(text.as_bytes()) && !InclusionProof::is_one(text.as_bytes()));
    for (from, to) in [("@v1", "@v2"), ("old 5", "old 05"), ("old 5\n", "old 5\nAAAA\n"), ("\n\n", "\n")] {
        assert!(text.contains(from));
        assert!(ConsistencyProof::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
    }
    assert_eq!(proof.verify(&old, &fixture.trust().ledger).unwrap().size, 270);
    let other = Checkpoint { root: merkle::leaf_hash(b"other"), ..old.clone() };
    assert_eq!(proof.verify(&other, &fixture.trust().ledger), Err(ProofError::Mismatch));
    assert!(matches!(fixture.open().consistency(&other), Err(Error::RolledBack { .. })));
    let longer = Checkpoint { size: 271, ..old };
    assert!(matches!(fixture.open().consistency(&longer), Err(Error::RolledBack { .. })));
}

#[test]
fn the_largest_head_is_remembered_and_a_smaller_or_other_one_refused() {
    let fixture = Fixture::with_records(4);
    let kept = fixture.dir.path().join("seen/checkpoint");
    let key = fixture.trust().ledger;
    assert_eq!(remembered(&kept, &key).unwrap(), None);
    fixture.open().remember(&kept).unwrap();
    let old_note = fs::read(fixture.path().join(CHECKPOINT)).unwrap();
    fixture.append(4..6);
    assert_eq!(fixture.open().remember(&kept).unwrap().size, 6);
    assert_eq!(remembered(&kept, &key).unwrap().unwrap().size, 6);
    fs::write(fixture.path().join(CHECKPOINT), old_note).unwrap();
    assert!(matches!(fixture.open().remember(&kept), Err(Error::RolledBack { .. })));
    assert_eq!(remembered(&kept, &key).unwrap().unwrap().size, 6, "what was seen stays seen");
}
