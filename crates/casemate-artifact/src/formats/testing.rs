//! What the parsers' tests share: parsing bytes, and the property every parser has.

use std::ops::Range;
use std::sync::Arc;

use casemate_core::{Limits, MemorySource, SharedSource, SourceExt};
use proptest::prelude::*;

use crate::{Budget, Child, Format, Object, Parsed, Probe, Role, Sniff, Trouble};

/// Parses bytes with one format under the standard limits.
pub(crate) fn parse(format: &dyn Format, bytes: &[u8]) -> Parsed {
    parse_within(format, bytes, &Limits::default())
}

/// Parses bytes with one format under other limits.
pub(crate) fn parse_within(format: &dyn Format, bytes: &[u8], limits: &Limits) -> Parsed {
    let source: SharedSource = Arc::new(MemorySource::new(bytes));
    let probe = Probe::read(&*source).unwrap();
    let budget = Budget::default();
    format.parse(&Object { name: "sample", source: &source, probe: &probe, role: Role::Any, limits, budget: &budget })
}

/// What a format says of bytes.
pub(crate) fn sniff(format: &dyn Format, bytes: &[u8]) -> Sniff {
    format.sniff(&Probe::read(&MemorySource::new(bytes)).unwrap())
}

/// The kinds of trouble, in order of appearance.
pub(crate) fn troubles(parsed: &Parsed) -> Vec<Trouble> {
    parsed.malformed.iter().map(|m| m.trouble).collect()
}

/// The messages, for failed assertions and for looking into them.
pub(crate) fn messages(parsed: &Parsed) -> String {
    parsed.malformed.iter().map(|m| format!("{:?}: {}\n", m.trouble, m.what)).collect()
}

/// Asserts that every byte is claimed and nothing was wrong.
pub(crate) fn assert_whole(parsed: &Parsed, bytes: &[u8]) {
    assert_eq!(messages(parsed), "");
    assert_eq!(hidden(parsed, bytes), Vec::<Range<u64>>::new());
}

/// The unclaimed spans that are not all zero: what the caller would report.
pub(crate) fn hidden(parsed: &Parsed, bytes: &[u8]) -> Vec<Range<u64>> {
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let mut gaps = parsed.claims.gaps(bytes.len() as u64);
    gaps.retain(|gap| bytes[at(gap.start)..at(gap.end)].iter().any(|byte| *byte != 0));
    gaps
}

/// The bytes of a child.
pub(crate) fn content(child: &Child) -> Vec<u8> {
    child.source.bytes_at(0, child.source.size_bytes()).unwrap()
}

/// What holds for any bytes: parsing returns, claims and spans lie inside, lists respect the limits.
pub(crate) fn assert_bounded(format: &dyn Format, bytes: &[u8]) {
    let limits = Limits { members_max: 50, findings_max: 20, inflated_member_bytes_max: 4096, ..Limits::default() };
    let (parsed, size) = (parse_within(format, bytes, &limits), bytes.len() as u64);
    sniff(format, bytes);
    assert!(parsed.claims.ranges().iter().all(|range| range.start < range.end && range.end <= size));
    assert!(parsed.tensors.iter().filter_map(|t| t.span.as_ref()).all(|span| span.end <= size));
    assert!(parsed.malformed.len() <= 25, "{}", messages(&parsed));
    assert!(parsed.malformed.iter().all(|m| !m.what.contains('\n') && m.what.len() < 2000));
    parsed.children.iter().for_each(|child| drop(content(child)));
}

/// Any bytes, most of them behind one of the given beginnings.
pub(crate) fn any_bytes(beginning: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), prop::collection::vec(any::<u8>(), 0..600))
        .prop_map(move |(begin, rest)| if begin { [beginning, &rest].concat() } else { rest })
}

/// A sample with up to four bytes changed, cut somewhere in half of the cases.
pub(crate) fn mutants(sample: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = sample.len();
    (prop::collection::vec((0..len, any::<u8>()), 0..4), prop::option::of(0..=len)).prop_map(move |(flips, cut)| {
        let mut bytes = sample.clone();
        flips.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes.truncate(cut.unwrap_or(len));
        bytes
    })
}

/// An archive of stored members behind `before`, offsets counted from the beginning of that.
pub(crate) fn stored_zip(before: &[u8], members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (before.to_vec(), Vec::new());
    let four = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    for (name, data) in members {
        let mut sum = flate2::Crc::new();
        sum.update(data);
        let sizes = [sum.sum().to_le_bytes(), four(data.len()), four(data.len()), four(name.len())].concat();
        let offset = four(bytes.len());
        bytes.extend([&b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0"[..], &sizes, name.as_bytes(), data].concat());
        directory.extend([&b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0"[..], &sizes, &[0; 10]].concat());
        directory.extend([&offset, name.as_bytes()].concat());
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let place = [four(directory.len()), four(bytes.len())].concat();
    [&bytes, &directory, &b"PK\x05\x06\0\0\0\0"[..], &count, &count, &place, &[0; 2]].concat()
}

/// A protobuf varint.
pub(crate) fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    bytes.push(u8::try_from(n).unwrap());
    bytes
}

/// A protobuf field that is a number.
pub(crate) fn number_field(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

/// A protobuf field that is a text or a message.
pub(crate) fn bytes_field(field: u64, content: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2)[..], &varint(content.len() as u64), content].concat()
}
