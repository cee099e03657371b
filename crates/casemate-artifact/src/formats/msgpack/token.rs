//! One value of MessagePack: its kind, and where its content stands.

use std::ops::Range;

use crate::Malformed;
use crate::formats::fields::Fields;

/// A value without what it contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Nil, a truth value or a floating-point number.
    Plain,
    Integer(i128),
    Text(Range<u64>),
    Binary(Range<u64>),
    Array(u64),
    Map(u64),
    Extension(i8, Range<u64>),
}

/// The next value; the content of texts, binary values and extensions is passed over.
pub(super) fn next(fields: &mut Fields<'_>) -> Result<Token, Malformed> {
    let [first] = fields.array()?;
    Ok(match first {
        0..=0x7f => Token::Integer(first.into()),
        0x80..=0x8f => items(fields, u64::from(first & 15), 2).map(Token::Map)?,
        0x90..=0x9f => items(fields, u64::from(first & 15), 1).map(Token::Array)?,
        0xa0..=0xbf => content(fields, u64::from(first & 31)).map(Token::Text)?,
        0xc0 | 0xc2 | 0xc3 => Token::Plain,
        0xc1 => return Err(fields.broken("a byte that begins no value")),
        0xc4..=0xc6 => sized(fields, first - 0xc4).map(Token::Binary)?,
        0xc7..=0xc9 => {
            let n = length(fields, first - 0xc7)?;
            extension(fields, n)?
        }
        0xca => fields.skip(4).map(|()| Token::Plain)?,
        0xcb => fields.skip(8).map(|()| Token::Plain)?,
        0xcc => Token::Integer(u8::from_be_bytes(fields.array()?).into()),
        0xcd => Token::Integer(u16::from_be_bytes(fields.array()?).into()),
        0xce => Token::Integer(u32::from_be_bytes(fields.array()?).into()),
        0xcf => Token::Integer(u64::from_be_bytes(fields.array()?).into()),
        0xd0 => Token::Integer(i8::from_be_bytes(fields.array()?).into()),
        0xd1 => Token::Integer(i16::from_be_bytes(fields.array()?).into()),
        0xd2 => Token::Integer(i32::from_be_bytes(fields.array()?).into()),
        0xd3 => Token::Integer(i64::from_be_bytes(fields.array()?).into()),
        0xd4..=0xd8 => extension(fields, 1 << (first - 0xd4))?,
        0xd9..=0xdb => sized(fields, first - 0xd9).map(Token::Text)?,
        0xdc | 0xdd => {
            let n = length(fields, first - 0xdb)?;
            items(fields, n, 1).map(Token::Array)?
        }
        0xde | 0xdf => {
            let n = length(fields, first - 0xdd)?;
            items(fields, n, 2).map(Token::Map)?
        }
        0xe0.. => Token::Integer(first.cast_signed().into()),
    })
}

/// A length in one, two or four bytes.
fn length(fields: &mut Fields<'_>, width: u8) -> Result<u64, Malformed> {
    Ok(match width {
        0 => u8::from_be_bytes(fields.array()?).into(),
        1 => u16::from_be_bytes(fields.array()?).into(),
        _ => u32::from_be_bytes(fields.array()?).into(),
    })
}

fn sized(fields: &mut Fields<'_>, width: u8) -> Result<Range<u64>, Malformed> {
    let n = length(fields, width)?;
    content(fields, n)
}

fn content(fields: &mut Fields<'_>, n: u64) -> Result<Range<u64>, Malformed> {
    let start = fields.at;
    fields.skip(n)?;
    Ok(start..fields.at)
}

fn extension(fields: &mut Fields<'_>, n: u64) -> Result<Token, Malformed> {
    let [kind] = fields.array()?;
    content(fields, n).map(|range| Token::Extension(kind.cast_signed(), range))
}

/// A count of items of which each is `values` values, of a byte at least.
fn items(fields: &Fields<'_>, n: u64, values: u64) -> Result<u64, Malformed> {
    match n.saturating_mul(values) <= fields.left() {
        true => Ok(n),
        false => Err(fields.broken(format!("{n} items are announced, {} bytes are left", fields.left()))),
    }
}
