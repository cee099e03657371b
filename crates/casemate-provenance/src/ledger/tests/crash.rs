//! A medium that fails, fills up or loses power at any operation.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Nothing of the operation happens, nor of any after it.
    CrashBefore,
    /// A temporary file half written, and nothing after it.
    CrashWithin,
    /// The operation happens, but nobody hears of it, and nothing happens after it.
    CrashAfter,
    /// Writing fails from here on; reading and removing work.
    DiskFull,
    /// As the system says of a directory mounted or marked read-only.
    ReadOnly,
}

/// A directory whose `at`-th change, counted from 0, meets a fault.
struct Faulty {
    inner: DirectoryStorage,
    root: PathBuf,
    fault: Fault,
    at: u64,
    changes: Arc<AtomicU64>,
}

impl Faulty {
    /// Lets a change through, or says why not.
    fn change(&self, write: Option<(&str, &[u8])>, act: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        let n = self.changes.fetch_add(1, Ordering::Relaxed);
        let lost = || Err(io::Error::other("power lost"));
        match (self.fault, write) {
            _ if n < self.at => act(),
            (Fault::DiskFull, Some(_)) => Err(io::ErrorKind::StorageFull.into()),
            (Fault::DiskFull, None) => act(),
            (Fault::ReadOnly, _) => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            (Fault::CrashWithin, Some((path, bytes))) if n == self.at => {
                let temporary = self.root.join(format!("{path}.tmp"));
                fs::create_dir_all(temporary.parent().unwrap())?;
                fs::write(temporary, &bytes[..bytes.len() / 2])?;
                lost()
            }
            (Fault::CrashAfter, _) if n == self.at => act().and_then(|()| lost()),
            _ => lost(),
        }
    }
}

impl Storage for Faulty {
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        self.inner.read(path, bytes_max)
    }

    fn write_durable(&self, files: &[(String, Vec<u8>)]) -> io::Result<()> {
        let one = |file: &(String, Vec<u8>)| {
            self.change(Some((&file.0, &file.1)), &|| self.inner.write_durable(std::slice::from_ref(file)))
        };
        files.iter().try_for_each(one)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.change(None, &|| self.inner.remove(path))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<Listed>> {
        self.inner.list(directory)
    }

    fn lock(&self, kind: LockKind) -> io::Result<Box<dyn Send>> {
        self.inner.lock(kind)
    }
}

fn faulty(fixture: &Fixture, fault: Fault, at: u64) -> (Ledger, Arc<AtomicU64>) {
    let changes = Arc::new(AtomicU64::new(0));
    let (inner, root) = (DirectoryStorage::open(&fixture.path()), fixture.path());
    let storage = Faulty { inner, root, fault, at, changes: Arc::clone(&changes) };
    (Ledger::open_storage(Box::new(storage), fixture.trust()).unwrap(), changes)
}

/// Appends `n` records to `base` while the medium meets `fault` at every change in turn.
fn at_every_change(base: u64, n: u64, fault: Fault) {
    let batch: Vec<_> = (base..base + n).map(evidence).collect();
    for at in 0.. {
        let fixture = Fixture::with_records(base);
        let (mut ledger, changes) = faulty(&fixture, fault, at);
        let result = ledger.append(&batch, &fixture.evidence_key, &fixture.ledger_key);
        let reached = changes.load(Ordering::Relaxed) > at;
        check_after(&fixture, base, n, result.is_ok(), &format!("{fault:?} at change {at}"));
        if !reached {
            assert!(result.unwrap().notes.is_empty());
            assert!(at > n, "the test met every change");
            return;
        }
    }
}

fn check_after(fixture: &Fixture, base: u64, n: u64, acknowledged: bool, what: &str) {
    let report = fixture.verify();
    assert_eq!(report.problems, [], "{what}");
    let size = report.tree_size;
    assert!(size == base + n || (!acknowledged && size == base), "{what}: {size} records");
    let appended = fixture.append(9000..9003);
    // With an interrupted append behind it, the next one says what it found.
    assert_eq!(report.notes.iter().any(|note| note.contains("interrupted")), !appended.notes.is_empty(), "{what}");
    let after = fixture.verify();
    assert_eq!((after.problems, after.records), (vec![], size + 3), "{what}");
    assert!(after.notes.is_empty(), "{what}: everything left over is gone: {:?}", after.notes);
    let records = fixture.open().records().unwrap().records;
    let evidences: Vec<_> = records.into_iter().map(|record| record.record.evidence).collect();
    let expected: Vec<_> = (0..size).chain(9000..9003).map(evidence).collect();
    assert_eq!(evidences, expected, "{what}");
}

#[test]
fn a_crash_at_any_change_loses_nothing_acknowledged() {
    for fault in [Fault::CrashBefore, Fault::CrashWithin, Fault::CrashAfter] {
        at_every_change(3, 3, fault);
    }
}

#[test]
fn a_crash_while_a_tile_fills_loses_nothing_acknowledged() {
    at_every_change(254, 4, Fault::CrashAfter);
    at_every_change(254, 4, Fault::CrashWithin);
}

#[test]
fn a_full_disk_at_any_change_undoes_the_append() {
    at_every_change(3, 3, Fault::DiskFull);
}

#[test]
fn a_second_crash_while_the_first_is_cleared_loses_nothing() {
    let batch: Vec<_> = (3..6).map(evidence).collect();
    for first in [2, 4, 6, 7] {
        for second in 0..12 {
            let fixture = Fixture::with_records(3);
            for at in [first, second] {
                let (mut ledger, _) = faulty(&fixture, Fault::CrashWithin, at);
                let _ = ledger.append(&batch, &fixture.evidence_key, &fixture.ledger_key);
            }
            let report = fixture.verify();
            assert_eq!((report.problems, report.tree_size % 3), (vec![], 0), "{first} {second}");
            fixture.append(20..21);
            let after = fixture.verify();
            assert_eq!((after.problems, after.notes), (vec![], vec![]), "{first} {second}");
        }
    }
}

#[test]
fn an_envelope_another_record_names_survives_the_undoing() {
    let fixture = Fixture::with_records(3);
    let batch = [evidence(1), evidence(7)];
    let (mut ledger, _) = faulty(&fixture, Fault::CrashBefore, 3);
    assert!(ledger.append(&batch, &fixture.evidence_key, &fixture.ledger_key).is_err());
    assert_eq!(fixture.append(8..9).notes.len(), 1);
    assert!(fixture.verify().is_intact());
}

#[test]
fn a_read_only_ledger_refuses_to_grow_and_can_still_be_read() {
    let fixture = Fixture::with_records(3);
    let (mut ledger, _) = faulty(&fixture, Fault::ReadOnly, 0);
    let error = ledger.append(&[evidence(9)], &fixture.evidence_key, &fixture.ledger_key).unwrap_err();
    assert!(matches!(error, Error::Storage(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem));
    assert_eq!(ledger.verify(None).records, 3);
    assert!(ledger.verify(None).is_intact());
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let fixture = Fixture::new();
    fs::write(fixture.path().join("envelopes"), "a file where a directory should be").unwrap();
    let error = fixture.open().append(&[evidence(9)], &fixture.evidence_key, &fixture.ledger_key).unwrap_err();
    assert!(error.to_string().contains("envelopes"), "{error}");
}
