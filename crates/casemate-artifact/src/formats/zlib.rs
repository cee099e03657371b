//! zlib: a deflate stream between two bytes and an Adler-32, as `zlib.compress` and joblib's default write it.
//!
//! Two bytes prove little, so the head must inflate too. Source: RFC 1950.

use std::io::{self, Read};
use std::ops::Range;

use casemate_core::{SharedSource, Source};
use flate2::{Decompress, FlushDecompress};

use super::unpack::{Codec, Inflated, Output, Streamed, Sum, Wrapper, parse_packed};
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

const WRAPPER: Wrapper = Wrapper { header_len: Some(2), sum: Sum::Adler, trailer };

impl Codec for Zlib {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        WRAPPER.unpack(source, range, output)
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        WRAPPER.open(source, range)
    }

    fn joins(&self) -> bool {
        false
    }

    fn begins(&self, head: &[u8]) -> bool {
        matches!(head, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..])
    }
}

/// Adler-32.
fn trailer(inflated: &Inflated) -> Vec<u8> {
    inflated.sum.to_be_bytes().to_vec()
}
