//! Deflate streams, bare and in the wrappers of zlib and gzip. Source: RFC 1950, 1951, 1952.

use std::io::{self, Read};
use std::ops::Range;

use casemate_core::{SharedSource, Source, SourceExt, Window};
use flate2::bufread::DeflateDecoder;
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{Codec, Ending, Output, Streamed, reader};
use crate::{Malformed, Trouble};

/// Which sum over the output is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// CRC-32.
    Crc,
    /// Adler-32.
    Adler,
    /// None: nobody compares it.
    None,
}

/// What came out of a deflate stream.
pub(crate) struct Inflated {
    /// The sum that was asked for, else 0.
    pub(crate) sum: u32,
    /// Bytes that came out.
    pub(crate) made: u64,
    /// Bytes of input used.
    pub(crate) used: u64,
    pub(crate) ending: Ending,
}

/// Inflates the bytes at `range` into `output`. What is declared of their size plays no part.
///
/// # Errors
/// Whatever the medium reports.
pub(crate) fn inflate(source: &dyn Source, range: Range<u64>, output: &mut Output, kind: Sum) -> io::Result<Inflated> {
    let (mut window, mut machine, mut crc) = (Window::new(source), Decompress::new(false), Crc::new());
    let (before, mut adler, mut chunk) = (output.made, (1, 0), vec![0u8; 64 << 10]);
    let mut at = range.start;
    let end = range.end.min(source.size_bytes());
    let ending = loop {
        let input = window.get(at, end.saturating_sub(at).min(Window::BYTES))?.unwrap_or_default();
        let (in_before, out_before) = (machine.total_in(), machine.total_out());
        let status = machine.decompress(input, &mut chunk, FlushDecompress::None);
        let used = machine.total_in() - in_before;
        let made = usize::try_from(machine.total_out() - out_before).unwrap_or(0);
        at = at.saturating_add(used);
        let (taken, all) = output.take(chunk.get(..made).unwrap_or_default());
        match kind {
            Sum::Crc => crc.update(taken),
            Sum::Adler => adler = summed(adler, taken),
            Sum::None => {}
        }
        match status {
            _ if !all => break Ending::TooLong,
            Err(_) => break Ending::Broken,
            Ok(Status::StreamEnd) => break Ending::Whole,
            Ok(_) if used == 0 && made == 0 => break Ending::Broken,
            Ok(_) => {}
        }
    };
    let sum = match kind {
        Sum::Crc => crc.sum(),
        Sum::Adler => adler.1 << 16 | adler.0,
        Sum::None => 0,
    };
    Ok(Inflated { sum, made: output.made.saturating_sub(before), used: at.saturating_sub(range.start), ending })
}

/// Adler-32 over further bytes (RFC 1950, 8.2).
fn summed((mut low, mut high): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    const BASE: u32 = 65_521;
    // 5552 bytes are the most for which the sums stay below 2^32.
    for chunk in bytes.chunks(5552) {
        for byte in chunk {
            low += u32::from(*byte);
            high += low;
        }
        (low, high) = (low % BASE, high % BASE);
    }
    (low, high)
}

/// Deflate without a wrapper: members of zip archives.
pub(crate) struct RawDeflate;

impl Codec for RawDeflate {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        let Inflated { used, ending, .. } = inflate(source, range, output, Sum::None)?;
        Ok(Streamed { used, ending, malformed: Vec::new() })
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(DeflateDecoder::new(reader(source, range))))
    }

    fn begins(&self, _head: &[u8]) -> bool {
        false
    }
}

/// A wrapper around deflate: a header of so many bytes, then the stream, then a trailer.
pub(crate) struct Wrapper {
    /// Length of the header, `None` where there is none.
    pub(crate) header_len: Option<u64>,
    /// The sum in its trailer.
    pub(crate) sum: Sum,
    /// What the trailer must be, from the unpacked bytes and their CRC-32.
    pub(crate) trailer: fn(&Inflated) -> Vec<u8>,
}

impl Wrapper {
    /// A reader of a wrapped stream known to be whole.
    ///
    /// # Errors
    /// Where there is no header.
    pub(crate) fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let start = self.header_len.and_then(|len| range.start.checked_add(len)).ok_or(io::ErrorKind::InvalidData)?;
        RawDeflate.open(source, start..range.end)
    }

    /// Unpacks a wrapped stream; the trailer is compared, not required.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub(crate) fn unpack(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        let Some(start) = self.header_len.and_then(|len| range.start.checked_add(len)) else {
            return Ok(Streamed::nothing(Ending::Broken));
        };
        let inflated = inflate(source, start..range.end, output, self.sum)?;
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
        Ok(Streamed { used: end.saturating_sub(range.start), ending, malformed })
    }
}
