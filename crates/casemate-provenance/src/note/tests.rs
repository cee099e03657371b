//! Signed notes: published ones, and each rule of the format broken.

use proptest::prelude::*;

use super::*;

// golang.org/x/mod/sumdb/note, package example.
const NEUMANN: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn neumann() -> NoteKey {
    let bytes = STANDARD.decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    NoteKey::new("PeterNeumann", PublicKey(bytes[1..].try_into().unwrap())).unwrap()
}

fn head(size: u64) -> Checkpoint {
    Checkpoint { origin: "example.com/log".into(), size, root: hash::sha256(b"root"), extensions: Vec::new() }
}

fn signed(key: &KeyPair) -> Note {
    Note::sign(&head(5).to_text(), "example.com/log", key).unwrap()
}

#[test]
fn a_note_of_another_implementation_verifies() {
    let note = parse(NEUMANN.as_bytes()).unwrap();
    assert_eq!(neumann().key_id(), [0xc7, 0x4f, 0x20, 0xa3]);
    assert_eq!(note.verify(&[neumann()]), Ok(()));
    assert_eq!(note.to_bytes(), NEUMANN.as_bytes());
    let edited = parse(NEUMANN.replace("answer", "Answer").as_bytes()).unwrap();
    assert_eq!(edited.verify(&[neumann()]), Err(Error::BadSignature { name: "PeterNeumann".into() }));
}

#[test]
fn a_signed_head_opens_for_its_key_and_origin_alone() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let bytes = signed(&key).to_bytes();
    let trusted = |name: &str, key: &KeyPair| NoteKey::new(name, key.public()).unwrap();
    assert_eq!(Checkpoint::open(&bytes, &trusted("example.com/log", &key)), Ok(head(5)));
    assert_eq!(Checkpoint::open(&bytes, &trusted("example.com/log", &other)), Err(Error::NoKnownSignature));
    let foreign = Note::sign(&head(5).to_text(), "example.com/elsewhere", &key).unwrap().to_bytes();
    let opened = Checkpoint::open(&foreign, &trusted("example.com/elsewhere", &key));
    assert!(matches!(opened, Err(Error::Origin { .. })));
}

#[test]
fn unknown_keys_are_ignored_and_a_bad_known_signature_rejects() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let known = NoteKey::new("example.com/log", key.public()).unwrap();
    let mut note = signed(&key);
    // Same name, another key: unknown.
    note.signatures.extend(signed(&other).signatures);
    note.signatures.push(Signature { name: "witness".into(), key_id: [0; 4], bytes: vec![1] });
    assert_eq!(parse(&note.to_bytes()).unwrap().verify(std::slice::from_ref(&known)), Ok(()));
    let mut bad = note.clone();
    bad.signatures.push(note.signatures[0].clone());
    bad.signatures[3].bytes[5] ^= 1;
    assert_eq!(bad.verify(std::slice::from_ref(&known)), Err(Error::BadSignature { name: known.name.clone() }));
    assert_eq!(note.verify(&[]), Err(Error::NoKnownSignature));
}

#[test]
fn the_text_ends_at_the_last_empty_line() {
    let key = KeyPair::generate().unwrap();
    let note = Note::sign("one\n\ntwo\n\n— not a signature\n", "k", &key).unwrap();
    assert_eq!(parse(&note.to_bytes()).unwrap().text, "one\n\ntwo\n\n— not a signature\n");
    assert!(Note::sign("no newline", "k", &key).is_err());
}

#[test]
fn malformed_notes_are_refused() {
    let good = NEUMANN;
    let signature = good.rsplit_once("\n\n").unwrap().1;
    let bad = [
        String::new(),
        good.trim_end().to_string(),
        good.replace("your", "your\t"),
        good.replace("— ", "- "),
        good.replace("— PeterNeumann", "— Peter+Neumann"),
        good.replace("— PeterNeumann", "— Peter\u{a0}Neumann"),
        good.replace("— PeterNeumann", "— "),
        good.replace("AM=\n", "AN=\n"),
        good.replace(signature, "— x AAAAAA==\n"),
        good.replace(signature, &format!("{signature}\n")),
        format!("{good}{}", signature.repeat(SIGNATURES_MAX)),
    ];
    for bad in bad {
        assert!(matches!(parse(bad.as_bytes()), Err(Error::Malformed { .. })), "{bad}");
    }
    assert!(parse(format!("{good}{}", signature.repeat(SIGNATURES_MAX - 1)).as_bytes()).is_ok());
    assert!(matches!(parse(&vec![b'a'; BYTES_MAX + 1]), Err(Error::TooLarge { .. })));
    assert!(matches!(parse(b"\xff\n\n\xe2\x80\x94 a AAAAAAAA\n"), Err(Error::Malformed { what: "not UTF-8" })));
}

#[test]
fn malformed_heads_are_refused() {
    let good = head(5).to_text();
    assert_eq!(Checkpoint::parse(&good), Ok(head(5)));
    let extended = Checkpoint { extensions: vec!["more".into()], ..head(5) };
    assert_eq!(Checkpoint::parse(&extended.to_text()), Ok(extended));
    let replace = |from: &str, to: &str| good.replacen(from, to, 1);
    let bad = [
        replace("\n5\n", "\n05\n"),
        replace("\n5\n", "\n+5\n"),
        replace("\n5\n", "\n18446744073709551616\n"),
        replace("=\n", "\n"),
    ];
    for bad in bad.iter().map(String::as_str).chain([
        "",
        "a\n",
        "a\n5\n",
        "\n5\nAAAA\n",
        good.trim_end(),
        &(good.clone() + "\n"),
    ]) {
        assert!(Checkpoint::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn names_that_no_line_can_carry_are_refused() {
    let key = KeyPair::generate().unwrap().public();
    for bad in ["", "a b", "a+b", "a\nb", "a\u{2003}b", "a\u{7}"] {
        assert!(NoteKey::new(bad, key).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_parsed_without_panic(bytes: Vec<u8>, text: String) {
        let _ = parse(&bytes);
        let _ = Checkpoint::parse(&text);
    }

    #[test]
    fn a_note_with_one_changed_byte_never_verifies(at in 0..NEUMANN.len(), byte: u8) {
        let mut bytes = NEUMANN.as_bytes().to_vec();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(parse(&bytes).and_then(|note| note.verify(&[neumann()])).is_err());
    }
}
