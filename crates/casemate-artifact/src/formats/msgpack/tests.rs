//! Maps built value by value.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, content, hidden, messages, mutants, parse};
use crate::formats::testing::{parse_within, sniff, troubles};
use crate::{Role, Trouble};

fn text(text: &str) -> Vec<u8> {
    [&[0xa0 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    [&[0xc4, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn extension(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[0xc7, u8::try_from(bytes.len()).unwrap(), kind], bytes].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let begin = 0x80 | u8::try_from(entries.len()).unwrap();
    let entries = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
    std::iter::once(begin).chain(entries).collect()
}

fn array(shape: &[u8], dtype: &str, bytes: &[u8]) -> Vec<u8> {
    let shape = [&[0x90 | u8::try_from(shape.len()).unwrap()], shape].concat();
    extension(1, &[vec![0x93], shape, text(dtype), binary(bytes)].concat())
}

fn sample() -> Vec<u8> {
    let layer = map(&[("kernel", array(&[2, 1], "float32", &[0; 8])), ("bias", array(&[1], "bfloat16", &[1, 2]))]);
    let rest = [vec![0x92, 0xcb], vec![0; 8], vec![0xd1, 0xff, 0]].concat();
    map(&[("params", map(&[("Dense_0", layer)])), ("step", vec![0xcd, 1, 0]), ("rest", rest)])
}

#[test]
fn parameters_of_flax_are_read_whole() {
    assert_eq!(sniff(&Msgpack, &sample()), Sniff::Likely);
    let parsed = parse(&Msgpack, &sample());
    assert_whole(&parsed, &sample());
    assert_eq!(
        parsed.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
        ["params/Dense_0/kernel", "params/Dense_0/bias"]
    );
    assert_eq!((parsed.tensors[0].shape.as_slice(), parsed.tensors[0].dtype.as_str()), (&[2, 1][..], "float32"));
    assert_eq!(parsed.tensors[0].span.as_ref().map(|span| span.end - span.start), Some(8));
}

#[test]
fn arrays_that_do_not_fit_or_hold_objects_are_reported() {
    for wrong in [array(&[2], "float32", &[0; 4]), array(&[1], "object", &[0; 8]), array(&[1], "mystery", b"")] {
        assert_eq!(troubles(&parse(&Msgpack, &map(&[("w", wrong)]))), [Trouble::Ambiguous]);
    }
    let overflow = [0x93, 0x92, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255, 2].to_vec();
    let overflow = extension(1, &[overflow, text("int8"), binary(b"")].concat());
    assert_eq!(troubles(&parse(&Msgpack, &map(&[("w", overflow)]))), [Trouble::Ambiguous]);
    for broken in [extension(1, b"\x91\x90"), extension(1, b"\x93\xdd\xff\xff\xff\xff"), extension(9, b"own")] {
        assert_eq!(troubles(&parse(&Msgpack, &map(&[("w", broken)]))), [Trouble::Undecodable]);
    }
}

#[test]
fn counts_beyond_the_file_nesting_and_keys_that_stand_twice_are_reported() {
    let counts = map(&[("w", b"\xdd\xff\xff\xff\xff".to_vec())]);
    assert_eq!(troubles(&parse(&Msgpack, &counts)), [Trouble::Undecodable]);
    let deep = map(&[("w", [vec![0x91; 100_000], vec![0xc0]].concat())]);
    assert_eq!(troubles(&parse(&Msgpack, &deep)), [Trouble::Limit]);
    // The second spells its length in another way.
    let twice = [&[0x82][..], b"\xa1a\xc0", b"\xd9\x01a\xc0"].concat();
    let parsed = parse(&Msgpack, &twice);
    assert_eq!((messages(&parsed).as_str(), hidden(&parsed, &twice).len()), ("Ambiguous: key `a` stands twice\n", 0));
    let limits = casemate_core::Limits { entries_max: 1, ..casemate_core::Limits::default() };
    assert_eq!(troubles(&parse_within(&Msgpack, &sample(), &limits)), [Trouble::Limit]);
}

#[test]
fn binary_values_are_looked_into_and_those_numpy_unpickles_are_loaded() {
    let roles = |entries: &[(&str, Vec<u8>)]| {
        let parsed = parse(&Msgpack, &map(entries));
        parsed.children.iter().map(|child| (content(child), child.role)).collect::<Vec<_>>()
    };
    let pickle = || binary(b"\x80\x04N.");
    assert_eq!(roles(&[("w", pickle())]), [(b"\x80\x04N.".to_vec(), Role::Inert)]);
    assert_eq!(roles(&[("data", pickle()), ("kind", binary(b"O"))]), [(b"\x80\x04N.".to_vec(), Role::Any)]);
    let parsed = parse(&Msgpack, &map(&[("w", map(&[("data", pickle()), ("kind", text("O"))]))]));
    assert_eq!(parsed.children.iter().map(|child| child.name.as_str()).collect::<Vec<_>>(), ["w/data"]);
    assert_eq!(roles(&[("kind", text("f")), ("data", pickle())]), [(b"\x80\x04N.".to_vec(), Role::Inert)]);
    assert_eq!(roles(&[("w", array(&[2], "uint8", b"MZ"))]), [(b"MZ".to_vec(), Role::RawData)]);
}

#[test]
fn other_bytes_are_not_taken_for_it() {
    assert_eq!(sniff(&Msgpack, b"{\"a\": 1}"), Sniff::No);
    // A text in Thaana, a pickle, a map without a word for a key that ends early.
    for other in ["ޝަބް ޝަބް".as_bytes(), b"\x80\x04N.", b"\x81\x01", b"\x81\xa1\x00\xdd\xff\xff\xff\xff", b"\x8f"]
    {
        assert!(parse(&Msgpack, other).claims.ranges().is_empty(), "{other:?}");
    }
    let appended = [&sample()[..], b"\x7fELF"].concat();
    let parsed = parse(&Msgpack, &appended);
    assert_eq!((messages(&parsed).as_str(), hidden(&parsed, &appended).len()), ("", 1));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x82\xa1a")) {
        assert_bounded(&Msgpack, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&Msgpack, &bytes);
    }
}
