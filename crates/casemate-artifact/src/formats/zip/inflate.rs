//! Inflating a member within bounds, and members that are inflated when they are read.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use casemate_core::{SharedSource, Source, Window};
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// How inflating ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// At the end of the stream.
    Whole,
    /// At the bound on the output.
    TooLong,
    /// At bytes that are no deflate stream, or at the end of the input.
    Broken,
}

/// What came out of a stream.
pub(super) struct Inflated {
    pub(super) bytes: Vec<u8>,
    pub(super) crc: u32,
    /// Bytes of input used.
    pub(super) used: u64,
    pub(super) ending: Ending,
}

/// Inflates the bytes at `range` to at most `bytes_max` bytes. What is declared of their size plays no part.
///
/// # Errors
/// Whatever the medium reports.
pub(super) fn inflate(source: &dyn Source, range: Range<u64>, bytes_max: u64) -> io::Result<Inflated> {
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

/// The one large member of an archive that is held inflated.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Held>>);

/// Where a member lies in the archive, and what it unpacks to.
type Held = (Range<u64>, Arc<Vec<u8>>);

/// A deflated member as a source. Members of one archive share a slot, so that reading them one after another holds one.
pub(super) struct InflatedSource {
    pub(super) archive: SharedSource,
    pub(super) range: Range<u64>,
    pub(super) size_bytes: u64,
    pub(super) slot: Arc<Slot>,
}

impl InflatedSource {
    fn bytes(&self) -> io::Result<Arc<Vec<u8>>> {
        let mut slot = self.slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = slot.as_ref().filter(|(range, _)| *range == self.range) {
            return Ok(Arc::clone(bytes));
        }
        // The old member goes before the new one comes.
        *slot = None;
        let bytes = Arc::new(inflate(&*self.archive, self.range.clone(), self.size_bytes)?.bytes);
        *slot = Some((self.range.clone(), Arc::clone(&bytes)));
        Ok(bytes)
    }
}

impl Source for InflatedSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes()?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }
}
