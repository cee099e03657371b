//! PaddlePaddle programs (`.pdmodel`, `__model__`): a protobuf of blocks of operators; weights stand in `.pdiparams`.
//!
//! `py_func` calls Python that the loading process registered; all operators are listed, those of inner blocks too.
//!
//! Source: `paddle/fluid/framework/framework.proto` of PaddlePaddle 2.6.

use std::ops::Range;

use super::messages::Inside::{Data, Message, Name};
use super::messages::{Messages, Schema, conforms};
use super::protobuf::{BYTES, Cursor, VARINT, Value};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

/// Reads programs.
pub(crate) struct Paddle;

static PROGRAM: Schema = Schema {
    name: "the program",
    fields: &[(1, BYTES, Message(&BLOCK)), (2, BYTES, Data), (3, BYTES, Data), (4, BYTES, Data), (5, BYTES, Data)],
    open: false,
};

static BLOCK: Schema = Schema {
    name: "a block",
    fields: &[
        (1, VARINT, Data),
        (2, VARINT, Data),
        (3, BYTES, Message(&VARIABLE)),
        (4, BYTES, Message(&OPERATOR)),
        (5, VARINT, Data),
    ],
    open: false,
};

static VARIABLE: Schema = Schema { name: "a variable", fields: &[(1, BYTES, Name), (2, BYTES, Data)], open: true };

static OPERATOR: Schema = Schema {
    name: "an operator",
    fields: &[(1, BYTES, Data), (2, BYTES, Data), (3, BYTES, Name), (4, BYTES, Data), (5, VARINT, Data)],
    open: false,
};

impl Format for Paddle {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "paddle",
            title: "PaddlePaddle program",
            extensions: &["pdmodel"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // A program begins with its first block, and that with its number, 0.
        let begins = probe.starts_with(b"\x0a") && probe.head.iter().take(11).any(|byte| *byte == 0x08);
        match begins && conforms(probe, &PROGRAM).is_some_and(|messages| messages >= 2) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut messages = Messages::new(object, &mut parsed);
        let (mut cursor, mut blocks) = (Cursor::new(0..object.source.size_bytes()), 0);
        while let Some(field) = messages.next(&mut cursor, &PROGRAM) {
            messages.parsed.claims.add(field.offset..cursor.at);
            if let (1, Value::Bytes(range)) = (field.number, field.value) {
                blocks += 1;
                block(&mut messages, range);
            }
        }
        if blocks == 0 {
            messages.report(Malformed::new(Trouble::Undecodable, 0, "the program has no block"));
        }
        parsed.operators = messages.take_operators();
        parsed
    }
}

fn block(messages: &mut Messages<'_, '_>, range: Range<u64>) {
    let mut cursor = Cursor::new(range);
    while let Some(field) = messages.next(&mut cursor, &BLOCK) {
        let (4, Value::Bytes(range)) = (field.number, field.value) else { continue };
        let mut cursor = Cursor::new(range);
        while let Some(field) = messages.next(&mut cursor, &OPERATOR) {
            if let (3, Value::Bytes(range)) = (field.number, field.value) {
                let name = messages.text(range);
                messages.operator("paddle", name, field.offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, bytes_field as bytes, hidden, mutants};
    use crate::formats::testing::{number_field as number, parse, parse_within, sniff, troubles};

    fn sample() -> Vec<u8> {
        let operator = |name: &str| bytes(4, &[bytes(1, b""), bytes(3, name.as_bytes())].concat());
        let variable = bytes(3, &[bytes(1, b"x"), bytes(2, &number(1, 7))].concat());
        let first = [number(1, 0), number(2, 0), variable, operator("feed")].concat();
        let second = [number(1, 1), number(2, 0), operator("py_func")].concat();
        [bytes(1, &first), bytes(1, &second), bytes(4, &number(1, 0))].concat()
    }

    #[test]
    fn a_sound_program_is_claimed_whole_and_operators_of_all_blocks_are_listed() {
        assert_eq!(sniff(&Paddle, &sample()), Sniff::Certain);
        let parsed = parse(&Paddle, &sample());
        assert_whole(&parsed, &sample());
        assert_eq!(parsed.operators.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["feed", "py_func"]);
    }

    #[test]
    fn foreign_fields_appended_bytes_and_too_many_operators_are_reported() {
        let foreign = [sample(), bytes(9, b"x")].concat();
        assert_eq!(troubles(&parse(&Paddle, &foreign)), [Trouble::Ambiguous]);
        let appended = [&sample()[..], b"\x7fELF"].concat();
        let parsed = parse(&Paddle, &appended);
        assert_eq!((troubles(&parsed), hidden(&parsed, &appended).len()), (vec![Trouble::Undecodable], 1));
        assert_eq!(troubles(&parse(&Paddle, &bytes(4, b""))), [Trouble::Undecodable]);
        let limits = casemate_core::Limits { entries_max: 1, ..casemate_core::Limits::default() };
        assert_eq!(troubles(&parse_within(&Paddle, &sample(), &limits)), [Trouble::Limit]);
    }

    #[test]
    fn graphs_of_others_and_texts_are_not_taken_for_it() {
        let graph_def = bytes(1, &[bytes(1, b"x"), bytes(2, b"Placeholder")].concat());
        for other in [&graph_def[..], b"\n\x08words\nand words", b"\x0a", b""] {
            assert_eq!(sniff(&Paddle, other), Sniff::No);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x0a\x10\x08\0\x10\0\x22\x0a\x1a\x04feed")) {
            assert_bounded(&Paddle, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
            assert_bounded(&Paddle, &bytes);
        }
    }
}
