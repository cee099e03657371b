//! Models built field by field: operators, external data, and broken wire formats.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, sniff, troubles,
};
use crate::{ReferenceKind, TextKind};

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    bytes.push(u8::try_from(n).unwrap());
    bytes
}

fn number(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2)[..], &varint(content.len() as u64), content].concat()
}

fn entry(field: u64, key: &str, value: &str) -> Vec<u8> {
    bytes(field, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
}

fn node(domain: &str, name: &str, attributes: &[u8]) -> Vec<u8> {
    bytes(1, &[bytes(4, name.as_bytes()), attributes.to_vec(), bytes(7, domain.as_bytes())].concat())
}

/// A float tensor `w` of `dim` elements.
fn tensor(dim: u64, rest: &[u8]) -> Vec<u8> {
    [&number(1, dim)[..], &number(2, 1), &bytes(8, b"w"), rest].concat()
}

fn model(graph: &[u8], rest: &[u8]) -> Vec<u8> {
    [&number(1, 8)[..], &bytes(2, b"pytorch"), &bytes(7, graph), &bytes(8, &number(2, 17)), rest].concat()
}

fn sample() -> Vec<u8> {
    let inner = [node("ai.onnx", "Relu", b""), bytes(5, &tensor(1, &bytes(9, &[0; 4])))].concat();
    let attributes = bytes(5, &[bytes(1, b"then"), bytes(6, &inner)].concat());
    let packed = [bytes(1, &[2, 3]), number(2, 1), bytes(8, b"p"), bytes(9, &[1; 24])].concat();
    let graph = [node("", "If", &attributes), node("evil", "PyOp", b""), bytes(5, &packed)].concat();
    model(&graph, &[entry(14, "author", "me"), entry(14, "t", "{{ x }}")].concat())
}

fn with_tensor(tensor: &[u8]) -> Parsed {
    parse(&Onnx, &model(&bytes(5, tensor), b""))
}

#[test]
fn a_sound_model_is_claimed_whole() {
    let parsed = parse(&Onnx, &sample());
    assert_whole(&parsed, &sample());
    assert_eq!(sniff_of(&sample()), Sniff::Certain);
    let operators: Vec<_> = parsed.operators.iter().map(|o| (o.domain.as_str(), o.name.as_str())).collect();
    assert_eq!(operators, [("", "If"), ("", "Relu"), ("evil", "PyOp")]);
    assert_eq!((parsed.tensors[1].dtype.as_str(), parsed.tensors[1].shape.as_slice()), ("FLOAT", &[2, 3][..]));
    let texts: Vec<_> = parsed.texts.iter().map(|text| (text.key.as_str(), text.kind)).collect();
    assert_eq!(texts, [("author", TextKind::Metadata), ("t", TextKind::Template)]);
}

fn sniff_of(bytes: &[u8]) -> Sniff {
    sniff(&Onnx, bytes)
}

#[test]
fn other_protobufs_and_texts_are_not_taken_for_it() {
    let meta_graph = bytes(1, &[bytes(2, b"\x0a\x04Relu"), bytes(5, b"2.17")].concat());
    let saved_model = [number(1, 1), bytes(2, &meta_graph)].concat();
    let graph_def = bytes(1, &bytes(1, b"Placeholder"));
    let core_ml = [number(1, 4), bytes(2, &bytes(1, b"in")), bytes(500, b"\x08\x01")].concat();
    for other in [&saved_model[..], &graph_def, &core_ml, b":xplain text that goes on and on", b"\x08", b""] {
        assert_eq!(sniff_of(other), Sniff::No, "{other:?}");
    }
    assert_eq!(sniff_of(&model(&bytes(2, b"g"), b"")[11..]), Sniff::Likely);
    // Loaders skip what they do not know, so a foreign field must not hide a model.
    assert_eq!(sniff_of(&model(&bytes(99, b"g"), b"")), Sniff::Likely);
    assert_eq!(sniff_of(&[bytes(99, b""), model(&bytes(2, b"g"), b"")].concat()), Sniff::Likely);
    assert_eq!(sniff_of(&[number(1, 8), bytes(6, &[b'x'; 9000]), bytes(7, b"")].concat()), Sniff::Likely);
    assert_eq!(sniff_of(b"\x08\x08\xff\xff\xff"), Sniff::No);
}

#[test]
fn external_data_is_referred_to_wherever_it_hides() {
    let hidden = tensor(1, &[entry(13, "location", "../../etc/passwd"), number(14, 1)].concat());
    let in_attribute = |field, content: &[u8]| node("", "Constant", &bytes(5, &bytes(field, content)));
    let graphs = [
        bytes(5, &hidden),
        bytes(15, &bytes(2, &hidden)),
        in_attribute(5, &hidden),
        in_attribute(22, &bytes(1, &hidden)),
        in_attribute(6, &bytes(5, &hidden)),
        in_attribute(11, &in_attribute(10, &hidden)),
    ];
    let mut models: Vec<Vec<u8>> = graphs.iter().map(|graph| model(graph, b"")).collect();
    models.push(model(b"", &bytes(25, &bytes(7, &in_attribute(5, &hidden)[2..]))));
    models.push(model(b"", &bytes(20, &bytes(2, &bytes(5, &hidden)))));
    for bytes in models {
        let parsed = parse(&Onnx, &bytes);
        assert_eq!(messages(&parsed), "");
        let targets: Vec<_> = parsed.references.iter().map(|r| (r.kind, r.target.as_str())).collect();
        assert_eq!(targets, [(ReferenceKind::ExternalData, "../../etc/passwd")]);
    }
}

#[test]
fn external_data_that_lies_is_ambiguous() {
    let location = entry(13, "location", "weights.bin");
    for rest in [
        [&location[..], &entry(13, "offset", "-1"), &number(14, 1)].concat(),
        [&location[..], &entry(13, "length", "many"), &number(14, 1)].concat(),
        [&location[..], &location, &number(14, 1)].concat(),
        [&location[..], &bytes(9, &[0; 4]), &number(14, 1)].concat(),
        number(14, 1),
    ] {
        assert_eq!(troubles(&with_tensor(&tensor(1, &rest))), [Trouble::Ambiguous]);
    }
}

#[test]
fn raw_data_of_another_size_is_ambiguous() {
    for lying in [
        tensor(2, &bytes(9, &[0; 4])),
        tensor(u64::MAX, &bytes(9, &[0; 4])),
        tensor(1 << 62, &bytes(9, &[0; 4])),
        [number(1, 1), number(2, 8), bytes(9, b"text")].concat(),
    ] {
        assert_eq!(troubles(&with_tensor(&lying)), [Trouble::Ambiguous]);
    }
}

#[test]
fn foreign_fields_wrong_types_and_second_graphs_are_ambiguous() {
    for rest in [bytes(99, b"hidden"), bytes(5, b"x"), bytes(7, b""), number(1, 8)] {
        assert_eq!(troubles(&parse(&Onnx, &model(b"", &rest))), [Trouble::Ambiguous]);
    }
    assert_eq!(troubles(&parse(&Onnx, &model(&bytes(99, b"hidden"), b""))), [Trouble::Ambiguous]);
}

#[test]
fn truncated_and_appended_bytes_are_reported() {
    let sample = sample();
    let parsed = parse(&Onnx, &sample[..sample.len() - 3]);
    assert_eq!(troubles(&parsed), [Trouble::Undecodable]);
    let appended = [&sample[..], b"\x7fELF"].concat();
    let parsed = parse(&Onnx, &appended);
    assert_eq!(troubles(&parsed), [Trouble::Undecodable]);
    assert_eq!(hidden(&parsed, &appended).len(), 1);
    assert_eq!(troubles(&parse(&Onnx, &number(1, 8))), [Trouble::Undecodable]);
}

#[test]
fn nested_graphs_hit_the_limit() {
    let mut graph = Vec::new();
    for _ in 0..3000 {
        graph = node("", "If", &bytes(5, &bytes(6, &graph)));
    }
    assert_eq!(troubles(&parse(&Onnx, &model(&graph, b""))), [Trouble::Limit]);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x08\x08\x3a\x40\x0a\x10\x22\x04Relu")) {
        assert_bounded(&Onnx, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&Onnx, &bytes);
    }
}
