//! Streams that break, follow each other, lie about protocol and frames, or name things by number: 14 to 23, 39.

use super::{Answer, Sample, Technique, alone, both, pair, technique};
use crate::common::{ARGS, Legacy, global, harmless, hostile, named, pickle, text, torch_zip};

pub fn techniques() -> Vec<Technique> {
    [outside(), broken(), several(), headers(), errors()].into_iter().flatten().collect()
}

fn outside() -> Vec<Technique> {
    let storage =
        pickle(&[b"(", &text("storage"), &named("torch", "FloatStorage"), &text("0"), &text("cpu"), b"K\x01tQ"]);
    let other = pickle(&[&text("posix.system"), b"Q"]);
    let sus = |what: &str, bytes: Vec<u8>| alone(what, bytes).must_be(Answer::Suspicious);
    let archived = |what: &str, bytes: &[u8]| {
        pair(what, bytes.into(), torch_zip(&storage)).called("model.pt").must_be(Answer::Suspicious)
    };
    vec![
        technique(
            14,
            "names by extension code",
            vec![
                sus("EXT1", pickle(&[b"\x82\x01"])),
                sus("EXT2", pickle(&[b"\x83\x01\0"])),
                sus("EXT4", pickle(&[b"\x84\x01\0\0\0"])),
            ],
        ),
        technique(
            15,
            "objects from outside by persistent id",
            vec![
                sus("PERSID", b"Pposix.system\n.".to_vec()),
                sus("BINPERSID", other.clone()),
                archived("a storage outside a torch archive", &storage),
                archived("another id inside a torch archive", &torch_zip(&other)),
            ],
        ),
    ]
}

/// A pickle that goes on as `tail` says where it would stop.
fn cut_after(tail: &[u8]) -> Vec<u8> {
    let payload = hostile();
    [&payload[..payload.len() - 1], tail].concat()
}

fn broken() -> Vec<Technique> {
    let broken = |what: &str, tail: &[u8]| vec![alone(what, cut_after(tail)).must_be(Answer::MaliciousAndBroken)];
    vec![
        technique(16, "no STOP after the payload", broken("the file ends", b"")),
        technique(17, "an invalid opcode after the payload", broken("nullifAI's three bytes", b"\xff\xfe\xff")),
        technique(18, "a stack underflow after the payload", broken("five POPs", b"00000.")),
    ]
}

fn several() -> Vec<Technique> {
    let (good, bad) = (harmless(), hostile());
    let sound = Legacy::default().bytes();
    let inside = |what: &str, legacy: Legacy<'_>| pair(what, legacy.bytes(), sound.clone());
    let computed = pickle(&[&named("builtins", "eval"), &text("0x1950a86a20f9469cfc6c"), b"\x85R"]);
    vec![
        technique(
            19,
            "a second stream after the first",
            vec![
                pair("the second", [&good[..], &bad].concat(), good.repeat(2)),
                pair("the third", [&good[..], &good, &bad].concat(), good.repeat(3)),
            ],
        ),
        technique(
            20,
            "zeros between two streams",
            vec![pair("sixteen of them", [&good[..], &[0; 16], &bad].concat(), [&good[..], &[0; 16], &good].concat())],
        ),
        technique(
            21,
            "beside the five pickles of torch's old format",
            vec![
                inside("as the third", Legacy { system: &bad, ..Legacy::default() }),
                inside("as the fourth", Legacy { object: &bad, keys: b"\x80\x02].", data: b"", ..Legacy::default() }),
                inside("as the fifth", Legacy { keys: &bad, data: b"", ..Legacy::default() }),
                inside("between two of them", Legacy { between: &bad, ..Legacy::default() }),
                inside("after the storages", Legacy { tail: &bad, ..Legacy::default() }),
                inside("bytes after the storages", Legacy { tail: b"\x01\x02", ..Legacy::default() })
                    .must_be(Answer::SuspiciousOrWorse),
                pair("before them", [&bad[..], &sound].concat(), sound.clone()),
                pair("the magic number computed", [&computed, &sound[15..]].concat(), sound.clone()),
            ],
        ),
    ]
}

fn framed(len: u64, body: &[u8]) -> Vec<u8> {
    [&[0x80, 4, 0x95][..], &len.to_le_bytes(), body].concat()
}

fn headers() -> Vec<Technique> {
    let (body, good) = (hostile()[2..].to_vec(), harmless()[2..].to_vec());
    let size = body.len() as u64;
    let twin = framed(good.len() as u64, &good);
    let lies = |what: &str, bytes: Vec<u8>| pair(what, bytes, twin.clone()).must_be(Answer::MaliciousAndAmbiguous);
    let odd = |what: &str, bytes: Vec<u8>| pair(what, bytes, twin.clone()).must_be(Answer::SuspiciousOrWorse);
    let late = |callable: &[u8], args: &[u8]| [&[0x80, 2, b'N', b'0', 0x80, 4][..], callable, args, b"."].concat();
    vec![
        technique(
            22,
            "the protocol missing, repeated, late or unknown",
            vec![
                pair(
                    "no PROTO",
                    [&global("os", "system")[..], b"(S'echo x'\ntR."].concat(),
                    [&global("collections", "OrderedDict")[..], b")R."].concat(),
                ),
                both("PROTO twice", |m, n| [&[0x80, 2, 0x80, 2][..], &global(m, n), ARGS, b"."].concat()),
                pair(
                    "a late PROTO 4",
                    late(&named("logging", "os.system"), ARGS),
                    late(&named("collections", "OrderedDict"), b")R"),
                ),
                pair("PROTO 6", b"\x80\x06N.".to_vec(), b"\x80\x05N.".to_vec()).must_be(Answer::SuspiciousOrWorse),
                pair("PROTO 6, hostile", [&[0x80, 6][..], &body].concat(), harmless()),
            ],
        ),
        technique(
            23,
            "frames that lie",
            vec![
                lies("shorter than its opcodes", framed(7, &[&global("os", "system")[..], b")R."].concat())),
                lies(
                    "shorter, the short reading is the hostile one",
                    framed(7, &[&global("os", "syssystem")[..], b")R."].concat()),
                ),
                odd("shorter, harmless inside", framed(7, &good)),
                lies("of 2^62 bytes", framed(1 << 62, &body)),
                lies("longer than the file", framed(size + 1, &body)),
                odd("longer, harmless inside", framed(good.len() as u64 + 1, &good)),
                lies("nested", framed(size + 9, &[&[0x95][..], &size.to_le_bytes(), &body].concat())),
                lies("cut through an operand", framed(size - 4, &body)),
            ],
        ),
    ]
}

fn errors() -> Vec<Technique> {
    let payload = [&global("os", "system")[..], b"(S'echo x'\ntR."].concat();
    let after = |odd: &[u8]| [odd, &payload].concat();
    let odd = |what: &str, odd: &[u8], twin: &[u8]| pair(what, after(odd), twin.to_vec());
    let either = |sample: Sample| sample.must_be(Answer::Malformed);
    vec![technique(
        39,
        "an error in the scanner's reader alone",
        vec![
            odd("an integer in hexadecimal", b"I0x10\n0", b"I0x10\n0]."),
            odd("an integer beyond 64 bits", b"L1180591620717411303424L\n0", b"(lL1180591620717411303424L\na."),
            odd("a long integer without its letter", b"L5\n0", b"L5\n0]."),
            odd("an integer with leading zeros", b"I007\n0", b"I007\n0]."),
            odd("a float with blanks", b"F 1.5 \n0", b"F1.5\n0]."),
            odd("a memo index with a sign", b"Np+1\n0", b"Np1\n0]."),
            odd("a text with a lone surrogate", b"X\x03\0\0\0\xed\xa0\x800", b"X\x01\0\0\0a0]."),
            odd("a text in Latin-1", b"V\xff\n0", b"Va\n0]."),
            odd("a quoted text of bytes above 127", b"U\x01\xff0", b"U\x01a0]."),
            odd("a protocol 1 stream that asks for protocol 0", b"\x80\x00", b"\x80\x00]."),
            either(pair(
                "a GET of a slot never written",
                [&b"\x80\x04h\x05"[..], &hostile()[2..]].concat(),
                harmless(),
            )),
            either(pair("a broken first stream", [&b"\x80\x040."[..], &hostile()].concat(), harmless())),
        ],
    )]
}
