//! 7z archives: members by name, unpacked folder by folder and judged by content.
//!
//! Published malware came as 7z under the name of a torch file (nullifAI). Folders packed with LZMA, LZMA2, deflate, bzip2, or
//! stored, behind filters for x86 code or differences, are read; encrypted ones and other methods are named and never
//! clean. No length of the header is allocated before it is compared with the bytes that are there, and no window is
//! larger than what the folder unpacks to.
//!
//! Source: `7zFormat.txt` and `Methods.txt` of the LZMA SDK. There is a crate, `sevenz-rust2` 0.24: it lends a decoder all
//! memory (`MAX_MEM_LIMIT_KB`), so the window of a packed header is what the file says, and hides which bytes it used.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use casemate_core::{MemorySource, RangeSource, SharedSource, SourceExt};

use super::reading::{Allowance, quote, u64_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Parsed, Probe, Reference, ReferenceKind, Role, Trouble};

mod folder;
mod header;

use folder::{Folder, FolderSource, Slot, unpack};
use header::{Entry, Header, Streams};

/// Reads 7z archives.
pub(crate) struct SevenZip;

const MAGIC: &[u8] = b"7z\xbc\xaf\x27\x1c";
/// Length of what stands before the packed streams.
const START_BYTES: u64 = 32;
/// Packed headers in packed headers; writers pack it once.
const PACKED_HEADERS_MAX: u32 = 4;
/// Names take two bytes a character: 25,000 members. What is made of a byte takes up to eight.
const HEADER_BYTES_MAX: u64 = 2 << 20;
/// The longest target of a link.
const LINK_BYTES_MAX: u64 = 4096;

impl Format for SevenZip {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "seven-zip", title: "7z archive", extensions: &["7z"], runs_code: false, is_model: false }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(MAGIC) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut archive = Archive {
            object,
            parsed: &mut parsed,
            slot: Arc::default(),
            names: HashSet::new(),
            allowance: Allowance::new(),
        };
        if let Err(malformed) = archive.read() {
            archive.parsed.report(object.limits, malformed);
        }
        parsed
    }
}

/// An archive while it is read.
struct Archive<'a, 'p> {
    object: &'a Object<'a>,
    parsed: &'p mut Parsed,
    slot: Arc<Slot>,
    names: HashSet<String>,
    allowance: Allowance,
}

impl Archive<'_, '_> {
    fn read(&mut self) -> Result<(), Malformed> {
        let size = self.object.source.size_bytes();
        let start = self.object.source.bytes_at(0, START_BYTES).map_err(|error| unreadable(&error, 0))?;
        self.parsed.claims.add(0..start.len() as u64);
        let (offset, len) = u64_le(&start, 12).zip(u64_le(&start, 20)).ok_or_else(|| broken(0, "its start is cut"))?;
        let at = START_BYTES.checked_add(offset).filter(|at| at.checked_add(len).is_some_and(|end| end <= size));
        let at = at.ok_or_else(|| broken(12, "its header lies outside the file"))?;
        if len == 0 {
            return Ok(());
        }
        if len > self.header_bytes_max() {
            return Err(Malformed::new(Trouble::Limit, at, format!("its header has {len} bytes")));
        }
        let mut bytes = self.object.source.bytes_at(at, len).map_err(|error| unreadable(&error, at))?;
        self.parsed.claims.add(at..at + len);
        for _ in 0..PACKED_HEADERS_MAX {
            match Header::parse(&bytes).map_err(|what| broken(at, what))? {
                Header::Plain { streams, entries } => return self.members(&streams, entries),
                Header::Packed(streams) => bytes = self.header(&streams, at)?,
            }
        }
        Err(Malformed::new(Trouble::Limit, at, "its header is packed again and again"))
    }

    /// A header that is packed like a member.
    fn header(&mut self, streams: &Streams, at: u64) -> Result<Vec<u8>, Malformed> {
        let folder = streams.folders.first().ok_or_else(|| broken(at, "its packed header has no content"))?;
        let spans = self.spans(streams)?;
        let range = spans.first().cloned().ok_or_else(|| broken(at, "its packed header has no content"))?;
        let unpacked = unpack(&**self.object.source, range.clone(), folder, self.header_bytes_max())
            .map_err(|malformed| malformed.at(range.start))?;
        self.object.budget.inflated(unpacked.0.len() as u64, self.object.limits)?;
        match unpacked {
            (bytes, None) => Ok(bytes),
            (_, Some(malformed)) => Err(malformed.at(range.start)),
        }
    }

    /// Where the packed streams lie, one after another.
    fn spans(&mut self, streams: &Streams) -> Result<Vec<Range<u64>>, Malformed> {
        let (mut at, size) = (START_BYTES.saturating_add(streams.packed_at), self.object.source.size_bytes());
        let mut spans = Vec::new();
        for len in &streams.packed_sizes {
            let end = at.checked_add(*len).filter(|end| *end <= size);
            let end = end.ok_or_else(|| broken(12, "a packed stream lies outside the file"))?;
            self.parsed.claims.add(at..end);
            spans.push(at..end);
            at = end;
        }
        Ok(spans)
    }

    fn members(&mut self, streams: &Streams, entries: Vec<Entry>) -> Result<(), Malformed> {
        let mut spans = self.spans(streams)?.into_iter();
        let mut entries = entries.into_iter();
        for (folder, sizes) in streams.folders.iter().zip(&streams.sizes) {
            // Once too much has come out, nothing more is unpacked.
            self.object.budget.inflated(0, self.object.limits)?;
            let range = spans.next().ok_or_else(|| broken(12, "a folder has no packed stream"))?;
            // What else belongs to the folder; one with several is not read.
            spans.by_ref().take(folder.packed_streams.saturating_sub(1)).for_each(drop);
            let content = match self.content(folder, range.clone()) {
                Ok(content) => Some(content),
                Err(malformed) => {
                    self.parsed.report(self.object.limits, malformed.at(range.start));
                    None
                }
            };
            let mut at = 0u64;
            for size in sizes {
                let source = content
                    .as_ref()
                    .map(|content| -> SharedSource { Arc::new(RangeSource::new(Arc::clone(content), at, *size)) });
                let entry = loop {
                    let entry = entries.next().ok_or_else(|| broken(12, "more contents than names"))?;
                    if !entry.is_empty {
                        break entry;
                    }
                    self.named(&entry, None)?;
                };
                self.named(&entry, source)?;
                at = at.saturating_add(*size);
            }
        }
        entries.try_for_each(|entry| self.named(&entry, None))
    }

    fn header_bytes_max(&self) -> u64 {
        HEADER_BYTES_MAX.min(self.object.limits.header_bytes_max)
    }

    /// What a folder unpacks to; stored ones are read in place.
    fn content(&mut self, folder: &Folder, range: Range<u64>) -> Result<SharedSource, Malformed> {
        if folder.is_stored() {
            return Ok(Arc::new(RangeSource::new(
                Arc::clone(self.object.source),
                range.start,
                range.end - range.start,
            )));
        }
        // The decoder keeps a window beside what it has put out.
        let bytes_max = super::unpack::bytes_max(self.object) / 2;
        let (bytes, trouble) = unpack(&**self.object.source, range.clone(), folder, bytes_max)?;
        if let Some(malformed) = trouble {
            self.parsed.report(self.object.limits, malformed.at(range.start));
        }
        self.object.budget.inflated(bytes.len() as u64, self.object.limits)?;
        if self.object.budget.hold(bytes.len() as u64) {
            return Ok(Arc::new(MemorySource::new(bytes)));
        }
        Ok(Arc::new(FolderSource {
            packed: Arc::clone(self.object.source),
            range,
            folder: folder.clone(),
            size_bytes: bytes.len() as u64,
            slot: Arc::clone(&self.slot),
        }))
    }

    fn named(&mut self, entry: &Entry, source: Option<SharedSource>) -> Result<(), Malformed> {
        self.object.budget.member(self.object.limits)?;
        if !self.allowance.take(entry.name.len().saturating_mul(3)) {
            return Err(Malformed::new(Trouble::Limit, None, "names of members need too much memory"));
        }
        let name = &entry.name;
        if name.starts_with('/') || name.contains(['\\', '\0', ':']) || name.split('/').any(|part| part == "..") {
            self.refer(ReferenceKind::MemberName, name.clone(), name);
        }
        if !self.names.insert(name.clone()) {
            let what = format!("two members are called {}", quote(name));
            self.parsed.report(self.object.limits, Malformed::new(Trouble::Ambiguous, None, what));
        }
        let Some(source) = source.filter(|source| source.size_bytes() > 0) else { return Ok(()) };
        if entry.is_link {
            let target = source.bytes_at(0, LINK_BYTES_MAX).map_err(|error| unreadable(&error, 0))?;
            self.refer(ReferenceKind::LinkTarget, String::from_utf8_lossy(&target).into_owned(), name);
        }
        self.parsed.children.push(Child { name: name.clone(), source, role: Role::Any });
        Ok(())
    }

    fn refer(&mut self, kind: ReferenceKind, target: String, from: &str) {
        if self.allowance.take(target.len() + from.len()) {
            self.parsed.references.push(Reference { kind, target, from: from.into(), offset: None });
        }
    }
}

impl Malformed {
    /// The same at an offset, where it has none.
    fn at(self, offset: u64) -> Self {
        Self { offset: self.offset.or(Some(offset)), ..self }
    }
}

fn broken(at: u64, what: impl std::fmt::Display) -> Malformed {
    Malformed::new(Trouble::Undecodable, at, format!("the archive cannot be read: {what}"))
}

#[cfg(test)]
mod tests;
