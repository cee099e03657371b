//! gzip: one file packed by deflate, or several one after another.
//!
//! Python, joblib and tar read gzip under any name, so what is inside is judged as a file of its own. Checksums and sizes are
//! compared and not required; bytes after the last member stay unclaimed. Source: RFC 1952.

use std::io::{self, Read};
use std::ops::Range;

use casemate_core::{SharedSource, Source, SourceExt};

use super::unpack::{Codec, Inflated, Output, Streamed, Sum, Wrapper, parse_packed};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads gzip files.
pub(crate) struct Gzip;

const MAGIC: &[u8] = b"\x1f\x8b\x08";
/// Name, comment and extra field before a stream.
const HEADER_BYTES_MAX: u64 = 64 << 10;
const HEADER_BYTES_USUAL: u64 = 512;

impl Format for Gzip {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "gzip",
            title: "gzip file",
            extensions: &["gz", "tgz", "pkl", "pickle", "joblib", "rds", "rda", "rdata", "z", "nemo", "tar"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(MAGIC) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        parse_packed(object, &Gzip, &[(".gz", ""), (".tgz", ".tar"), (".z", "")], false)
    }
}

impl Codec for Gzip {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        wrapper(source, &range)?.unpack(source, range, output)
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        wrapper(&**source, &range)?.open(source, range)
    }

    fn begins(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }
}

/// Bytes before the deflate stream: ten, and the fields the flags announce.
fn header_len(head: &[u8]) -> Option<u64> {
    let flags = *head.get(3).filter(|_| head.starts_with(MAGIC))?;
    let mut at = 10usize;
    if flags & 4 != 0 {
        at += 2 + usize::from(super::reading::u16_le(head, at)?);
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += head.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    at += if flags & 2 != 0 { 2 } else { 0 };
    (at <= head.len()).then_some(at as u64)
}

/// The wrapper at the start of `range`.
fn wrapper(source: &dyn Source, range: &Range<u64>) -> io::Result<Wrapper> {
    let header = |len: u64| -> io::Result<Option<u64>> {
        Ok(header_len(&source.bytes_at(range.start, len.min(range.end.saturating_sub(range.start)))?))
    };
    // Most headers are short, and a file may have thousands of them.
    let header_len = match header(HEADER_BYTES_USUAL)? {
        Some(len) => Some(len),
        None => header(HEADER_BYTES_MAX)?,
    };
    Ok(Wrapper { header_len, sum: Sum::Crc, trailer })
}

/// CRC-32 and length, both modulo 2^32.
fn trailer(inflated: &Inflated) -> Vec<u8> {
    let len = inflated.made.to_le_bytes();
    [&inflated.sum.to_le_bytes()[..], len.get(..4).unwrap_or_default()].concat()
}
