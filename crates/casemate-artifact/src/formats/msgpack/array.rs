//! Arrays as Flax writes them: shape, name of the element type, bytes.

use std::ops::Range;

use super::token::{Token, next};
use crate::formats::fields::Fields;
use crate::formats::reading::quote;
use crate::{Malformed, Tensor, Trouble};

/// NumPy's bound on dimensions.
const DIMS_MAX: u64 = 64;
/// The longest name of an element type.
const DTYPE_BYTES_MAX: u64 = 64;

/// The array in an extension object, and whether anything is wrong with it.
pub(super) fn read(fields: &mut Fields<'_>, inside: Range<u64>) -> Result<(Tensor, Option<String>), Malformed> {
    let broken = |what: &str| Malformed::new(Trouble::Undecodable, inside.start, what);
    let after = std::mem::replace(&mut fields.at, inside.start);
    if next(fields)? != Token::Array(3) {
        return Err(broken("an array is not shape, type and bytes"));
    }
    let Token::Array(dims @ 0..=DIMS_MAX) = next(fields)? else { return Err(broken("an array without sound shape")) };
    let mut shape = Vec::new();
    for _ in 0..dims {
        let Token::Integer(dim) = next(fields)? else { return Err(broken("an array without sound shape")) };
        shape.push(u64::try_from(dim).map_err(|_| broken("an array with a negative dimension"))?);
    }
    let Token::Text(dtype) = next(fields)? else { return Err(broken("an array without type")) };
    let Token::Binary(span) = next(fields)? else { return Err(broken("an array without bytes")) };
    if fields.at != inside.end || dtype.end - dtype.start > DTYPE_BYTES_MAX {
        return Err(broken("an array does not fill its object"));
    }
    fields.at = dtype.start;
    let dtype = String::from_utf8_lossy(fields.bytes(dtype.end - dtype.start)?).into_owned();
    fields.at = after;
    let wrong = wrong(&dtype, &shape, span.end - span.start);
    Ok((Tensor { name: String::new(), dtype, shape, span: Some(span) }, wrong))
}

/// What is wrong with so many bytes of a type in a shape.
fn wrong(dtype: &str, shape: &[u64], bytes: u64) -> Option<String> {
    if dtype == "object" {
        return Some("holds Python objects, which bytes cannot be".into());
    }
    let Some(width) = width(dtype) else { return Some(format!("has the unknown type {}", quote(dtype))) };
    match shape.iter().try_fold(width, |bytes, dim| bytes.checked_mul(*dim)) {
        Some(wanted) if wanted == bytes => None,
        Some(wanted) => Some(format!("has {bytes} bytes, its shape and type take {wanted}")),
        None => Some("has a shape that makes no size".into()),
    }
}

/// Bytes of one element, by NumPy's and `ml_dtypes`' names.
fn width(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "bool" | "int2" | "int4" | "int8" | "uint2" | "uint4" | "uint8" => 1,
        "int16" | "uint16" | "float16" | "bfloat16" => 2,
        "int32" | "uint32" | "float32" => 4,
        "int64" | "uint64" | "float64" | "complex64" => 8,
        "complex128" => 16,
        _ if ["float8_", "float6_", "float4_"].iter().any(|start| dtype.starts_with(start)) => 1,
        _ if ["datetime64", "timedelta64"].iter().any(|start| dtype.starts_with(start)) => 8,
        _ => return bits(dtype),
    })
}

/// Bytes of `bytes40` and `str160`, which say their bits.
fn bits(dtype: &str) -> Option<u64> {
    let bits: u64 = dtype.strip_prefix("bytes").or_else(|| dtype.strip_prefix("str"))?.parse().ok()?;
    bits.is_multiple_of(8).then_some(bits / 8)
}
