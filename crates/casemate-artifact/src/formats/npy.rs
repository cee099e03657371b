//! NumPy arrays: a header that is a Python literal, then the elements.
//!
//! Elements of type object are a pickle: it becomes a child. Answers lying lengths (a header of 2 GiB, a shape whose
//! product overflows, CVE-2019-6446 for the pickle) and bytes after the last element, which stay unclaimed.
//!
//! Source: `numpy/lib/format.py`, versions 1.0 to 3.0.

use std::sync::Arc;

use casemate_core::{RangeSource, SourceExt};

use super::reading::{plain, u16_le, u32_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Parsed, Probe, Role, Tensor, Trouble};

mod literal;
use literal::Literal;

const MAGIC: &[u8] = b"\x93NUMPY";
/// A literal takes many times its text in memory. NumPy itself refuses more than 10,000 bytes unless told otherwise.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// Reads `.npy` files, the members of an `.npz`.
pub(crate) struct Npy;

impl Format for Npy {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "npy", title: "NumPy array", extensions: &["npy"], runs_code: false, is_model: false }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match probe.starts_with(MAGIC) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        Parsed::until_it_breaks(object, parse)
    }
}

fn parse(object: &Object<'_>, parsed: &mut Parsed) -> Result<(), Malformed> {
    let (size, limits) = (object.source.size_bytes(), object.limits);
    let (start, end) = header_range(object)?;
    let text = object.source.bytes_at(start, end - start).map_err(|e| unreadable(&e, start))?;
    let undecodable = |what: String| Malformed::new(Trouble::Undecodable, start, what);
    let header = literal::parse(&text, limits.nesting_max).map_err(|what| undecodable(format!("header {what}")))?;
    let mut describe = |what: &str| parsed.report(limits, Malformed::new(Trouble::Ambiguous, start, what));
    let (descr, shape) = fields(&header, &mut describe).map_err(&undecodable)?;
    let kind = Kind::of(descr).ok_or_else(|| undecodable("header has an unknown element type".into()))?;
    parsed.claims.add(0..end);
    let dtype = match descr {
        Literal::Text(word) => plain(word),
        _ => "structured".into(),
    };
    let mut span = end..size;
    if kind.has_objects {
        let source = Arc::new(RangeSource::new(Arc::clone(object.source), end, size - end));
        parsed.children.push(Child { name: "objects.pkl".into(), source, role: Role::Any });
    } else {
        let elements = shape.iter().try_fold(kind.size_bytes, |n, dim| n.checked_mul(*dim));
        match elements.and_then(|bytes| end.checked_add(bytes)) {
            Some(data_end) if data_end <= size => span.end = data_end,
            _ => {
                let needed = elements.map_or("more than 2^64".into(), |n| n.to_string());
                let what = format!("shape and type make {needed} bytes, the file has {}", size - end);
                parsed.report(limits, Malformed::new(Trouble::Ambiguous, end, what));
            }
        }
    }
    parsed.claims.add(span.clone());
    parsed.tensors.push(Tensor { name: "array".into(), dtype, shape, span: Some(span) });
    Ok(())
}

/// Where the text of the header starts and ends.
fn header_range(object: &Object<'_>) -> Result<(u64, u64), Malformed> {
    let size = object.source.size_bytes();
    let head = object.source.bytes_at(0, 12).map_err(|e| unreadable(&e, 0))?;
    let undecodable = |what: String| Malformed::new(Trouble::Undecodable, 0, what);
    let (start, len) = match head.get(6) {
        Some(1) => (10, u16_le(&head, 8).map(u64::from)),
        Some(2 | 3) => (12, u32_le(&head, 8).map(u64::from)),
        Some(version) => return Err(undecodable(format!("version {version} of the format is unknown"))),
        None => (0, None),
    };
    let len = len.ok_or_else(|| undecodable("ends inside the length of its header".into()))?;
    if start + len > size {
        return Err(undecodable(format!("header of {len} bytes ends past the file's {size}")));
    }
    let max = HEADER_BYTES_MAX.min(object.limits.header_bytes_max);
    if len > max {
        return Err(Malformed::new(Trouble::Limit, 0, format!("header of {len} bytes, more than {max} are not read")));
    }
    Ok((start, start + len))
}

/// Element type and shape; what two readers could take differently goes to `ambiguous`.
fn fields<'h>(header: &'h Literal<'h>, ambiguous: &mut dyn FnMut(&str)) -> Result<(&'h Literal<'h>, Vec<u64>), String> {
    let Literal::Dict(items) = header else { return Err("header is not a dictionary".into()) };
    let (mut descr, mut shape, mut order) = (None, None, None);
    for (key, value) in items {
        let slot = match key {
            Literal::Text("descr") => &mut descr,
            Literal::Text("shape") => &mut shape,
            Literal::Text("fortran_order") => &mut order,
            _ => {
                ambiguous("header has an unknown key");
                continue;
            }
        };
        if slot.replace(value).is_some() {
            ambiguous("header has a key twice");
        }
    }
    let (Some(descr), Some(shape), Some(order)) = (descr, shape, order) else {
        return Err("header lacks `descr`, `fortran_order` or `shape`".into());
    };
    if !matches!(order, Literal::Bool) {
        ambiguous("`fortran_order` is not True or False");
    }
    Ok((descr, dims(shape).ok_or("`shape` is not a tuple of counts")?))
}

fn dims(shape: &Literal<'_>) -> Option<Vec<u64>> {
    let Literal::Tuple(items) = shape else { return None };
    items.iter().map(|item| if let Literal::Int(n) = item { u64::try_from(*n).ok() } else { None }).collect()
}

/// Bytes of one element of a type in a word, such as `f8`, and whether it is a Python object.
pub(crate) fn kind_of_word(word: &str) -> Option<(u64, bool)> {
    Kind::of_word(word).map(|kind| (kind.size_bytes, kind.has_objects))
}

/// What one element takes, and whether Python objects are in it.
struct Kind {
    size_bytes: u64,
    has_objects: bool,
}

impl Kind {
    /// The element type of a `descr`: a word, a list of fields, or a sub-array. Depth is bounded by that of the literal.
    fn of(descr: &Literal<'_>) -> Option<Self> {
        match descr {
            Literal::Text(word) => Self::of_word(word),
            Literal::List(fields) => {
                let mut sum = Self { size_bytes: 0, has_objects: false };
                for field in fields {
                    let Literal::Tuple(parts) = field else { return None };
                    let kind = match parts.as_slice() {
                        [_, descr] => Self::of(descr)?,
                        [_, descr, shape] => Self::of(descr)?.times(shape)?,
                        _ => return None,
                    };
                    sum.size_bytes = sum.size_bytes.checked_add(kind.size_bytes)?;
                    sum.has_objects |= kind.has_objects;
                }
                Some(sum)
            }
            Literal::Tuple(parts) => match parts.as_slice() {
                [descr, shape] => Self::of(descr)?.times(shape),
                _ => None,
            },
            _ => None,
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        let word = word.trim_start_matches(['<', '>', '|', '=']);
        let (letter, rest) = word.split_at_checked(1)?;
        // `O8` on old writers; the pickle's size does not depend on it.
        if letter == "O" {
            return Some(Self { size_bytes: 8, has_objects: true });
        }
        let digits = rest.split_once('[').map_or(rest, |(digits, _)| digits);
        let n: u64 = digits.parse().ok()?;
        let size_bytes = match (letter, n) {
            ("b", 1) | ("i" | "u", 1 | 2 | 4 | 8) | ("f", 2 | 4 | 8 | 10 | 12 | 16) => n,
            ("c", 8 | 16 | 20 | 24 | 32) | ("m" | "M", 8) | ("S" | "a" | "V", _) => n,
            ("U", n) => n.checked_mul(4)?,
            _ => return None,
        };
        Some(Self { size_bytes, has_objects: false })
    }

    /// This many of them; the shape of a sub-array may be one number.
    fn times(self, shape: &Literal<'_>) -> Option<Self> {
        let shape = match shape {
            Literal::Int(n) => vec![u64::try_from(*n).ok()?],
            shape => dims(shape)?,
        };
        let size_bytes = shape.iter().try_fold(self.size_bytes, |n, dim| n.checked_mul(*dim))?;
        Some(Self { size_bytes, ..self })
    }
}

#[cfg(test)]
mod tests;
