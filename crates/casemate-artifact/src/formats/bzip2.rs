//! bzip2: one file packed, or several streams one after another.
//!
//! Decoding is [`bzip2`]'s, in its pure Rust form; a stream that fails its checksum is unscannable from there on, and what
//! came out before is judged. Source: the bzip2 1.0.8 manual.

use std::io::{self, Read};
use std::ops::Range;

use bzip2::bufread::BzDecoder;
use casemate_core::{SharedSource, Source};

use super::unpack::{Codec, Input, Output, Streamed, drain, parse_packed, reader};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads bzip2 files.
pub(crate) struct Bzip2;

impl Format for Bzip2 {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "bzip2",
            title: "bzip2 file",
            extensions: &["bz2", "tbz2", "pkl", "pickle", "joblib", "rds", "rda", "rdata", "tar"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if self.begins(&probe.head) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        parse_packed(object, &Bzip2, &[(".bz2", ""), (".tbz2", ".tar")], false)
    }
}

impl Codec for Bzip2 {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        let start = range.start;
        let (input, state) = Input::new(source, range);
        drain(&mut BzDecoder::new(input), &state, start, output)
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(BzDecoder::new(reader(source, range))))
    }

    fn begins(&self, head: &[u8]) -> bool {
        // The digits of pi open a block, those of its root close a stream without any.
        let block = |rest: &[u8]| rest.starts_with(b"1AY&SY") || rest.starts_with(b"\x17\x72\x45\x38\x50\x90");
        matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if block(rest))
    }
}
