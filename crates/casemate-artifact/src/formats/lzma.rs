//! LZMA as `xz --format=lzma`, Python's `FORMAT_ALONE` and joblib's `lzma` write it: thirteen bytes, then the stream.
//!
//! There is no magic: properties, a window that is a power of two or half as much again, a size or none, and the zero with
//! which every range coder begins. Source: the LZMA SDK, `lzma-specification.txt`; decoding is [`lzma_rust2`]'s.

use std::io::{self, Read};
use std::ops::Range;

use casemate_core::{SharedSource, Source};
use lzma_rust2::LzmaReader;

use super::reading::{u32_le, u64_le};
use super::unpack::{Codec, Ending, Input, Output, Streamed, drain, parse_packed, reader};
use super::xz::{LENT_KIB_MAX, WINDOW_KIB_MAX};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads bare LZMA files.
pub(crate) struct Lzma;

/// What everybody writes: lc 3, lp 0, pb 2.
const USUAL_PROPERTIES: u8 = 0x5d;
/// Larger declared sizes are taken for chance.
const SIZE_BYTES_MAX: u64 = 1 << 40;

impl Format for Lzma {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "lzma",
            title: "LZMA file",
            extensions: &["lzma", "pkl", "pickle", "joblib"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match self.begins(&probe.head) {
            true if probe.head.first() == Some(&USUAL_PROPERTIES) => Sniff::Certain,
            true => Sniff::Likely,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        parse_packed(object, &Lzma, &[(".lzma", "")], true)
    }
}

impl Codec for Lzma {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        let start = range.start;
        let (input, state) = Input::new(source, range);
        let window = if output.is_kept() { WINDOW_KIB_MAX } else { LENT_KIB_MAX };
        let mut decoder = match LzmaReader::new_mem_limit(input, window, None) {
            Ok(decoder) => decoder,
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return Ok(Streamed::nothing(Ending::TooLong)),
            Err(_) => return Ok(Streamed::nothing(Ending::Broken)),
        };
        // A stream that goes on after its declared size is two streams to two readers.
        decoder.set_relaxed_end_condition(false);
        let mut unpacked = drain(&mut decoder, &state, start, output)?;
        let (_, unused) = decoder.into_parts();
        unpacked.used = unpacked.used.saturating_sub(unused.len() as u64);
        Ok(unpacked)
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(LzmaReader::new_mem_limit(reader(source, range), LENT_KIB_MAX, None)?))
    }

    fn joins(&self) -> bool {
        false
    }

    fn begins(&self, head: &[u8]) -> bool {
        let (Some(properties), Some(window), Some(size)) = (head.first(), u32_le(head, 1), u64_le(head, 5)) else {
            return false;
        };
        let odd = window.checked_shr(window.trailing_zeros()).unwrap_or(0);
        *properties < 225
            && window >= 4096
            && matches!(odd, 1 | 3)
            && (size == u64::MAX || size < SIZE_BYTES_MAX)
            && head.get(13) == Some(&0)
    }
}
