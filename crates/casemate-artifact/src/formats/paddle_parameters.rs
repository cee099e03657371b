//! PaddlePaddle's `.pdiparams`: tensors one behind the other, each with its version, levels of detail and description.
//!
//! Walked so that every byte is a tensor's or is reported; there is nothing in it that could run.
//!
//! Source: `SerializeToStream` in `paddle/fluid/framework/lod_tensor.cc` and `tensor_util.cc`, PaddlePaddle 2.6.

use casemate_core::{MemorySource, Window};

use super::protobuf::{Cursor, Value};
use super::reading::{Allowance, u32_le, u64_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Tensor, Trouble};

/// Reads combined parameters.
pub(crate) struct PaddleParameters;

impl Format for PaddleParameters {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "paddle-parameters",
            title: "PaddlePaddle parameters",
            extensions: &["pdiparams"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let source = MemorySource::new(probe.head.as_slice());
        let first = tensor(&mut Window::new(&source), 0, probe.size_bytes);
        // Two versions, no levels, and a description that fits: 20 bytes of structure.
        match probe.starts_with(&[0; 16]) && first.is_ok_and(|tensor| !tensor.shape.is_empty()) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let (mut window, mut at) = (Window::new(&**object.source), 0);
        let (size, mut allowance) = (object.source.size_bytes(), Allowance::new());
        while at < size {
            let tensor = match tensor(&mut window, at, size) {
                Ok(tensor) => tensor,
                Err(malformed) => {
                    parsed.report(object.limits, malformed);
                    break;
                }
            };
            let end = tensor.span.as_ref().map_or(size, |span| span.end);
            parsed.claims.add(at..end);
            let room = (parsed.tensors.len() as u64) < object.limits.entries_max;
            if !room || !allowance.take(8 * tensor.shape.len()) {
                parsed.report(object.limits, Malformed::new(Trouble::Limit, at, "more tensors than can be listed"));
                break;
            }
            parsed.tensors.push(tensor);
            at = end;
        }
        parsed
    }
}

/// The tensor whose header begins at `at`.
fn tensor(window: &mut Window<'_>, at: u64, size: u64) -> Result<Tensor, Malformed> {
    const LEVELS_MAX: u64 = 64;
    const DESCRIPTION_BYTES_MAX: u64 = 4096;
    let broken = |what: &str| Malformed::new(Trouble::Undecodable, at, what);
    let mut get = |at: u64, len: u64| -> Result<Vec<u8>, Malformed> {
        let bytes = window.get(at, len).map_err(|error| unreadable(&error, at))?;
        bytes.map(<[u8]>::to_vec).ok_or_else(|| broken("a tensor's header ends past the end of the file"))
    };
    let head = get(at, 12)?;
    let levels = u64_le(&head, 4).unwrap_or(u64::MAX);
    if u32_le(&head, 0) != Some(0) || levels > LEVELS_MAX {
        return Err(broken("no tensor begins here"));
    }
    let mut next = at + 12;
    for _ in 0..levels {
        let len = u64_le(&get(next, 8)?, 0).unwrap_or(u64::MAX);
        let end = next.checked_add(8).and_then(|next| next.checked_add(len)).filter(|end| *end <= size);
        next = end.ok_or_else(|| broken("a level of detail ends past the end of the file"))?;
    }
    let head = get(next, 8)?;
    let len = u64::from(u32_le(&head, 4).unwrap_or(u32::MAX));
    if u32_le(&head, 0) != Some(0) || len > DESCRIPTION_BYTES_MAX {
        return Err(broken("a tensor has no sound description"));
    }
    let description = get(next + 8, len)?;
    let (dtype, shape) = described(&description).ok_or_else(|| broken("a tensor has no sound description"))?;
    let bytes = shape.iter().try_fold(width(dtype).unwrap_or(0), |bytes, dim| bytes.checked_mul(*dim));
    let start = next + 8 + len;
    let end = bytes.filter(|_| width(dtype).is_some()).and_then(|bytes| start.checked_add(bytes));
    let end = end.filter(|end| *end <= size).ok_or_else(|| broken("a tensor ends past the end of the file"))?;
    Ok(Tensor { name: format!("@{at}"), dtype: dtype.to_string(), shape, span: Some(start..end) })
}

/// Type and dimensions of a `TensorDesc`.
fn described(description: &[u8]) -> Option<(u64, Vec<u64>)> {
    let source = MemorySource::new(description);
    let (mut window, mut cursor) = (Window::new(&source), Cursor::new(0..description.len() as u64));
    let (mut dtype, mut shape) = (None, Vec::new());
    while let Some(field) = cursor.next(&mut window) {
        match field.ok().map(|field| (field.number, field.value))? {
            (1, Value::Varint(n)) => dtype = Some(n),
            (2, Value::Varint(n)) => shape.push(n),
            (2, Value::Bytes(range)) => {
                let mut packed = Cursor::new(range.clone());
                while packed.at < range.end {
                    shape.push(packed.varint(&mut window).ok()?);
                }
            }
            _ => return None,
        }
    }
    dtype.map(|dtype| (dtype, shape))
}

/// Bytes of one element of `VarType.Type`.
fn width(dtype: u64) -> Option<u64> {
    Some(match dtype {
        0 | 20 | 21 => 1,
        1 | 4 | 22 => 2,
        2 | 5 => 4,
        3 | 6 | 23 => 8,
        24 => 16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

    fn one(dim: u8, len: usize) -> Vec<u8> {
        [&[0; 16][..], &[4, 0, 0, 0, 8, 5, 16, dim], &vec![1; len]].concat()
    }

    #[test]
    fn sound_parameters_are_claimed_whole() {
        let sample = [one(2, 8), one(1, 4)].concat();
        assert_eq!(sniff(&PaddleParameters, &sample), Sniff::Certain);
        let parsed = parse(&PaddleParameters, &sample);
        assert_whole(&parsed, &sample);
        assert_eq!((parsed.tensors[1].shape.as_slice(), parsed.tensors[1].span.clone()), (&[1][..], Some(56..60)));
        assert_eq!(sniff(&PaddleParameters, &[0; 64]), Sniff::No);
    }

    #[test]
    fn tensors_that_do_not_fit_and_appended_bytes_are_undecodable() {
        assert_eq!(troubles(&parse(&PaddleParameters, &one(100, 8))), [Trouble::Undecodable]);
        let appended = [&one(2, 8)[..], b"\x7fELF and more bytes"].concat();
        let parsed = parse(&PaddleParameters, &appended);
        assert_eq!((troubles(&parsed), hidden(&parsed, &appended).len()), (vec![Trouble::Undecodable], 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0])) {
            assert_bounded(&PaddleParameters, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants([one(2, 8), one(1, 4)].concat())) {
            assert_bounded(&PaddleParameters, &bytes);
        }
    }
}
