//! Unpacking within bounds, and objects that are unpacked again when somebody reads them.
//!
//! Declared sizes play no part: what comes out is counted, and what is kept of it is bounded for one object
//! ([`Limits::inflated_member_bytes_max`]), for a chain of packed objects in packed objects ([`CHAIN_BYTES_MAX`]) and for a
//! file ([`Budget`](crate::Budget)). Answers bombs: 1000:1 at one level, and levels that multiply.

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use casemate_core::{Limits, MemorySource, SharedSource, Source, SourceExt};

use super::Object;
use super::reading::unreadable;
use crate::{Child, Malformed, Parsed, Role, Trouble};

mod inflate;
mod streamed;

pub(crate) use inflate::{Inflated, RawDeflate, Sum, Wrapper, inflate};
pub(crate) use streamed::{StreamedSource, reader, streamed_bytes_max};

/// Unpacked bytes held by a chain of objects, each packed inside the one before.
const CHAIN_BYTES_MAX: u64 = 40 << 20;
/// Objects above this are unpacked again when they are read, instead of being held.
const EAGER_BYTES_MAX: u64 = 1 << 20;
/// Bytes read ahead of a decoder.
const INPUT_BYTES: u64 = 64 << 10;
/// Zeros skipped between two streams of a file.
const PADDING_BYTES_MAX: u64 = 4096;
/// Streams of one file: 4 GiB in the blocks of `bgzip`.
const STREAMS_MAX: usize = 1 << 16;

/// How unpacking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At the end of the stream.
    Whole,
    /// At the bound on the output.
    TooLong,
    /// At bytes that are no such stream, or at the end of the input.
    Broken,
}

/// What came out of packed bytes.
pub(crate) struct Unpacked {
    pub(crate) bytes: Vec<u8>,
    /// How many bytes came out, kept or not.
    pub(crate) made: u64,
    /// Bytes of input used.
    pub(crate) used: u64,
    pub(crate) ending: Ending,
    /// Where readers may disagree.
    pub(crate) malformed: Vec<Malformed>,
    /// Where each stream begins.
    starts: Vec<u64>,
}

/// Where unpacked bytes go: so many are counted, and all or none of them kept.
pub(crate) struct Output {
    pub(crate) bytes: Vec<u8>,
    pub(crate) made: u64,
    bytes_max: u64,
    is_kept: bool,
}

impl Output {
    /// Keeps at most `bytes_max` bytes.
    pub(crate) fn kept(bytes_max: u64) -> Self {
        Self { bytes: Vec::new(), made: 0, bytes_max, is_kept: true }
    }

    /// Counts at most `bytes_max` bytes.
    pub(crate) fn counted(bytes_max: u64) -> Self {
        Self { is_kept: false, ..Self::kept(bytes_max) }
    }

    /// Whether what comes out is held, so that a decoder may hold less beside it when it is not.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Takes what came out; returns what of it counts, and whether there was room for all.
    fn take<'a>(&mut self, chunk: &'a [u8]) -> (&'a [u8], bool) {
        let room = usize::try_from(self.bytes_max.saturating_sub(self.made)).unwrap_or(usize::MAX);
        let taken = chunk.get(..chunk.len().min(room)).unwrap_or_default();
        self.made = self.made.saturating_add(taken.len() as u64);
        if self.is_kept {
            self.bytes.extend_from_slice(taken);
        }
        (taken, taken.len() == chunk.len())
    }
}

/// How one stream was unpacked.
pub(crate) struct Streamed {
    /// Bytes of input used.
    pub(crate) used: u64,
    pub(crate) ending: Ending,
    pub(crate) malformed: Vec<Malformed>,
}

impl Streamed {
    /// A stream of which nothing could be read.
    pub(crate) fn nothing(ending: Ending) -> Self {
        Self { used: 0, ending, malformed: Vec::new() }
    }
}

/// A way of packing bytes.
pub(crate) trait Codec: Sync {
    /// Unpacks the one stream at the start of `range` into `output`.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed>;

    /// A reader of the one stream at the start of `range`, known to be whole, in bounded memory.
    ///
    /// # Errors
    /// Whatever the medium reports, and where the stream asks for more memory than is lent.
    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>>;

    /// Whether another stream may begin with these bytes.
    fn begins(&self, head: &[u8]) -> bool;

    /// Whether the format says that streams one after another are one file. Where it does not, readers differ.
    fn joins(&self) -> bool {
        true
    }

    /// Unpacks all streams in `range`, one after another, as ordinary readers do.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn unpack(&self, source: &dyn Source, range: Range<u64>, mut output: Output) -> io::Result<Unpacked> {
        let Streamed { mut used, mut ending, mut malformed } = self.stream(source, range.clone(), &mut output)?;
        let (mut starts, mut several) = (vec![range.start], false);
        while ending == Ending::Whole {
            let end = range.start.saturating_add(used);
            let padding = source.bytes_at(end, PADDING_BYTES_MAX.min(range.end.saturating_sub(end)))?;
            let Some(zeros) = padding.iter().position(|byte| *byte != 0) else { break };
            let start = end.saturating_add(zeros as u64);
            if !self.begins(&source.bytes_at(start, 16)?) {
                break;
            }
            if starts.len() >= STREAMS_MAX {
                ending = Ending::TooLong;
                break;
            }
            starts.push(start);
            let before = output.made;
            // Who unpacks one stream alone sees an archive that ends with it, and who unpacks all of them may not.
            let differs = !self.joins() || ends_as_archive(&output.bytes);
            let next = self.stream(source, start..range.end, &mut output)?;
            if !several && differs && output.made > before && before > 0 {
                several = true;
                let what = "a second stream follows: some readers stop after the first, others go on";
                malformed.push(Malformed::new(Trouble::Ambiguous, start, what));
            }
            used = start.saturating_add(next.used.max(1)).saturating_sub(range.start);
            ending = next.ending;
            // A flood of tiny broken streams says the same again and again.
            let room = 16usize.saturating_sub(malformed.len());
            malformed.extend(next.malformed.into_iter().take(room));
        }
        Ok(Unpacked { bytes: output.bytes, made: output.made, used, ending, malformed, starts })
    }
}

/// Whether the end record of a zip archive stands at the end of what was unpacked.
fn ends_as_archive(bytes: &[u8]) -> bool {
    const RECORD_BYTES: usize = 22 + 65_535;
    let tail = bytes.get(bytes.len().saturating_sub(RECORD_BYTES)..).unwrap_or_default();
    tail.windows(4).any(|four| four == b"PK\x05\x06")
}

/// Bytes one object inside `object` may unpack to.
pub(crate) fn bytes_max(object: &Object<'_>) -> u64 {
    let Limits { inflated_member_bytes_max, .. } = object.limits;
    (*inflated_member_bytes_max).min(CHAIN_BYTES_MAX.saturating_sub(object.source.held_bytes()))
}

/// Small objects are held, large ones unpacked again when somebody reads them.
pub(crate) fn source_of(
    object: &Object<'_>,
    codec: &'static dyn Codec,
    range: Range<u64>,
    bytes: Vec<u8>,
    slot: &Arc<Slot>,
) -> SharedSource {
    let size_bytes = bytes.len() as u64;
    if size_bytes <= EAGER_BYTES_MAX && object.budget.hold(size_bytes) {
        return Arc::new(MemorySource::new(bytes));
    }
    let (packed, slot) = (Arc::clone(object.source), Arc::clone(slot));
    Arc::new(UnpackedSource { packed, codec, range, size_bytes, slot })
}

/// Reads a file that is one object packed by `codec`; `endings` are the codec's own, taken off the child's name.
///
/// `window_kept`: the decoder keeps what it has put out beside us, so that only half as much fits.
pub(crate) fn parse_packed(
    object: &Object<'_>,
    codec: &'static dyn Codec,
    endings: &[(&str, &str)],
    window_kept: bool,
) -> Parsed {
    let mut parsed = Parsed::default();
    let size = object.source.size_bytes();
    let bytes_max = if window_kept { bytes_max(object).min(CHAIN_BYTES_MAX / 2) } else { bytes_max(object) };
    let first = codec.unpack(&**object.source, 0..size, Output::kept(bytes_max));
    let (unpacked, stream) = match first.and_then(|first| whole(object, codec, first)) {
        Ok(found) => found,
        Err(error) => {
            parsed.report(object.limits, unreadable(&error, 0));
            return parsed;
        }
    };
    let len = unpacked.made;
    if len > 0 || unpacked.ending == Ending::Whole {
        let used = if unpacked.ending == Ending::TooLong { size } else { unpacked.used };
        parsed.claims.add(0..used.min(size));
    }
    unpacked.malformed.into_iter().for_each(|malformed| parsed.report(object.limits, malformed));
    let trouble = match unpacked.ending {
        Ending::Whole => None,
        Ending::TooLong => {
            Some((Trouble::Limit, format!("unpacks to more than {bytes_max} bytes, only those are read")))
        }
        Ending::Broken => Some((Trouble::Undecodable, format!("breaks after {len} unpacked bytes"))),
    };
    if let Some((trouble, what)) = trouble {
        parsed.report(object.limits, Malformed::new(trouble, unpacked.used.min(size), what));
    }
    let counted = object.budget.member(object.limits).and_then(|()| object.budget.inflated(len, object.limits));
    if let Err(malformed) = counted {
        parsed.report(object.limits, malformed);
        return parsed;
    }
    if len > 0 {
        let source = stream.unwrap_or_else(|| source_of(object, codec, 0..size, unpacked.bytes, &Arc::default()));
        parsed.children.push(Child { name: inner_name(object.name, endings), source, role: Role::Any });
    }
    parsed
}

/// What was too long to be held, unpacked to its end and read as a stream; or as it was, where that costs too much.
fn whole(
    object: &Object<'_>,
    codec: &'static dyn Codec,
    first: Unpacked,
) -> io::Result<(Unpacked, Option<SharedSource>)> {
    let size = object.source.size_bytes();
    let Some(bytes_max) =
        streamed_bytes_max(object, first.made, first.used).filter(|_| first.ending == Ending::TooLong)
    else {
        return Ok((first, None));
    };
    let all = codec.unpack(&**object.source, 0..size, Output::counted(bytes_max))?;
    let stream = StreamedSource::open(object.source, codec, all.starts.clone(), all.made);
    match stream.filter(|_| all.ending == Ending::Whole) {
        Some(stream) => Ok((all, Some(Arc::new(stream)))),
        None => Ok((first, None)),
    }
}

/// The name of what is packed: that of the file without the codec's ending, `tgz` to `tar` and the like.
fn inner_name(name: &str, endings: &[(&str, &str)]) -> String {
    let name = name.rsplit(['/', '!', '\\']).next().unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    let without = endings.iter().find_map(|(from, to)| {
        let stem = name.get(..lower.strip_suffix(from)?.len()).filter(|stem| !stem.is_empty())?;
        Some(format!("{stem}{to}"))
    });
    without.unwrap_or_else(|| if name.is_empty() { "content".into() } else { name.into() })
}

/// The one large object of an archive that is held unpacked.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Held>>);

/// Where an object lies in the archive, and what it unpacks to.
type Held = (Range<u64>, Arc<Vec<u8>>);

/// A packed object as a source. Objects of one archive share a slot, so that reading them one after another holds one.
struct UnpackedSource {
    packed: SharedSource,
    codec: &'static dyn Codec,
    range: Range<u64>,
    size_bytes: u64,
    slot: Arc<Slot>,
}

impl UnpackedSource {
    fn bytes(&self) -> io::Result<Arc<Vec<u8>>> {
        let mut slot = self.slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = slot.as_ref().filter(|(range, _)| *range == self.range) {
            return Ok(Arc::clone(bytes));
        }
        // The old object goes before the new one comes.
        *slot = None;
        let bytes =
            Arc::new(self.codec.unpack(&*self.packed, self.range.clone(), Output::kept(self.size_bytes))?.bytes);
        *slot = Some((self.range.clone(), Arc::clone(&bytes)));
        Ok(bytes)
    }
}

/// Fills `buffer` from `offset` of what was unpacked; returns how many bytes there were.
pub(crate) fn copy_at(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let n = rest.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) {
        to.copy_from_slice(from);
    }
    n
}

impl Source for UnpackedSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(copy_at(&self.bytes()?, offset, buffer))
    }

    fn held_bytes(&self) -> u64 {
        self.size_bytes.saturating_add(self.packed.held_bytes())
    }
}

/// A stretch of a source as a reader for decoders; tells how far they came, and their errors from the medium's.
pub(crate) struct Input<'a> {
    source: &'a dyn Source,
    end: u64,
    buffer: Vec<u8>,
    from: usize,
    state: Rc<InputState>,
}

/// What an [`Input`] says to whoever gave it away.
pub(crate) struct InputState {
    at: Cell<u64>,
    failure: RefCell<Option<io::Error>>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(source: &'a dyn Source, range: Range<u64>) -> (Self, Rc<InputState>) {
        let state = Rc::new(InputState { at: Cell::new(range.start), failure: RefCell::default() });
        let end = range.end.min(source.size_bytes());
        (Self { source, end, buffer: Vec::new(), from: 0, state: Rc::clone(&state) }, state)
    }
}

impl InputState {
    /// Offset of the next byte a decoder would take.
    pub(crate) fn at(&self) -> u64 {
        self.at.get()
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.from >= self.buffer.len() {
            let at = self.state.at.get();
            match self.source.bytes_at(at, INPUT_BYTES.min(self.end.saturating_sub(at))) {
                Ok(bytes) => (self.buffer, self.from) = (bytes, 0),
                Err(error) => {
                    let copy = io::Error::new(error.kind(), error.to_string());
                    *self.state.failure.borrow_mut() = Some(error);
                    return Err(copy);
                }
            }
        }
        Ok(self.buffer.get(self.from..).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        self.from = self.from.saturating_add(n);
        self.state.at.set(self.state.at.get().saturating_add(n as u64));
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..n), bytes.get(..n)) {
            to.copy_from_slice(from);
        }
        self.consume(n);
        Ok(n)
    }
}

/// Reads a decoder to its end or until `output` is full. `start` is where its input began.
///
/// # Errors
/// What the medium reported; a decoder's own errors are [`Ending::Broken`].
pub(crate) fn drain(
    decoder: &mut dyn Read,
    state: &InputState,
    start: u64,
    output: &mut Output,
) -> io::Result<Streamed> {
    let mut chunk = vec![0u8; 64 << 10];
    let ending = loop {
        let made = match decoder.read(&mut chunk) {
            Ok(0) => break Ending::Whole,
            Ok(made) => made,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A window or dictionary larger than we lend.
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => break Ending::TooLong,
            Err(_) => break Ending::Broken,
        };
        if !output.take(chunk.get(..made).unwrap_or_default()).1 {
            break Ending::TooLong;
        }
    };
    match state.failure.take() {
        Some(error) => Err(error),
        None => Ok(Streamed { used: state.at().saturating_sub(start), ending, malformed: Vec::new() }),
    }
}

#[cfg(test)]
mod tests;
