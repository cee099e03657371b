//! Blocks built byte by byte.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, sniff};
use crate::formats::testing::{content, troubles};

fn sealed(magic: &[u8], body: &[u8]) -> Vec<u8> {
    let len = body.len() as u64 + block::BYTES_MIN;
    let rest = [magic, &len.to_le_bytes(), &[0, 0], body].concat();
    let checksum = block::crc32c(&rest);
    [rest, checksum.to_le_bytes().to_vec()].concat()
}

fn manifest(file: &[u8]) -> Vec<u8> {
    let settings = [&[7; 16][..], &[0, 100, 0x80, 0x80, 0x80, 4, 4, 1, 0, 0, 0, 0]].concat();
    let files = [&[1, u8::try_from(file.len()).unwrap(), 0], file].concat();
    sealed(MANIFEST, &[settings, files, vec![1, 1, 0]].concat())
}

/// A leaf with two entries: one in the file beside it, one inside.
fn leaf(value: &[u8]) -> Vec<u8> {
    let files = [&[1, 4, 0][..], b"d/ab"].concat();
    let keys = [&[2, 2, 9, 1][..], b"a/.zarray0"].concat();
    let values = [&[5, u8::try_from(value.len()).unwrap(), 1, 0, 0, 0], value].concat();
    sealed(NODE, &[vec![0], files, keys, values].concat())
}

#[test]
fn manifests_and_nodes_are_read_whole() {
    for sample in [manifest(b"d/ab"), leaf(b"xy"), [leaf(b"xy"), leaf(b"z")].concat()] {
        assert_eq!(sniff(&Ocdbt, &sample), Sniff::Certain);
        let parsed = parse(&Ocdbt, &sample);
        assert_whole(&parsed, &sample);
        assert!(parsed.references.iter().all(|reference| reference.target == "d/ab"));
        assert!(!parsed.references.is_empty());
    }
    let parsed = parse(&Ocdbt, &leaf(b"{}"));
    let children = parsed.children.iter().map(|child| (child.name.as_str(), content(child), child.role));
    assert_eq!(children.collect::<Vec<_>>(), [("a/0", b"{}".to_vec(), Role::Any)]);
}

#[test]
fn values_before_nodes_are_numbers_and_values_behind_them_are_not_judged() {
    let packed = [&b"\x28\xb5\x2f\xfd values"[..], &leaf(b"\x1f\x8bxy")].concat();
    assert_whole(&parse(&Ocdbt, &packed), &packed);
    assert!(parse(&Ocdbt, &packed).children.is_empty());
    let sample = [&b"values"[..], &leaf(b"xy"), &leaf(b"z")].concat();
    assert_eq!(sniff(&Ocdbt, &sample), Sniff::Certain);
    let parsed = parse(&Ocdbt, &sample);
    assert_whole(&parsed, &sample);
    assert_eq!((parsed.children[0].role, parsed.children.len()), (Role::RawData, 3));
    let behind = [&leaf(b"xy")[..], b"values"].concat();
    assert_eq!(troubles(&parse(&Ocdbt, &behind)), [Trouble::Undecodable]);
    let appended = [&manifest(b"d/ab")[..], b"\x7fELF"].concat();
    let parsed = parse(&Ocdbt, &appended);
    assert_eq!((messages(&parsed).as_str(), hidden(&parsed, &appended).len()), ("", 1));
}

#[test]
fn wrong_checksums_lengths_and_names_are_reported() {
    let mut flipped = leaf(b"xy");
    flipped[20] ^= 1;
    let cut = leaf(b"xy")[..30].to_vec();
    let long = [NODE, &u64::MAX.to_le_bytes(), &[0; 20]].concat();
    let packed = [NODE, &22u64.to_le_bytes(), &[0, 1, 9, 9, 9, 9]].concat();
    let packed = [&packed[..], &block::crc32c(&packed).to_le_bytes()].concat();
    let shares = sealed(NODE, &[0, 2, 9, 1, 1, 0, 0, b'a', b'b']);
    let count = sealed(NODE, &[0, 0xff, 0xff, 0xff, 0x7f]);
    for broken in [flipped, cut, long, packed, shares, count] {
        assert_eq!(troubles(&parse(&Ocdbt, &broken)), [Trouble::Undecodable]);
    }
    let more = sealed(NODE, &[0, 0, 0, 1]);
    assert_eq!(troubles(&parse(&Ocdbt, &more)), [Trouble::Ambiguous]);
    assert_eq!(sniff(&Ocdbt, b"\x0c\xdb"), Sniff::No);
    assert_eq!(sniff(&Ocdbt, b"words and words"), Sniff::No);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x0c\xdb\x20\xde\x20\0\0\0\0\0\0\0\0\0")) {
        assert_bounded(&Ocdbt, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants([leaf(b"xy"), leaf(b"{}")].concat())) {
        assert_bounded(&Ocdbt, &bytes);
    }

    #[test]
    fn any_sound_block_is_parsed_within_limits(body in prop::collection::vec(any::<u8>(), 0..100)) {
        assert_bounded(&Ocdbt, &sealed(NODE, &body));
        assert_bounded(&Ocdbt, &sealed(MANIFEST, &body));
    }
}
