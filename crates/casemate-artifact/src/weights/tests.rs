//! Tests of reading weights: numbers, digests, rows, storages, and what is left alone.

use std::sync::Arc;

use casemate_core::{Limits, MemorySource};
use proptest::prelude::*;

use super::*;
use crate::{Scan, Scanner};

/// Not SHA-256, but as good for telling two short texts apart.
#[derive(Default)]
struct Sum(Vec<u8>);

impl Hasher for Sum {
    fn update(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    fn finish(self: Box<Self>) -> Digest {
        let mut digest = [self.0.len().to_le_bytes()[0]; 32];
        for (i, byte) in self.0.iter().enumerate() {
            let slot = &mut digest[i % 32];
            *slot = slot.rotate_left(3) ^ byte;
        }
        Digest(digest)
    }
}

#[derive(Debug)]
struct Summing;

impl WeightReader for Summing {
    fn tensors(&self, source: &dyn Source, format: &str, tensors: &[Tensor]) -> io::Result<Vec<TensorSummary>> {
        tensors.iter().map(|tensor| summarize(source, format, tensor, self.hasher())).collect()
    }

    fn hasher(&self) -> Option<Box<dyn Hasher>> {
        Some(Box::new(Sum::default()))
    }
}

fn scan(name: &str, bytes: &[u8]) -> Scan {
    Scanner::new(Limits::default()).with_weights(&Summing).scan(name, Arc::new(MemorySource::new(bytes)))
}

fn summary(dtype: &str, shape: &[u64], bytes: &[u8]) -> TensorSummary {
    let tensor =
        Tensor { name: "w".into(), dtype: dtype.into(), shape: shape.to_vec(), span: Some(0..bytes.len() as u64) };
    summarize(&MemorySource::new(bytes), "safetensors", &tensor, None).unwrap()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn numbers_come_to_what_they_are() {
    let found = summary("F32", &[5], &floats(&[3.0, -4.0, 0.0, f32::NAN, f32::NEG_INFINITY])).statistics.unwrap();
    assert_eq!((found.count, found.nan, found.infinite), (5, 1, 1));
    assert_eq!((found.min, found.max, found.l2_norm), (Some(-4.0), Some(3.0), Some(5.0)));
    assert_eq!((found.mean, found.zero_fraction), (Some(-1.0 / 3.0), 0.2));
    let nothing = summary("F32", &[1], &floats(&[f32::NAN])).statistics.unwrap();
    assert_eq!((nothing.min, nothing.max, nothing.mean, nothing.l2_norm), (None, None, None, None));
    assert_eq!(summary("F32", &[0], &[]).statistics.unwrap(), Statistics::default());
    let huge: Vec<u8> = [1e300f64, 1e300].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(summary("F64", &[2], &huge).statistics.unwrap().l2_norm, None);
}

#[test]
fn every_type_reads_its_numbers() {
    let of = |dtype, bytes: &[u8]| summary(dtype, &[1], bytes).statistics.unwrap().max.unwrap();
    assert_eq!(of("F64", &2.5f64.to_le_bytes()), 2.5);
    assert_eq!(of("F16", &0x4100u16.to_le_bytes()), 2.5);
    assert_eq!(of("BF16", &0x4020u16.to_le_bytes()), 2.5);
    assert_eq!(of("F8_E4M3", &[0x42]), 2.5);
    assert_eq!(of("F8_E5M2", &[0x41]), 2.5);
    assert_eq!(of("I64", &(-7i64).to_le_bytes()), -7.0);
    assert_eq!(of("I32", &(-7i32).to_le_bytes()), -7.0);
    assert_eq!(of("I16", &(-7i16).to_le_bytes()), -7.0);
    assert_eq!(of("I8", &[0xf9]), -7.0);
    assert_eq!(of("U64", &7u64.to_le_bytes()), 7.0);
    assert_eq!(of("U32", &7u32.to_le_bytes()), 7.0);
    assert_eq!(of("U16", &7u16.to_le_bytes()), 7.0);
    assert_eq!(of("U8", &[7]), 7.0);
    assert_eq!(of("BOOL", &[1]), 1.0);
    assert_eq!(summary("F8_E4M3", &[1], &[0x7f]).statistics.unwrap().nan, 1);
}

#[test]
fn what_is_no_plain_number_or_has_the_wrong_size_is_only_digested() {
    assert_eq!(summary("C64", &[1], &[0; 8]).statistics, None);
    assert_eq!(summary("F32", &[3], &[0; 8]).statistics, None);
    assert_eq!(summary("F32", &[u64::MAX, u64::MAX], &[0; 8]).statistics, None);
    let cut = Tensor { name: "w".into(), dtype: "F32".into(), shape: vec![4], span: Some(0..16) };
    let error = summarize(&MemorySource::new([0u8; 8]), "safetensors", &cut, None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn rows_go_on_over_the_ends_of_chunks() {
    let (rows, len) = (10, 5001);
    let mut values = vec![0.5f32; rows * len];
    values[7 * len..8 * len].iter_mut().for_each(|x| *x = 4.0);
    let found = summary("F32", &[rows as u64, len as u64], &floats(&values));
    let outliers = found.outliers.unwrap();
    assert_eq!((outliers.count, outliers.rows[0].row), (1, 7));
    assert!((outliers.rows[0].norm - 4.0 * (len as f64).sqrt()).abs() < 1e-9);
    let exact = (45009.0f64 * 0.25 + 5001.0 * 16.0).sqrt();
    assert!((found.statistics.unwrap().l2_norm.unwrap() - exact).abs() < 1e-9);
}

#[test]
fn the_rest_is_what_no_tensor_covers() {
    let tensor = |span| Tensor { name: "w".into(), dtype: "U8".into(), shape: vec![], span: Some(span) };
    let of = |bytes: &[u8]| {
        let tensors = [tensor(4..6), tensor(2..5)];
        rest(&MemorySource::new(bytes), &tensors, Box::new(Sum::default())).unwrap()
    };
    assert_eq!(of(&[1, 1, 2, 3, 4, 5, 9]), of(&[1, 1, 8, 8, 8, 8, 9]));
    assert_ne!(of(&[1, 1, 2, 3, 4, 5, 9]), of(&[1, 1, 2, 3, 4, 5, 8]));
    assert_ne!(of(&[1, 1, 2, 3, 4, 5, 9]), of(&[1, 0, 2, 3, 4, 5, 9]));
}

#[test]
fn storages_of_torch_have_the_type_their_pickle_says() {
    let mut archive = Vec::new();
    let pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
                   X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR.";
    for (name, data) in
        [("m/data.pkl", &pickle[..]), ("m/data/0", &floats(&[3.0, 4.0])), ("m/data/1", &[7; 3]), ("m/version", b"3\n")]
    {
        archive.push((name, data.to_vec()));
    }
    let scan = scan("m.pt", &stored(&archive));
    assert_eq!(scan.format, "pytorch-zip", "{:?}", scan.findings);
    let tensors: Vec<_> = scan.weights.iter().flat_map(|object| &object.tensors).collect();
    assert_eq!(tensors.len(), 2);
    assert_eq!((tensors[0].name.as_str(), tensors[0].dtype.as_str()), ("0", "FloatStorage"));
    assert_eq!(tensors[0].statistics.as_ref().unwrap().l2_norm, Some(5.0));
    assert!(tensors[1].statistics.is_none() && tensors[1].sha256.is_some());
    assert!(scan.weights.iter().any(|object| object.member == "m/data.pkl" && object.rest.is_some()));
}

/// A zip of stored members.
fn stored(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let len = u32::try_from(data.len()).unwrap().to_le_bytes();
        let fields = [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5c][..], &crc.sum().to_le_bytes(), &len, &len].concat();
        let named = u16::try_from(name.len()).unwrap().to_le_bytes();
        let offset = u32::try_from(out.len()).unwrap().to_le_bytes();
        out.extend([&b"PK\x03\x04"[..], &fields, &named, &[0, 0], name.as_bytes(), data].concat());
        directory.extend([&b"PK\x01\x02\x14\x03"[..], &fields, &named, &[0; 12], &offset, name.as_bytes()].concat());
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let (size, start) = (u32::try_from(directory.len()).unwrap(), u32::try_from(out.len()).unwrap());
    out.extend(&directory);
    out.extend(
        [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat(),
    );
    out
}

#[test]
fn nothing_is_read_unless_asked_for() {
    let header = r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    let plain = Scanner::new(Limits::default()).scan("w.safetensors", Arc::new(MemorySource::new(bytes.clone())));
    assert!(plain.weights.is_empty());
    assert_eq!(scan("w.safetensors", &bytes).weights.len(), 1);
}

#[test]
fn planted_changes_are_found_and_a_reader_without_digests_finds_none() {
    let (planted, caught) = self_test(&Summing);
    assert_eq!((planted, caught), (5, 5));
    assert_eq!(self_test(&NumbersOnly).1, 0);
}

proptest! {
    #[test]
    fn sums_agree_with_those_made_one_by_one(values in prop::collection::vec(-1e3f32..1e3, 0..300), rows in 1usize..9) {
        let values = &values[..values.len() / rows * rows];
        let shape = [rows as u64, (values.len() / rows) as u64];
        let found = summary("F32", &shape, &floats(values)).statistics.unwrap();
        let sum: f64 = values.iter().map(|x| f64::from(*x)).sum();
        let squares: f64 = values.iter().map(|x| f64::from(*x).powi(2)).sum();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        prop_assert_eq!(found.count, values.len() as u64);
        if !values.is_empty() {
            prop_assert!(near(found.mean.unwrap() * values.len() as f64, sum));
            prop_assert!(near(found.l2_norm.unwrap(), squares.sqrt()));
            let greatest = values.iter().copied().fold(f32::MIN, f32::max);
            prop_assert_eq!(found.max.unwrap(), f64::from(greatest));
        }
    }

    #[test]
    fn any_tables_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0u64..300, len in 0u64..300) {
        for dtype in ["F32", "F16", "BF16", "F8_E5M2", "I64", "?"] {
            let span = start..start + len;
            let tensor = Tensor { name: "w".into(), dtype: dtype.into(), shape: vec![len / 4], span: Some(span.clone()) };
            let read = summarize(&MemorySource::new(bytes.clone()), "safetensors", &tensor, Some(Box::new(Sum::default())));
            prop_assert_eq!(read.is_ok(), span.end <= bytes.len() as u64 || len == 0);
        }
    }
}
