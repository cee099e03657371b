//! Tensor tables that are sound, and each way in which one is not.

use proptest::prelude::*;

use super::*;
use crate::TextKind;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, parse_within, sniff, troubles,
};

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn sample() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"F4","shape":[4],"data_offsets":[8,10]},"e":{"dtype":"I64","shape":[0],"data_offsets":[10,10]}}  "#;
    file(header, &[1; 10])
}

fn tensor(dtype: &str, shape: &str, offsets: &str, data: usize) -> Parsed {
    let header = format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#);
    parse(&Safetensors, &file(&header, &vec![1; data]))
}

#[test]
fn a_sound_file_is_claimed_whole() {
    let parsed = parse(&Safetensors, &sample());
    assert_whole(&parsed, &sample());
    assert_eq!(sniff(&Safetensors, &sample()), Sniff::Certain);
    assert_eq!(parsed.tensors.len(), 3);
    assert_eq!(parsed.tensors[0].span.as_ref().map(|span| span.end - span.start), Some(8));
    assert_eq!((parsed.texts[0].key.as_str(), parsed.texts[0].kind), ("format", TextKind::Metadata));
}

#[test]
fn spans_that_lie_are_ambiguous() {
    for (dtype, shape, offsets, data) in [
        ("F32", "[2]", "[0,7]", 7),
        ("F32", "[2]", "[8,0]", 8),
        ("F32", "[2]", "[0,8]", 7),
        ("F32", "[2]", "[18446744073709551600,18446744073709551608]", 8),
        ("U8", "[4294967296,4294967296]", "[0,0]", 0),
        ("F4", "[3]", "[0,2]", 2),
    ] {
        let parsed = tensor(dtype, shape, offsets, data);
        assert!(troubles(&parsed).contains(&Trouble::Ambiguous), "{dtype} {shape} {offsets} {data}");
    }
    assert_eq!(troubles(&tensor("Q7", "[2]", "[0,2]", 2)), [Trouble::Undecodable]);
}

#[test]
fn overlaps_are_ambiguous_holes_and_tails_stay_unclaimed() {
    let overlap = file(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
        &[1; 6],
    );
    assert_eq!(troubles(&parse(&Safetensors, &overlap)), [Trouble::Ambiguous]);
    let holed = file(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#, &[1; 9]);
    let parsed = parse(&Safetensors, &holed);
    assert_eq!(messages(&parsed), "");
    assert_eq!(hidden(&parsed, &holed).len(), 2);
}

#[test]
fn duplicate_keys_are_ambiguous() {
    let tensor = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    for header in [
        format!("{{{tensor},{tensor}}}"),
        r#"{"__metadata__":{"a":"1","a":"2"}}"#.into(),
        r#"{"__metadata__":{},"__metadata__":{}}"#.into(),
        r#"{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#.into(),
        r#"{"a":{"dtype":"U8","x":[],"shape":[1],"data_offsets":[0,1]}}"#.into(),
    ] {
        assert!(troubles(&parse(&Safetensors, &file(&header, &[1]))).contains(&Trouble::Ambiguous), "{header}");
    }
}

#[test]
fn broken_headers_are_undecodable_and_keep_what_was_read() {
    let deep =
        format!(r#"{{"a":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}},"b":{{"x":{}"#, "{\"a\":".repeat(50_000));
    let parsed = parse(&Safetensors, &file(&deep, &[1]));
    assert_eq!(troubles(&parsed), [Trouble::Undecodable]);
    assert_eq!(parsed.tensors.len(), 1);
    for header in [
        r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#,
        r#"{"a":3}"#,
        "{} x",
        r#"{"__metadata__":{"a":1}}"#,
    ] {
        assert_eq!(troubles(&parse(&Safetensors, &file(header, &[1]))), [Trouble::Undecodable], "{header}");
    }
    assert_eq!(troubles(&tensor("U8", &format!("[{}1]", "1,".repeat(1000)), "[0,1]", 1)), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Safetensors, &file(" {}", &[]))), [Trouble::Ambiguous]);
}

#[test]
fn a_header_longer_than_the_file_is_still_ours() {
    let bytes = [&u64::MAX.to_le_bytes()[..], b"{\"a\":{}}"].concat();
    assert_eq!(sniff(&Safetensors, &bytes), Sniff::Certain);
    assert_eq!(troubles(&parse(&Safetensors, &bytes)), [Trouble::Undecodable]);
    assert_eq!(sniff(&Safetensors, b"var x = {\"a\": 1}"), Sniff::No);
    let limits = Limits { header_bytes_max: 10, ..Limits::default() };
    assert_eq!(troubles(&parse_within(&Safetensors, &sample(), &limits)), [Trouble::Limit]);
}

#[test]
fn a_template_in_the_metadata_is_one() {
    let parsed = parse(&Safetensors, &file(r#"{"__metadata__":{"chat_template":"{{ x }}"}}"#, &[]));
    assert_eq!(parsed.texts[0].kind, TextKind::Template);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x40\0\0\0\0\0\0\0{\"a\":{\"dtype\":")) {
        assert_bounded(&Safetensors, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&Safetensors, &bytes);
    }
}
