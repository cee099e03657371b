//! Bypasses 57 to 63 of the catalogue: payloads in archives and packed files, under names that promise something else.
//!
//! Each hostile file has a twin that differs in the callable alone and must be clean.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::io::Write;

use casemate_artifact::Verdict;

use crate::common::{Member, calling, harmless, pickle, scan, zip};

/// `os.system('echo x')` and `collections.OrderedDict('echo x')` as Python's modules pack them.
const PACKED: &[(&str, &str, &str)] = &[
    (
        "gz",
        "1f8b08000000000002036b60e961ca2fee612bae2c2e49cd9dacd1c3969a9c91af505112a4070067fc7c151b000000",
        "1f8b08000000000002036b60e9e14ececfc9494d2ec9cccf2beee1f62f4a492d4a4d71c94c2e99acd1c3969a9c91af505112a40700feb7923629000000",
    ),
    (
        "bz2",
        "425a6839314159265359f69c686200000b53e01500404110000a428c60400408002000229a0191a3650a64c4c83230049396875a3d7ac70a4f9040a9f8bb9229c28487b4e34310",
        "425a68393141592653591c12645200001257e005084041040090000e659c404004080020002229b536a30d1334c285068d1a0c80d19fa483cd1f4324931a8fbc4a91829596ed040aef119fc5dc914e14240704991480",
    ),
    (
        "xz",
        "fd377a585a000004e6d6b4460200210116000000742fe5a301001a80048c026f738c0673797374656d93288c066563686f207874522e00003c3684af36ada1900001331bf719885e1fb6f37d010000000004595a",
        "fd377a585a000004e6d6b4460200210116000000742fe5a301002880048c0b636f6c6c656374696f6e738c0b4f7264657265644469637493288c066563686f207874522e00000000e72158fce577212f000141290353568b1fb6f37d010000000004595a",
    ),
    (
        "lzma",
        "5d00008000ffffffffffffffff0040010d36fc072837634969fc098014f87702e4013c9524a40deff6d83ebd310dffffd41d8000",
        "5d00008000ffffffffffffffff0040010d37b10a12bd9fdb4a68e67f0850117768c61639e54e774a780a2f420864ba6d6c16f65fdc949835855bb78ffff9df9800",
    ),
    (
        "zst",
        "28b52ffd201bd9000080048c026f738c0673797374656d93288c066563686f207874522e",
        "28b52ffd202949010080048c0b636f6c6c656374696f6e738c0b4f7264657265644469637493288c066563686f207874522e",
    ),
    (
        "lz4",
        "04224d1868401b00000000000000fa1b00008080048c026f738c0673797374656d93288c066563686f207874522e00000000",
        "04224d1868402900000000000000032900008080048c0b636f6c6c656374696f6e738c0b4f7264657265644469637493288c066563686f207874522e00000000",
    ),
    (
        "z",
        "789c6b60e961ca2fee612bae2c2e49cd9dacd1c3969a9c91af505112a4070087d909a4",
        "789c6b60e9e14ececfc9494d2ec9cccf2beee1f62f4a492d4a4d71c94c2e99acd1c3969a9c91af505112a4070040a60f13",
    ),
];

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn hostile() -> Vec<u8> {
    calling("os", "system")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar of one kind of member each: name, kind, link, data.
fn tar(members: &[(&str, u8, &str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, link, data) in members {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = *kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        out.extend([&header, *data, &vec![0; data.len().next_multiple_of(512) - data.len()]].concat());
    }
    out.extend([0; 1024]);
    out
}

fn assert_verdict(what: &str, name: &str, bytes: &[u8], wanted: Verdict) {
    let found = scan(name, bytes);
    let lines: String = found.findings.iter().map(|f| format!("\n    {} {}", f.rule, f.message)).collect();
    assert_eq!(found.verdict, wanted, "{what}{lines}");
}

/// Hostile content is malicious, its twin clean.
fn both(what: &str, name: &str, build: impl Fn(&[u8]) -> Vec<u8>) {
    assert_verdict(what, name, &build(&hostile()), Verdict::Malicious);
    assert_verdict(what, name, &build(&harmless()), Verdict::Clean);
}

#[test]
fn archives_that_are_not_read_are_never_clean() {
    // 57: 7z under torch's ending, as nullifAI came.
    let archive = [&b"7z\xbc\xaf\x27\x1c\0\x04"[..], &[7; 40]].concat();
    for (name, bytes) in [("model.bin", &archive[..]), ("model.pt", &archive), ("model", b"Rar!\x1a\x07\x01\0abc")] {
        assert_eq!(scan(name, bytes).verdict, Verdict::Unscannable, "{name}");
    }
}

#[test]
fn packed_pickles_are_judged_under_any_name() {
    for (codec, hostile, harmless) in PACKED {
        for name in ["model.pkl", &format!("model.pkl.{codec}"), "model.joblib"] {
            assert_verdict(&format!("58 {codec}"), name, &bytes_of(hostile), Verdict::Malicious);
            assert_verdict(&format!("58 {codec}"), name, &bytes_of(harmless), Verdict::Clean);
        }
    }
}

#[test]
fn nesting_hides_nothing() {
    let member = |bytes: &[u8]| zip(&[Member::stored("data.pkl", bytes)]);
    both("58 zip in zip in zip", "a.zip", |bytes| {
        let inner = member(bytes);
        zip(&[Member::stored("a.zip", &zip(&[Member::stored("b.zip", &inner)]))])
    });
    both("58 tar.gz", "a.tar.gz", |bytes| gzip(&tar(&[("m/data.pkl", b'0', "", bytes)])));
    both("58 zip in tar in gzip in gzip", "a", |bytes| gzip(&gzip(&tar(&[("x", b'0', "", &member(bytes))]))));
    let deep = (0..12).fold(hostile(), |bytes, _| gzip(&bytes));
    assert_verdict("58 deeper than is followed", "a.gz", &deep, Verdict::Unscannable);
    let second = [gzip(&harmless()), gzip(&hostile())].concat();
    assert_verdict("58 in the second member", "a.pkl.gz", &second, Verdict::Malicious);
    let after = [gzip(&harmless()), hostile()].concat();
    assert_verdict("58 after the only member", "a.pkl.gz", &after, Verdict::Malicious);
}

#[test]
fn every_pickle_of_an_old_torch_tar_is_judged() {
    // 59.
    for place in ["pickle", "storages", "tensors", "sys_info"] {
        both(&format!("59 {place}"), "model.pt", |bytes| {
            let none = pickle(&[b"N"]);
            let data = |name| if name == place { bytes } else { &none };
            let members = ["sys_info", "pickle", "tensors", "storages"].map(|name| (name, b'0', "", data(name)));
            tar(&members)
        });
    }
}

#[test]
fn names_of_members_that_lead_out_are_malicious() {
    // 60, in tar.
    for (what, member) in [
        ("dots", ("../../x.py", b'0', "", &b"x"[..])),
        ("absolute", ("/etc/cron.d/x", b'0', "", b"x")),
        ("symlink", ("l", b'2', "../../etc", b"")),
        ("hardlink", ("l", b'1', "/etc/passwd", b"")),
    ] {
        assert_verdict(&format!("60 {what}"), "m.tar", &tar(&[member]), Verdict::Malicious);
    }
    let through = tar(&[("d", b'2', "e", b""), ("d/x", b'0', "", b"text\n")]);
    assert_verdict("60 written through a link", "m.tar", &through, Verdict::Malicious);
    assert_verdict("60 device", "m.tar", &tar(&[("d", b'3', "", b"")]), Verdict::Malicious);
    assert_verdict("60 twin", "m.tar", &tar(&[("d/x.txt", b'0', "", b"text\n")]), Verdict::Clean);
}

#[test]
fn bombs_are_not_clean() {
    // 61.
    let bomb = gzip(&vec![0; 200_000_000]);
    assert_ne!(scan("a.gz", &bomb).verdict, Verdict::Clean);
    assert_ne!(scan("a.gz", &gzip(&bomb)).verdict, Verdict::Clean);
}
