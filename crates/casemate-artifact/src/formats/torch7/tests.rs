//! Objects written in both encodings.

use proptest::prelude::*;

use super::*;
use crate::Trouble;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse};
use crate::formats::testing::{parse_within, sniff, troubles};

enum Part {
    Int(i32),
    Long(i64),
    Real(f64),
    Text(&'static str),
}
use Part::{Int, Long, Real, Text};

fn file(is_text: bool, parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match (part, is_text) {
            (Int(n), false) => bytes.extend(n.to_le_bytes()),
            (Long(n), false) => bytes.extend(n.to_le_bytes()),
            (Real(x), false) => bytes.extend(x.to_le_bytes()),
            (Text(text), false) => {
                bytes.extend([&i32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat())
            }
            (Int(n), true) => bytes.extend(format!("{n}\n").into_bytes()),
            (Long(n), true) => bytes.extend(format!("{n}\n").into_bytes()),
            (Real(x), true) => bytes.extend(format!("{x}\n").into_bytes()),
            (Text(text), true) => bytes.extend(format!("{}\n{text}\n", text.len()).into_bytes()),
        }
    }
    bytes
}

/// A linear layer: a table with a weight of two by one, a flag, and itself.
fn layer() -> Vec<Part> {
    let head = vec![Int(4), Int(1), Text("V 1"), Text("nn.Linear"), Int(3), Int(2), Int(3), Int(2), Text("weight")];
    let tensor = vec![
        Int(4),
        Int(3),
        Text("V 1"),
        Text("torch.DoubleTensor"),
        Int(2),
        Long(2),
        Long(1),
        Long(1),
        Long(1),
        Long(1),
    ];
    let storage = vec![Int(4), Int(4), Text("V 1"), Text("torch.DoubleStorage"), Long(2), Real(1.5), Real(-2.0)];
    let rest = vec![Int(2), Text("train"), Int(5), Int(1), Int(1), Real(1.0), Int(4), Int(1)];
    [head, tensor, storage, rest].into_iter().flatten().collect()
}

fn function(kind: i32, code: &'static str) -> Vec<Part> {
    let number = (kind != 6).then_some(Int(1));
    [Int(kind)].into_iter().chain(number).chain([Text(code), Int(0)]).collect()
}

#[test]
fn layers_are_read_whole_in_both_encodings() {
    for is_text in [false, true] {
        let bytes = file(is_text, &layer());
        assert_eq!(sniff(&Torch7, &bytes), Sniff::Certain);
        let parsed = parse(&Torch7, &bytes);
        assert_whole(&parsed, &bytes);
        assert_eq!((parsed.tensors.len(), parsed.tensors[0].shape.as_slice()), (1, &[2, 1][..]));
        assert!(parsed.tensors[0].span.is_some() && parsed.operators.is_empty());
    }
}

#[test]
fn functions_are_seen_in_every_form() {
    for is_text in [false, true] {
        for kind in [6, 7, 8] {
            let bytes = file(is_text, &function(kind, "\x1bLJ\x02"));
            assert_eq!(sniff(&Torch7, &bytes), Sniff::Certain);
            let parsed = parse(&Torch7, &bytes);
            assert_whole(&parsed, &bytes);
            assert_eq!(parsed.operators[0].name, "compiled Lua");
        }
    }
    let source = file(true, &function(8, "print('x')"));
    assert_eq!(parse(&Torch7, &source).operators[0].name, "Lua source");
    let field = [vec![Int(3), Int(9), Int(1), Int(2), Text("forward")], function(8, "\x1bLua")];
    let field = field.into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(parse(&Torch7, &file(false, &field)).operators.len(), 1);
    let foreign = [Int(4), Int(1), Text("V 1"), Text("my.Class"), Int(0)];
    assert_eq!(parse(&Torch7, &file(false, &foreign)).operators[0].name, "my.Class");
}

#[test]
fn tensors_beyond_their_storage_and_appended_bytes_are_reported() {
    let tensor = |dim: i64, stride: i64| {
        let tensor = [Int(4), Int(3), Text("V 1"), Text("torch.ByteTensor"), Int(1), Long(dim), Long(stride), Long(1)];
        let storage = [Int(4), Int(4), Text("V 1"), Text("torch.ByteStorage"), Long(2)];
        [file(false, &tensor), file(false, &storage), b"ab".to_vec()].concat()
    };
    assert_eq!(messages(&parse(&Torch7, &tensor(2, 1))), "");
    // One element stretched over ten.
    assert_eq!(messages(&parse(&Torch7, &tensor(10, 0))), "");
    for (dim, stride) in [(3, 1), (2, 2), (i64::MAX, i64::MAX)] {
        assert_eq!(troubles(&parse(&Torch7, &tensor(dim, stride))), [Trouble::Ambiguous]);
    }
    assert_eq!(troubles(&parse(&Torch7, &tensor(-1, 1))), [Trouble::Undecodable]);
    let appended = [tensor(2, 1), b"\x7fELF".to_vec()].concat();
    assert_eq!(hidden(&parse(&Torch7, &appended), &appended).len(), 1);
}

#[test]
fn counts_nesting_and_kinds_have_bounds() {
    let begin = || vec![Int(4), Int(1), Text("V 1"), Text("nn.Identity"), Int(3), Int(2)];
    let with = |rest: Vec<Part>| file(false, &begin().into_iter().chain(rest).collect::<Vec<_>>());
    for broken in
        [vec![Int(i32::MAX)], vec![Int(-1)], vec![Int(1), Int(99)], vec![Int(1), Int(2), Int(1 << 30)], vec![]]
    {
        assert_eq!(troubles(&parse(&Torch7, &with(broken))), [Trouble::Undecodable]);
    }
    let deep = (0..200_000).flat_map(|n| [Int(1), Int(3), Int(n + 10)]).collect();
    assert_eq!(troubles(&parse(&Torch7, &with(deep))), [Trouble::Limit]);
    let limits = casemate_core::Limits { entries_max: 0, ..casemate_core::Limits::default() };
    assert_eq!(troubles(&parse_within(&Torch7, &file(false, &layer()), &limits)), [Trouble::Limit]);
}

#[test]
fn other_files_are_not_taken_for_it() {
    for other in [&b"9\n"[..], b"1\n2\n3\n", b"words", b"\x09\0\0\0", b""] {
        assert_eq!(sniff(&Torch7, other), Sniff::No);
    }
    for other in [&b"3\n1\n2\nwords"[..], b"3\n1\n0\n", b"\x03\0\0\0\x01\0\0\0\xff\xff\xff\xff", b"3\n"] {
        assert!(parse(&Torch7, other).claims.ranges().is_empty());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1")) {
        assert_bounded(&Torch7, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(file(false, &layer()))) {
        assert_bounded(&Torch7, &bytes);
    }

    #[test]
    fn mutants_of_text_are_parsed_within_limits(bytes in mutants(file(true, &layer()))) {
        assert_bounded(&Torch7, &bytes);
    }
}
