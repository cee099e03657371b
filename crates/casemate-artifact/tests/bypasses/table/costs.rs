//! Streams and archives that cost a reader memory or time: 28 to 33, 61. `tests/bounds.rs` measures them.

use super::{Answer, Sample, Technique, alone, technique};
use crate::common::{Member, gzip, pickle, tar, zip};

pub fn techniques() -> Vec<Technique> {
    let dear = |what: &str, bytes: Vec<u8>| alone(what, bytes).must_be(Answer::Bounded);
    let cheap = |what: &str, bytes: Vec<u8>| alone(what, bytes).must_be(Answer::Cheap);
    let huge = |opcode: u8, len: u64| pickle(&[&[opcode], &len.to_le_bytes(), b"x"]);
    vec![
        technique(
            28,
            "lengths of terabytes in a tiny file",
            vec![
                dear("BINUNICODE8 of 1 TiB", huge(0x8d, 1 << 40)),
                dear("BINBYTES8 of 2^63 - 1", huge(0x8e, i64::MAX.unsigned_abs())),
                dear("BYTEARRAY8 of 2^62", huge(0x96, 1 << 62)),
                dear("LONG4 of 2 GiB", pickle(&[b"\x8b\xff\xff\xff\x7fx"])),
            ],
        ),
        technique(
            29,
            "an integer of millions of digits",
            vec![
                dear("LONG of 2 million digits", [&b"\x80\x02L"[..], &b"9".repeat(2_000_000), b"L\n."].concat()),
                dear("INT of 2 million digits", [&b"\x80\x02I"[..], &b"9".repeat(2_000_000), b"\n."].concat()),
            ],
        ),
        technique(
            30,
            "a memo slot far out",
            vec![
                dear("LONG_BINPUT at 2^31 - 1", pickle(&[b"Nr\xff\xff\xff\x7f"])),
                dear("PUT at 2^40", pickle(&[b"Np1099511627776\n"])),
            ],
        ),
        technique(
            31,
            "tuples that double forty times",
            vec![cheap("MEMOIZE, DUP and TUPLE2", pickle(&[b"N\x85\x94", &b"2\x86\x94".repeat(40)]))],
        ),
        technique(
            32,
            "200,000 nested lists",
            vec![
                cheap("EMPTY_LIST and APPEND", pickle(&[&b"]".repeat(200_000), &b"a".repeat(199_999)])),
                cheap("TUPLE1", pickle(&[b"N", &b"\x85".repeat(200_000)])),
            ],
        ),
        technique(33, "500,000 marks", vec![dear("MARK", [&b"\x80\x04"[..], &b"(".repeat(500_000), b"N."].concat())]),
        technique(61, "archives of zeros", bombs()),
    ]
}

fn bombs() -> Vec<Sample> {
    let member = Member::zeros("a.bin", 200_000_000);
    let zeros = as_gzip(&member);
    let text = tar(&[("a.txt", b'0', "", b"text\n")]);
    let bomb = |what: &str, name: &str, bytes: Vec<u8>, twin: Vec<u8>| Sample {
        twin,
        ..alone(what, bytes).called(name).must_be(Answer::Bounded)
    };
    vec![
        bomb("200 MB in a zip", "model.zip", zip(&[member]), zip(&[Member::zeros("a.txt", 0)])),
        bomb("200 MB in gzip", "a.gz", zeros.clone(), gzip(&text)),
        bomb("200 MB in gzip in gzip", "a.gz", gzip(&zeros), gzip(&gzip(&text))),
    ]
}

/// The stream of a deflated member in gzip's wrapper.
fn as_gzip(member: &Member) -> Vec<u8> {
    let (size, crc) = member.unpacked.unwrap();
    let trailer = [crc.to_le_bytes(), size.to_le_bytes()].concat();
    [&b"\x1f\x8b\x08\0\0\0\0\0\0\xff"[..], &member.data, &trailer].concat()
}
