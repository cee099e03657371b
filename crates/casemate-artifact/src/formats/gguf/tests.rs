//! GGUF files built by hand: sound ones, and each way to lie in a header.

use proptest::prelude::*;

use super::*;
use crate::TextKind;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, parse_within, sniff, troubles,
};

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn value(key: &str, kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&string(key)[..], &kind.to_le_bytes(), bytes].concat()
}

fn array(kind: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat()
}

fn tensor(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let n_dims = u32::try_from(dims.len()).unwrap();
    [&string(name)[..], &n_dims.to_le_bytes(), &dims_bytes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

fn file(keys: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let counts = [(tensors.len() as u64).to_le_bytes(), (keys.len() as u64).to_le_bytes()].concat();
    let mut bytes = [&b"GGUF\x03\0\0\0"[..], &counts, &keys.concat(), &tensors.concat()].concat();
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(vec![1; data]);
    bytes
}

fn sample() -> Vec<u8> {
    let tokens = array(8, 2, &[string("<s>"), string("{{")].concat());
    let nested = array(9, 1, &array(5, 2, &[0; 8]));
    let keys = [
        value("general.name", 8, &string("a name")),
        value("tokenizer.chat_template", 8, &string("{% x %}")),
        value("tokenizer.chat_template.tools", 8, &string("plain")),
        value("tokenizer.ggml.tokens", 9, &tokens),
        value("general.tags", 9, &nested),
        value("general.alignment", 4, &32u32.to_le_bytes()),
    ];
    file(&keys, &[tensor("a", &[2, 4], 0, 0), tensor("b", &[32], 2, 32)], 50)
}

fn tensors(infos: &[Vec<u8>], data: usize) -> Parsed {
    parse(&Gguf, &file(&[], infos, data))
}

#[test]
fn a_sound_file_is_claimed_whole() {
    let parsed = parse(&Gguf, &sample());
    assert_whole(&parsed, &sample());
    assert_eq!(sniff(&Gguf, &sample()), Sniff::Certain);
    let texts: Vec<_> = parsed.texts.iter().map(|text| (text.key.as_str(), text.kind)).collect();
    assert_eq!(
        texts,
        [
            ("general.name", TextKind::Metadata),
            ("tokenizer.chat_template", TextKind::Template),
            ("tokenizer.chat_template.tools", TextKind::Template)
        ]
    );
    assert_eq!(parsed.tensors[1].dtype, "Q4_0");
}

#[test]
fn version_1_and_big_endian_files_are_read() {
    let narrow = b"GGUF\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0k\x07\0\0\0\x01";
    assert_whole(&parse(&Gguf, narrow), narrow);
    let big = b"GGUF\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01k\0\0\0\x07\x01";
    assert_whole(&parse(&Gguf, big), big);
}

#[test]
fn counts_the_file_cannot_hold_are_ambiguous() {
    let counts =
        |tensors: u64, keys: u64| [b"GGUF\x03\0\0\0", &tensors.to_le_bytes()[..], &keys.to_le_bytes()].concat();
    for bytes in [counts(1 << 60, 0), counts(0, u64::MAX)] {
        assert_eq!(troubles(&parse(&Gguf, &bytes)), [Trouble::Ambiguous, Trouble::Undecodable]);
    }
    let huge = file(&[value("a", 9, &array(8, 1 << 61, &[]))], &[], 0);
    assert_eq!(troubles(&parse(&Gguf, &huge)), [Trouble::Ambiguous]);
    let long = file(&[value("a", 8, &u64::MAX.to_le_bytes())], &[], 0);
    assert_eq!(troubles(&parse(&Gguf, &long)), [Trouble::Undecodable]);
}

#[test]
fn nested_arrays_hit_the_limit() {
    let deep = array(9, 1, &[]).repeat(5000);
    assert_eq!(troubles(&parse(&Gguf, &file(&[value("a", 9, &deep)], &[], 0))), [Trouble::Limit]);
}

#[test]
fn tables_two_readers_take_differently_are_ambiguous() {
    for (infos, data) in [
        (vec![tensor("a", &[4], 0, 0), tensor("a", &[4], 0, 32)], 48),
        (vec![tensor("a", &[16], 0, 0), tensor("b", &[4], 0, 32)], 64),
        (vec![tensor("a", &[4], 0, 1 << 40)], 16),
        (vec![tensor("a", &[4], 0, 8)], 24),
        (vec![tensor("a", &[1 << 40, 1 << 40], 0, 0)], 16),
        (vec![tensor("a", &[33], 2, 0)], 36),
        (vec![tensor("a", &[1; 5], 0, 0)], 16),
    ] {
        assert_eq!(troubles(&tensors(&infos, data)), [Trouble::Ambiguous]);
    }
    assert_eq!(troubles(&tensors(&[tensor("a", &[4], 99, 0)], 16)), [Trouble::Undecodable]);
    let twice = file(&[value("a", 7, &[1]), value("a", 7, &[0])], &[], 0);
    assert_eq!(troubles(&parse(&Gguf, &twice)), [Trouble::Ambiguous]);
}

#[test]
fn a_bad_alignment_is_ambiguous() {
    for bytes in [0u32, 12] {
        let file = file(&[value("general.alignment", 4, &bytes.to_le_bytes())], &[], 0);
        assert_eq!(troubles(&parse(&Gguf, &file)), [Trouble::Ambiguous]);
    }
    let wide = file(&[value("general.alignment", 10, &[8, 0, 0, 0, 0, 0, 0, 0])], &[], 0);
    assert_eq!(troubles(&parse(&Gguf, &wide)), [Trouble::Ambiguous]);
}

#[test]
fn unknown_types_and_versions_are_undecodable_and_tails_stay_unclaimed() {
    assert_eq!(troubles(&parse(&Gguf, &file(&[value("a", 13, &[0; 8])], &[], 0))), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Gguf, b"GGUF\x09\0\0\0")), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Gguf, b"GGUF")), [Trouble::Undecodable]);
    let tail = [&sample()[..], b"tail"].concat();
    let parsed = parse(&Gguf, &tail);
    assert_eq!((messages(&parsed), hidden(&parsed, &tail).len()), (String::new(), 1));
    let limits = Limits { entries_max: 2, ..Limits::default() };
    assert!(troubles(&parse_within(&Gguf, &sample(), &limits)).contains(&Trouble::Limit));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0")) {
        assert_bounded(&Gguf, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&Gguf, &bytes);
    }
}
