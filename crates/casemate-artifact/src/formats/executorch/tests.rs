//! A program with an operator, a delegate and two segments, and what one byte of it does.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, content, hidden, mutants, parse, sniff, troubles,
};

/// A sample of the golden tests, written by flatc.
fn sample() -> Vec<u8> {
    let text = include_str!("../../../../../testdata/artifact/custom-operator/benign-program.pte.hex");
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    (0..digits.len() / 2).map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap()).collect()
}

/// The sample with a word replaced by one of the same length.
fn with(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = sample();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

fn domains(bytes: &[u8]) -> Vec<String> {
    parse(&Executorch, bytes).operators.into_iter().map(|operator| operator.domain).filter(|d| !d.is_empty()).collect()
}

#[test]
fn a_sound_program_is_claimed_whole_with_its_segments() {
    assert_eq!(sniff(&Executorch, &sample()), Sniff::Certain);
    let parsed = parse(&Executorch, &sample());
    assert_whole(&parsed, &sample());
    let sizes: Vec<_> = parsed.children.iter().map(|child| (content(child).len(), child.role)).collect();
    assert_eq!(sizes, [(5, Role::RawData), (24, Role::RawData), (16, Role::RawData)]);
    assert!(domains(&sample()).is_empty());
}

#[test]
fn foreign_operators_and_backends_have_domains_of_their_own() {
    assert_eq!(domains(&with(b"aten::add", b"evil::add")), ["executorch.evil"]);
    assert_eq!(domains(&with(b"aten::add", b"evil__add")), ["executorch.custom"]);
    assert_eq!(domains(&with(b"XnnpackBackend", b"YnnpackBackend")), ["executorch.delegate"]);
}

#[test]
fn segments_and_headers_that_lie_are_ambiguous() {
    // Length of the program and where segments begin, in the extended header.
    for (at, byte) in [(16, 0x10), (17, 0x7f), (25, 0x7f)] {
        let mut bytes = sample();
        bytes[at] = byte;
        assert!(troubles(&parse(&Executorch, &bytes)).contains(&Trouble::Ambiguous), "{at}");
    }
    assert_eq!(troubles(&parse(&Executorch, &with(b"eh00", b"xx00"))), [Trouble::Ambiguous]);
    let appended = [&sample()[..], b"\x7fELF"].concat();
    assert_eq!(hidden(&parse(&Executorch, &appended), &appended).len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x28\0\0\0ET12eh00\x18\0\0\0")) {
        assert_bounded(&Executorch, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&Executorch, &bytes);
    }
}
