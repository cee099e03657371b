//! Arrays of every header version, object arrays, and headers that lie.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, content, hidden, mutants, parse, sniff, troubles,
};

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\0", &u16::try_from(header.len()).unwrap().to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn array(descr: &str, shape: &str, data: usize) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}   \n");
    file(&header, &vec![1; data])
}

#[test]
fn sound_arrays_are_claimed_whole() {
    for (descr, shape, data) in [
        ("'<f4'", "(2, 3)", 24),
        ("'|u1'", "()", 1),
        ("'<U2'", "(3L,)", 24),
        ("'<M8[ns]'", "(2,)", 16),
        ("[('a', '<i2'), (('title', 'b'), '|S3', (2,)), ('c', [('d', '>f8')])]", "(2,)", 32),
        ("('<i2', (3,))", "(2,)", 12),
        ("'|V0'", "(5,)", 0),
    ] {
        let bytes = array(descr, shape, data);
        assert_whole(&parse(&Npy, &bytes), &bytes);
        assert_eq!(sniff(&Npy, &bytes), Sniff::Certain);
    }
    let version_1 = array("'<f4'", "(2,)", 8);
    let version_2 = [b"\x93NUMPY\x02\0", &version_1[8..10], &[0, 0], &version_1[10..]].concat();
    assert_whole(&parse(&Npy, &version_2), &version_2);
}

#[test]
fn objects_become_a_child() {
    for descr in ["'|O'", "'|O8'", "[('a', '<i4'), ('b', [('c', '|O')])]"] {
        let bytes = array(descr, "(1,)", 7);
        let parsed = parse(&Npy, &bytes);
        assert_whole(&parsed, &bytes);
        assert_eq!((parsed.children[0].name.as_str(), content(&parsed.children[0]).len()), ("objects.pkl", 7));
    }
}

#[test]
fn lying_sizes_are_ambiguous_and_tails_stay_unclaimed() {
    assert_eq!(troubles(&parse(&Npy, &array("'<f4'", "(2,)", 7))), [Trouble::Ambiguous]);
    let overflow = array("'<f8'", "(4294967296, 4294967296)", 8);
    assert_eq!(troubles(&parse(&Npy, &overflow)), [Trouble::Ambiguous]);
    let long = array("'<f4'", "(2,)", 9);
    assert_eq!(hidden(&parse(&Npy, &long), &long).len(), 1);
}

#[test]
fn headers_that_lie_or_are_none_are_reported() {
    let huge = b"\x93NUMPY\x02\0\xff\xff\xff\x7f{'descr'";
    assert_eq!(troubles(&parse(&Npy, huge)), [Trouble::Undecodable]);
    let long = [b"\x93NUMPY\x02\0\0\0\x20\0".to_vec(), vec![b' '; 1 << 21]].concat();
    assert_eq!(troubles(&parse(&Npy, &long)), [Trouble::Limit]);
    for header in [
        "",
        "[1]",
        "{'descr': '<f4', 'shape': (1,)}",
        "{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + 1",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4' 'fortran_order': False}",
    ] {
        assert_eq!(troubles(&parse(&Npy, &file(header, &[]))), [Trouble::Undecodable], "{header}");
    }
    assert_eq!(troubles(&parse(&Npy, &file(&"(".repeat(60_000), &[]))), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Npy, b"\x93NUMPY\x04\0\0\0")), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Npy, b"\x93NUMPY")), [Trouble::Undecodable]);
}

#[test]
fn keys_that_stand_twice_or_are_unknown_are_ambiguous() {
    for header in [
        "{'descr': '|O', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}",
        "{'descr': '|u1', 'fortran_order': 1, 'shape': (1,)}",
    ] {
        assert_eq!(troubles(&parse(&Npy, &file(header, &[1]))), [Trouble::Ambiguous], "{header}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x93NUMPY\x01\0\x40\0{'descr': ")) {
        assert_bounded(&Npy, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(array("[('a', '<i2'), ('b', '|S3', (2,))]", "(2, 2)", 32))) {
        assert_bounded(&Npy, &bytes);
    }
}
