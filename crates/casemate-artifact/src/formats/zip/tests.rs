//! Archives built record by record, where directory and members disagree.

use flate2::{Compression, Crc};
use proptest::prelude::*;
use std::io::Write;

use super::*;
use crate::ReferenceKind;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, content, hidden, messages, mutants, parse, parse_within, sniff, troubles,
};
use casemate_core::Limits;

/// One member to write, every field free to lie.
#[derive(Clone)]
struct Entry {
    name: &'static str,
    local_name: &'static str,
    data: Vec<u8>,
    size: usize,
    crc: u32,
    method: u16,
    flags: u16,
    attributes: u32,
    listed: bool,
}

fn entry(name: &'static str, data: &[u8]) -> Entry {
    let (size, crc) = (data.len(), crc(data));
    let (data, method, flags, attributes) = (data.to_vec(), 0, 0, 0);
    Entry { name, local_name: name, data, size, crc, method, flags, attributes, listed: true }
}

fn deflated(name: &'static str, data: &[u8]) -> Entry {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    Entry { data: encoder.finish().unwrap(), method: 8, ..entry(name, data) }
}

fn crc(data: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(data);
    crc.sum()
}

fn le16(n: usize) -> [u8; 2] {
    u16::try_from(n).unwrap().to_le_bytes()
}

fn le32(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap().to_le_bytes()
}

/// Method to size, as both headers have them.
fn middle(entry: &Entry, late: bool) -> Vec<u8> {
    let (crc, compressed, size) = if late { (0, 0, 0) } else { (entry.crc, entry.data.len(), entry.size) };
    [&entry.method.to_le_bytes()[..], &[0; 4], &crc.to_le_bytes(), &le32(compressed), &le32(size)].concat()
}

/// Local headers and data, then the directory, as two strings of bytes.
fn parts(entries: &[Entry], base: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let (offset, late) = (base + body.len(), entry.flags & 8 != 0);
        let local = [&b"PK\x03\x04\x14\0"[..], &entry.flags.to_le_bytes(), &middle(entry, late)].concat();
        body.extend(
            [&local[..], &le16(entry.local_name.len()), &[0; 2], entry.local_name.as_bytes(), &entry.data].concat(),
        );
        if late {
            body.extend(
                [&b"PK\x07\x08"[..], &entry.crc.to_le_bytes(), &le32(entry.data.len()), &le32(entry.size)].concat(),
            );
        }
        if entry.listed {
            directory
                .extend([&b"PK\x01\x02\x14\x03\x14\0"[..], &entry.flags.to_le_bytes(), &middle(entry, false)].concat());
            directory.extend([&le16(entry.name.len())[..], &[0; 8], &entry.attributes.to_le_bytes()].concat());
            directory.extend([&le32(offset)[..], entry.name.as_bytes()].concat());
        }
    }
    (body, directory)
}

fn end(count: usize, size: usize, offset: usize, comment: &[u8]) -> Vec<u8> {
    let head = [&b"PK\x05\x06\0\0\0\0"[..], &le16(count), &le16(count), &le32(size), &le32(offset)].concat();
    [&head[..], &le16(comment.len()), comment].concat()
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let (body, directory) = parts(entries, 0);
    let count = entries.iter().filter(|entry| entry.listed).count();
    [&body[..], &directory, &end(count, directory.len(), body.len(), b"a comment")].concat()
}

fn torch() -> Vec<u8> {
    archive(&[
        entry("m/data.pkl", b"\x80\x02N."),
        entry("m/byteorder", b"little"),
        entry("m/data/0", &[1; 8]),
        entry("m/version", b"3\n"),
    ])
}

fn names(parsed: &Parsed) -> Vec<&str> {
    parsed.children.iter().map(|child| child.name.as_str()).collect()
}

#[test]
fn a_torch_archive_is_claimed_whole_and_its_roles_are_known() {
    let (bytes, parsed) = (torch(), parse(&Zip, &torch()));
    assert_whole(&parsed, &bytes);
    assert_eq!(sniff(&Zip, &bytes), Sniff::Certain);
    assert_eq!(parsed.refined, Some("pytorch-zip"));
    let roles: Vec<Role> = parsed.children.iter().map(|child| child.role).collect();
    assert_eq!(roles, [Role::TorchPickle, Role::Any, Role::RawData, Role::Any]);
    assert_eq!(content(&parsed.children[1]), b"little");
    let script = archive(&[entry("m/data.pkl", b"N."), entry("m/version", b"3"), entry("m/constants.pkl", b"N.")]);
    assert_eq!(parse(&Zip, &script).refined, Some("torchscript"));
    let foreign = archive(&[entry("m/data.pkl", b"N."), entry("m/version", b"3"), entry("x/y", b"N.")]);
    assert_eq!(parse(&Zip, &foreign).refined, None);
}

#[test]
fn storages_of_another_length_than_their_member_are_ambiguous() {
    let pickle = b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ.";
    for (size, told) in [(8, 0), (4, 1), (12, 1), (0, 1)] {
        let entries = [entry("m/data.pkl", pickle), entry("m/data/0", &[1; 12][..size]), entry("m/version", b"3\n")];
        let parsed = parse(&Zip, &archive(&entries));
        assert_eq!(troubles(&parsed), vec![Trouble::Ambiguous; told], "{size}: {}", messages(&parsed));
    }
    // A storage the archive does not have ends loading, and hides nothing.
    let entries = [entry("m/data.pkl", pickle), entry("m/version", b"3\n")];
    assert_eq!(troubles(&parse(&Zip, &archive(&entries))), []);
}

#[test]
fn other_archives_are_refined_by_their_members() {
    assert_eq!(parse(&Zip, &archive(&[entry("a.npy", b""), deflated("b.npy", b"xx")])).refined, Some("npz"));
    let keras = archive(&[entry("config.json", b"{}"), entry("model.weights.h5", b"x")]);
    assert_eq!(parse(&Zip, &keras).refined, Some("keras"));
    assert_eq!(parse(&Zip, &end(0, 0, 0, b"")).refined, None);
    assert_whole(&parse(&Zip, &end(0, 0, 0, b"")), &end(0, 0, 0, b""));
}

#[test]
fn deflated_members_come_out_held_or_inflated_again() {
    let (small, large) = (vec![7; 1000], vec![7; 3 << 20]);
    let mut late = deflated("late", &small);
    late.flags = 8;
    let bytes = archive(&[deflated("small", &small), deflated("large", &large), late, entry("dir/", b"")]);
    let parsed = parse(&Zip, &bytes);
    assert_whole(&parsed, &bytes);
    assert_eq!(names(&parsed), ["small", "large", "late"]);
    assert!(content(&parsed.children[0]) == small && content(&parsed.children[1]) == large);
    assert!(content(&parsed.children[2]) == small);
}

#[test]
fn local_and_central_names_that_differ_are_ambiguous() {
    let lying = Entry { local_name: "data.txt", ..entry("data.pkl", b"N.") };
    assert_eq!(troubles(&parse(&Zip, &archive(&[lying]))), [Trouble::Ambiguous]);
}

#[test]
fn duplicate_names_are_ambiguous_and_both_members_are_children() {
    let parsed = parse(&Zip, &archive(&[entry("a", b"1"), entry("a", b"2")]));
    assert_eq!(troubles(&parsed), [Trouble::Ambiguous]);
    assert_eq!(names(&parsed), ["a", "a"]);
}

#[test]
fn a_wrong_checksum_is_ambiguous_and_the_member_is_read_on() {
    for entry in [entry("a", b"12345"), deflated("a", b"12345")] {
        let parsed = parse(&Zip, &archive(&[Entry { crc: 1, ..entry }]));
        assert_eq!(troubles(&parsed), [Trouble::Ambiguous]);
        assert_eq!(content(&parsed.children[0]), b"12345");
    }
}

#[test]
fn a_lying_encrypted_flag_is_seen_through() {
    for sound in [entry("a", b"12345"), deflated("a", b"12345")] {
        let lying = Entry { flags: 1, ..sound };
        let parsed = parse(&Zip, &archive(std::slice::from_ref(&lying)));
        assert_eq!(troubles(&parsed), [Trouble::Ambiguous]);
        assert_eq!(content(&parsed.children[0]), b"12345");
        let parsed = parse(&Zip, &archive(&[Entry { crc: 1, ..lying }]));
        assert_eq!(troubles(&parsed), [Trouble::Encrypted]);
        assert!(parsed.children.is_empty());
    }
}

#[test]
fn unknown_methods_are_undecodable_by_name() {
    let parsed = parse(&Zip, &archive(&[Entry { method: 14, ..entry("a", b"12345") }]));
    assert_eq!(messages(&parsed), "Undecodable: member `a` is compressed by method 14 (lzma)\n");
}

#[test]
fn sizes_that_lie_are_ambiguous() {
    for lying in [entry("a", b"12345"), deflated("a", b"12345")] {
        assert_eq!(troubles(&parse(&Zip, &archive(&[Entry { size: 3, ..lying }]))), [Trouble::Ambiguous]);
    }
    let trailing = Entry { data: [&deflated("a", b"1").data[..], b"hidden"].concat(), ..deflated("a", b"1") };
    let bytes = archive(&[trailing]);
    assert_eq!(hidden(&parse(&Zip, &bytes), &bytes).len(), 1);
}

#[test]
fn a_member_the_directory_does_not_list_is_found() {
    for flags in [0, 8] {
        for hidden in [entry("evil.pkl", b"12345"), deflated("evil.pkl", b"12345")] {
            let bytes = archive(&[entry("a", b"1"), Entry { listed: false, flags, ..hidden }, entry("b", b"2")]);
            let parsed = parse(&Zip, &bytes);
            assert_eq!(troubles(&parsed), [Trouble::Ambiguous], "{}", messages(&parsed));
            assert_eq!(names(&parsed), ["a", "b", "evil.pkl"]);
            assert_eq!(content(&parsed.children[2]), b"12345");
        }
    }
}

#[test]
fn without_an_end_record_local_headers_are_walked() {
    let (body, _) = parts(&[entry("a", b"1"), deflated("b", b"22222")], 0);
    assert_eq!(sniff(&Zip, &body), Sniff::Certain);
    let parsed = parse(&Zip, &body);
    assert_eq!(names(&parsed), ["a", "b"]);
    assert_eq!(troubles(&parsed), [Trouble::Ambiguous; 3]);
    assert!(hidden(&parsed, &body).is_empty());
}

#[test]
fn a_count_that_is_too_low_is_ambiguous() {
    let (body, directory) = parts(&[entry("a", b"1"), entry("b", b"2")], 0);
    let bytes = [&body[..], &directory, &end(1, directory.len(), body.len(), b"")].concat();
    let parsed = parse(&Zip, &bytes);
    assert_eq!(troubles(&parsed), [Trouble::Ambiguous]);
    assert_eq!(names(&parsed), ["a", "b"]);
}

#[test]
fn bytes_in_front_and_behind_stay_unclaimed() {
    let bytes = [b"\x80\x04N.", &torch()[..], b"tail"].concat();
    assert_eq!(sniff(&Zip, &bytes), Sniff::Certain);
    let parsed = parse(&Zip, &bytes);
    assert_eq!(messages(&parsed), "");
    assert_eq!(hidden(&parsed, &bytes), [0..4, bytes.len() as u64 - 4..bytes.len() as u64]);
    assert_eq!(parsed.refined, Some("pytorch-zip"));
}

#[test]
fn of_two_concatenated_archives_both_are_read() {
    // Of the same length the first directory stands where the second end record points; of others it does not.
    for (second, order) in [("b", ["a", "b"]), ("longer", ["longer", "a"])] {
        let bytes = [archive(&[entry("a", b"1")]), archive(&[entry(second, b"2")])].concat();
        let parsed = parse(&Zip, &bytes);
        assert_eq!(names(&parsed), order);
        assert!(troubles(&parsed).contains(&Trouble::Ambiguous));
    }
}

#[test]
fn two_directories_are_ambiguous_and_both_are_read() {
    let (first, first_directory) = parts(&[entry("a", b"1")], 0);
    let (second, second_directory) = parts(&[entry("b", b"2")], 0);
    let offset = first.len();
    let bytes =
        [&first[..], &first_directory, &second, &second_directory, &end(1, second_directory.len(), offset, b"")];
    let parsed = parse(&Zip, &bytes.concat());
    assert!(troubles(&parsed).contains(&Trouble::Ambiguous));
    assert!(names(&parsed).contains(&"a") && names(&parsed).contains(&"b"));
}

#[test]
fn an_end_record_inside_the_comment_is_ambiguous() {
    let (body, directory) = parts(&[entry("a", b"1")], 0);
    let bytes = [&body[..], &directory, &end(1, directory.len(), body.len(), &end(0, 0, 0, b""))].concat();
    let parsed = parse(&Zip, &bytes);
    assert!(messages(&parsed).contains("second end record"), "{}", messages(&parsed));
    assert_eq!(names(&parsed), ["a"]);
}

#[test]
fn overlapping_members_are_ambiguous() {
    let (body, mut directory) = parts(&[entry("a", b"1"), entry("b", b"2")], 0);
    let offset_of_b = directory.len() - 5..directory.len() - 1;
    directory[offset_of_b].fill(0);
    let parsed = parse(&Zip, &[&body[..], &directory, &end(2, directory.len(), body.len(), b"")].concat());
    assert!(messages(&parsed).contains("shares bytes"), "{}", messages(&parsed));
    let long = Entry { data: vec![], size: 4000, ..entry("a", b"") };
    assert!(troubles(&parse(&Zip, &archive(&[long]))).contains(&Trouble::Ambiguous));
}

#[test]
fn zip64_records_are_read() {
    let (body, directory) = parts(&[entry("a", b"1")], 0);
    let wide = |n: usize| (n as u64).to_le_bytes();
    let record = [
        &b"PK\x06\x06"[..],
        &wide(44),
        &[45, 0, 45, 0],
        &[0; 8],
        &wide(1),
        &wide(1),
        &wide(directory.len()),
        &wide(body.len()),
    ];
    let at = body.len() + directory.len();
    let locator = [&b"PK\x06\x07\0\0\0\0"[..], &wide(at), &[1, 0, 0, 0]].concat();
    let mut end = end(0xffff, 0, 0, b"");
    end[12..20].fill(0xff);
    let bytes = [&body[..], &directory, &record.concat(), &locator, &end].concat();
    assert_eq!(sniff(&Zip, &bytes), Sniff::Certain);
    assert_whole(&parse(&Zip, &bytes), &bytes);
    assert_eq!(names(&parse(&Zip, &bytes)), ["a"]);
}

#[test]
fn names_that_escape_and_links_are_referred_to() {
    for name in ["../a", "/a", "a\\b", "C:a", "a/../../b", "a\0.txt"] {
        let parsed = parse(&Zip, &archive(&[entry(name, b"1")]));
        assert_eq!(parsed.references.len(), 1, "{name}");
        assert_eq!(
            (parsed.references[0].kind, parsed.references[0].target.as_str()),
            (ReferenceKind::MemberName, name)
        );
    }
    let parsed = parse(&Zip, &archive(&[Entry { attributes: 0o120_777 << 16, ..entry("link", b"/etc/passwd") }]));
    assert_eq!(
        (parsed.references[0].kind, parsed.references[0].target.as_str()),
        (ReferenceKind::LinkTarget, "/etc/passwd")
    );
    assert!(parse(&Zip, &archive(&[entry("a..b/c", b"1")])).references.is_empty());
    let link = Entry { attributes: 0o120_777 << 16, ..entry("l", b"x") };
    let device = Entry { attributes: 0o020_666 << 16, ..entry("d", b"") };
    let parsed = parse(&Zip, &archive(&[link, entry("l/a", b"1"), device]));
    let kinds: Vec<_> = parsed.references.iter().map(|reference| reference.kind).collect();
    assert_eq!(kinds, [ReferenceKind::LinkTarget, ReferenceKind::ThroughLink, ReferenceKind::Device]);
}

#[test]
fn bombs_hit_the_limit_and_leave_their_beginning() {
    let bytes = archive(&[deflated("zeros", &vec![0; 1 << 20]), deflated("b", b"1")]);
    let limits = Limits { inflated_member_bytes_max: 1000, ..Limits::default() };
    let parsed = parse_within(&Zip, &bytes, &limits);
    assert_eq!(troubles(&parsed), [Trouble::Limit]);
    assert_eq!(content(&parsed.children[0]), vec![0; 1000]);
    let limits = Limits { inflated_bytes_max: 1000, ..Limits::default() };
    let parsed = parse_within(&Zip, &bytes, &limits);
    assert_eq!((troubles(&parsed), names(&parsed)), (vec![Trouble::Limit], vec!["zeros"]));
    let limits = Limits { members_max: 1, ..Limits::default() };
    assert!(troubles(&parse_within(&Zip, &bytes, &limits)).contains(&Trouble::Limit));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"PK\x03\x04\x14\0\x08\0")) {
        assert_bounded(&Zip, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(torch())) {
        assert_bounded(&Zip, &bytes);
    }

    #[test]
    fn mutants_of_deflated_archives_are_parsed_within_limits(
        bytes in mutants(archive(&[Entry { flags: 8, ..deflated("a", &[5; 300]) }, Entry { listed: false, ..deflated("b", b"123") }]))
    ) {
        assert_bounded(&Zip, &bytes);
    }
}
