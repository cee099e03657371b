//! zlib: a deflate stream between two bytes and an Adler-32, as `zlib.compress` and joblib's default write it.
//!
//! Two bytes prove little, so the head must inflate too. Source: RFC 1950.

use std::io;
use std::ops::Range;

use casemate_core::Source;
use flate2::{Decompress, FlushDecompress};

use super::unpack::{Codec, Inflated, Unpacked, Wrapper, parse_packed};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads zlib streams.
pub(crate) struct Zlib;

impl Format for Zlib {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "zlib",
            title: "zlib stream",
            extensions: &["z", "zlib", "pkl", "pickle", "joblib", "dat"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let head = probe.head.as_slice();
        let mut out = vec![0; 4096];
        let inflates =
            |stream: &[u8]| Decompress::new(false).decompress(stream, &mut out, FlushDecompress::None).is_ok();
        match self.begins(head) && head.len() > 2 && head.get(2..).is_some_and(inflates) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        parse_packed(object, &Zlib, &[(".zlib", ""), (".z", "")], false)
    }
}

impl Codec for Zlib {
    fn stream(&self, source: &dyn Source, range: Range<u64>, bytes_max: u64) -> io::Result<Unpacked> {
        Wrapper { header_len: Some(2), trailer }.unpack(source, range, bytes_max)
    }

    fn joins(&self) -> bool {
        false
    }

    fn begins(&self, head: &[u8]) -> bool {
        matches!(head, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..])
    }
}

/// Adler-32, the high sum first.
fn trailer(inflated: &Inflated) -> Vec<u8> {
    const BASE: u32 = 65_521;
    let (mut low, mut high) = (1u32, 0u32);
    // 5552 bytes are the most for which the sums stay below 2^32.
    for chunk in inflated.bytes.chunks(5552) {
        for byte in chunk {
            low += u32::from(*byte);
            high += low;
        }
        (low, high) = (low % BASE, high % BASE);
    }
    (high << 16 | low).to_be_bytes().to_vec()
}
