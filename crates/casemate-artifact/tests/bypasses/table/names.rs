//! How the name of a callable is spelled, stored and computed: 1, 4 to 13, 35, 36, 62.

use super::{Answer, Technique, alone, both, pair, technique};
use crate::common::{ARGS, bytes, calling, escaped, global, named, pickle, text};

pub fn techniques() -> Vec<Technique> {
    [stored(), spelled(), computed(), odd()].into_iter().flatten().collect()
}

fn stored() -> Vec<Technique> {
    let old = |module: &str, name: &str| [&global(module, name)[..], b"(S'echo x'\ntR."].concat();
    vec![
        technique(
            1,
            "the callable under another of its names",
            vec![
                alone("`posix`", calling("posix", "system")),
                alone("`nt`", calling("nt", "system")),
                alone("`_posixsubprocess`", calling("_posixsubprocess", "fork_exec")),
                pair(
                    "`commands`, below protocol 3",
                    old("commands", "getoutput"),
                    old("copy_reg", "__newobj__")[..23].into(),
                ),
                alone("`__builtin__.eval`, below protocol 3", old("__builtin__", "eval")),
                alone("`__builtin__.execfile`, below protocol 3", old("__builtin__", "execfile")),
                alone("`urllib2.urlopen`, below protocol 3", old("urllib2", "urlopen")),
                alone("`SocketServer.TCPServer`, below protocol 3", old("SocketServer", "TCPServer")),
                alone("`__builtin__.reduce`, below protocol 3", old("__builtin__", "reduce")),
            ],
        )
        .near("model.pkl", pickle(&[b"(", &text("posix"), &text("system"), b"t"])),
        technique(
            4,
            "names read back from the memo",
            vec![both("MEMOIZE and BINGET", |m, n| {
                pickle(&[&text(m), b"\x940", &text(n), b"\x940h\0h\x01\x93", ARGS])
            })],
        ),
        technique(
            5,
            "memo indices that shift",
            vec![both("BINPUT 7 and 9, then MEMOIZE writes 2 and 3", |m, n| {
                pickle(&[b"Nq\x070Nq\x090", &text(m), b"\x940", &text(n), b"\x940h\x02h\x03\x93", ARGS])
            })],
        ),
        technique(
            6,
            "a memo slot overwritten",
            vec![both("PUT twice, then GET", |m, n| {
                let fill = [&text("collections")[..], b"q\x000", &text("OrderedDict"), b"q\x010"].concat();
                let over = [&text(m)[..], b"q\x000", &text(n), b"q\x010"].concat();
                pickle(&[&fill, &over, b"h\0h\x01\x93", ARGS])
            })],
        ),
        technique(
            7,
            "values pushed and popped between the names",
            vec![both("DUP and POP", |m, n| pickle(&[&text(m), b"20N0", &text(n), b"20\x93", ARGS]))],
        ),
        technique(
            8,
            "decoys dropped just before the import",
            vec![both("POP_MARK", |m, n| {
                let decoys = [&b"("[..], &text("collections"), &text("OrderedDict"), b"1"].concat();
                pickle(&[&text(m), &text(n), &decoys, b"\x93", ARGS])
            })],
        ),
    ]
}

fn spelled() -> Vec<Technique> {
    let quoted = |module: &str, name: &str, each: &dyn Fn(u8) -> String, quote: char| {
        let (module, name) = (escaped(module, each), escaped(name, each));
        pickle(&[format!("S{quote}{module}{quote}\nS{quote}{name}{quote}\n").as_bytes(), b"\x93", ARGS])
    };
    vec![
        technique(
            9,
            "escapes in the names",
            vec![
                both("STRING, hexadecimal", |m, n| quoted(m, n, &|b| format!("\\x{b:02x}"), '\'')),
                both("STRING, octal, double quotes", |m, n| quoted(m, n, &|b| format!("\\{b:03o}"), '"')),
                both("UNICODE, `\\u`", |m, n| {
                    let each = |b: u8| format!("\\u{b:04x}");
                    let lines = format!("V{}\nV{}\n", escaped(m, &each), escaped(n, &each));
                    pickle(&[lines.as_bytes(), b"\x93", ARGS])
                }),
                both("UNICODE, `\\U`", |m, n| {
                    let each = |b: u8| format!("\\U{b:08x}");
                    let lines = format!("V{}\nV{}\n", escaped(m, &each), escaped(n, &each));
                    pickle(&[lines.as_bytes(), b"\x93", ARGS])
                }),
            ],
        )
        .near("model.pkl", pickle(&[b"(S'\\x6f\\x73'\nS'\\x73\\x79\\x73tem'\nt"])),
        technique(
            10,
            "names as byte strings",
            vec![
                both("SHORT_BINSTRING", |m, n| {
                    let short = |t: &str| [&[b'U', u8::try_from(t.len()).unwrap()], t.as_bytes()].concat();
                    pickle(&[&short(m), &short(n), b"\x93", ARGS])
                }),
                both("BINSTRING", |m, n| {
                    let long =
                        |t: &str| [&b"T"[..], &u32::try_from(t.len()).unwrap().to_le_bytes(), t.as_bytes()].concat();
                    pickle(&[&long(m), &long(n), b"\x93", ARGS])
                }),
                both("BINBYTES", |m, n| pickle(&[&bytes(m.as_bytes()), &bytes(n.as_bytes()), b"\x93", ARGS])),
            ],
        ),
    ]
}

fn computed() -> Vec<Technique> {
    let then_system = |module: &[u8]| pickle(&[module, &text("system"), b"\x93", ARGS]);
    let two = |module: &str, name: &str, a: &[u8], b: &str| [&named(module, name)[..], a, &text(b), b"\x86R"].concat();
    vec![
        technique(
            11,
            "a name computed while loading",
            vec![
                alone("`str(bytes)`", then_system(&two("builtins", "str", b"C\x02os", "ascii"))),
                alone("`codecs.decode`", then_system(&two("codecs", "decode", &text("bf"), "rot13"))),
                alone("`operator.concat`", then_system(&two("operator", "concat", &text("o"), "s"))),
                alone(
                    "`_codecs.encode`, itself allowed",
                    then_system(&two("_codecs", "encode", &text("os"), "latin1")),
                ),
            ],
        )
        .near("model.pkl", pickle(&[&two("_codecs", "encode", &text("os"), "latin1")])),
        technique(
            12,
            "a dotted name that walks through a module",
            vec![
                alone("`logging` + `os.system`", calling("logging", "os.system")),
                alone("`torch.serialization` + `os.system`", calling("torch.serialization", "os.system")),
                alone("`numpy.lib.npyio` + `os.system`", calling("numpy.lib.npyio", "os.system")),
                alone("`collections` + `_sys.modules.get`", calling("collections", "_sys.modules.get")),
            ],
        )
        .near("model.pkl", pickle(&[b"(", &text("logging"), &text("os.system"), b"t"])),
        technique(
            13,
            "a walk over double-underscore attributes",
            vec![
                alone(
                    "`__init_subclass__.__self__`",
                    calling("collections", "OrderedDict.__init_subclass__.__self__.__subclasses__"),
                ),
                alone("`__globals__`", calling("collections", "namedtuple.__globals__.get")),
            ],
        ),
    ]
}

fn odd() -> Vec<Technique> {
    let import = |module: &str| pickle(&[&named(module, "system")]);
    let line = |module: &str, name: &str| [&b"\x80\x02"[..], &global(module, name), b"."].concat();
    vec![
        technique(
            35,
            "a module that only looks like another",
            vec![
                alone("a Cyrillic о in `os`", import("\u{43e}s")).must_be(Answer::Suspicious),
                alone("full width letters", import("\u{ff4f}\u{ff53}")).must_be(Answer::Suspicious),
                alone("called", calling("\u{43e}s", "system")).must_be(Answer::SuspiciousOrWorse),
            ],
        )
        .near("model.pkl", pickle(&[&text("\u{43e}s")])),
        technique(
            36,
            "a carriage return inside a name",
            vec![
                pair("in the module", line("os\r", "system"), line("collections", "OrderedDict"))
                    .must_be(Answer::SuspiciousOrWorse),
                pair("in the name", line("os", "system\r"), line("collections", "OrderedDict"))
                    .must_be(Answer::SuspiciousOrWorse),
            ],
        ),
        technique(
            62,
            "a name from below a denied package",
            vec![alone("`asyncio.unix_events`", calling("asyncio.unix_events", "_UnixSubprocessTransport._start"))],
        ),
    ]
}
