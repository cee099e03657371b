//! LZ4 frames, as joblib and the `lz4` tool write them.
//!
//! The frame is walked here to know where it ends, which the decoder ([`lz4_flex`]) does not tell; legacy frames are not read.
//! Source: LZ4 frame format 1.6.4.

use std::io::{self, Read};
use std::ops::Range;

use casemate_core::{SharedSource, Source, Window};
use lz4_flex::frame::FrameDecoder;

use super::unpack::{Codec, Ending, Input, Output, Streamed, drain, parse_packed, reader};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads LZ4 frames.
pub(crate) struct Lz4;

const MAGIC: &[u8] = b"\x04\x22\x4d\x18";

impl Format for Lz4 {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "lz4",
            title: "LZ4 frame",
            extensions: &["lz4", "pkl", "pickle", "joblib", "tar"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(MAGIC) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        parse_packed(object, &Lz4, &[(".lz4", "")], false)
    }
}

impl Codec for Lz4 {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        let start = range.start;
        let end = frame_end(source, range.clone())?;
        let (input, state) = Input::new(source, start..end.unwrap_or(range.end));
        let mut unpacked = drain(&mut FrameDecoder::new(input), &state, start, output)?;
        // The decoder takes the end of its input for the end of the frame.
        if unpacked.ending == Ending::Whole {
            match end {
                Some(end) if state.at() == end => {}
                _ => unpacked.ending = Ending::Broken,
            }
        }
        Ok(unpacked)
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let end = frame_end(&**source, range.clone())?.unwrap_or(range.end);
        Ok(Box::new(FrameDecoder::new(reader(source, range.start..end))))
    }

    fn begins(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }
}

/// The end of the frame at the start of `range`: header, blocks by their lengths, end mark, checksum.
fn frame_end(source: &dyn Source, range: Range<u64>) -> io::Result<Option<u64>> {
    let mut window = Window::new(source);
    let Some(flags) = window.get(range.start.saturating_add(4), 1)?.and_then(|flags| flags.first().copied()) else {
        return Ok(None);
    };
    let (size, dictionary) = (flags & 8 != 0, flags & 1 != 0);
    let header = 7 + if size { 8 } else { 0 } + if dictionary { 4 } else { 0 };
    let mut at = range.start.saturating_add(header);
    while at < range.end {
        let Some(len) = window.get(at, 4)?.and_then(|len| len.try_into().ok()).map(u32::from_le_bytes) else {
            return Ok(None);
        };
        at += 4;
        if len == 0 {
            let end = at + if flags & 4 != 0 { 4 } else { 0 };
            return Ok((end <= range.end).then_some(end));
        }
        let checksum = if flags & 16 != 0 { 4 } else { 0 };
        at = at.saturating_add(u64::from(len & 0x7fff_ffff)).saturating_add(checksum);
    }
    Ok(None)
}
