//! HDF5 files built by hand with second-version headers, and files of h5py: sound ones, and each way to lead out of them.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, parse_within, sniff, troubles,
};
use crate::{ReferenceKind, TextKind};
use casemate_core::Limits;

/// The bytes of a golden sample.
fn golden(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

macro_rules! golden {
    ($name:literal) => {
        golden(include_str!(concat!("../../../../../testdata/artifact/", $name, ".hex")))
    };
}

const ROOT: u64 = 48;

fn message(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(data.len()).unwrap().to_le_bytes(), &[0], data].concat()
}

fn object(messages: &[Vec<u8>]) -> Vec<u8> {
    let body = messages.concat();
    let len = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&b"OHDR\x02\x02"[..], &len, &body, &[0; 4]].concat()
}

/// A file whose root has these messages; what follows starts where the root ends.
fn file(messages: &[Vec<u8>], rest: &[u8]) -> Vec<u8> {
    let root = object(messages);
    let end = ROOT + (root.len() + rest.len()) as u64;
    let addresses = [0, u64::MAX, end, ROOT].map(u64::to_le_bytes).concat();
    [SIGNATURE, &[2, 8, 8, 0], &addresses, &[0; 4], &root, rest].concat()
}

fn string_attribute(name: &str, text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap().to_le_bytes();
    let sizes = [u16::try_from(name.len() + 1).unwrap(), 8, 4].map(u16::to_le_bytes).concat();
    let datatype = [&[0x13, 0, 0, 0][..], &len].concat();
    message(
        0xc,
        &[&[3, 0][..], &sizes, &[0], name.as_bytes(), &[0], &datatype, &[2, 0, 0, 0], text.as_bytes()].concat(),
    )
}

fn external_link(target: &str) -> Vec<u8> {
    let value = [&[0][..], target.as_bytes(), b"\0/a\0"].concat();
    let len = u16::try_from(value.len()).unwrap().to_le_bytes();
    message(6, &[&[1, 8, 64, 1, b'x'][..], &len, &value].concat())
}

fn contiguous(address: u64, len: u64, elements: u64) -> [Vec<u8>; 3] {
    let space = [&[2, 1, 0, 1][..], &elements.to_le_bytes()].concat();
    let layout = [&[3, 1][..], &address.to_le_bytes(), &len.to_le_bytes()].concat();
    [message(1, &space), message(3, &[0x11, 0, 0, 0, 4, 0, 0, 0]), message(8, &layout)]
}

#[test]
fn files_of_h5py_are_claimed_whole() {
    for bytes in [
        golden!("keras-unsafe-layer/benign-keras2.h5"),
        golden!("path-escape/benign-links.h5"),
        golden!("bytes-unclaimed/benign-deep.weights.h5"),
    ] {
        assert_whole(&parse(&Hdf5, &bytes), &bytes);
        assert_eq!(sniff(&Hdf5, &bytes), Sniff::Certain);
    }
}

#[test]
fn attributes_and_datasets_are_handed_on_with_their_paths() {
    let parsed = parse(&Hdf5, &golden!("keras-unsafe-layer/benign-keras2.h5"));
    let has = |key: &str, text: &str| parsed.texts.iter().any(|t| t.key == key && t.text == text);
    assert!(has("keras_version", "2.15.0") && has("model_weights/layer_names", "dense"));
    assert!(
        parsed.serialized.iter().any(|s| s.class_name == "LSTM" && s.key.starts_with("model_config:config.layers[3]"))
    );
    let tensor = parsed.tensors.iter().find(|t| t.name == "model_weights/dense/dense/kernel:0").unwrap();
    assert_eq!((tensor.dtype.as_str(), tensor.shape.as_slice()), ("float32", &[8, 4][..]));
    assert_eq!(tensor.span.as_ref().map(|span| span.end - span.start), Some(128));
}

#[test]
fn fixed_texts_and_templates_in_attributes_are_seen() {
    let bytes = file(&[string_attribute("a", "{{ x }}"), string_attribute("model_config", "{\"a\": 1}")], &[]);
    let parsed = parse(&Hdf5, &bytes);
    assert_whole(&parsed, &bytes);
    let kinds: Vec<_> = parsed.texts.iter().map(|text| (text.key.as_str(), text.kind)).collect();
    assert_eq!(kinds, [("a", TextKind::Template), ("model_config", TextKind::Metadata)]);
}

#[test]
fn a_configuration_that_is_no_json_is_undecodable_and_other_braces_are_text() {
    assert_eq!(troubles(&parse(&Hdf5, &file(&[string_attribute("model_config", "{x")], &[]))), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Hdf5, &file(&[string_attribute("unit", "[kg]")], &[]))), []);
}

#[test]
fn every_way_into_another_file_is_a_reference() {
    for (bytes, target) in [
        (file(&[external_link("../x.h5")], &[]), "../x.h5"),
        (golden!("path-escape/hit-external-link.weights.h5"), "../other.h5"),
        (golden!("path-escape/hit-external-storage.h5"), "/etc/hostname"),
        (golden!("path-escape/hit-virtual.h5"), "/tmp/s0.h5"),
    ] {
        let parsed = parse(&Hdf5, &bytes);
        let first = parsed.references.first().unwrap_or_else(|| panic!("{target}: {}", messages(&parsed)));
        assert_eq!((first.kind, first.target.as_str()), (ReferenceKind::ExternalData, target));
    }
}

#[test]
fn data_that_is_longer_than_its_shape_is_ambiguous_and_past_the_end_undecodable() {
    let start = ROOT + object(&contiguous(0, 0, 2)).len() as u64;
    let sound = file(&contiguous(start, 8, 2), &[7; 8]);
    assert_whole(&parse(&Hdf5, &sound), &sound);
    let longer = file(&contiguous(start, 16, 2), &[7; 16]);
    let parsed = parse(&Hdf5, &longer);
    assert_eq!(troubles(&parsed), [Trouble::Ambiguous]);
    assert_eq!(hidden(&parsed, &longer).len(), 1);
    let past = file(&contiguous(start, 80, 20), &[7; 8]);
    assert_eq!(troubles(&parse(&Hdf5, &past)), [Trouble::Undecodable]);
    let huge = file(&contiguous(u64::MAX - 9, u64::MAX, u64::MAX), &[]);
    assert!(!parse(&Hdf5, &huge).malformed.is_empty());
}

#[test]
fn headers_of_any_length_are_undecodable_and_no_panic() {
    let mut bytes = file(&[], &[]);
    let at = bytes.windows(4).position(|four| four == b"OHDR").unwrap();
    bytes.truncate(at);
    // Eight bytes for the size of the first piece, all ones.
    bytes.extend([&b"OHDR\x02\x03"[..], &[0xff; 8], &[0; 64]].concat());
    assert!(!troubles(&parse(&Hdf5, &bytes)).is_empty());
}

#[test]
fn circles_end_where_they_began() {
    let continued = message(0x10, &[ROOT.to_le_bytes(), 30u64.to_le_bytes()].concat());
    assert_eq!(troubles(&parse(&Hdf5, &file(&[continued], &[]))), [Trouble::Ambiguous]);
    let link = [&[1, 0, 1, b'x'][..], &ROOT.to_le_bytes()].concat();
    let parsed = parse(&Hdf5, &file(&[message(6, &link)], &[]));
    assert_eq!(messages(&parsed), "");
}

#[test]
fn dense_groups_and_stored_messages_are_reported() {
    let dense = message(2, &[&[0, 0][..], &100u64.to_le_bytes(), &200u64.to_le_bytes()].concat());
    assert_eq!(troubles(&parse(&Hdf5, &file(&[dense], &[]))), [Trouble::Undecodable]);
    let mut shared = string_attribute("a", "b");
    shared[3] = 2;
    assert_eq!(troubles(&parse(&Hdf5, &file(&[shared], &[]))), [Trouble::Undecodable]);
}

#[test]
fn a_user_block_is_nobodys() {
    for at in [512usize, 1024, 2048] {
        let mut inner = file(&[], &[]);
        assert_eq!(troubles(&parse(&Hdf5, &[vec![1; at], inner.clone()].concat())), [Trouble::Ambiguous]);
        let end = (at + inner.len()) as u64;
        inner[12..20].copy_from_slice(&(at as u64).to_le_bytes());
        inner[28..36].copy_from_slice(&end.to_le_bytes());
        let bytes = [vec![1; at], inner].concat();
        let parsed = parse(&Hdf5, &bytes);
        assert_eq!(hidden(&parsed, &bytes).first(), Some(&(0..at as u64)));
        assert_eq!(messages(&parsed), "");
    }
    assert_eq!(sniff(&Hdf5, &[vec![1; 100], file(&[], &[])].concat()), Sniff::No);
}

#[test]
fn bytes_after_the_last_structure_stay_unclaimed() {
    let bytes = file(&[], b"\x80\x04\x95hidden");
    assert_eq!(hidden(&parse(&Hdf5, &bytes), &bytes).len(), 1);
}

#[test]
fn a_cut_file_and_unknown_versions_are_undecodable() {
    let bytes = file(&[], &[1; 9]);
    assert_eq!(troubles(&parse(&Hdf5, &bytes[..bytes.len() - 9])), [Trouble::Undecodable]);
    let mut unknown = file(&[], &[]);
    unknown[8] = 9;
    assert_eq!(troubles(&parse(&Hdf5, &unknown)), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Hdf5, SIGNATURE)), [Trouble::Undecodable]);
}

#[test]
fn more_structures_than_the_limit_are_not_read() {
    let limits = Limits { entries_max: 5, ..Limits::default() };
    let parsed = parse_within(&Hdf5, &golden!("path-escape/benign-links.h5"), &limits);
    assert_eq!(troubles(&parsed), [Trouble::Limit]);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(SIGNATURE)) {
        assert_bounded(&Hdf5, &bytes);
    }

    #[test]
    fn mutants_of_new_headers_are_parsed_within_limits(
        bytes in mutants(file(&[string_attribute("a", "{}"), external_link("x")], &[3; 20])),
    ) {
        assert_bounded(&Hdf5, &bytes);
    }

    #[test]
    fn mutants_of_symbol_tables_are_parsed_within_limits(bytes in mutants(golden!("path-escape/benign-links.h5"))) {
        assert_bounded(&Hdf5, &bytes);
    }

    #[test]
    fn mutants_of_external_storage_are_parsed_within_limits(
        bytes in mutants(golden!("path-escape/hit-external-storage.h5")),
    ) {
        assert_bounded(&Hdf5, &bytes);
    }
}
