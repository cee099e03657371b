//! MXNet parameters (`.params`): a list of arrays, dense or sparse, and their names.
//!
//! Walked so that every byte is an array's or is reported; the graph stands beside it as JSON. Arrays of all three versions
//! of the format are read, for a list may mix them.
//!
//! Source: `NDArray::Save`, `NDArray::Load` and `LegacyTShapeLoad` in `src/ndarray/ndarray.cc` of MXNet 1.9.

use std::collections::HashSet;
use std::sync::Arc;

use casemate_core::RangeSource;

use super::fields::Fields;
use super::reading::{Allowance, quote};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Parsed, Probe, Role, Tensor, Trouble};

/// Reads lists of arrays.
pub(crate) struct Mxnet;

/// What a list begins with: its magic number, and eight bytes kept for later.
const MAGIC: &[u8; 16] = b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const ARRAY_V1: u32 = 0xf993_fac8;
const ARRAY_V2: u32 = 0xf993_fac9;
const ARRAY_V3: u32 = 0xf993_faca;
const DIMS_MAX: u32 = 64;
const NAME_BYTES_MAX: u64 = 1 << 12;

impl Format for Mxnet {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "mxnet", title: "MXNet parameters", extensions: &["params"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(MAGIC) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut list = List {
            object,
            fields: Fields::new(&**object.source),
            allowance: Allowance::new(),
            parsed: Parsed::default(),
        };
        let ended = list.read();
        list.parsed.claims.add(0..list.fields.at);
        ended.unwrap_or_else(|malformed| list.parsed.report(object.limits, malformed));
        list.parsed
    }
}

struct List<'a> {
    object: &'a Object<'a>,
    fields: Fields<'a>,
    allowance: Allowance,
    parsed: Parsed,
}

impl List<'_> {
    fn read(&mut self) -> Result<(), Malformed> {
        self.fields.skip(MAGIC.len() as u64)?;
        let count = self.count(4)?;
        for _ in 0..count {
            self.array()?;
        }
        let (start, names) = (self.fields.at, self.count(8)?);
        if names != 0 && names != count {
            self.ambiguous(start, format!("{count} arrays have {names} names"));
        }
        let mut seen = HashSet::new();
        for n in 0..names {
            let (at, len) = (self.fields.at, u64::from_le_bytes(self.fields.array()?));
            if len > NAME_BYTES_MAX.min(self.fields.left()) {
                return Err(Malformed::new(Trouble::Undecodable, at, format!("a name of {len} bytes")));
            }
            let name = String::from_utf8_lossy(self.fields.bytes(len)?).into_owned();
            if !self.allowance.take(2 * name.len()) {
                return Err(Malformed::new(Trouble::Limit, at, "more names than can be listed"));
            }
            if let Some(tensor) = usize::try_from(n).ok().and_then(|n| self.parsed.tensors.get_mut(n)) {
                tensor.name.clone_from(&name);
            }
            if let Some(name) = seen.replace(name) {
                self.ambiguous(at, format!("two arrays are called {}", quote(&name)));
            }
        }
        Ok(())
    }

    fn array(&mut self) -> Result<(), Malformed> {
        let at = self.fields.at;
        let magic = self.u32()?;
        let version = match magic {
            ARRAY_V3 => 3,
            ARRAY_V2 => 2,
            ARRAY_V1 => 1,
            _ => 0,
        };
        let indexes = if version < 2 { 0 } else { self.storage()? };
        let stored = if indexes > 0 { Some(self.shape(version)?) } else { None };
        let shape = match version {
            // The oldest form has no magic number: what stands in its place is the number of dimensions.
            0 => (0..dimensions(magic, at)?)
                .map(|_| self.u32().map(u64::from))
                .collect::<Result<Vec<_>, _>>()
                .map(Some)?,
            _ => self.shape(version)?,
        };
        let nothing = shape.as_ref().is_none_or(|shape| shape.is_empty() && version < 3);
        let mut tensor = Tensor { name: format!("@{at}"), dtype: "none".into(), shape: Vec::new(), span: None };
        if !nothing {
            // The device it was on.
            self.fields.skip(8)?;
            tensor.dtype = dtype(self.u32()?).map(|(name, _)| name).unwrap_or_default().into();
            let width = dtype_of(&tensor.dtype).ok_or_else(|| self.fields.broken("an array of unknown type"))?;
            let mut sizes = vec![(width, stored.flatten().or(shape.clone()).unwrap_or_default())];
            let mut aside = Vec::new();
            for _ in 0..indexes {
                let (_, width) = dtype(self.u32()?).ok_or_else(|| self.fields.broken("an index of unknown type"))?;
                aside.push((width, self.shape(version)?.unwrap_or_default()));
            }
            sizes.extend(aside);
            tensor.shape = shape.unwrap_or_default();
            let start = self.fields.at;
            for (n, (width, dims)) in sizes.iter().enumerate() {
                let bytes = dims.iter().try_fold(*width, |bytes, dim| bytes.checked_mul(*dim));
                self.fields.skip(bytes.ok_or_else(|| self.fields.broken("a shape that makes no size"))?)?;
                if n == 0 {
                    tensor.span = Some(start..self.fields.at);
                }
            }
        }
        self.keep(tensor, at)
    }

    fn keep(&mut self, tensor: Tensor, at: u64) -> Result<(), Malformed> {
        let room = (self.parsed.tensors.len() as u64) < self.object.limits.entries_max;
        if !room || !self.allowance.take(8 * tensor.shape.len()) {
            return Err(Malformed::new(Trouble::Limit, at, "more arrays than can be listed"));
        }
        // Programs hide in arrays of bytes.
        if let Some(span) = tensor.span.clone().filter(|_| matches!(tensor.dtype.as_str(), "uint8" | "int8")) {
            self.object.budget.member(self.object.limits)?;
            let source = RangeSource::new(Arc::clone(self.object.source), span.start, span.end - span.start);
            let (name, source) = (tensor.name.clone(), Arc::new(source));
            self.parsed.children.push(Child { name, source, role: Role::RawData });
        }
        self.parsed.tensors.push(tensor);
        Ok(())
    }

    /// How many arrays of indexes come with the way an array is stored.
    fn storage(&mut self) -> Result<u32, Malformed> {
        match self.u32()? {
            0 => Ok(0),
            1 => Ok(1),
            2 => Ok(2),
            other => Err(self.fields.broken(format!("an array is stored in the unknown way {other}"))),
        }
    }

    /// The shape of a later version; `None` where it is not known.
    fn shape(&mut self, version: u8) -> Result<Option<Vec<u64>>, Malformed> {
        let (at, dims) = (self.fields.at, self.u32()?);
        if version == 3 && dims == u32::MAX {
            return Ok(None);
        }
        let dims = (0..dimensions(dims, at)?).map(|_| self.fields.array().map(u64::from_le_bytes));
        dims.collect::<Result<Vec<_>, _>>().map(Some)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.fields.array().map(u32::from_le_bytes)
    }

    /// A count of things of at least `each` bytes.
    fn count(&mut self, each: u64) -> Result<u64, Malformed> {
        let n = u64::from_le_bytes(self.fields.array()?);
        match n.checked_mul(each).is_some_and(|bytes| bytes <= self.fields.left()) {
            true => Ok(n),
            false => {
                Err(self.fields.broken(format!("{n} entries are announced, {} bytes are left", self.fields.left())))
            }
        }
    }

    fn ambiguous(&mut self, at: u64, what: String) {
        self.parsed.report(self.object.limits, Malformed::new(Trouble::Ambiguous, at, what));
    }
}

fn dimensions(dims: u32, at: u64) -> Result<u32, Malformed> {
    match dims <= DIMS_MAX {
        true => Ok(dims),
        false => Err(Malformed::new(Trouble::Undecodable, at, format!("an array of {dims} dimensions"))),
    }
}

/// MXNet's types of elements, in the order of their numbers.
const DTYPES: [(&str, u64); 13] = [
    ("float32", 4),
    ("float64", 8),
    ("float16", 2),
    ("uint8", 1),
    ("int32", 4),
    ("int8", 1),
    ("int64", 8),
    ("bool", 1),
    ("int16", 2),
    ("uint16", 2),
    ("uint32", 4),
    ("uint64", 8),
    ("bfloat16", 2),
];

fn dtype(number: u32) -> Option<(&'static str, u64)> {
    DTYPES.get(usize::try_from(number).ok()?).copied()
}

fn dtype_of(name: &str) -> Option<u64> {
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, width)| *width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, sniff};
    use crate::formats::testing::{parse_within, troubles};

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn longs(longs: &[u64]) -> Vec<u8> {
        longs.iter().flat_map(|long| long.to_le_bytes()).collect()
    }

    fn list(arrays: &[Vec<u8>], names: &[&str]) -> Vec<u8> {
        let (count, n_names) = (longs(&[arrays.len() as u64]), longs(&[names.len() as u64]));
        let names = names.iter().flat_map(|name| [&longs(&[name.len() as u64])[..], name.as_bytes()].concat());
        [MAGIC.to_vec(), count, arrays.concat(), n_names, names.collect()].concat()
    }

    /// A dense array of the second version.
    fn dense(dims: &[u64], dtype: u32, bytes: &[u8]) -> Vec<u8> {
        let shape = [words(&[u32::try_from(dims.len()).unwrap()]), longs(dims)].concat();
        [words(&[ARRAY_V2, 0]), shape, words(&[1, 0, dtype]), bytes.to_vec()].concat()
    }

    fn sample() -> Vec<u8> {
        list(&[dense(&[2, 1], 0, &[1; 8])], &["arg:fc1_weight"])
    }

    #[test]
    fn lists_of_arrays_are_read_whole() {
        assert_eq!(sniff(&Mxnet, &sample()), Sniff::Certain);
        let parsed = parse(&Mxnet, &sample());
        assert_whole(&parsed, &sample());
        let tensor = &parsed.tensors[0];
        assert_eq!(
            (tensor.name.as_str(), tensor.dtype.as_str(), tensor.shape.as_slice()),
            ("arg:fc1_weight", "float32", &[2, 1][..])
        );
    }

    #[test]
    fn every_version_and_storage_of_arrays_is_read() {
        let oldest = [words(&[1, 3, 1, 0, 3]), vec![1; 3]].concat();
        let first = [words(&[ARRAY_V1, 1]), longs(&[2]), words(&[1, 0, 2]), vec![1; 4]].concat();
        let unknown = words(&[ARRAY_V3, 0, u32::MAX]);
        let scalar = [words(&[ARRAY_V3, 0, 0, 1, 0, 0]), vec![1; 4]].concat();
        let none = words(&[ARRAY_V2, 0, 0]);
        // Two of five rows, and which two.
        let rows = [words(&[ARRAY_V2, 1, 2]), longs(&[2, 3]), words(&[2]), longs(&[5, 3]), words(&[1, 0, 0, 6, 1])];
        let rows = [rows.concat(), longs(&[2]), vec![1; 24], longs(&[0, 4])].concat();
        let bytes = list(&[oldest, first, unknown, scalar, none, rows], &[]);
        let parsed = parse(&Mxnet, &bytes);
        assert_whole(&parsed, &bytes);
        let spans = parsed.tensors.iter().map(|t| t.span.as_ref().map_or(0, |span| span.end - span.start));
        assert_eq!(spans.collect::<Vec<_>>(), [3, 4, 0, 4, 0, 24]);
        assert_eq!(parsed.children.len(), 1);
    }

    #[test]
    fn counts_shapes_and_types_that_make_no_sense_are_reported() {
        for broken in [
            [MAGIC.to_vec(), longs(&[u64::MAX])].concat(),
            list(&[dense(&[1 << 40, 1 << 40], 0, b"")], &[]),
            list(&[dense(&[4], 0, &[0; 8])], &[]),
            list(&[dense(&[1], 99, &[0; 8])], &[]),
            list(&[words(&[ARRAY_V2, 7])], &[]),
            list(&[words(&[65])], &[]),
            MAGIC.to_vec(),
        ] {
            assert_eq!(troubles(&parse(&Mxnet, &broken)), [Trouble::Undecodable], "{broken:?}");
        }
        let twice = list(&[dense(&[1], 3, b"a"), dense(&[1], 3, b"b")], &["w", "w"]);
        assert_eq!(messages(&parse(&Mxnet, &twice)), "Ambiguous: two arrays are called `w`\n");
        let unnamed = list(&[dense(&[1], 3, b"a"), dense(&[1], 3, b"b")], &["w"]);
        assert_eq!(troubles(&parse(&Mxnet, &unnamed)), [Trouble::Ambiguous]);
        let appended = [&sample()[..], b"\x7fELF"].concat();
        assert_eq!(hidden(&parse(&Mxnet, &appended), &appended).len(), 1);
        let limits = casemate_core::Limits { entries_max: 1, ..casemate_core::Limits::default() };
        let two = list(&[dense(&[1], 0, &[0; 4]), dense(&[1], 0, &[0; 4])], &[]);
        assert_eq!(troubles(&parse_within(&Mxnet, &two, &limits)), [Trouble::Limit]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(MAGIC)) {
            assert_bounded(&Mxnet, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
            assert_bounded(&Mxnet, &bytes);
        }
    }
}
