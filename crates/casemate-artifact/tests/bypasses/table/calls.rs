//! How a callable is called, and what becomes of the result: 2, 3, 24 to 27, 34, 37, 38, 44.

use super::{Answer, Technique, alone, both, pair, technique};
use crate::common::{ARGS, bytes, calling, global, named, pickle, text};

pub fn techniques() -> Vec<Technique> {
    [made(), thrown_away(), written(), imported()].into_iter().flatten().collect()
}

fn made() -> Vec<Technique> {
    let popen = named("subprocess", "Popen");
    let class = named("collections", "OrderedDict");
    let words = [&b"("[..], &text("echo"), &text("x"), b"l\x85"].concat();
    let keywords = [&b"}"[..], &text("shell"), b"\x88s"].concat();
    vec![
        technique(
            2,
            "calls by other opcodes than REDUCE",
            vec![
                both("INST", |m, n| pickle(&[b"(", &text("echo x"), format!("i{m}\n{n}\n").as_bytes()])),
                both("OBJ", |m, n| pickle(&[b"(", &named(m, n), &text("echo x"), b"o"])),
                pair("NEWOBJ", pickle(&[&popen, &words, b"\x81"]), pickle(&[&class, b")\x81"])),
                pair("NEWOBJ_EX", pickle(&[&popen, &words, &keywords, b"\x92"]), pickle(&[&class, b")}\x92"])),
            ],
        ),
        technique(
            3,
            "a state that becomes the next state's reader",
            vec![pair(
                "BUILD writes `__setstate__`, the next BUILD calls it",
                pickle(&[
                    &named("types", "SimpleNamespace"),
                    b")R}",
                    &text("__setstate__"),
                    &named("os", "system"),
                    b"sb",
                    &text("echo x"),
                    b"b",
                ]),
                pickle(&[&named("argparse", "Namespace"), b")\x81}", &text("lr"), b"G\0\0\0\0\0\0\0\0sb"]),
            )],
        ),
        technique(
            44,
            "functions that call what they are given",
            vec![
                alone(
                    "`functools.partial` of a shell",
                    pickle(&[&named("functools", "partial"), &named("os", "system"), &text("x"), b"\x86R"]),
                ),
                pair(
                    "`functools.reduce`",
                    pickle(&[&named("functools", "reduce"), &named("os", "system"), b"]\x86R"]),
                    pickle(&[&named("functools", "partial"), &class, b"\x85R"]),
                ),
            ],
        ),
    ]
}

fn thrown_away() -> Vec<Technique> {
    vec![
        technique(
            24,
            "a result thrown away",
            vec![
                both("OBJ and POP", |m, n| pickle(&[b"(", &named(m, n), &text("echo x"), b"o0N"])),
                both("REDUCE and POP_MARK", |m, n| pickle(&[b"(", &named(m, n), ARGS, b"1N"])),
            ],
        ),
        technique(
            25,
            "a result put aside",
            vec![
                both("under a dictionary key", |m, n| pickle(&[b"}", &text("k"), &named(m, n), ARGS, b"s"])),
                both("in a memo slot", |m, n| pickle(&[&named(m, n), ARGS, b"\x940N"])),
                both("inside APPENDS", |m, n| pickle(&[b"](N", &named(m, n), ARGS, b"e"])),
            ],
        ),
        technique(
            26,
            "600 kB of idle opcodes before the payload",
            vec![both("NONE and POP", |m, n| pickle(&[&b"N0".repeat(300_000), &named(m, n), ARGS]))],
        ),
        technique(
            27,
            "12 MB of bytes before the payload",
            vec![both("BINBYTES and POP", |m, n| pickle(&[&bytes(&vec![0x41; 12 << 20]), b"0", &named(m, n), ARGS]))],
        ),
    ]
}

fn written() -> Vec<Technique> {
    let class = named("collections", "OrderedDict");
    let slots = |target: &[u8], key: &str, value: &[u8]| pickle(&[target, b"N}", &text(key), value, b"s\x86b"]);
    vec![technique(
        34,
        "writes into what was imported",
        vec![
            pair(
                "SETITEM on `sys.modules`",
                pickle(&[&named("sys", "modules"), &text("os"), b"Ns"]),
                pickle(&[b"}", &text("os"), b"Ns"]),
            ),
            pair(
                "BUILD with slots on a class",
                slots(&named("torch.nn", "Linear"), "forward", &named("os", "system")),
                slots(&[&class[..], b")R"].concat(), "a", b"N"),
            ),
            pair(
                "BUILD with slots on an allowed class",
                slots(&class, "update", &named("collections", "Counter")),
                slots(&[&class[..], b")R"].concat(), "a", b"N"),
            ),
        ],
    )]
}

fn imported() -> Vec<Technique> {
    let import = |module: &str, name: &str| pickle(&[&named(module, name)]);
    vec![
        technique(
            37,
            "imports that do harm without a call",
            vec![
                alone("`this`", import("this", "s")).must_be(Answer::Suspicious),
                alone("`antigravity`", import("antigravity", "webbrowser")).must_be(Answer::SuspiciousOrWorse),
                alone("an unknown package", import("evil_pkg.loader", "boot")).must_be(Answer::Suspicious),
                alone("an unknown package, called", calling("evil_pkg.loader", "boot")),
            ],
        )
        .near("model.pkl", pickle(&[&text("evil_pkg.loader")])),
        technique(
            38,
            "functions of the program that loads",
            vec![
                alone("`__main__`, imported", import("__main__", "f")).must_be(Answer::Suspicious),
                alone("by GLOBAL", [&global("__main__", "f")[..], b"."].concat()).must_be(Answer::Suspicious),
            ],
        ),
    ]
}
