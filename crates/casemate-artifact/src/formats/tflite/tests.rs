//! Models assembled table by table.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, parse_within, sniff, troubles,
};

/// A model with one operator code, custom where it has a name.
fn model(custom: &str) -> Vec<u8> {
    let mut bytes = b"\x14\0\0\0TFL3".to_vec();
    // The root's layout at 8 (12 bytes), the root at 20: the codes in field 1.
    bytes.extend(b"\x08\0\x08\0\0\0\x04\0\0\0\0\0");
    bytes.extend([12u32.to_le_bytes(), 4u32.to_le_bytes()].concat());
    // The vector at 28, its element at 32 points to the code at 48, whose layout stands at 36.
    bytes.extend([1u32.to_le_bytes(), 16u32.to_le_bytes()].concat());
    bytes.extend(b"\x0c\0\x0c\0\x04\0\x08\0\0\0\0\0");
    bytes.extend([12u32.to_le_bytes(), 32u32.to_le_bytes(), 4u32.to_le_bytes()].concat());
    bytes.extend(u32::try_from(custom.len()).unwrap().to_le_bytes());
    bytes.extend(custom.as_bytes());
    bytes.push(0);
    bytes
}

fn operators(bytes: &[u8]) -> Vec<(String, String)> {
    let parsed = parse(&Tflite, bytes);
    assert_eq!(troubles(&parsed), []);
    parsed.operators.into_iter().map(|operator| (operator.domain, operator.name)).collect()
}

#[test]
fn a_sound_model_is_claimed_whole_and_custom_operators_are_listed() {
    assert_eq!(sniff(&Tflite, &model("x")), Sniff::Certain);
    assert_whole(&parse(&Tflite, &model("Evil")), &model("Evil"));
    for (custom, domain, name) in [
        ("Evil", "tflite.custom", "Evil"),
        ("FlexReadFile", "tensorflow", "ReadFile"),
        ("Flex", "tflite.custom", "Flex"),
        ("TFLite_Detection_PostProcess", "", "TFLite_Detection_PostProcess"),
    ] {
        assert_eq!(operators(&model(custom)), [(domain.into(), name.into())]);
    }
}

#[test]
fn a_builtin_operator_is_none_of_the_custom_ones() {
    let mut bytes = model("Evil");
    bytes[52] = 3;
    assert_eq!(operators(&bytes), []);
}

/// A model with one subgraph of one tensor, in buffer 1 of eight bytes.
fn with_tensor(kind: u8, shape: &[u32], buffer: u32) -> Vec<u8> {
    let le = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let place = |bytes: &mut Vec<u8>, at: usize, target: usize| {
        let offset = le(target - at);
        bytes[at..at + 4].copy_from_slice(&offset);
    };
    // A table with fields at the offsets given, 0 for none; returns where it stands.
    let table = |bytes: &mut Vec<u8>, offsets: &[u16], content: &[u8]| {
        let layout = bytes.len();
        let words = [4 + 2 * u16::try_from(offsets.len()).unwrap(), 4 + u16::try_from(content.len()).unwrap()];
        bytes.extend(words.iter().chain(offsets).flat_map(|word| word.to_le_bytes()));
        let at = bytes.len();
        bytes.extend(le(at - layout));
        bytes.extend(content);
        at
    };
    let mut bytes = b"\0\0\0\0TFL3".to_vec();
    let root = table(&mut bytes, &[0, 0, 4, 0, 8], &[0; 8]);
    place(&mut bytes, 0, root);
    let subgraphs = bytes.len();
    bytes.extend([le(1), le(0)].concat());
    place(&mut bytes, root + 4, subgraphs);
    let buffers = bytes.len();
    bytes.extend([le(2), le(0), le(0)].concat());
    place(&mut bytes, root + 8, buffers);
    let subgraph = table(&mut bytes, &[4], &[0; 4]);
    place(&mut bytes, subgraphs + 4, subgraph);
    let tensors = bytes.len();
    bytes.extend([le(1), le(0)].concat());
    place(&mut bytes, subgraph + 4, tensors);
    let tensor = table(&mut bytes, &[4, 8, 12], &[&[0; 4][..], &[kind, 0, 0, 0], &buffer.to_le_bytes()].concat());
    place(&mut bytes, tensors + 4, tensor);
    let dims = bytes.len();
    bytes.extend(le(shape.len()));
    bytes.extend(shape.iter().flat_map(|dim| dim.to_le_bytes()));
    place(&mut bytes, tensor + 4, dims);
    let empty = table(&mut bytes, &[], &[]);
    place(&mut bytes, buffers + 4, empty);
    let full = table(&mut bytes, &[4], &[0; 4]);
    place(&mut bytes, buffers + 8, full);
    let data = bytes.len();
    bytes.extend([&le(8)[..], b"\0\0\x80\x3f\0\0\0\x40"].concat());
    place(&mut bytes, full + 4, data);
    bytes
}

#[test]
fn tensors_have_their_bytes() {
    let sound = with_tensor(0, &[2, 1], 1);
    let parsed = parse(&Tflite, &sound);
    assert_whole(&parsed, &sound);
    let tensor = &parsed.tensors[0];
    let (end, span) = (sound.len() as u64, tensor.span.clone().unwrap());
    assert_eq!((tensor.dtype.as_str(), &tensor.shape[..], span), ("FLOAT32", &[2, 1][..], end - 8..end));
    for sound in [with_tensor(17, &[15], 1), with_tensor(5, &[9], 1), with_tensor(0, &[100], 0), with_tensor(4, &[], 1)]
    {
        assert_whole(&parse(&Tflite, &sound), &sound);
    }
}

#[test]
fn tensors_that_do_not_fit_their_buffer_are_ambiguous() {
    for wrong in
        [with_tensor(0, &[3], 1), with_tensor(0, &[1], 1), with_tensor(0, &[u32::MAX; 5], 1), with_tensor(0, &[2], 7)]
    {
        assert_eq!(troubles(&parse(&Tflite, &wrong)), [Trouble::Ambiguous]);
    }
}

#[test]
fn offsets_outside_the_file_are_ambiguous() {
    // Root, vector, element, layout of the code, its string.
    for at in [0, 24, 32, 48, 56] {
        let mut bytes = model("Evil");
        bytes[at + 2] = 0x7f;
        assert_eq!(troubles(&parse(&Tflite, &bytes)), [Trouble::Ambiguous], "{at}");
    }
    let mut bytes = model("Evil");
    bytes[28] = 200;
    assert_eq!(troubles(&parse(&Tflite, &bytes)), [Trouble::Ambiguous]);
    bytes = model("Evil");
    bytes[8] = 3;
    assert_eq!(troubles(&parse(&Tflite, &bytes)), [Trouble::Undecodable]);
}

#[test]
fn more_tables_than_are_followed_hit_the_limit() {
    let limits = casemate_core::Limits { entries_max: 2, ..casemate_core::Limits::default() };
    assert_eq!(troubles(&parse_within(&Tflite, &model("Evil"), &limits)), [Trouble::Limit]);
}

#[test]
fn a_zip_behind_the_model_is_an_object_and_other_bytes_are_hidden() {
    let with = [&model("Evil")[..], b"PK\x03\x04rest"].concat();
    let parsed = parse(&Tflite, &with);
    assert_eq!((parsed.children.len(), hidden(&parsed, &with).len()), (1, 0));
    let with = [&model("Evil")[..], b"\x7fELF"].concat();
    assert_eq!(hidden(&parse(&Tflite, &with), &with).len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x14\0\0\0TFL3\x08\0\x08\0\0\0\x04\0")) {
        assert_bounded(&Tflite, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(model("Evil"))) {
        assert_bounded(&Tflite, &bytes);
    }

    #[test]
    fn mutants_of_tensors_are_parsed_within_limits(bytes in mutants(with_tensor(0, &[2], 1))) {
        assert_bounded(&Tflite, &bytes);
    }
}
