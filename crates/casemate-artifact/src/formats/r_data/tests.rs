//! Streams built item by item in all encodings; each payload does nothing.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse};
use crate::formats::testing::{parse_within, sniff, troubles};

/// What a stream is made of: a number, a text behind its length, raw numbers of eight bytes.
enum Part {
    N(i32),
    T(&'static str),
    Real(f64),
}
use Part::{N, Real, T};

const ATTRIBUTES: i32 = 0x200;
const TAG: i32 = 0x400;
const NIL: Part = N(254);

/// A stream in one of the encodings `A`, `X`, `B`.
fn stream(encoding: char, version: i32, body: &[Part]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(encoding).unwrap(), b'\n'];
    let mut parts = vec![&N(0); 0];
    let head = [N(version), N(0x4_0303), N(0x2_0300), T("UTF-8")];
    parts.extend(&head[..if version == 3 { 4 } else { 3 }]);
    parts.extend(body);
    for part in parts {
        let number = |n: i32| match encoding {
            'X' => n.to_be_bytes().to_vec(),
            'B' => n.to_le_bytes().to_vec(),
            _ => format!("{n}\n").into_bytes(),
        };
        match part {
            N(n) => bytes.extend(number(*n)),
            T(text) => {
                bytes.extend(number(i32::try_from(text.len()).unwrap()));
                bytes.extend(text.as_bytes());
                bytes.extend((encoding == 'A').then_some(b'\n'));
            }
            Real(x) if encoding == 'X' => bytes.extend(x.to_be_bytes()),
            Real(x) if encoding == 'B' => bytes.extend(x.to_le_bytes()),
            Real(x) => bytes.extend(format!("{x}\n").into_bytes()),
        }
    }
    bytes
}

fn symbol(name: &'static str) -> Vec<Part> {
    vec![N(1), N(9), T(name)]
}

/// A call of a function without arguments.
fn call(name: &'static str) -> Vec<Part> {
    [vec![N(6)], symbol(name), vec![NIL]].concat_parts()
}

/// A call with one argument.
fn call_of(name: &'static str, argument: Vec<Part>) -> Vec<Part> {
    [vec![N(6)], symbol(name), vec![N(2)], argument, vec![NIL]].concat_parts()
}

/// A promise: its environment, what it came to, its expression.
fn promise(value: i32, expression: Vec<Part>) -> Vec<Part> {
    [vec![N(5 | TAG), N(253), N(value)], expression].concat_parts()
}

trait ConcatParts {
    fn concat_parts(self) -> Vec<Part>;
}

impl<const LEN: usize> ConcatParts for [Vec<Part>; LEN] {
    fn concat_parts(self) -> Vec<Part> {
        self.into_iter().flatten().collect()
    }
}

/// What code in a sound stream does, as `domain name`.
fn said(body: &[Part]) -> Vec<String> {
    let answers = ['A', 'X', 'B'].map(|encoding| {
        let bytes = stream(encoding, 3, body);
        let parsed = parse(&RData, &bytes);
        assert_whole(&parsed, &bytes);
        parsed
            .operators
            .into_iter()
            .map(|operator| format!("{} {}", operator.domain, operator.name))
            .collect::<Vec<_>>()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    answers[0].clone()
}

/// A data frame in little: a list with names, numbers, a factor, an environment met twice.
fn frame() -> Vec<Part> {
    let columns = vec![N(19 | ATTRIBUTES), N(3), N(14), N(2), Real(1.5), Real(-2.0), N(13), N(1), N(7), N(4), N(0)];
    let environment = vec![N(253), NIL, NIL, NIL];
    let names = [vec![N(2 | TAG)], symbol("names"), vec![N(16), N(1), N(9), T("a b\\n"), N(2 | TAG), N(2 << 8 | 255)]];
    [columns, environment, names.concat_parts(), vec![N(1 << 8 | 255), NIL]].concat_parts()
}

#[test]
fn objects_are_read_whole_in_every_encoding_and_version() {
    for encoding in ['A', 'X', 'B'] {
        for version in [2, 3] {
            // A backslash is written as two in text.
            let mut bytes = stream(encoding, version, &frame());
            if encoding == 'A' {
                let at = bytes.windows(2).position(|pair| pair == b"\\n").unwrap();
                bytes.splice(at..at + 2, *b"\\134n");
            }
            assert_eq!(sniff(&RData, &bytes), Sniff::Certain);
            assert_whole(&parse(&RData, &bytes), &bytes);
            let workspace = [
                &[b'R', b'D', u8::try_from(encoding).unwrap(), b'0' + u8::try_from(version).unwrap(), b'\n'],
                &bytes[..],
            ]
            .concat();
            assert_eq!(sniff(&RData, &workspace), Sniff::Certain);
            assert_whole(&parse(&RData, &workspace), &workspace);
        }
    }
}

#[test]
fn a_promise_runs_code_unless_it_was_evaluated_or_calls_nothing() {
    assert_eq!(said(&promise(252, call("print"))), ["r.promise print"]);
    assert_eq!(said(&promise(252, call("system"))), ["r.call system", "r.promise system"]);
    let nested = [vec![N(6)], call("f"), vec![NIL]].concat_parts();
    assert_eq!(said(&promise(252, nested)), ["r.promise "]);
    let bytecode = [vec![N(21), N(0), N(13), N(1), N(12), N(1), N(0)], symbol("x")].concat_parts();
    assert_eq!(said(&promise(252, bytecode)), ["r.promise "]);
    assert_eq!(said(&promise(254, call("print"))), Vec::<String>::new());
    assert_eq!(said(&promise(252, symbol("x"))), Vec::<String>::new());
}

#[test]
fn calls_are_seen_through_namespaces_texts_and_references() {
    assert_eq!(said(&call("system")), ["r.call system"]);
    let by_namespace = [vec![N(6), N(6)], symbol("::"), vec![N(2)], symbol("base"), vec![N(2)], symbol("unlink")];
    let by_namespace = [by_namespace.concat_parts(), vec![NIL, NIL]].concat_parts();
    assert_eq!(said(&by_namespace), ["r.call ::", "r.call unlink"]);
    assert_eq!(said(&call_of("do.call", vec![N(16), N(1), N(9), T("system")])), ["r.call do.call", "r.call system"]);
    assert_eq!(said(&call_of("print", vec![N(16), N(1), N(9), T("system")])), Vec::<String>::new());
    // A column called like a function is not a call of it.
    assert_eq!(said(&call_of("log", symbol("system"))), ["r.name system"]);
    let twice = [vec![N(19), N(2)], symbol("system"), vec![N(6), N(1 << 8 | 255), NIL]].concat_parts();
    assert_eq!(said(&twice), ["r.call system"]);
    let selected = [vec![N(6), N(6)], symbol("$"), vec![N(2)], symbol("e"), vec![N(2)], symbol("system")];
    let selected = [selected.concat_parts(), vec![NIL, NIL]].concat_parts();
    assert_eq!(said(&selected), ["r.call $", "r.call system"]);
}

#[test]
fn native_routines_matter_when_a_text_names_them() {
    assert_eq!(said(&call_of(".Call", symbol("C_logit_link"))), ["r.call .Call"]);
    let by_text = call_of(".Call", vec![N(16), N(1), N(9), T("do_it")]);
    assert_eq!(said(&by_text), ["r.call .Call", "r.native do_it"]);
}

#[test]
fn bytecode_is_walked_with_its_repeated_parts() {
    // Code, then three constants: a call to be repeated, the call again, a symbol.
    let head = vec![N(21), N(1), N(13), N(1), N(12), N(3), N(244), N(0), N(6), NIL, N(0)];
    let call = [head, symbol("system"), vec![N(0), NIL, N(243), N(0), N(1)], symbol("unlink")].concat_parts();
    let closure = [vec![N(3 | TAG), N(253), NIL], call].concat_parts();
    assert_eq!(said(&closure), ["r.call system", "r.constant unlink"]);
}

#[test]
fn functions_r_calls_by_itself_are_seen_in_workspaces_only() {
    let pairs = |name| [vec![N(2 | TAG)], symbol(name), vec![N(3 | TAG), N(253), NIL, NIL, NIL]].concat_parts();
    let hook = [&b"RDX3\n"[..], &stream('X', 3, &pairs(".First"))].concat();
    let parsed = parse(&RData, &hook);
    assert_whole(&parsed, &hook);
    assert_eq!(parsed.operators.len(), 1);
    assert_eq!(said(&pairs(".First")), Vec::<String>::new());
}

#[test]
fn escapes_of_text_hide_no_name() {
    let parsed = parse(&RData, b"A\n2\n263171\n131840\n6\n1\n9\n6\n\\163ystem\n254\n");
    assert_eq!(parsed.operators.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["system"]);
}

#[test]
fn broken_streams_are_undecodable_and_what_follows_is_unclaimed() {
    for broken in [
        vec![N(77)],
        vec![N(3 << 8 | 255)],
        vec![N(13), N(1000)],
        vec![N(13), N(-7)],
        vec![N(13), N(-1), N(-1), N(-1)],
        vec![N(16), N(1), N(13), N(0)],
        vec![N(19), N(i32::MAX)],
        vec![N(2)],
        vec![N(247), N(1)],
        vec![N(9), N(100)],
    ] {
        for encoding in ['A', 'X', 'B'] {
            let parsed = parse(&RData, &stream(encoding, 2, &broken));
            assert_eq!(troubles(&parsed), [Trouble::Undecodable], "{}", messages(&parsed));
        }
    }
    let appended = [stream('X', 3, &frame()), b"\x7fELF".to_vec()].concat();
    let parsed = parse(&RData, &appended);
    assert_eq!((messages(&parsed).as_str(), hidden(&parsed, &appended).len()), ("", 1));
    assert_eq!(troubles(&parse(&RData, b"RDX1\nX\n")), [Trouble::Undecodable]);
    let later = [&b"RDX3\n"[..], &stream('X', 4, &[NIL])].concat();
    assert_eq!(troubles(&parse(&RData, &later)), [Trouble::Undecodable]);
}

#[test]
fn nesting_and_references_have_limits() {
    let deep = [stream('X', 2, &[]), [0, 0, 0, 19, 0, 0, 0, 2].repeat(200_000)].concat();
    assert_eq!(troubles(&parse(&RData, &deep)), [Trouble::Limit]);
    let limits = casemate_core::Limits { entries_max: 1, ..casemate_core::Limits::default() };
    assert_eq!(troubles(&parse_within(&RData, &stream('X', 2, &frame()), &limits)), [Trouble::Limit]);
}

#[test]
fn texts_that_begin_alike_stay_texts() {
    for text in [&b"A\nlist of words\n"[..], b"A\n2\nwords", b"X\nmarks the spot", b"B\nfollows A", b"RDX\n", b""] {
        assert_eq!(sniff(&RData, text), Sniff::No);
    }
    let numbers = b"A\n2\n3\n4\n5 and words\n";
    assert_eq!(sniff(&RData, numbers), Sniff::Likely);
    assert!(parse(&RData, numbers).claims.ranges().is_empty());
    let unusual = b"A\n2\n3\n4\n6\n1\n9\n6\nsystem\n254\n";
    assert_whole(&parse(&RData, unusual), unusual);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"X\n\0\0\0\x02\0\x04\x03\x03\0\x02\x03\0\0\0")) {
        assert_bounded(&RData, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(stream('X', 3, &frame()))) {
        assert_bounded(&RData, &bytes);
    }

    #[test]
    fn mutants_of_text_are_parsed_within_limits(bytes in mutants(stream('A', 2, &promise(252, call("system"))))) {
        assert_bounded(&RData, &bytes);
    }
}
