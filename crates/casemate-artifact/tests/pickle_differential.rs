//! The machine against CPython: every import that one of Python's own readers resolves is among our events.
//!
//! A seeded generator writes streams of protocols 0 to 5, sound and broken. A Python process reads them with the C reader
//! over memory, the C reader over a file and the pure Python reader; its `find_class` only records and hands out an inert
//! stub, so nothing is imported and nothing runs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::collections::BTreeSet;

use casemate_artifact::pickle::{Action, Reading, run};
use casemate_core::{Limits, MemorySource, Seed};

use crate::common::{CALLED, python_imports};

/// Our imports of a stream over all readings; `None` among them stands for a computed name.
fn our_imports(stream: &[u8]) -> BTreeSet<Option<String>> {
    let source = MemorySource::new(stream);
    let plain = run(&source, 0, Reading::Plain, &Limits::default(), 0);
    // The second reading costs as much as the first, so it is made only where frames lie.
    let buffered =
        plain.frames_disagree.then(|| run(&source, 0, Reading::FramesBuffered, &Limits::default(), 0).events);
    let events = plain.events.into_iter().chain(buffered.into_iter().flatten());
    let imports = events.filter_map(|event| match event.action {
        Action::Import(global) => Some(global.known.then(|| format!("{}\x1f{}", global.module, global.name))),
        _ => None,
    });
    imports.collect()
}

struct Chance(Seed, u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.1 += 1;
        self.0.part(self.1).0 % n
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(items.len() as u64)).unwrap();
        &items[index]
    }
}

const MODULES: &[&str] = &["os", "posix", "builtins", "collections", "a.b", "торч", "__builtin__", "commands"];
const NAMES: &[&str] = &["system", "eval", "OrderedDict", "x.y", "é", "getattr", "C"];

/// A text constant in one of the nine ways to spell one.
fn text(chance: &mut Chance, text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let len = bytes.len();
    match chance.below(9) {
        0 => out.extend([&[0x8c, u8::try_from(len).unwrap()], bytes].concat()),
        1 => out.extend([&b"X"[..], &u32::try_from(len).unwrap().to_le_bytes(), bytes].concat()),
        2 => out.extend([&[0x8d][..], &(len as u64).to_le_bytes(), bytes].concat()),
        3 if text.is_ascii() => out.extend([b"V", bytes, b"\n"].concat()),
        4 if text.is_ascii() => {
            let escaped: String = text.bytes().map(|b| format!("\\u{b:04x}")).collect();
            out.extend([b"V", escaped.as_bytes(), b"\n"].concat());
        }
        5 if text.is_ascii() => out.extend([b"S'", bytes, b"'\n"].concat()),
        6 if text.is_ascii() => {
            let escaped: String = text.bytes().map(|b| format!("\\x{b:02x}")).collect();
            out.extend([b"S\"", escaped.as_bytes(), b"\"\n"].concat());
        }
        7 if text.is_ascii() => out.extend([&[b'U', u8::try_from(len).unwrap()], bytes].concat()),
        _ => out.extend([&b"T"[..], &u32::try_from(len).unwrap().to_le_bytes(), bytes].concat()),
    }
}

/// One step of a program: mostly sound, sometimes not.
fn step(chance: &mut Chance, out: &mut Vec<u8>) {
    let module = *chance.pick(MODULES);
    let name = *chance.pick(NAMES);
    match chance.below(34) {
        0..=3 => out.extend([b"c", module.as_bytes(), b"\n", name.as_bytes(), b"\n"].concat()),
        4..=8 => {
            text(chance, module, out);
            noise(chance, out);
            text(chance, name, out);
            noise(chance, out);
            out.push(0x93);
        }
        9 => out.extend([b"(", &b"i"[..], module.as_bytes(), b"\n", name.as_bytes(), b"\n"].concat()),
        10 => out.extend(b")R"),
        11 => out.extend(b"(NtR"),
        12 => out.extend(b")\x81"),
        13 => out.extend(b")}\x92"),
        14 => out.extend(b"Nb"),
        15 => out.extend([&b"q"[..], &[u8::try_from(chance.below(12)).unwrap()]].concat()),
        16 => out.extend([&b"h"[..], &[u8::try_from(chance.below(12)).unwrap()]].concat()),
        17 => out.push(0x94),
        18 => out.extend(format!("p{}\n", chance.below(12)).bytes()),
        19 => out.extend(format!("g{}\n", chance.below(12)).bytes()),
        20 => out.push(b'2'),
        21 => out.push(b'0'),
        22 => out.push(b'('),
        23 => out.push(b'1'),
        24 => out.extend([0x80, u8::try_from(chance.below(7)).unwrap()]),
        25 => {
            let len = if chance.below(2) == 0 { chance.below(40) } else { 0 };
            out.extend([&[0x95][..], &len.to_le_bytes()].concat());
        }
        26 => text(chance, name, out),
        27 => out.extend(*chance.pick(&[
            &b"I01\n"[..],
            b"K\x05",
            b"M\x05\x00",
            b"L7L\n",
            b"\x8a\x02\x01\x00",
            b"F1.5\n",
            b"N",
        ])),
        28 => out.extend(*chance.pick(&[&b"]"[..], b"}", b")", b"\x8f", b"(l", b"(d", b"(t", b"(\x91"])),
        29 => out.extend(*chance.pick(&[
            &b"]Na"[..],
            b"}NNs",
            b"](Ne",
            b"}(NNu",
            b"\x8f(N\x90",
            b"N\x85",
            b"NN\x86",
            b"NNN\x87",
        ])),
        30 => out.extend(*chance.pick(&[
            &b"Pid\n"[..],
            b"NQ",
            b"\x82\x01",
            b"C\x03abc",
            b"B\x03\x00\x00\x00abc",
            b"\x97",
            b"N\x98",
        ])),
        31 => out.extend(b"(cos\nsystem\nNo"),
        32 => out.push(u8::try_from(chance.below(256)).unwrap()),
        _ => out.push(b'N'),
    }
}

/// Values that come and go between the two names of a STACK_GLOBAL.
fn noise(chance: &mut Chance, out: &mut Vec<u8>) {
    match chance.below(6) {
        0 => out.extend(b"20"),
        1 => out.extend(b"(NN1"),
        2 => out.extend(b"N0"),
        3 => out.extend(b"\x940h\x00"),
        _ => {}
    }
}

fn stream(seed: Seed) -> Vec<u8> {
    let mut chance = Chance(seed, 0);
    let mut out = Vec::new();
    let protocol = chance.below(7);
    if protocol < 6 {
        out.extend([0x80, u8::try_from(protocol).unwrap()]);
    }
    for _ in 0..2 + chance.below(14) {
        step(&mut chance, &mut out);
    }
    if chance.below(8) > 0 {
        out.push(b'.');
    }
    // Some are cut or have one byte changed.
    match chance.below(10) {
        0 => out.truncate(usize::try_from(chance.below(out.len() as u64)).unwrap()),
        1 => {
            let at = usize::try_from(chance.below(out.len() as u64)).unwrap();
            out[at] = u8::try_from(chance.below(256)).unwrap();
        }
        _ => {}
    }
    out
}

#[test]
fn every_import_python_resolves_is_among_ours() {
    let seed = Seed(20_261_121);
    let streams: Vec<_> = (0..100_000).map(|i| stream(seed.part(i))).collect();
    let python = python_imports(&streams);
    assert_eq!(python.len(), streams.len());
    let mut resolved = 0;
    for (i, (stream, theirs)) in streams.iter().zip(&python).enumerate() {
        let ours = our_imports(stream);
        for name in theirs.iter().filter(|name| *name != CALLED) {
            resolved += 1;
            let seen = ours.contains(&None) || ours.contains(&Some(name.clone()));
            assert!(
                seen,
                "stream {i} of seed {seed}: python resolves {name:?}, we see {ours:?}: {}",
                stream.escape_ascii()
            );
        }
    }
    // The generator must reach Python's `find_class` often, or the test shows nothing.
    assert!(resolved > 10_000, "only {resolved} imports were resolved");
}

#[test]
fn a_frame_cut_through_a_name_is_read_both_ways() {
    // FRAME 7 ends inside `system`: the C reader over a file takes the rest of the line as the name.
    let stream = b"\x80\x04\x95\x07\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n)R.";
    let ours = our_imports(stream);
    for name in ["os\x1fsystem", "os\x1ftem"] {
        assert!(ours.contains(&Some(name.into())), "{name:?} in {ours:?}");
    }
}
