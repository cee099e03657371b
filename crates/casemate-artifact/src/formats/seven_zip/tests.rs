//! Archives assembled record by record, stored and packed.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, content, hidden, mutants, parse, sniff, troubles,
};

/// LZMA2 that stores `bytes`.
fn lzma2(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len() - 1).unwrap();
    [&[1u8][..], &len.to_be_bytes(), bytes, &[0]].concat()
}

/// Streams of one folder with one coder: its flags, method and properties; contents of the given sizes.
fn streams(packed: usize, coder: &[u8], sizes: &[u8]) -> Vec<u8> {
    let total: u8 = sizes.iter().sum();
    let mut bytes = vec![6, 0, 1, 9, u8::try_from(packed).unwrap(), 0, 7, 0x0b, 1, 0, 1];
    bytes.extend_from_slice(coder);
    bytes.extend_from_slice(&[0x0c, total, 0, 8, 0x0d, u8::try_from(sizes.len()).unwrap()]);
    if let Some((_, first)) = sizes.split_last().filter(|(_, first)| !first.is_empty()) {
        bytes.push(9);
        bytes.extend_from_slice(first);
    }
    bytes.extend_from_slice(&[0x0a, 1]);
    bytes.extend_from_slice(&[0xee; 4].repeat(sizes.len()));
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

fn files(names: &[&str], extra: &[u8]) -> Vec<u8> {
    let utf16: Vec<u8> =
        names.iter().flat_map(|name| name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes)).collect();
    let n = u8::try_from(names.len()).unwrap();
    [&[5, n, 0x11, u8::try_from(utf16.len() + 1).unwrap(), 0][..], &utf16, extra, &[0]].concat()
}

fn archive(packed: &[u8], header: &[u8]) -> Vec<u8> {
    let mut bytes = [MAGIC, &[0, 4, 0, 0, 0, 0]].concat();
    bytes.extend_from_slice(&(packed.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    [&bytes, packed, header].concat()
}

const LZMA2: &[u8] = &[0x21, 0x21, 1, 0x18];
const STORED: &[u8] = &[1, 0];

fn sample() -> Vec<u8> {
    let packed = lzma2(b"first.second");
    let header = [&[1, 4][..], &streams(packed.len(), LZMA2, &[6, 6]), &files(&["a.pkl", "b"], &[]), &[0]].concat();
    archive(&packed, &header)
}

fn stored(name: &str, extra: &[u8]) -> Vec<u8> {
    archive(b"abc", &[&[1, 4][..], &streams(3, STORED, &[3]), &files(&[name], extra), &[0]].concat())
}

#[test]
fn contents_of_a_folder_come_out_under_their_names() {
    assert_eq!(sniff(&SevenZip, &sample()), Sniff::Certain);
    let parsed = parse(&SevenZip, &sample());
    assert_whole(&parsed, &sample());
    let children: Vec<_> = parsed.children.iter().map(|child| (child.name.as_str(), content(child))).collect();
    assert_eq!(children, [("a.pkl", b"first.".to_vec()), ("b", b"second".to_vec())]);
}

#[test]
fn stored_contents_and_packed_headers_are_read() {
    let parsed = parse(&SevenZip, &stored("a", &[]));
    assert_whole(&parsed, &stored("a", &[]));
    assert_eq!(content(&parsed.children[0]), b"abc");
    let header = [&[1, 4][..], &streams(3, STORED, &[3]), &files(&["deep"], &[]), &[0]].concat();
    let packed = lzma2(&header);
    let mut outer = vec![0x17, 6, 3, 1, 9, u8::try_from(packed.len()).unwrap(), 0, 7, 0x0b, 1, 0, 1];
    outer.extend_from_slice(LZMA2);
    outer.extend_from_slice(&[0x0c, u8::try_from(header.len()).unwrap(), 0, 0]);
    let bytes = archive(&[&b"abc"[..], &packed].concat(), &outer);
    let parsed = parse(&SevenZip, &bytes);
    assert_whole(&parsed, &bytes);
    assert_eq!((parsed.children[0].name.as_str(), content(&parsed.children[0])), ("deep", b"abc".to_vec()));
}

#[test]
fn names_and_links_that_leave_are_references() {
    let parsed = parse(&SevenZip, &stored("../up", &[]));
    assert_eq!((parsed.references[0].kind, parsed.references[0].target.as_str()), (ReferenceKind::MemberName, "../up"));
    let link = parse(&SevenZip, &stored("l", &[0x15, 6, 1, 0, 0, 0x80, 0xff, 0xa1]));
    assert_eq!((link.references[0].kind, link.references[0].target.as_str()), (ReferenceKind::LinkTarget, "abc"));
}

#[test]
fn what_cannot_be_unpacked_is_told_by_its_reason() {
    let with = |coder: &[u8]| {
        let packed = lzma2(b"abc");
        let header = [&[1, 4][..], &streams(packed.len(), coder, &[3]), &files(&["a"], &[]), &[0]].concat();
        troubles(&parse(&SevenZip, &archive(&packed, &header)))
    };
    assert_eq!(with(&[0x24, 6, 0xf1, 7, 1, 1, 0]), [Trouble::Encrypted]);
    assert_eq!(with(&[3, 3, 4, 1]), [Trouble::Undecodable]);
    assert_eq!(with(&[0x21, 0x21, 1, 41]), [Trouble::Undecodable]);
    // A window of 4 GiB is cut to what the folder unpacks to.
    assert_eq!(with(&[0x21, 0x21, 1, 40]), []);
    let mut long = sample();
    let at = long.windows(2).position(|bytes| bytes == [0x0c, 12]).unwrap();
    long[at + 1] = 13;
    assert_eq!(troubles(&parse(&SevenZip, &long)), [Trouble::Undecodable]);
}

#[test]
fn lengths_past_the_file_are_told_and_appended_bytes_stay() {
    for at in [19, 27] {
        let mut bytes = sample();
        bytes[at] = 0xff;
        assert_eq!(troubles(&parse(&SevenZip, &bytes)), [Trouble::Undecodable], "{at}");
    }
    let appended = [&sample()[..], b"\x7fELF"].concat();
    assert_eq!(hidden(&parse(&SevenZip, &appended), &appended).len(), 1);
    let counts = archive(b"", &[1, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(troubles(&parse(&SevenZip, &counts)), [Trouble::Undecodable]);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"7z\xbc\xaf\x27\x1c\0\x04")) {
        assert_bounded(&SevenZip, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&SevenZip, &bytes);
    }
}
