//! A folder of a 7z archive: coders in a row, and what comes out of them. Source: `Methods.txt` of the LZMA SDK.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bzip2::bufread::BzDecoder;
use casemate_core::{SharedSource, Source};
use flate2::bufread::DeflateDecoder;
use lzma_rust2::filter::bcj::BcjReader;
use lzma_rust2::filter::delta::DeltaReader;
use lzma_rust2::{Lzma2Reader, LzmaReader};

use crate::formats::reading::{u32_le, unreadable};
use crate::formats::unpack::{Ending, Input, Output, copy_at, drain};
use crate::formats::xz::WINDOW_KIB_MAX;
use crate::{Malformed, Trouble};

/// Coders and how they are joined.
#[derive(Clone, Default)]
pub(super) struct Folder {
    pub(super) coders: Vec<Coder>,
    /// Input and output of each pair of coders that are joined.
    pub(super) bonds: Vec<(u64, u64)>,
    pub(super) outputs: usize,
    pub(super) packed_streams: usize,
    /// What each coder puts out.
    pub(super) sizes: Vec<u64>,
}

/// One coder.
#[derive(Clone)]
pub(super) struct Coder {
    pub(super) method: Vec<u8>,
    pub(super) properties: Vec<u8>,
    /// Whether it has one input and one output.
    pub(super) is_simple: bool,
}

const STORED: &[u8] = &[0];
const ENCRYPTED: &[u8] = &[0x06, 0xf1];

impl Folder {
    /// The one output no other coder takes.
    fn last(&self) -> Option<usize> {
        (0..self.outputs).find(|n| !self.bonds.iter().any(|(_, output)| *output == *n as u64))
    }

    /// What the folder unpacks to.
    pub(super) fn unpacked_size(&self) -> u64 {
        self.last().and_then(|n| self.sizes.get(n)).copied().unwrap_or(0)
    }

    /// Whether its content lies in the file as it is.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self.coders.as_slice(), [coder] if coder.is_simple && coder.method == STORED)
    }

    /// The coders from the packed stream to the content, with what each puts out.
    fn row(&self) -> Option<Vec<(&Coder, u64)>> {
        if !self.coders.iter().all(|coder| coder.is_simple) {
            return None;
        }
        let mut row = Vec::new();
        let mut next = self.last();
        while let Some(n) = next.filter(|_| row.len() < self.coders.len()) {
            row.push((self.coders.get(n)?, self.sizes.get(n).copied()?));
            // Which output feeds this coder's input.
            next = self
                .bonds
                .iter()
                .find(|(input, _)| *input == n as u64)
                .and_then(|(_, output)| usize::try_from(*output).ok());
        }
        row.reverse();
        (row.len() == self.coders.len()).then_some(row)
    }
}

/// What a folder unpacks to, at most `bytes_max` bytes, and what is wrong where that is not all of it.
///
/// # Errors
/// The trouble to report: encrypted, packed in a way that is not read, broken, too long.
pub(super) fn unpack(
    source: &dyn Source,
    range: Range<u64>,
    folder: &Folder,
    bytes_max: u64,
) -> Result<(Vec<u8>, Option<Malformed>), Malformed> {
    if folder.coders.iter().any(|coder| coder.method.starts_with(ENCRYPTED)) {
        return Err(Malformed::new(Trouble::Encrypted, None, "a folder of the archive is encrypted"));
    }
    let row = folder.row().ok_or_else(|| undecodable("a folder joins its coders in a way that is not read".into()))?;
    let size = folder.unpacked_size();
    let start = range.start;
    let (input, state) = Input::new(source, range);
    let mut decoder: Box<dyn Read + '_> = Box::new(input);
    for (coder, made) in row {
        // Distances reach back no further than the content does.
        decoder = decode(decoder, coder, made.min(bytes_max))?;
    }
    let mut output = Output::kept(bytes_max);
    let unpacked =
        drain(&mut decoder.take(size), &state, start, &mut output).map_err(|error| unreadable(&error, start))?;
    let len = output.made;
    let trouble = match unpacked.ending {
        Ending::Whole if len == size => None,
        Ending::TooLong => {
            let what = format!("a folder unpacks to {size} bytes, of which {len} are read");
            Some(Malformed::new(Trouble::Limit, None, what))
        }
        _ => Some(undecodable(format!("a folder breaks after {len} of {size} unpacked bytes"))),
    };
    Ok((output.bytes, trouble))
}

/// One more coder behind `input`; `made` bounds what it puts out.
fn decode<'a>(input: Box<dyn Read + 'a>, coder: &Coder, made: u64) -> Result<Box<dyn Read + 'a>, Malformed> {
    let broken = |error: io::Error| undecodable(format!("a coder has no sound properties: {error}"));
    let window = |declared: u32| declared.min(u32::try_from(made).unwrap_or(u32::MAX)).max(4096);
    let properties = coder.properties.as_slice();
    Ok(match coder.method.as_slice() {
        STORED => input,
        [3, 1, 1] => {
            let (first, declared) = properties.first().copied().zip(u32_le(properties, 1)).unwrap_or((255, 0));
            if window(declared) >> 10 > WINDOW_KIB_MAX {
                return Err(too_large());
            }
            let reader = LzmaReader::new_with_props(input, made, first, window(declared), None).map_err(broken)?;
            Box::new(reader)
        }
        [0x21] => {
            let declared = match properties.first().copied().unwrap_or(255) {
                40 => u32::MAX,
                // Two bits of mantissa, and an exponent.
                n @ 0..40 => (2 | u32::from(n) & 1) << (u32::from(n) / 2 + 11),
                _ => return Err(undecodable("a coder has no sound properties".into())),
            };
            let reader = Lzma2Reader::new_mem_limit(input, window(declared), WINDOW_KIB_MAX, None);
            Box::new(reader.map_err(|_| too_large())?)
        }
        [4, 1, 8] => Box::new(DeflateDecoder::new(io::BufReader::new(input))),
        [4, 2, 2] => Box::new(BzDecoder::new(io::BufReader::new(input))),
        [3] => Box::new(DeltaReader::new(input, usize::from(properties.first().copied().unwrap_or(0)) + 1)),
        [4] | [3, 3, 1, 3] => Box::new(BcjReader::new_x86(input, 0)),
        method => {
            let id: String = method.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(undecodable(format!("a folder is packed by method {id}, which is not read")));
        }
    })
}

fn too_large() -> Malformed {
    Malformed::new(Trouble::Limit, None, "a folder needs a larger window than is lent")
}

fn undecodable(what: String) -> Malformed {
    Malformed::new(Trouble::Undecodable, None, what)
}

/// The one large folder of an archive that is held unpacked.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<(u64, Arc<Vec<u8>>)>>);

/// A folder that is unpacked again when somebody reads it.
pub(super) struct FolderSource {
    pub(super) packed: SharedSource,
    pub(super) range: Range<u64>,
    pub(super) folder: Folder,
    pub(super) size_bytes: u64,
    pub(super) slot: Arc<Slot>,
}

impl FolderSource {
    fn bytes(&self) -> io::Result<Arc<Vec<u8>>> {
        let mut slot = self.slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = slot.as_ref().filter(|(start, _)| *start == self.range.start) {
            return Ok(Arc::clone(bytes));
        }
        // The old folder goes before the new one comes.
        *slot = None;
        let bytes = unpack(&*self.packed, self.range.clone(), &self.folder, self.size_bytes)
            .map_err(|malformed| io::Error::other(malformed.what))?
            .0;
        let bytes = Arc::new(bytes);
        *slot = Some((self.range.start, Arc::clone(&bytes)));
        Ok(bytes)
    }
}

impl Source for FolderSource {
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
