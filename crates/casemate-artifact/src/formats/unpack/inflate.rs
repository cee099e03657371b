//! Deflate streams, bare and in the wrappers of zlib and gzip. Source: RFC 1950, 1951, 1952.

use std::io;
use std::ops::Range;

use casemate_core::{Source, SourceExt, Window};
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{Codec, Ending, Unpacked};
use crate::{Malformed, Trouble};

/// What came out of a deflate stream.
pub(crate) struct Inflated {
    pub(crate) bytes: Vec<u8>,
    pub(crate) crc: u32,
    /// Bytes of input used.
    pub(crate) used: u64,
    pub(crate) ending: Ending,
}

/// Inflates the bytes at `range` to at most `bytes_max` bytes. What is declared of their size plays no part.
///
/// # Errors
/// Whatever the medium reports.
pub(crate) fn inflate(source: &dyn Source, range: Range<u64>, bytes_max: u64) -> io::Result<Inflated> {
    let (mut window, mut machine, mut crc) = (Window::new(source), Decompress::new(false), Crc::new());
    let (mut bytes, mut chunk) = (Vec::new(), vec![0u8; 64 << 10]);
    let mut at = range.start;
    let end = range.end.min(source.size_bytes());
    let ending = loop {
        let input = window.get(at, end.saturating_sub(at).min(Window::BYTES))?.unwrap_or_default();
        let (in_before, out_before) = (machine.total_in(), machine.total_out());
        let status = machine.decompress(input, &mut chunk, FlushDecompress::None);
        let used = machine.total_in() - in_before;
        let made = usize::try_from(machine.total_out() - out_before).unwrap_or(0);
        at = at.saturating_add(used);
        let room = usize::try_from(bytes_max.saturating_sub(bytes.len() as u64)).unwrap_or(usize::MAX);
        let kept = chunk.get(..made.min(room)).unwrap_or_default();
        crc.update(kept);
        bytes.extend_from_slice(kept);
        match status {
            _ if made > room => break Ending::TooLong,
            Err(_) => break Ending::Broken,
            Ok(Status::StreamEnd) => break Ending::Whole,
            Ok(_) if used == 0 && made == 0 => break Ending::Broken,
            Ok(_) => {}
        }
    };
    Ok(Inflated { bytes, crc: crc.sum(), used: at.saturating_sub(range.start), ending })
}

/// Deflate without a wrapper: members of zip archives.
pub(crate) struct RawDeflate;

impl Codec for RawDeflate {
    fn stream(&self, source: &dyn Source, range: Range<u64>, bytes_max: u64) -> io::Result<Unpacked> {
        let Inflated { bytes, used, ending, .. } = inflate(source, range, bytes_max)?;
        Ok(Unpacked { bytes, used, ending, malformed: Vec::new() })
    }

    fn begins(&self, _head: &[u8]) -> bool {
        false
    }
}

/// A wrapper around deflate: a header of so many bytes, then the stream, then a trailer.
pub(crate) struct Wrapper {
    /// Length of the header, `None` where there is none.
    pub(crate) header_len: Option<u64>,
    /// What the trailer must be, from the unpacked bytes and their CRC-32.
    pub(crate) trailer: fn(&Inflated) -> Vec<u8>,
}

impl Wrapper {
    /// Unpacks a wrapped stream; the trailer is compared, not required.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub(crate) fn unpack(&self, source: &dyn Source, range: Range<u64>, bytes_max: u64) -> io::Result<Unpacked> {
        let Some(start) = self.header_len.and_then(|len| range.start.checked_add(len)) else {
            return Ok(Unpacked { bytes: Vec::new(), used: 0, ending: Ending::Broken, malformed: Vec::new() });
        };
        let inflated = inflate(source, start..range.end, bytes_max)?;
        let mut end = start.saturating_add(inflated.used);
        let (mut malformed, mut ending) = (Vec::new(), inflated.ending);
        if ending == Ending::Whole {
            let wanted = (self.trailer)(&inflated);
            let found = source.bytes_at(end, (wanted.len() as u64).min(range.end.saturating_sub(end)))?;
            if found.len() < wanted.len() {
                ending = Ending::Broken;
            } else if found != wanted {
                let what = "checksum or size after the stream is wrong: some readers read on, others stop";
                malformed.push(Malformed::new(Trouble::Ambiguous, end, what));
            }
            end = end.saturating_add(found.len() as u64);
        }
        Ok(Unpacked { bytes: inflated.bytes, used: end.saturating_sub(range.start), ending, malformed })
    }
}
