//! Tensors: dimensions against bytes, and data in other files.

use std::ops::Range;

use super::{Cursor, Field, Reader, Value, schema};
use crate::formats::reading::quote;
use crate::{Reference, ReferenceKind, Tensor};

/// Dimensions listed of one tensor; more than any runtime supports.
const DIMS_MAX: usize = 256;

/// A tensor as its message says.
#[derive(Default)]
struct Message {
    name: String,
    dims: Vec<u64>,
    kind: u64,
    raw: Option<Range<u64>>,
    external: Vec<Range<u64>>,
    is_external: bool,
    bad_dims: bool,
}

impl Reader<'_, '_> {
    /// Walks a tensor; `fallback` names it where it has no name of its own.
    pub(super) fn tensor(&mut self, range: Range<u64>, fallback: &str) {
        let (start, mut cursor, mut message) = (range.start, Cursor::new(range), Message::default());
        while let Some(field) = self.next(&mut cursor, &schema::TENSOR) {
            self.tensor_field(field, &mut message);
        }
        if message.name.is_empty() {
            message.name = fallback.into();
        }
        let name = quote(&message.name);
        if message.bad_dims {
            self.ambiguous(start, format!("tensor {name} has a negative dimension, or more than {DIMS_MAX}"));
        }
        if let Some(raw) = message.raw.as_ref().filter(|_| !message.bad_dims) {
            let (len, expected) = (raw.end - raw.start, raw_bytes(&message.dims, message.kind));
            if message.is_external && len > 0 {
                self.ambiguous(raw.start, format!("tensor {name} has its data both here and in another file"));
            } else if !message.is_external && expected != Some(len) {
                let expected = expected.map_or("no number of".into(), |n| n.to_string());
                self.ambiguous(
                    raw.start,
                    format!("tensor {name} has {len} raw bytes, its shape and type make {expected}"),
                );
            }
        }
        let external = std::mem::take(&mut message.external);
        if external.is_empty() && message.is_external {
            self.ambiguous(start, format!("tensor {name} lies in another file that is not named"));
        } else if !external.is_empty() {
            self.external(external, &message.name, start);
        }
        if self.admit(message.name.len() + 8 * message.dims.len(), start) {
            let dtype = type_of(message.kind).map_or(format!("type {}", message.kind), |(word, _)| word.into());
            self.parsed.tensors.push(Tensor { name: message.name, dtype, shape: message.dims, span: message.raw });
        }
    }

    fn tensor_field(&mut self, field: Field, message: &mut Message) {
        match (field.number, field.value) {
            (1, Value::Varint(dim)) => push_dim(message, dim),
            (1, Value::Bytes(range)) => {
                let mut packed = Cursor::new(range.clone());
                while packed.at < range.end && !message.bad_dims {
                    match packed.varint(&mut self.window) {
                        Ok(dim) => push_dim(message, dim),
                        Err(malformed) => return self.report(malformed),
                    }
                }
            }
            (2, Value::Varint(kind)) => message.kind = kind,
            (8, Value::Bytes(range)) => message.name = self.text(range),
            (9, Value::Bytes(range)) => {
                let twice = message.raw.replace(range).is_some();
                self.ambiguous_if(twice, field.offset, "a tensor has its raw data twice");
            }
            // A writer needs three; a thousand are somebody's game.
            (13, Value::Bytes(range)) if message.external.len() < 1000 => message.external.push(range),
            (13, _) => self.ambiguous(field.offset, "a tensor has more than 1000 entries of external data"),
            (14, Value::Varint(location)) => message.is_external = location == 1,
            _ => {}
        }
    }

    /// Lists every location; checks that offset and length are counts.
    fn external(&mut self, entries: Vec<Range<u64>>, from: &str, start: u64) {
        let (name, mut locations) = (quote(from), 0);
        for entry in entries {
            let (offset, (key, value)) = (entry.start, self.entry(entry));
            let value = value.unwrap_or_default();
            match key.as_deref() {
                Some("location") => {
                    locations += 1;
                    if self.admit(from.len() + value.len(), offset) {
                        let kind = ReferenceKind::ExternalData;
                        self.parsed.references.push(Reference {
                            kind,
                            target: value,
                            from: from.into(),
                            offset: Some(offset),
                        });
                    }
                }
                Some(key @ ("offset" | "length")) if value.parse::<u64>().is_err() => {
                    self.ambiguous(
                        offset,
                        format!("external {key} of tensor {name} is {}, not a count", quote(&value)),
                    );
                }
                _ => {}
            }
        }
        if locations != 1 {
            self.ambiguous(start, format!("external data of tensor {name} has {locations} locations"));
        }
    }
}

fn push_dim(message: &mut Message, dim: u64) {
    message.bad_dims |= i64::try_from(dim).is_err() || message.dims.len() >= DIMS_MAX;
    if !message.bad_dims {
        message.dims.push(dim);
    }
}

/// Bytes of raw data; `None` where the number overflows or the type has no raw form.
fn raw_bytes(dims: &[u64], kind: u64) -> Option<u64> {
    let (_, bits) = type_of(kind)?;
    let elements = dims.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    // Types below a byte fill the last one up.
    elements.checked_mul(bits?).map(|bits| bits.div_ceil(8))
}

/// Word and bits of a `TensorProto.DataType`; texts have no fixed size.
fn type_of(kind: u64) -> Option<(&'static str, Option<u64>)> {
    Some(match kind {
        1 => ("FLOAT", Some(32)),
        2 => ("UINT8", Some(8)),
        3 => ("INT8", Some(8)),
        4 => ("UINT16", Some(16)),
        5 => ("INT16", Some(16)),
        6 => ("INT32", Some(32)),
        7 => ("INT64", Some(64)),
        8 => ("STRING", None),
        9 => ("BOOL", Some(8)),
        10 => ("FLOAT16", Some(16)),
        11 => ("DOUBLE", Some(64)),
        12 => ("UINT32", Some(32)),
        13 => ("UINT64", Some(64)),
        14 => ("COMPLEX64", Some(64)),
        15 => ("COMPLEX128", Some(128)),
        16 => ("BFLOAT16", Some(16)),
        17 => ("FLOAT8E4M3FN", Some(8)),
        18 => ("FLOAT8E4M3FNUZ", Some(8)),
        19 => ("FLOAT8E5M2", Some(8)),
        20 => ("FLOAT8E5M2FNUZ", Some(8)),
        21 => ("UINT4", Some(4)),
        22 => ("INT4", Some(4)),
        23 => ("FLOAT4E2M1", Some(4)),
        24 => ("FLOAT8E8M0", Some(8)),
        25 => ("UINT2", Some(2)),
        26 => ("INT2", Some(2)),
        _ => return None,
    })
}
