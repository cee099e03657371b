//! Cosignatures of a ledger's heads, and the defects every verification plants.

use casemate_core::Timestamp;

use super::*;
use crate::cosignature::WitnessPair;

/// A ledger that knows one witness.
fn witnessed(fixture: &Fixture) -> (Ledger, WitnessPair) {
    let path = fixture.dir.path().join("witness.pem");
    KeyPair::generate().unwrap().save(&path).unwrap();
    let pair = WitnessPair::load(&path, "witness.test/w").unwrap();
    let trust = Trust { witnesses: vec![pair.public()], ..fixture.trust() };
    (Ledger::open(&fixture.path(), trust).unwrap(), pair)
}

fn cosigned(fixture: &Fixture, pair: &WitnessPair) -> Note {
    let mut note = note::parse(&fs::read(fixture.path().join(CHECKPOINT)).unwrap()).unwrap();
    let head = Checkpoint::parse(&note.text).unwrap();
    note.signatures.push(pair.cosign(&note, &head, Timestamp::from_unix_ms(1_795_253_400_000)).unwrap());
    note
}

#[test]
fn a_cosignature_is_stored_with_the_present_head_and_given_back_for_an_older_one() {
    let fixture = Fixture::with_records(3);
    let (mut ledger, pair) = witnessed(&fixture);
    let note = cosigned(&fixture, &pair);
    let line = Note { signatures: note.signatures[1..].to_vec(), ..note.clone() }.to_bytes();
    let line = &line[note.text.len() + 1..];
    for bytes in [&note.to_bytes()[..], line, line] {
        let taken = ledger.cosign(bytes).unwrap();
        assert!(taken.is_present && taken.cosigned[0].name == "witness.test/w");
        let stored = note::parse(&ledger.checkpoint_bytes().unwrap()).unwrap();
        assert_eq!(stored.signatures.len(), 2, "once, however often it is brought");
        assert!(ledger.verify(None).is_intact());
        assert_eq!(ledger.verify(None).notes, [""; 0], "a known witness is checked");
    }
    assert_eq!(fixture.verify().notes.len(), 1, "one that is not known is named");
    fixture.append(3..5);
    let taken = ledger.cosign(&note.to_bytes()).unwrap();
    assert_eq!((taken.is_present, taken.head.size), (false, 3));
    assert!(matches!(ledger.cosign(line), Err(Error::Checkpoint(note::Error::BadSignature { .. }))));
}

#[test]
fn a_bad_line_of_a_known_witness_rejects_the_head() {
    let fixture = Fixture::with_records(3);
    let (mut ledger, pair) = witnessed(&fixture);
    let mut note = cosigned(&fixture, &pair);
    note.signatures[1].bytes[20] ^= 1;
    assert!(matches!(ledger.cosign(&note.to_bytes()), Err(Error::Checkpoint(note::Error::BadSignature { .. }))));
    fs::write(fixture.path().join(CHECKPOINT), note.to_bytes()).unwrap();
    let report = ledger.verify(None);
    assert_eq!(report.problems[0].defect, Defect::EditedCheckpoint, "{:?}", report.problems);
    assert!(fixture.verify().is_intact(), "those who do not know the witness ignore its line");
}

#[test]
fn a_cosigned_head_of_another_history_is_refused() {
    let fixture = Fixture::with_records(3);
    let (mut ledger, pair) = witnessed(&fixture);
    let head = Checkpoint { root: merkle::leaf_hash(b"x"), ..fixture.open().checkpoint().unwrap() };
    let mut note = Note::sign(&head.to_text(), ORIGIN, &fixture.ledger_key).unwrap();
    note.signatures.push(pair.cosign(&note, &head, Timestamp::from_unix_ms(1_000_000)).unwrap());
    assert!(matches!(ledger.cosign(&note.to_bytes()), Err(Error::RolledBack { .. })));
    assert!(matches!(ledger.require_continues(&head), Err(Error::RolledBack { .. })));
    note.signatures.pop();
    assert!(ledger.cosign(&note.to_bytes()).is_err(), "nobody cosigned it");
}

#[test]
fn every_verification_finds_the_defects_planted_for_it() {
    let fixture = Fixture::with_records(300);
    let (planted, caught) = fixture.open().self_test();
    // Eight envelopes, a bundle, a tile and a checkpoint, each once edited and once missing.
    assert_eq!((planted, caught), (22, 22));
    assert_eq!(Fixture::new().open().self_test(), (0, 0), "nothing to plant in");
    let (mut ledger, pair) = witnessed(&fixture);
    ledger.cosign(&cosigned(&fixture, &pair).to_bytes()).unwrap();
    assert_eq!(ledger.self_test(), (22, 22));
}

#[test]
fn a_witness_follows_one_history() {
    let fixture = Fixture::with_records(3);
    let (ledger, pair) = witnessed(&fixture);
    let seen = fixture.dir.path().join("witness.seen");
    let key = fixture.trust().ledger;
    let now = Timestamp::from_unix_ms(1_795_253_400_000);
    let witness = |begins| Witness { pair: &pair, ledger: &key, seen: &seen, begins };
    let first = ledger.checkpoint_bytes().unwrap();
    assert!(matches!(witness(false).cosign(Offered::Head(&first), now), Err(Refusal::Unseen { .. })));
    assert!(!seen.exists());
    let note = witness(true).cosign(Offered::Head(&first), now).unwrap();
    assert_eq!(ledger.trust().open_head(&note.to_bytes()).unwrap().1.len(), 1);
    let old = ledger.checkpoint().unwrap();
    fixture.append(3..300);
    let second = ledger.checkpoint_bytes().unwrap();
    assert!(matches!(witness(false).cosign(Offered::Head(&second), now), Err(Refusal::Unproven { size: 3 })));
    let proof = ledger.consistency(&old).unwrap();
    let mut wrong = proof.clone();
    wrong.hashes[0] = merkle::empty_root();
    let refused = witness(false).cosign(Offered::Proof(&wrong), now);
    let Err(Refusal::Fork { seen: was, offered }) = refused else { panic!("{refused:?}") };
    assert!(was.starts_with("3 records") && offered.starts_with("300 records"), "both are named");
    witness(false).cosign(Offered::Proof(&proof), now).unwrap();
    witness(false).cosign(Offered::Head(&second), now).unwrap();
    assert!(matches!(witness(false).cosign(Offered::Head(&first), now), Err(Refusal::Smaller { .. })));
    fixture.append(300..301);
    assert!(matches!(
        witness(false).cosign(Offered::Proof(&ledger.consistency(&old).unwrap()), now),
        Err(Refusal::Unproven { size: 300 })
    ));
    witness(false).cosign(Offered::Ledger(&ledger), now).unwrap();
    assert_eq!(remembered(&seen, &key).unwrap().unwrap().size, 301);
}

#[test]
fn a_witness_signs_neither_of_a_second_history_nor_for_another_key() {
    let fixture = Fixture::with_records(3);
    let (ledger, pair) = witnessed(&fixture);
    let seen = fixture.dir.path().join("witness.seen");
    let key = fixture.trust().ledger;
    let now = Timestamp::from_unix_ms(1_795_253_400_000);
    let witness = Witness { pair: &pair, ledger: &key, seen: &seen, begins: true };
    witness.cosign(Offered::Ledger(&ledger), now).unwrap();
    // The same keys, other records: what an owner would show to somebody else.
    let second = fixture.dir.path().join("second");
    Ledger::create(&second, ORIGIN, &fixture.ledger_key).unwrap();
    let mut other = Ledger::open(&second, fixture.trust()).unwrap();
    for to in [3, 9] {
        let batch: Vec<_> = (100..100 + to).map(evidence).collect();
        other.append(&batch, &fixture.evidence_key, &fixture.ledger_key).unwrap();
        assert!(matches!(witness.cosign(Offered::Ledger(&other), now), Err(Refusal::Fork { .. })), "{to}");
    }
    assert_eq!(remembered(&seen, &key).unwrap().unwrap(), ledger.checkpoint().unwrap(), "what was seen stays seen");
    let stranger = KeyPair::generate().unwrap();
    let forged = Note::sign(&ledger.checkpoint().unwrap().to_text(), ORIGIN, &stranger).unwrap().to_bytes();
    assert!(matches!(witness.cosign(Offered::Head(&forged), now), Err(Refusal::Note(_))));
}
