//! Files joblib 1.6 wrote (the fuzz seeds), and what an attacker makes of them.

use proptest::prelude::*;

use crate::formats::pickle::Pickle;
use crate::formats::testing::{assert_bounded, assert_whole, messages, mutants, parse, troubles};
use crate::{ReferenceKind, Trouble};

const ARRAYS: &[u8] = include_bytes!("../../../../../../fuzz/seeds/pickle/arrays.joblib");
const OBJECTS: &[u8] = include_bytes!("../../../../../../fuzz/seeds/pickle/objects.joblib");
const PROTOCOL_0: &[u8] = include_bytes!("../../../../../../fuzz/seeds/pickle/protocol-0.joblib");

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

#[test]
fn every_byte_of_what_joblib_writes_is_read() {
    for sample in [ARRAYS, OBJECTS, PROTOCOL_0] {
        let parsed = parse(&Pickle, sample);
        assert_whole(&parsed, sample);
        assert_eq!(parsed.refined, Some("joblib"));
    }
    assert_eq!(parse(&Pickle, OBJECTS).children.len(), 1, "the pickle of the objects");
}

#[test]
fn an_array_longer_than_the_file_is_undecodable() {
    let mut bytes = ARRAYS.to_vec();
    let shape = find(&bytes, b"K\x03K\x04\x86") + 1;
    bytes[shape] = 0xff;
    assert_eq!(troubles(&parse(&Pickle, &bytes)), [Trouble::Undecodable]);
}

#[test]
fn a_state_that_does_not_tell_the_length_ends_the_reading() {
    for (from, to) in [(&b"shape"[..], &b"shapf"[..]), (b"dtype", b"dtypf"), (b"\x8c\x02f8", b"\x8c\x02q8")] {
        let mut bytes = ARRAYS.to_vec();
        let at = find(&bytes, from);
        bytes[at..at + from.len()].copy_from_slice(to);
        assert!(messages(&parse(&Pickle, &bytes)).contains("Undecodable"), "{from:?}");
    }
}

#[test]
fn padding_that_says_something_is_reported() {
    let mut bytes = ARRAYS.to_vec();
    let at = find(&bytes, b"\xff\xff\xff\xff\xff");
    bytes[at + 1] = b'!';
    assert_eq!(troubles(&parse(&Pickle, &bytes)), [Trouble::Ambiguous]);
}

#[test]
fn opcodes_in_the_bytes_of_an_array_are_judged_as_an_ordinary_reader_would_run_them() {
    // Without alignment the first byte of the array is the next opcode.
    let state = b"}(\x8c\x08subclassN\x8c\x05shapeK\x18\x85\x8c\x05order\x8c\x01C\x8c\x05dtype";
    let dtype = b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02u1\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb";
    let wrapper = b"\x80\x04\x8c\x13joblib.numpy_pickle\x8c\x11NumpyArrayWrapper\x93)\x81";
    let array: &[u8; 24] = b"cos\nsystem\n(\x8c\x04echotR....";
    let bytes = [&wrapper[..], state, dtype, b"ub", array, b"."].concat();
    let parsed = parse(&Pickle, &bytes);
    assert_eq!(troubles(&parsed), [Trouble::Ambiguous], "{}", messages(&parsed));
    let quiet = [&wrapper[..], state, dtype, b"ub", &[0; 24], b"."].concat();
    assert_whole(&parse(&Pickle, &quiet), &quiet);
    // A key set through the memo, which the dictionary on the stack does not show.
    let alias = [&b"}\x94h\0\x8c\x1bnumpy_array_alignment_bytesK\x10s0"[..], &state[1..]].concat();
    let bytes = [&wrapper[..], &alias, dtype, b"ub", &[0; 24], b"."].concat();
    assert_eq!(troubles(&parse(&Pickle, &bytes)), [Trouble::Undecodable]);
}

#[test]
fn an_old_array_refers_to_another_file() {
    let bytes =
        b"\x80\x04\x8c\x13joblib.numpy_pickle\x8c\x0eNDArrayWrapper\x93)\x81}\x8c\x08filename\x8c\x09../../x.ysb.";
    let parsed = parse(&Pickle, bytes);
    assert_eq!(messages(&parsed), "");
    assert_eq!(parsed.references[0].kind, ReferenceKind::ExternalData);
    assert_eq!(parsed.references[0].target, "../../x.y");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn parsing_returns_on_mutants(bytes in prop_oneof![mutants(ARRAYS.to_vec()), mutants(OBJECTS.to_vec()), mutants(PROTOCOL_0.to_vec())]) {
        assert_bounded(&Pickle, &bytes);
    }
}
