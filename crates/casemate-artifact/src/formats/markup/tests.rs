//! Documents token by token, sound and broken.

use casemate_core::MemorySource;
use proptest::prelude::*;

use super::*;

/// Tokens as words, and what stopped them.
fn read(bytes: &[u8]) -> (Vec<String>, Option<Trouble>, u64) {
    let source = MemorySource::new(bytes);
    let mut reader = Reader::new(&source);
    let mut words = Vec::new();
    loop {
        match reader.next() {
            Ok(None) => return (words, None, reader.at()),
            Err(malformed) => return (words, Some(malformed.trouble), reader.at()),
            Ok(Some(Token::Start(element))) => words.push(format!("<{} {:?}", element.name(), element.attributes())),
            Ok(Some(Token::End)) => words.push(">".into()),
            Ok(Some(Token::Text(text))) => words.push(text),
            Ok(Some(Token::Instruction(_, target, words_of))) => words.push(format!("?{target} {words_of}")),
        }
    }
}

fn expanded(document_type: &str) -> (u64, bool) {
    let bytes = format!("<!DOCTYPE a [{document_type}]><a/>");
    let source = MemorySource::new(bytes.into_bytes());
    let mut reader = Reader::new(&source);
    while reader.next().unwrap().is_some() {}
    (reader.document_type.expanded_most(), reader.document_type.is_nested())
}

#[test]
fn elements_texts_and_instructions_come_in_order() {
    let bytes = b"<?xml version='1.0'?><!-- c --><p:a x = \"1&lt;&#65;\" y='\"'>t<![CDATA[<b>]]><b/></p:a> <!--d-->\n";
    let (words, trouble, at) = read(bytes);
    let first = "<a [(\"x\", \"1<A\"), (\"y\", \"\\\"\")]";
    assert_eq!(words, [first, "t", "<b>", "<b []", ">", ">"]);
    assert_eq!((trouble, at), (None, bytes.len() as u64));
    assert_eq!(read(b"<?php x ?><a></a>").0, ["?php x", "<a []", ">"]);
}

#[test]
fn what_follows_the_root_element_is_left() {
    assert_eq!(read(b"<a/>PK\x03\x04"), (vec!["<a []".into(), ">".into()], None, 4));
    assert_eq!(read(b"<a/><b/>").2, 4);
}

#[test]
fn two_bytes_a_character_are_decoded_and_other_encodings_refused() {
    for (mark, big) in [(&b"\xff\xfe"[..], false), (b"\xfe\xff", true), (b"", false), (b"", true)] {
        let units = "<?xml version='1.0' encoding='UTF-16'?><a b='c'/>".encode_utf16();
        let bytes: Vec<u8> = units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect();
        let (words, trouble, _) = read(&[mark, &bytes].concat());
        assert_eq!((words, trouble), (vec!["<a [(\"b\", \"c\")]".into(), ">".into()], None));
    }
    assert_eq!(read(b"<?xml version='1.0' encoding=\"UTF-7\"?><a/>").1, Some(Trouble::Undecodable));
    assert_eq!(read(b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>").1, None);
}

#[test]
fn what_is_not_well_formed_is_told() {
    for broken in
        ["<a>", "<a></b>", "<a b/>", "<a b=c/>", "</a>", "<a", "x", "", "<a>\u{1}</a>", "<!DOCTYPE a [x]><a/>"]
    {
        assert_eq!(read(broken.as_bytes()).1, Some(Trouble::Undecodable), "{broken}");
    }
    assert_eq!(read(b"<a b='1' b='2'/>").1, Some(Trouble::Ambiguous));
    let many: String = (0..400).map(|n| format!(" a{n}=''")).collect();
    assert_eq!(read(format!("<a{many}/>").as_bytes()).1, Some(Trouble::Limit));
    assert_eq!(read("<a>".repeat(OPEN_MAX + 1).as_bytes()).1, Some(Trouble::Limit));
}

#[test]
fn expansion_is_computed_without_expanding() {
    assert_eq!(expanded("<!ENTITY a 'xyz'>"), (3, false));
    let mut laughs = String::from("<!ENTITY l0 'lol'>");
    (1..30).for_each(|n| laughs.push_str(&format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10))));
    assert!(expanded(&laughs).0 > 1 << 60 && expanded(&laughs).1);
    assert_eq!(expanded("<!ENTITY a '&b;'><!ENTITY b '&a;'>").0, u64::MAX);
    assert!(!expanded("<!ENTITY a '&lt;&#38;'><!ELEMENT a (#PCDATA)><!ATTLIST a b CDATA '>'>").1);
}

#[test]
fn many_references_to_one_long_text_are_counted() {
    let document = format!("<!DOCTYPE a [<!ENTITY x '{}'>]><a b='&x;'>{}</a>", "y".repeat(1000), "&x;".repeat(99));
    let source = MemorySource::new(document.into_bytes());
    let mut reader = Reader::new(&source);
    while reader.next().unwrap().is_some() {}
    assert_eq!(reader.expanded_bytes(), 100_000);
}

#[test]
fn tokens_across_windows_are_whole() {
    let text = "t".repeat(200_000);
    let document = format!("<!--{}--><a b='{text}'>{text}</a>", "-x".repeat(40_000));
    let (words, trouble, at) = read(document.as_bytes());
    assert_eq!((words[1].len(), trouble, at), (200_000, None, document.len() as u64));
}

proptest! {
    #[test]
    fn any_bytes_end_within_their_length(bytes in prop::collection::vec(any::<u8>(), 0..400), begin in any::<bool>()) {
        let bytes = if begin { [&b"<a "[..], &bytes].concat() } else { bytes };
        prop_assert!(read(&bytes).2 <= bytes.len() as u64);
    }

    #[test]
    fn markup_of_any_order_ends(words in prop::collection::vec(0usize..16, 0..60)) {
        const WORDS: [&str; 16] = ["<", ">", "<a", "</a>", "/>", "<!DOCTYPE a", "[", "]", "<!ENTITY x ", "'&x;'", " b=",
            "SYSTEM 'y'", "<?p ", "?>", "<![CDATA[", "]]>"];
        let text: String = words.into_iter().map(|n| WORDS[n]).collect();
        prop_assert!(read(text.as_bytes()).2 <= text.len() as u64);
    }
}
