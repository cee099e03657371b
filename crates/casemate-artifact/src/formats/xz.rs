//! xz: LZMA2 blocks with checksums, one stream or several.
//!
//! Decoding is [`lzma_rust2`]'s; its window grows with the output, so only half the usual output is kept. Source: the .xz file
//! format 1.2.1.

use std::io::{self, Read};
use std::ops::Range;

use casemate_core::{SharedSource, Source};
use lzma_rust2::XzReader;

use super::unpack::{Codec, Input, Output, Streamed, drain, parse_packed, reader};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads xz files.
pub(crate) struct Xz;

const MAGIC: &[u8] = b"\xfd7zXZ\0";
/// Window of `xz -9`, which nobody exceeds by accident.
pub(super) const WINDOW_KIB_MAX: u32 = 65 << 10;
/// Window of a file that is read as a stream.
pub(super) const LENT_KIB_MAX: u32 = 17 << 10;

impl Format for Xz {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "xz",
            title: "xz file",
            extensions: &["xz", "txz", "pkl", "pickle", "joblib", "rds", "rda", "rdata", "tar"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(MAGIC) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        parse_packed(object, &Xz, &[(".xz", ""), (".txz", ".tar")], true)
    }
}

impl Codec for Xz {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        let start = range.start;
        let (input, state) = Input::new(source, range);
        let window = if output.is_kept() { WINDOW_KIB_MAX } else { LENT_KIB_MAX };
        drain(&mut XzReader::new_mem_limit(input, false, window), &state, start, output)
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(XzReader::new_mem_limit(reader(source, range), false, LENT_KIB_MAX)))
    }

    fn begins(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }
}
