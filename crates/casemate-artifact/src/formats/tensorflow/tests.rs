//! SavedModels and graphs built field by field.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, bytes_field as bytes, content, hidden, mutants,
};
use crate::formats::testing::{number_field as number, parse, parse_within, sniff, troubles};

fn node(name: &str, operator: &str, rest: &[u8]) -> Vec<u8> {
    [&bytes(1, name.as_bytes())[..], &bytes(2, operator.as_bytes()), rest].concat()
}

fn function(name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let nodes: Vec<u8> = nodes.iter().flat_map(|node| bytes(3, node)).collect();
    bytes(1, &[nodes, bytes(1, &bytes(1, name.as_bytes()))].concat())
}

fn graph() -> Vec<u8> {
    let output = [bytes(1, b"output_stream"), bytes(2, &bytes(2, b"file:///tmp/x"))].concat();
    let library = [
        function("__inference__traced_save_1", &[node("SaveV2", "SaveV2", b"")]),
        function("__inference_serve", &[node("a", "MatMul", b""), node("b", "RestoreV2", b"")]),
    ];
    [
        bytes(1, &node("x", "Placeholder", b"")),
        bytes(1, &node("save/RestoreV2", "RestoreV2", b"")),
        bytes(1, &node("p", "PrintV2", &bytes(5, &output))),
        bytes(1, &node("c", "__inference_serve", b"")),
        bytes(2, &library.concat()),
        bytes(4, &number(1, 1900)),
    ]
    .concat()
}

fn saved(rest: &[u8]) -> Vec<u8> {
    let info = [bytes(4, b"serve"), bytes(5, b"2.21.0")].concat();
    let object = bytes(4, &[bytes(1, b"_tf_keras_layer"), bytes(3, b"{\"class_name\": \"Lambda\"}")].concat());
    let asset = [bytes(1, b"\x0a\x01a"), bytes(2, b"../../etc/passwd")].concat();
    let meta = [bytes(1, &info), bytes(2, &graph()), bytes(6, &asset), bytes(7, &bytes(1, &object))].concat();
    [&number(1, 1)[..], &bytes(2, &meta), rest].concat()
}

fn operators(parsed: &Parsed) -> Vec<(&str, &str)> {
    parsed.operators.iter().map(|operator| (operator.domain.as_str(), operator.name.as_str())).collect()
}

#[test]
fn a_sound_model_is_claimed_whole_and_operators_are_told_apart() {
    let expected = [
        (DOMAIN, "MatMul"),
        (DOMAIN, "Placeholder"),
        (DOMAIN, "RestoreV2"),
        (FUNCTION, "__inference_serve"),
        (SAVER, "RestoreV2"),
        (SAVER, "SaveV2"),
        (TO_FILE, "PrintV2"),
    ];
    for (bytes, format) in [(saved(b""), "tensorflow-saved-model"), (graph(), "tensorflow-graph")] {
        assert_eq!(sniff(&Tensorflow, &bytes), Sniff::Certain);
        let parsed = parse(&Tensorflow, &bytes);
        assert_whole(&parsed, &bytes);
        assert_eq!((parsed.refined, sorted(operators(&parsed))), (Some(format), sorted(expected.to_vec())));
    }
}

fn sorted<'a>(mut operators: Vec<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    operators.sort_unstable();
    operators
}

#[test]
fn assets_and_configurations_are_handed_on() {
    let parsed = parse(&Tensorflow, &saved(b""));
    assert_eq!(parsed.references[0].target, "../../etc/passwd");
    assert_eq!(content(&parsed.children[0]), b"{\"class_name\": \"Lambda\"}");
}

#[test]
fn configurations_behind_blanks_are_handed_on() {
    let metadata = |text: &[u8]| bytes(2, &bytes(7, &bytes(1, &bytes(4, &bytes(3, text)))));
    let blanks = [&[b' '; 5000][..], b"{}"].concat();
    for (text, found) in [(&b"{}"[..], 1), (b" \n{}", 1), (&blanks, 1), (b"words", 0)] {
        let parsed = parse(&Tensorflow, &[number(1, 1), metadata(text)].concat());
        assert_eq!(parsed.children.len(), found, "{text:?}");
    }
}

#[test]
fn other_protobufs_and_texts_are_not_taken_for_it() {
    let onnx = [number(1, 8), bytes(2, b"pytorch"), bytes(7, &bytes(1, &bytes(4, b"Relu")))].concat();
    let paddle = bytes(1, &[number(1, 0), number(2, 0), bytes(3, &bytes(1, b"feed"))].concat());
    let core_ml = [number(1, 4), bytes(2, &bytes(1, &[bytes(1, b"in"), bytes(3, &bytes(5, b""))].concat()))].concat();
    for other in [&onnx[..], &paddle, &core_ml, b"\n\x08words\nand words", b"\n{ text }", b"\x0a", b"\x08\x01", b""] {
        assert_eq!(sniff(&Tensorflow, other), Sniff::No, "{other:?}");
    }
}

#[test]
fn fields_that_do_not_exist_and_second_graphs_are_ambiguous() {
    assert_eq!(troubles(&parse(&Tensorflow, &saved(&bytes(9, b"hidden")))), [Trouble::Ambiguous]);
    let two = bytes(2, &[bytes(2, &graph()), bytes(2, &graph())].concat());
    assert_eq!(troubles(&parse(&Tensorflow, &[number(1, 1), two].concat())), [Trouble::Ambiguous]);
    let operators = node("x", "MatMul", &bytes(2, b"ReadFile"));
    assert_eq!(troubles(&parse(&Tensorflow, &bytes(1, &operators))), [Trouble::Ambiguous]);
}

#[test]
fn truncated_and_appended_bytes_are_reported() {
    let sample = saved(b"");
    let parsed = parse(&Tensorflow, &sample[..sample.len() - 3]);
    assert_eq!(troubles(&parsed), [Trouble::Undecodable, Trouble::Undecodable]);
    let appended = [&sample[..], b"\x7fELF"].concat();
    let parsed = parse(&Tensorflow, &appended);
    assert_eq!(troubles(&parsed), [Trouble::Undecodable]);
    assert_eq!(hidden(&parsed, &appended).len(), 1);
}

#[test]
fn more_operators_than_may_be_held_hit_the_limit() {
    let limits = casemate_core::Limits { entries_max: 2, ..casemate_core::Limits::default() };
    let parsed = parse_within(&Tensorflow, &graph(), &limits);
    assert_eq!(troubles(&parsed), [Trouble::Limit]);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x08\x01\x12\x40\x12\x30\x0a\x10\x0a\x01x\x12\x04Relu")) {
        assert_bounded(&Tensorflow, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(saved(b""))) {
        assert_bounded(&Tensorflow, &bytes);
    }
}
