//! Every codec on what its own tool writes, and on what an attacker makes of that.
//!
//! The packed samples are the fuzz seeds, written by Python's gzip, zlib, bz2, lzma, zstandard and lz4 modules.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    assert_bounded, assert_whole, content, messages, mutants, parse, parse_within, sniff, troubles,
};
use crate::formats::{FORMATS, Format, Sniff};

const SAMPLES: &[(&str, &[u8])] = &[
    ("gzip", include_bytes!("../../../../../fuzz/seeds/gzip/one")),
    ("zlib", include_bytes!("../../../../../fuzz/seeds/zlib/one")),
    ("bzip2", include_bytes!("../../../../../fuzz/seeds/bzip2/one")),
    ("xz", include_bytes!("../../../../../fuzz/seeds/xz/one")),
    ("lzma", include_bytes!("../../../../../fuzz/seeds/lzma/one")),
    ("zstd", include_bytes!("../../../../../fuzz/seeds/zstd/one")),
    ("lz4", include_bytes!("../../../../../fuzz/seeds/lz4/one")),
];

fn format(id: &str) -> &'static dyn Format {
    *FORMATS.iter().find(|format| format.meta().id == id).unwrap()
}

/// What every sample holds: a pickle.
fn payload() -> Vec<u8> {
    let pairs = [&b"h\0h\0\x86"[..]; 40].concat();
    [&b"\x80\x04\x8c\x08seventy!\x94"[..], &pairs, &[b'0'; 39], b"."].concat()
}

#[test]
fn what_the_tools_write_is_whole_and_unpacked() {
    for (id, sample) in SAMPLES {
        let parsed = parse(format(id), sample);
        assert_eq!(sniff(format(id), sample), Sniff::Certain, "{id}");
        assert_whole(&parsed, sample);
        assert_eq!(parsed.children.len(), 1, "{id}");
        assert_eq!(content(&parsed.children[0]), payload(), "{id}");
        assert_eq!((parsed.children[0].role, parsed.children[0].name.as_str()), (Role::Any, "sample"), "{id}");
    }
}

#[test]
fn bytes_after_the_stream_are_nobodys() {
    for (id, sample) in SAMPLES {
        let parsed = parse(format(id), &[sample, &b"trailing"[..]].concat());
        assert_eq!(messages(&parsed), "", "{id}");
        assert_eq!(parsed.claims.gaps(u64::MAX).first().map(|gap| gap.start), Some(sample.len() as u64), "{id}");
    }
}

#[test]
fn a_second_stream_is_unpacked_and_reported_where_readers_differ() {
    for (id, sample) in SAMPLES {
        for padding in [0, 4, 100] {
            let parsed = parse(format(id), &[sample, &vec![0; padding][..], sample].concat());
            let wanted: &[Trouble] = if matches!(*id, "zlib" | "lzma") { &[Trouble::Ambiguous] } else { &[] };
            assert_eq!(troubles(&parsed), wanted, "{id} {padding}");
            assert_eq!(content(&parsed.children[0]), [payload(), payload()].concat(), "{id}");
        }
    }
}

#[test]
fn an_archive_that_ends_with_a_stream_is_another_file_to_who_stops_there() {
    let end = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    let two = [deflated(&end), deflated(b"more")].concat();
    assert_eq!(troubles(&parse(format("gzip"), &two)), [Trouble::Ambiguous]);
    let blocks = [deflated(&[7; 60_000]), deflated(&[8; 60_000]), deflated(b"")].concat();
    assert_whole(&parse(format("gzip"), &blocks), &blocks);
}

#[test]
fn streams_without_end_are_a_limit() {
    let empty = deflated(b"");
    let parsed = parse(format("gzip"), &empty.repeat(70_000));
    assert_eq!(troubles(&parsed), [Trouble::Limit]);
}

#[test]
fn a_cut_stream_is_undecodable_and_what_came_out_is_judged() {
    for (id, sample) in SAMPLES {
        for len in [sample.len() - 1, sample.len() - 5, sample.len() / 2, 7] {
            assert_eq!(troubles(&parse(format(id), &sample[..len])), [Trouble::Undecodable], "{id} {len}");
        }
    }
    let parsed = parse(format("gzip"), &SAMPLES[0].1[..SAMPLES[0].1.len() - 1]);
    assert_eq!(content(&parsed.children[0]), payload());
}

#[test]
fn a_wrong_checksum_is_never_silent() {
    // Offsets from the end of a byte of the checksum over the content.
    let places = [("gzip", 8, true), ("zlib", 1, true), ("zstd", 1, true), ("lz4", 1, false)];
    for (id, from_end, read_on) in places {
        let mut bytes = SAMPLES.iter().find(|(name, _)| *name == id).unwrap().1.to_vec();
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        let parsed = parse(format(id), &bytes);
        let wanted = if read_on { Trouble::Ambiguous } else { Trouble::Undecodable };
        assert_eq!(troubles(&parsed), [wanted], "{id}");
        assert_eq!(content(&parsed.children[0]), payload(), "{id}");
    }
    // bzip2: the checksum of the block, after the six digits of pi. xz: in the middle of the block.
    for (id, at) in [("bzip2", 10), ("xz", 40)] {
        let mut bytes = SAMPLES.iter().find(|(name, _)| *name == id).unwrap().1.to_vec();
        bytes[at] ^= 1;
        assert_eq!(troubles(&parse(format(id), &bytes)), [Trouble::Undecodable], "{id}");
    }
}

#[test]
fn declared_sizes_that_lie_are_not_believed() {
    // gzip: the length modulo 2^32 stands last.
    let mut gzip = SAMPLES[0].1.to_vec();
    *gzip.last_mut().unwrap() = 0x7f;
    assert_eq!(troubles(&parse(format("gzip"), &gzip)), [Trouble::Ambiguous]);
    // LZMA: shorter or longer than the stream.
    for size in [8u64, 1 << 39] {
        let mut lzma = SAMPLES[4].1.to_vec();
        lzma[5..13].copy_from_slice(&size.to_le_bytes());
        assert_eq!(troubles(&parse(format("lzma"), &lzma)), [Trouble::Undecodable], "{size}");
    }
    // A window of 4 GiB is not lent.
    let mut lzma = SAMPLES[4].1.to_vec();
    lzma[1..5].copy_from_slice(&0x8000_0000u32.to_le_bytes());
    assert_eq!(troubles(&parse(format("lzma"), &lzma)), [Trouble::Limit]);
    let zstd = b"\x28\xb5\x2f\xfd\x00\xa0\x01\0\0";
    assert_eq!(troubles(&parse(format("zstd"), zstd)), [Trouble::Limit]);
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_bomb_stops_at_the_limit_of_the_member_and_of_the_file() {
    let bomb = deflated(&vec![0; 100_000]);
    let limits = Limits { inflated_member_bytes_max: 5000, ..Limits::default() };
    let parsed = parse_within(format("gzip"), &bomb, &limits);
    assert_eq!(troubles(&parsed), [Trouble::Limit]);
    assert_eq!(content(&parsed.children[0]), [0; 5000]);
    assert_whole(&Parsed { malformed: Vec::new(), ..parsed }, &bomb);
    let limits = Limits { inflated_bytes_max: 5000, ..Limits::default() };
    assert_eq!(troubles(&parse_within(format("gzip"), &bomb, &limits)), [Trouble::Limit]);
}

#[test]
fn large_objects_are_unpacked_again_and_their_chain_is_counted() {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| i.to_le_bytes()[1]).collect();
    let parsed = parse(format("gzip"), &deflated(&bytes));
    assert_eq!(parsed.children[0].source.held_bytes(), 3_000_000);
    assert_eq!(content(&parsed.children[0]), bytes);
    assert_eq!(content(&parsed.children[0]), bytes, "a second time");
}

#[test]
fn what_is_too_long_to_be_held_is_read_as_a_stream() {
    // Numbers that pack to a half, ten times as long as may be held.
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] & 15
    };
    let bytes: Vec<u8> = (0..600_000).map(|_| next()).collect();
    let limits = Limits { inflated_member_bytes_max: 60_000, ..Limits::default() };
    let bzip2 = |bytes: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (first, second) = bytes.split_at(250_000);
    let gzip = [deflated(first), deflated(second)].concat();
    for (id, packed) in [("gzip", gzip), ("bzip2", [bzip2(first), bzip2(second)].concat())] {
        let parsed = parse_within(format(id), &packed, &limits);
        assert_whole(&parsed, &packed);
        let source = &parsed.children[0].source;
        assert_eq!(source.size_bytes(), 600_000, "{id}");
        for offset in [599_990u64, 0, 249_999, 250_000, 100, 400_000] {
            let from = usize::try_from(offset).unwrap();
            let wanted = &bytes[from..bytes.len().min(from + 70_000)];
            assert_eq!(source.bytes_at(offset, 70_000).unwrap(), wanted, "{id} {offset}");
        }
    }
}

#[test]
fn a_stream_read_over_and_over_becomes_unreadable() {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] & 15
    };
    let bytes: Vec<u8> = (0..6_000_000).map(|_| next()).collect();
    let limits = Limits { inflated_member_bytes_max: 60_000, ..Limits::default() };
    let parsed = parse_within(format("gzip"), &deflated(&bytes), &limits);
    let source = &parsed.children[0].source;
    let results: Vec<_> = (0..20).map(|_| source.bytes_at(5_999_000, 1).and_then(|_| source.bytes_at(0, 1))).collect();
    assert!(results.first().unwrap().is_ok() && results.last().unwrap().is_err());
}

#[test]
fn gzip_headers_with_every_field_are_read() {
    let plain = SAMPLES[0].1;
    let fields = [&b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x03\0abcname\0comment\0\x12\x34"[..], &plain[10..]].concat();
    assert_whole(&parse(format("gzip"), &fields), &fields);
    assert_eq!(troubles(&parse(format("gzip"), b"\x1f\x8b\x08\x08\0\0\0\0\0\xffendless")), [Trouble::Undecodable]);
}

#[test]
fn names_lose_the_ending_of_the_codec_only() {
    let endings: &[(&str, &str)] = &[(".gz", ""), (".tgz", ".tar")];
    for (name, inner) in
        [("a/b.tar.gz", "b.tar"), ("B.TGZ", "B.tar"), ("m.pkl", "m.pkl"), (".gz", ".gz"), ("", "content")]
    {
        assert_eq!(inner_name(name, endings), inner);
    }
}

#[test]
fn two_bytes_of_zlib_prove_nothing() {
    assert_eq!(sniff(format("zlib"), b"\x78\x9c\xff\xff\xff\xff\xff\xff"), Sniff::No);
    assert_eq!(sniff(format("zlib"), b"\x78\x9c"), Sniff::No);
    assert_eq!(sniff(format("lzma"), &[0x5d; 40]), Sniff::No);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn parsing_returns_on_mutants(i in 0..SAMPLES.len(), bytes in (0..SAMPLES.len()).prop_flat_map(|i| mutants(SAMPLES[i].1.to_vec()))) {
        assert_bounded(format(SAMPLES[i].0), &bytes);
        SAMPLES.iter().for_each(|(id, _)| assert_bounded(format(id), &bytes));
    }

    #[test]
    fn parsing_returns_on_any_bytes(i in 0..SAMPLES.len(), rest in prop::collection::vec(any::<u8>(), 0..600), kept in 0usize..30) {
        let (id, sample) = SAMPLES[i];
        assert_bounded(format(id), &[&sample[..kept.min(sample.len())], &rest].concat());
    }
}
