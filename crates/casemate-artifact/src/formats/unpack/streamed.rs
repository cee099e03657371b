//! Objects too large to be held unpacked: read as a stream, again from its start where somebody goes back.
//!
//! A tar of weights in xz, an array in a compressed archive: gigabytes that parsers read from one end to the other. A decoder
//! stays where the last reader was, some of what it put out is kept behind it, and what all of it may put out together is
//! bounded, so that reading back and forth ends as unreadable instead of taking hours.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use casemate_core::{SharedSource, Source};

use super::Codec;
use crate::Object;

/// Unpacked bytes kept behind the decoder.
const KEPT_BYTES: usize = 4 << 20;
/// What a decoder may hold beside them: the window of `xz -7`, which is as much as `zstd -19` asks for twice.
pub(crate) const LENT_BYTES_MAX: u64 = 16 << 20;
/// Larger ratios are those of bombs; pruned weights come to a twentieth.
const RATIO_MAX: u64 = 24;
/// How often a stream may be read over.
const PASSES_MAX: u64 = 12;

/// What a file may unpack to as a stream, of which `made` bytes came out of `used`; `None` where it is as a bomb is, or
/// where the objects around it hold too much already.
pub(crate) fn streamed_bytes_max(object: &Object<'_>, made: u64, used: u64) -> Option<u64> {
    let plausible = made / RATIO_MAX <= used;
    let room = object.source.held_bytes() <= super::CHAIN_BYTES_MAX - LENT_BYTES_MAX;
    let bytes_max = object.source.size_bytes().saturating_mul(RATIO_MAX).min(object.limits.inflated_bytes_max);
    (plausible && room).then_some(bytes_max)
}

/// The bytes of `range` as a reader for decoders.
pub(crate) fn reader(source: &SharedSource, range: Range<u64>) -> BufReader<Stretch> {
    BufReader::with_capacity(64 << 10, Stretch { source: SharedSource::clone(source), range })
}

/// A stretch of a source, read once.
pub(crate) struct Stretch {
    source: SharedSource,
    range: Range<u64>,
}

impl Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.range.end.saturating_sub(self.range.start)).unwrap_or(usize::MAX);
        let n = rest.min(buffer.len());
        let read = self.source.read_at(self.range.start, buffer.get_mut(..n).unwrap_or_default())?;
        self.range.start = self.range.start.saturating_add(read as u64);
        Ok(read)
    }
}

/// A packed object as a source that is unpacked while it is read.
pub(crate) struct StreamedSource {
    packed: SharedSource,
    codec: &'static dyn Codec,
    starts: Vec<u64>,
    size_bytes: u64,
    place: Mutex<Place>,
}

/// Where the decoder is.
struct Place {
    decoder: Option<Box<dyn Read + Send>>,
    // Index in `starts` of the stream after the one being read.
    next: usize,
    /// Offset after the bytes kept.
    end: u64,
    kept: VecDeque<u8>,
    /// Bytes that may still come out of decoders.
    left: u64,
}

impl StreamedSource {
    /// The streams at `starts` of `packed`, which come to `size_bytes`; `None` where a decoder asks for more than is lent.
    pub(crate) fn open(
        packed: &SharedSource,
        codec: &'static dyn Codec,
        starts: Vec<u64>,
        size_bytes: u64,
    ) -> Option<Self> {
        let first = *starts.first()?;
        // Decoders tell at their first byte how much memory they need.
        let decoder = codec.open(packed, first..packed.size_bytes()).ok()?;
        decoder.take(1).read_to_end(&mut Vec::new()).ok()?;
        let left = size_bytes.saturating_mul(PASSES_MAX);
        let place = Mutex::new(Place { decoder: None, next: 0, end: 0, kept: VecDeque::new(), left });
        Some(Self { packed: SharedSource::clone(packed), codec, starts, size_bytes, place })
    }

    /// Unpacks until the byte at `offset` is kept, or the end.
    fn go_to(&self, place: &mut Place, offset: u64) -> io::Result<()> {
        let first = place.end.saturating_sub(place.kept.len() as u64);
        if offset < first {
            (place.decoder, place.next, place.end) = (None, 0, 0);
            place.kept.clear();
        }
        let mut chunk = vec![0u8; 64 << 10];
        while place.end <= offset {
            let made = match place.decoder.as_mut() {
                Some(decoder) => decoder.read(&mut chunk)?,
                None => 0,
            };
            if made == 0 {
                let Some(start) = self.starts.get(place.next) else {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "unpacks to less than before"));
                };
                place.next += 1;
                // Decoders that keep large windows come and go one at a time.
                place.decoder = None;
                place.decoder = Some(self.codec.open(&self.packed, *start..self.packed.size_bytes())?);
                continue;
            }
            place.left = place
                .left
                .checked_sub(made as u64)
                .ok_or_else(|| io::Error::other("unpacking again and again takes too long"))?;
            place.end = place.end.saturating_add(made as u64);
            place.kept.extend(chunk.get(..made).unwrap_or_default());
            let excess = place.kept.len().saturating_sub(KEPT_BYTES);
            drop(place.kept.drain(..excess));
        }
        Ok(())
    }
}

impl Source for StreamedSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size_bytes {
            return Ok(0);
        }
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        self.go_to(&mut place, offset)?;
        let from = offset.saturating_add(place.kept.len() as u64).saturating_sub(place.end);
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(place.kept.len());
        let (front, back) = place.kept.as_slices();
        let rest = match front.get(from..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => back.get(from - front.len()..).unwrap_or_default(),
        };
        // What a decoder puts out beyond the size that was measured is nobody's.
        let room = usize::try_from(self.size_bytes - offset).unwrap_or(usize::MAX);
        let n = rest.len().min(buffer.len()).min(room);
        if let (Some(to), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }

    fn held_bytes(&self) -> u64 {
        (KEPT_BYTES as u64).saturating_add(LENT_BYTES_MAX).saturating_add(self.packed.held_bytes())
    }
}
