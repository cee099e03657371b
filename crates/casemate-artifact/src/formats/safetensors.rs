//! safetensors: a JSON header that says where each tensor lies, then the tensors.
//!
//! Answers headers that two readers would take differently (duplicate keys, overlapping or wrong spans, holes, tails) and
//! headers built to exhaust the reader (length beyond the file, 50,000 nested objects). Holes and tails are left unclaimed.
//! Templates and code in `__metadata__` are left to the detectors of texts, executables in tensors to those of content.
//!
//! Source: <https://github.com/huggingface/safetensors#format>; the audit by Trail of Bits, 2023.

use std::collections::HashSet;

use casemate_core::{Limits, SourceExt};

use super::reading::{plain, quote, text_kind, u64_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Tensor, Text, Trouble};

mod header;
use header::{Entry, Header};

/// Reads safetensors files: the header only, whatever the size of the tensors.
pub(crate) struct Safetensors;

impl Format for Safetensors {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "safetensors",
            title: "safetensors",
            extensions: &["safetensors"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let Some(json) = probe.head.get(8..).filter(|json| json.starts_with(b"{")) else { return Sniff::No };
        let length = u64_le(&probe.head, 0).unwrap_or(u64::MAX);
        let fits = length.checked_add(8).is_some_and(|end| end <= probe.size_bytes);
        let opens =
            json.iter().skip(1).find(|byte| !byte.is_ascii_whitespace()).is_none_or(|b| matches!(b, b'"' | b'}'));
        // `var x = {"a": 1}` has its brace at 8 too; read as a length, eight letters exceed 2^61.
        let is_text = probe.head.iter().take(8).all(|byte| (0x20..0x7f).contains(byte) || byte.is_ascii_whitespace());
        match fits && opens || json.starts_with(b"{\"") && !is_text {
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
    let length = object.source.bytes_at(0, 8).map_err(|e| unreadable(&e, 0))?;
    let Some(length) = u64_le(&length, 0) else {
        return Err(Malformed::new(Trouble::Undecodable, 0, "shorter than the length of its header"));
    };
    let Some(data_start) = length.checked_add(8).filter(|end| *end <= size) else {
        let what = format!("header of {length} bytes ends past the file's {size}");
        return Err(Malformed::new(Trouble::Undecodable, 0, what));
    };
    if length > limits.header_bytes_max {
        let what = format!("header of {length} bytes, more than {} are not read", limits.header_bytes_max);
        return Err(Malformed::new(Trouble::Limit, 0, what));
    }
    let json = object.source.bytes_at(8, length).map_err(|e| unreadable(&e, 8))?;
    if !json.starts_with(b"{") {
        parsed.report(limits, Malformed::new(Trouble::Ambiguous, 8, "header does not begin with `{`"));
    }
    let mut header = Header::new(limits);
    match header.read(&json) {
        Ok(()) => drop(parsed.claims.add(0..data_start)),
        Err(error) => {
            let what = format!("header is not valid: {}", plain(error));
            parsed.report(limits, Malformed::new(Trouble::Undecodable, 8, what));
        }
    }
    drop(json);
    header.troubles.drain(..).for_each(|malformed| parsed.report(limits, malformed));
    for (key, text) in header.metadata {
        parsed.texts.push(Text { kind: text_kind(&text), key, text, offset: None });
    }
    place_tensors(header.entries, data_start..size, parsed, limits);
    Ok(())
}

/// Checks each tensor against its shape and the file, claims its bytes and lists it.
fn place_tensors(mut entries: Vec<Entry>, data: std::ops::Range<u64>, parsed: &mut Parsed, limits: &Limits) {
    let mut names = HashSet::with_capacity(entries.len());
    for entry in entries.iter().filter(|entry| !names.insert(entry.name.as_str())) {
        let what = format!("two tensors are called {}", quote(&entry.name));
        parsed.report(limits, Malformed::new(Trouble::Ambiguous, 8, what));
    }
    drop(names);
    // In file order: claims made in order cost nothing.
    entries.sort_by_key(|entry| entry.offsets);
    for entry in entries {
        let (name, mut span) = (quote(&entry.name), None);
        match place(&entry, &data) {
            Ok(range) => {
                if parsed.claims.add(range.clone()) {
                    let what = format!("tensor {name} shares bytes with another");
                    parsed.report(limits, Malformed::new(Trouble::Ambiguous, range.start, what));
                }
                span = Some(range);
            }
            Err(what) => {
                parsed.report(limits, Malformed::new(Trouble::Ambiguous, 8, format!("tensor {name} {what}")));
            }
        }
        match bits(&entry.dtype) {
            None => {
                let what = format!("tensor {name} has the unknown type {}", quote(&entry.dtype));
                parsed.report(limits, Malformed::new(Trouble::Undecodable, 8, what));
            }
            Some(bits) if entry.offsets.0 <= entry.offsets.1 => {
                let (expected, len) = (bytes_of(&entry.shape, bits), entry.offsets.1 - entry.offsets.0);
                if expected != Some(len) {
                    let expected = expected.map_or("no whole number of".into(), |n| n.to_string());
                    let what = format!("tensor {name} spans {len} bytes, its shape and type make {expected} bytes");
                    parsed.report(limits, Malformed::new(Trouble::Ambiguous, 8, what));
                }
            }
            Some(_) => {}
        }
        parsed.tensors.push(Tensor { name: entry.name, dtype: entry.dtype, shape: entry.shape, span });
    }
}

/// The bytes of a tensor in the file, or what is wrong with them.
fn place(entry: &Entry, data: &std::ops::Range<u64>) -> Result<std::ops::Range<u64>, String> {
    let (start, end) = entry.offsets;
    if end < start {
        return Err(format!("ends at {end}, before it starts at {start}"));
    }
    match data.start.checked_add(start).zip(data.start.checked_add(end)) {
        Some((start, end)) if end <= data.end => Ok(start..end),
        _ => Err(format!("ends at byte {end} of the data, past the end of the file")),
    }
}

/// Bits of one element.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "F64" | "I64" | "U64" | "C64" => 64,
        _ => return None,
    })
}

/// Bytes of a tensor; `None` where the number overflows or is not whole.
fn bytes_of(shape: &[u64], bits: u64) -> Option<u64> {
    let elements = shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
    elements.checked_mul(bits).filter(|bits| bits % 8 == 0).map(|bits| bits / 8)
}

#[cfg(test)]
mod tests;
