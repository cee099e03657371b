//! Models built field by field.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, bytes_field as bytes, hidden, mutants};
use crate::formats::testing::{number_field as number, parse, sniff, troubles};

fn model(kind: &[u8]) -> Vec<u8> {
    let metadata = bytes(100, &bytes(100, &[bytes(1, b"t"), bytes(2, b"{{ x }}")].concat()));
    let input = bytes(1, &[bytes(1, b"image"), bytes(3, &bytes(5, b""))].concat());
    [&number(1, 4)[..], &bytes(2, &[input, metadata].concat()), kind].concat()
}

fn custom_layer() -> Vec<u8> {
    bytes(1, &[bytes(1, b"layer"), bytes(500, &bytes(10, b"EvilLayer"))].concat())
}

fn classes(kind: &[u8]) -> Vec<(String, String)> {
    let parsed = parse(&Coreml, &model(kind));
    assert_whole(&parsed, &model(kind));
    parsed.operators.into_iter().map(|operator| (operator.domain, operator.name)).collect()
}

#[test]
fn a_sound_model_is_claimed_whole_with_its_texts() {
    let sound = model(&bytes(500, &bytes(1, &[bytes(1, b"conv"), bytes(100, b"")].concat())));
    assert_eq!(sniff(&Coreml, &sound), Sniff::Certain);
    let parsed = parse(&Coreml, &sound);
    assert_whole(&parsed, &sound);
    assert_eq!((parsed.operators.len(), parsed.texts[0].key.as_str()), (0, "t"));
}

#[test]
fn custom_models_and_layers_are_seen_wherever_they_hide() {
    let layer = [(CUSTOM_LAYER.to_owned(), "EvilLayer".to_owned())];
    assert_eq!(classes(&bytes(500, &custom_layer())), layer);
    assert_eq!(classes(&bytes(403, &custom_layer())), layer);
    let branch = bytes(1, &bytes(605, &bytes(2, &custom_layer())));
    assert_eq!(classes(&bytes(500, &branch)), layer);
    let body = bytes(1, &bytes(615, &bytes(4, &custom_layer())));
    assert_eq!(classes(&bytes(500, &body)), layer);
    let custom = bytes(555, &bytes(1, b"EvilModel"));
    let pipeline = bytes(1, &model(&custom));
    let expected = [(CUSTOM_MODEL.to_owned(), "EvilModel".to_owned())];
    for kind in [custom, bytes(202, &pipeline), bytes(200, &bytes(1, &pipeline))] {
        assert_eq!(classes(&kind), expected);
    }
}

#[test]
fn two_kinds_foreign_fields_and_cut_files_are_reported() {
    let network = bytes(500, b"");
    let two = model(&[&network[..], &bytes(502, b"")].concat());
    assert_eq!(troubles(&parse(&Coreml, &two)), [Trouble::Ambiguous]);
    assert_eq!(troubles(&parse(&Coreml, &model(&[&network[..], &bytes(77, b"x")].concat()))), [Trouble::Ambiguous]);
    assert_eq!(troubles(&parse(&Coreml, &model(b""))), [Trouble::Undecodable]);
    let appended = [&model(&network)[..], b"\x7fELF"].concat();
    let parsed = parse(&Coreml, &appended);
    assert_eq!((troubles(&parsed), hidden(&parsed, &appended).len()), (vec![Trouble::Undecodable], 1));
}

#[test]
fn pipelines_in_pipelines_hit_the_limit() {
    let mut kind = bytes(500, b"");
    for _ in 0..60 {
        kind = bytes(202, &bytes(1, &kind));
    }
    assert!(troubles(&parse(&Coreml, &model(&kind))).contains(&Trouble::Limit));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x08\x04\x12\x06\x0a\x04\x0a\x02in\xa2\x1f\x20")) {
        assert_bounded(&Coreml, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(model(&bytes(500, &custom_layer())))) {
        assert_bounded(&Coreml, &bytes);
    }
}
