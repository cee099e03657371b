//! Each way to tamper is found, and named.

use super::*;
use crate::tiles::{parse_entries, write_entries};

/// Defects with the records they name.
fn named(report: &VerifyReport) -> Vec<(Defect, Option<u64>)> {
    report.problems.iter().map(|problem| (problem.defect, problem.record)).collect()
}

fn edit_bundle(fixture: &Fixture, bundle: &str, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let path = fixture.path().join(bundle);
    let mut entries: Vec<_> =
        parse_entries(&fs::read(&path).unwrap()).unwrap().into_iter().map(<[u8]>::to_vec).collect();
    edit(&mut entries);
    fs::write(path, write_entries(&entries).unwrap()).unwrap();
}

#[test]
fn one_flipped_byte_in_any_file_is_found_and_the_file_named() {
    let fixture = Fixture::with_records(10);
    assert!(fixture.verify().is_intact());
    let records = fixture.open().records().unwrap().records;
    for file in fixture.files() {
        let path = fixture.path().join(&file);
        let good = fs::read(&path).unwrap();
        // All offsets where that is quick; a prime stride through the larger files, and both their ends.
        let stride = if good.len() > 400 { 97 } else { 1 };
        for at in (0..good.len()).step_by(stride).chain([good.len() - 1]) {
            for bit in [0x01, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                fs::write(&path, &bad).unwrap();
                let report = fixture.verify();
                assert!(report.problems.iter().any(|p| p.file == file), "{file} at {at}: {:?}", report.problems);
            }
        }
        let owner = records.iter().find(|r| file.contains(&r.envelope.to_string())).map(|r| r.record.index);
        if owner.is_some() {
            assert_eq!(named(&fixture.verify()), [(Defect::EditedEnvelope, owner)]);
        }
        fs::write(&path, good).unwrap();
    }
    assert!(fixture.verify().is_intact(), "the test put everything back");
}

#[test]
fn every_missing_file_is_named() {
    let fixture = Fixture::with_records(300);
    for file in fixture.files().into_iter().filter(|file| !file.starts_with("envelopes/") || file.contains("/0")) {
        let path = fixture.path().join(&file);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let problems = fixture.verify().problems;
        assert_eq!(
            problems.iter().map(|p| (p.defect, p.file.as_str())).collect::<Vec<_>>(),
            [(Defect::MissingFile, file.as_str())]
        );
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn extra_files_are_named() {
    let fixture = Fixture::with_records(10);
    let digest = sha256_hex("x");
    let extra = [
        "README".to_string(),
        "tile/0/000.p/9".into(),
        "tile/0/001".into(),
        "tile/3/000".into(),
        "tile/entries/000.p/11".into(),
        "tile/0/x000/000".into(),
        format!("envelopes/{}/{digest}.json", &digest[..2]),
        "checkpoint.tmp".into(),
        "pending".into(),
    ];
    for file in extra {
        let path = fixture.path().join(&file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        let problems = fixture.verify().problems;
        assert_eq!(
            problems.iter().map(|p| (p.defect, p.file.as_str())).collect::<Vec<_>>(),
            [(Defect::ExtraFile, file.as_str())]
        );
        fs::remove_file(path).unwrap();
    }
}

fn sha256_hex(text: &str) -> String {
    crate::hash::sha256(text.as_bytes()).to_string()
}

#[cfg(unix)]
#[test]
fn a_file_replaced_by_a_link_to_the_same_bytes_is_named() {
    let fixture = Fixture::with_records(3);
    let (path, outside) = (fixture.path().join("tile/0/000.p/3"), fixture.dir.path().join("outside"));
    fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    assert!(
        fixture.verify().problems.iter().any(|p| p.file == "tile/0/000.p/3" && p.what.contains("not a regular file"))
    );
}

#[test]
fn an_edited_entry_is_named() {
    let fixture = Fixture::with_records(10);
    edit_bundle(&fixture, "tile/entries/000.p/10", |entries| {
        let text = String::from_utf8(entries[4].clone()).unwrap();
        entries[4] = text.replace("\"fail\"", "\"pass\"").into_bytes();
    });
    let expected = [(Defect::EditedEntry, Some(4)), (Defect::EntryContradictsStatement, Some(4))];
    assert_eq!(named(&fixture.verify()), expected);
    assert!(!fixture.open().records().unwrap().problems.is_empty());
}

#[test]
fn a_deleted_entry_is_named() {
    let fixture = Fixture::with_records(10);
    edit_bundle(&fixture, "tile/entries/000.p/10", |entries| drop(entries.remove(4)));
    let report = fixture.verify();
    let deleted =
        report.problems.iter().filter(|p| p.defect == Defect::DeletedEntry).map(|p| p.record).collect::<Vec<_>>();
    assert_eq!(deleted, [Some(4)], "{:?}", report.problems);
}

#[test]
fn reordered_entries_are_named_within_a_bundle_and_across() {
    let fixture = Fixture::with_records(300);
    edit_bundle(&fixture, "tile/entries/000", |entries| entries.swap(2, 7));
    let expected = [(Defect::ReorderedEntries, Some(2)), (Defect::ReorderedEntries, Some(7))];
    assert_eq!(named(&fixture.verify()), expected);
    edit_bundle(&fixture, "tile/entries/000", |entries| entries.swap(2, 7));
    assert!(fixture.verify().is_intact());

    let mut taken = Vec::new();
    edit_bundle(&fixture, "tile/entries/000", |entries| taken = entries[9].clone());
    edit_bundle(&fixture, "tile/entries/001.p/44", |entries| std::mem::swap(&mut taken, &mut entries[3]));
    edit_bundle(&fixture, "tile/entries/000", |entries| entries[9] = taken);
    let expected = [(Defect::ReorderedEntries, Some(9)), (Defect::ReorderedEntries, Some(259))];
    assert_eq!(named(&fixture.verify()), expected);
}

#[test]
fn an_edited_tile_is_told_from_an_edited_entry() {
    let fixture = Fixture::with_records(300);
    for (file, record) in [("tile/0/000", Some(3)), ("tile/0/001.p/44", Some(259)), ("tile/1/000.p/1", None)] {
        let path = fixture.path().join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = if record.is_some() { 3 * 32 } else { 5 };
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        let report = fixture.verify();
        assert_eq!(named(&report), [(Defect::EditedTile, record)]);
        assert_eq!(report.problems[0].file, file);
        fs::write(path, good).unwrap();
    }
}

#[test]
fn a_tile_wrong_throughout_is_one_problem() {
    let fixture = Fixture::with_records(20);
    fs::write(fixture.path().join("tile/0/000.p/20"), [7; 20 * 32]).unwrap();
    assert_eq!(named(&fixture.verify()), [(Defect::EditedTile, Some(0))]);
}

#[test]
fn a_forged_announcement_is_refused_and_excuses_nothing() {
    let fixture = Fixture::with_records(3);
    fs::write(fixture.path().join("intruder"), "x").unwrap();
    let expected = [(Defect::ExtraFile, "intruder"), (Defect::ExtraFile, "pending")];
    for forged in ["", "{}", r#"{"base":7,"envelopes":[],"to":9}"#, r#"{"base":3,"envelopes":[],"to":3}"#] {
        fs::write(fixture.path().join("pending"), forged).unwrap();
        let problems = fixture.verify().problems;
        assert_eq!(problems.iter().map(|p| (p.defect, p.file.as_str())).collect::<Vec<_>>(), expected, "{forged}");
        let result = fixture.open().append(&[evidence(9)], &fixture.evidence_key, &fixture.ledger_key);
        assert!(matches!(result, Err(Error::Damaged { file, .. }) if file == "pending"));
    }
    // One that fits names no intruder either, and cannot make an append remove what records name.
    let envelope = fixture.open().records().unwrap().records[1].envelope;
    let fitting = format!(r#"{{"base":3,"envelopes":["{envelope}"],"to":9}}"#);
    fs::write(fixture.path().join("pending"), fitting).unwrap();
    assert_eq!(named(&fixture.verify()), [(Defect::ExtraFile, None)]);
    fixture.append(9..10);
    assert_eq!(fixture.verify().records, 4);
}

#[test]
fn entries_and_tiles_rewritten_together_still_miss_the_signed_head() {
    let (fixture, other) = (Fixture::with_records(10), Fixture::new());
    // The forger has the evidence key and rebuilds everything but the checkpoint.
    let forged = Trust { ledger: NoteKey::new(ORIGIN, other.ledger_key.public()).unwrap(), ..fixture.trust() };
    let mut ledger = Ledger::open(&other.path(), forged).unwrap();
    let batch: Vec<_> = (100..110).map(evidence).collect();
    ledger.append(&batch, &fixture.evidence_key, &other.ledger_key).unwrap();
    fs::copy(fixture.path().join(CHECKPOINT), other.path().join(CHECKPOINT)).unwrap();
    let report = Ledger::open(&other.path(), fixture.trust()).unwrap().verify(None);
    assert_eq!(named(&report), [(Defect::Rewritten, None)]);
    let read = Ledger::open(&other.path(), fixture.trust()).unwrap().records().unwrap();
    assert_eq!(read.problems[0].defect, Defect::Rewritten);
}

#[test]
fn evidence_signed_by_a_stranger_is_named() {
    let fixture = Fixture::with_records(3);
    let trust = Trust { evidence: vec![KeyPair::generate().unwrap().public()], ..fixture.trust() };
    let report = Ledger::open(&fixture.path(), trust).unwrap().verify(None);
    let expected = [0, 1, 2].map(|n| (Defect::BadSignature, Some(n)));
    let mut found = named(&report);
    found.sort_by_key(|(_, record)| *record);
    assert_eq!((found.as_slice(), report.records), (expected.as_slice(), 0));
}

fn copy(from: &Path, to: &Path) {
    for file in files_below(from, from) {
        let path = to.join(&file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), path).unwrap();
    }
}

#[test]
fn an_older_copy_of_the_whole_ledger_is_found_by_who_remembers() {
    let fixture = Fixture::with_records(8);
    let old = fixture.dir.path().join("old");
    copy(&fixture.path(), &old);
    fixture.append(8..10);
    let seen = fixture.open().checkpoint().unwrap();
    let rolled_back = Ledger::open(&old, fixture.trust()).unwrap();
    assert!(rolled_back.verify(None).is_intact(), "an old copy is consistent in itself");
    assert_eq!(named(&rolled_back.verify(Some(&seen))), [(Defect::Truncated, Some(8))]);
}

#[test]
fn an_older_checkpoint_over_newer_files_is_found_without_remembering() {
    let fixture = Fixture::with_records(8);
    let old = fs::read(fixture.path().join(CHECKPOINT)).unwrap();
    fixture.append(8..10);
    fs::write(fixture.path().join(CHECKPOINT), old).unwrap();
    let report = fixture.verify();
    let missing = report.problems.iter().filter(|p| p.defect == Defect::MissingFile).count();
    let extra = report.problems.iter().filter(|p| p.defect == Defect::ExtraFile).count();
    assert_eq!((missing, extra), (2, 2), "{:?}", report.problems);
}

#[test]
fn another_history_under_the_same_key_is_found_by_who_remembers() {
    for (seen, now) in [(5, 5), (5, 9), (5, 300), (256, 300), (260, 300)] {
        let fixture = Fixture::with_records(seen);
        let remembered = fixture.open().checkpoint().unwrap();
        fs::remove_dir_all(fixture.path()).unwrap();
        Ledger::create(&fixture.path(), ORIGIN, &fixture.ledger_key).unwrap();
        fixture.append(1000..1000 + now);
        assert!(fixture.verify().is_intact());
        assert_eq!(named(&fixture.open().verify(Some(&remembered))), [(Defect::Rewritten, None)], "{seen} {now}");
    }
}

#[test]
fn a_missing_or_foreign_checkpoint_ends_verification_with_its_name() {
    let fixture = Fixture::with_records(3);
    let path = fixture.path().join(CHECKPOINT);
    let foreign = Checkpoint { size: 2, ..fixture.open().checkpoint().unwrap() };
    let stranger = KeyPair::generate().unwrap();
    fs::write(&path, Note::sign(&foreign.to_text(), ORIGIN, &stranger).unwrap().to_bytes()).unwrap();
    assert_eq!(named(&fixture.verify()), [(Defect::EditedCheckpoint, None)]);
    assert!(matches!(fixture.open().records(), Err(Error::Checkpoint(_))));
    fs::remove_file(path).unwrap();
    assert_eq!(named(&fixture.verify()), [(Defect::MissingFile, None)]);
}

#[test]
fn a_signed_head_of_absurd_size_ends_in_a_report() {
    let fixture = Fixture::with_records(3);
    let absurd = Checkpoint { size: u64::MAX, ..fixture.open().checkpoint().unwrap() };
    let note = Note::sign(&absurd.to_text(), ORIGIN, &fixture.ledger_key).unwrap();
    fs::write(fixture.path().join(CHECKPOINT), note.to_bytes()).unwrap();
    assert_eq!(fixture.verify().problems.len(), VerifyReport::PROBLEMS_MAX);
    assert!(fixture.open().append(&[evidence(9)], &fixture.evidence_key, &fixture.ledger_key).is_err());
}

#[test]
fn nothing_is_appended_to_a_damaged_right_edge() {
    let fixture = Fixture::with_records(300);
    for file in ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
        let path = fixture.path().join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[20] ^= 1;
        fs::write(&path, bad).unwrap();
        let result = fixture.open().append(&[evidence(301)], &fixture.evidence_key, &fixture.ledger_key);
        assert!(matches!(result, Err(Error::Damaged { .. })), "{file}");
        fs::write(path, good).unwrap();
    }
    assert!(fixture.verify().is_intact(), "the refused appends left nothing");
}

#[test]
fn a_witness_signature_is_noted_and_harms_nothing() {
    let fixture = Fixture::with_records(3);
    let path = fixture.path().join(CHECKPOINT);
    let mut note = note::parse(&fs::read(&path).unwrap()).unwrap();
    note.signatures.extend(Note::sign(&note.text, "witness.test", &KeyPair::generate().unwrap()).unwrap().signatures);
    fs::write(path, note.to_bytes()).unwrap();
    let report = fixture.verify();
    assert!(report.is_intact() && report.notes[0].contains("`witness.test`"), "{report:?}");
}
