//! Cosignatures of both kinds: made, read back, and refused when anything they bind is another.

use casemate_core::Digest;
use proptest::prelude::*;

use super::*;
use crate::hash::sha256;

/// The example of c2sp.org/tlog-cosignature, whose note and lines are published there.
const EXAMPLE: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

fn head() -> Checkpoint {
    Checkpoint { origin: "casemate.test/l".into(), size: 7, root: sha256(b"root"), extensions: Vec::new() }
}

fn pairs() -> (tempfile::TempDir, Vec<WitnessPair>) {
    let dir = tempfile::tempdir().unwrap();
    let (classic, quantum) = (dir.path().join("w1.pem"), dir.path().join("w2.pem"));
    KeyPair::generate().unwrap().save(&classic).unwrap();
    ml_dsa_44::MlDsa44Pair::generate().unwrap().save(&quantum).unwrap();
    let load = |path: &Path| WitnessPair::load(path, "witness.test/w").unwrap();
    let pairs = vec![load(&classic), load(&quantum)];
    (dir, pairs)
}

fn signed(text: &str) -> Note {
    Note::sign(text, "casemate.test/l", &KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn the_published_example_is_laid_out_as_read_here() {
    let note = note::parse(EXAMPLE.as_bytes()).unwrap();
    let line = &note.signatures[1];
    assert_eq!((line.name.as_str(), line.bytes.len()), ("witness.example.com/w1", 72));
    let message = text_message(&note.text, u64::from_be_bytes(line.bytes[..8].try_into().unwrap()));
    assert!(message.starts_with(b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"));
}

#[test]
fn what_an_ml_dsa_witness_signs_has_the_fields_of_the_specification() {
    let message = head_message("w", &head(), 0x0102).unwrap();
    let mut expected = b"subtree/v1\n\0\x01w\0\0\0\0\0\0\x01\x02\x0fcasemate.test/l".to_vec();
    expected.extend([0; 8]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 7]);
    expected.extend(sha256(b"root").0);
    assert_eq!(message, expected);
    assert_eq!(head_message(&"w".repeat(256), &head(), 1), None);
}

#[test]
fn both_kinds_cosign_and_are_counted_once() {
    let (_dir, pairs) = pairs();
    let mut note = signed(&head().to_text());
    let now = Timestamp::from_unix_ms(1_795_253_400_500);
    for pair in pairs.iter().chain(&pairs) {
        note.signatures.push(pair.cosign(&note, &head(), now).unwrap());
    }
    let note = note::parse(&note.to_bytes()).unwrap();
    let keys: Vec<_> = pairs.iter().map(WitnessPair::public).collect();
    let cosigned = check(&note, &head(), &keys).unwrap();
    let found: Vec<_> = cosigned.iter().map(|one| (one.time.unix_ms(), one.is_post_quantum)).collect();
    assert_eq!(found, [(1_795_253_400_000, false), (1_795_253_400_000, true)]);
    assert_eq!(check(&note, &head(), &[]).unwrap(), [], "keys that are not known say nothing");
    let stranger = pairs_named_otherwise(&keys);
    assert_eq!(check(&note, &head(), &stranger).unwrap(), []);
}

fn pairs_named_otherwise(keys: &[WitnessKey]) -> Vec<WitnessKey> {
    keys.iter().map(|key| WitnessKey { name: "witness.test/other".into(), ..key.clone() }).collect()
}

#[test]
fn a_known_key_whose_line_does_not_verify_rejects_the_note() {
    let (_dir, pairs) = pairs();
    for pair in &pairs {
        let keys = [pair.public()];
        let mut note = signed(&head().to_text());
        note.signatures.push(pair.cosign(&note, &head(), Timestamp::from_unix_ms(5_000)).unwrap());
        assert_eq!(check(&note, &head(), &keys).unwrap().len(), 1);
        for at in [0, 7, 8, 40] {
            let mut bad = note.clone();
            bad.signatures[1].bytes[at] ^= 1;
            assert!(matches!(check(&bad, &head(), &keys), Err(Error::BadSignature { .. })), "byte {at}");
        }
        let mut cut = note.clone();
        cut.signatures[1].bytes.truncate(4);
        assert!(check(&cut, &head(), &keys).is_err());
        let other = Checkpoint { root: Digest([0; 32]), ..head() };
        let moved = Note { text: other.to_text(), ..note };
        assert!(check(&moved, &other, &keys).is_err(), "bound to its head");
    }
}

#[test]
fn cosignatures_of_time_zero_claim_nothing() {
    let (_dir, pairs) = pairs();
    let mut note = signed(&head().to_text());
    note.signatures.push(pairs[1].cosign(&note, &head(), Timestamp::from_unix_ms(0)).unwrap());
    assert_eq!(check(&note, &head(), &[pairs[1].public()]).unwrap(), []);
}

#[test]
fn keys_have_one_line_of_text_and_no_other() {
    let (dir, pairs) = pairs();
    for pair in &pairs {
        let text = pair.public().to_vkey();
        assert_eq!(WitnessKey::parse(&text), Ok(pair.public()));
        assert_eq!(WitnessKey::parse(&format!("{text}\n")), Ok(pair.public()));
        for bad in
            [text.replacen("witness", "Witness", 1), text.replacen('+', " ", 1), format!("{text}A"), String::new()]
        {
            assert!(matches!(WitnessKey::parse(&bad), Err(Error::Vkey { .. })), "{bad}");
        }
        assert!(note::NoteKey::parse_vkey(&text).is_err(), "a witness is no ledger");
    }
    let ledger = note::NoteKey::new("casemate.test/l", KeyPair::generate().unwrap().public()).unwrap();
    assert_eq!(note::NoteKey::parse_vkey(&ledger.to_vkey()), Ok(ledger.clone()));
    assert!(WitnessKey::parse(&ledger.to_vkey()).is_err());
    assert!(WitnessPair::load(&dir.path().join("w1.pem"), "two words").is_err());
}

#[test]
fn sixteen_witnesses_fit_a_note() {
    let (dir, _) = pairs();
    let mut note = signed(&head().to_text());
    let mut keys = Vec::new();
    for n in 0..16 {
        let pair = WitnessPair::load(&dir.path().join("w2.pem"), &format!("witness.test/{n}")).unwrap();
        note.signatures.push(pair.cosign(&note, &head(), Timestamp::from_unix_ms(5_000)).unwrap());
        keys.push(pair.public());
    }
    let note = note::parse(&note.to_bytes()).unwrap();
    assert_eq!(check(&note, &head(), &keys).unwrap().len(), 16);
    let lines: String =
        String::from_utf8(note.to_bytes()).unwrap().lines().skip(5).map(|line| format!("{line}\n")).collect();
    assert_eq!(note::parse_lines(lines.as_bytes()).unwrap(), note.signatures[1..]);
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_key_and_no_lines(bytes: Vec<u8>, text: String) {
        let _ = note::parse_lines(&bytes);
        prop_assert!(WitnessKey::parse(&text).is_err());
    }
}
