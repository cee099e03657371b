//! The header of a 7z archive: packed streams, folders of coders, names. Source: `7zFormat.txt` of the LZMA SDK.

use super::folder::{Coder, Folder};
use crate::formats::reading::u32_le;

/// What a header says.
pub(super) enum Header {
    /// The header itself is a packed stream.
    Packed(Streams),
    /// Contents and their names.
    Plain { streams: Streams, entries: Vec<Entry> },
}

/// Packed streams and what they unpack to.
#[derive(Default)]
pub(super) struct Streams {
    /// Offset of the first, behind the start of the archive.
    pub(super) packed_at: u64,
    pub(super) packed_sizes: Vec<u64>,
    pub(super) folders: Vec<Folder>,
    /// Sizes of the contents of each folder, in order.
    pub(super) sizes: Vec<Vec<u64>>,
}

/// A file or directory.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Whether it has no content.
    pub(super) is_empty: bool,
    pub(super) is_link: bool,
}

/// Coders of one folder; writers use four at most.
const CODERS_MAX: u64 = 8;

/// Members and packed streams that are held.
const THINGS_MAX: usize = 1 << 16;
/// Folders that are held, each with up to eight coders.
const FOLDERS_MAX: usize = 1 << 14;

type Read<T> = Result<T, &'static str>;

impl Header {
    /// Reads a header from its first byte.
    pub(super) fn parse(bytes: &[u8]) -> Read<Self> {
        let mut fields = Fields { bytes, len: bytes.len() };
        match fields.byte()? {
            0x17 => Ok(Self::Packed(fields.streams()?)),
            0x01 => {
                let (mut streams, mut entries) = (Streams::default(), Vec::new());
                loop {
                    match fields.byte()? {
                        0x00 => return Ok(Self::Plain { streams, entries }),
                        0x02 => {
                            while fields.byte()? != 0 {
                                let len = fields.count()?;
                                fields.take(len)?;
                            }
                        }
                        0x04 => streams = fields.streams()?,
                        0x05 => entries = fields.entries()?,
                        _ => return Err("its header holds a record that is not known"),
                    }
                }
            }
            _ => Err("its header does not begin like one"),
        }
    }
}

/// The rest of a header.
struct Fields<'a> {
    bytes: &'a [u8],
    /// Length of the whole header: there cannot be more of anything than this.
    len: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or("its header ends early")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    /// A number: as many leading ones in the first byte as bytes follow.
    fn number(&mut self) -> Read<u64> {
        let first = self.byte()?;
        let n = usize::try_from(first.leading_ones()).unwrap_or(8);
        let mut low = [0u8; 8];
        for (to, from) in low.iter_mut().zip(self.take(n)?) {
            *to = *from;
        }
        let high = if n >= 7 { 0 } else { u64::from(first) & ((1 << (7 - n)) - 1) };
        Ok(u64::from_le_bytes(low) | high << (8 * n.min(7)))
    }

    /// A length in bytes, or a number of things that each take a byte of the header or more.
    fn count(&mut self) -> Read<usize> {
        let n = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if n <= self.len { Ok(n) } else { Err("its header counts more than it can hold") }
    }

    /// A number of things that are held.
    fn things(&mut self) -> Read<usize> {
        let n = self.count()?;
        if n <= THINGS_MAX { Ok(n) } else { Err("it has more members than are read") }
    }

    fn bits(&mut self, n: usize) -> Read<Vec<bool>> {
        let bytes = self.take(n.div_ceil(8))?;
        Ok(bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)).take(n).collect())
    }

    /// Checksums, of all or of those a bit says have one.
    fn digests(&mut self, n: usize) -> Read<()> {
        let defined = match self.byte()? {
            0 => self.bits(n)?.into_iter().filter(|bit| *bit).count(),
            _ => n,
        };
        self.take(defined.checked_mul(4).ok_or("its header ends early")?).map(drop)
    }

    fn streams(&mut self) -> Read<Streams> {
        let mut streams = Streams::default();
        loop {
            match self.byte()? {
                0x00 => break,
                0x06 => self.packed(&mut streams)?,
                0x07 => self.folders(&mut streams)?,
                0x08 => self.contents(&mut streams)?,
                _ => return Err("its streams hold a record that is not known"),
            }
        }
        if streams.sizes.is_empty() {
            streams.sizes = streams.folders.iter().map(|folder| vec![folder.unpacked_size()]).collect();
        }
        Ok(streams)
    }

    fn packed(&mut self, streams: &mut Streams) -> Read<()> {
        streams.packed_at = self.number()?;
        let n = self.things()?;
        loop {
            match self.byte()? {
                0x00 => return Ok(()),
                0x09 => streams.packed_sizes = (0..n).map(|_| self.number()).collect::<Read<_>>()?,
                0x0a => self.digests(n)?,
                _ => return Err("its packed streams hold a record that is not known"),
            }
        }
    }

    fn folders(&mut self, streams: &mut Streams) -> Read<()> {
        if self.byte()? != 0x0b {
            return Err("its folders are missing");
        }
        let n = self.things()?;
        if self.byte()? != 0 {
            return Err("its folders lie elsewhere");
        }
        if n > FOLDERS_MAX {
            return Err("it has more folders than are read");
        }
        streams.folders = (0..n).map(|_| self.folder()).collect::<Read<_>>()?;
        loop {
            match self.byte()? {
                0x00 => return Ok(()),
                0x0a => self.digests(n)?,
                0x0c => {
                    for folder in &mut streams.folders {
                        folder.sizes = (0..folder.outputs).map(|_| self.number()).collect::<Read<_>>()?;
                    }
                }
                _ => return Err("its folders hold a record that is not known"),
            }
        }
    }

    fn folder(&mut self) -> Read<Folder> {
        let n = self.number()?;
        if n == 0 || n > CODERS_MAX {
            return Err("a folder has no coder, or too many");
        }
        let mut folder = Folder::default();
        let mut inputs = 0;
        for _ in 0..n {
            let flags = self.byte()?;
            let method = self.take(usize::from(flags & 0x0f))?.to_vec();
            let (ins, outs) = if flags & 0x10 == 0 { (1, 1) } else { (self.number()?, self.number()?) };
            if ins > CODERS_MAX || outs > CODERS_MAX {
                return Err("a coder has more streams than any");
            }
            let len = if flags & 0x20 == 0 { 0 } else { self.count()? };
            let properties = self.take(len)?.to_vec();
            inputs += usize::try_from(ins).unwrap_or(0);
            folder.outputs += usize::try_from(outs).unwrap_or(0);
            folder.coders.push(Coder { method, properties, is_simple: ins == 1 && outs == 1 });
        }
        let bound = folder.outputs.saturating_sub(1);
        for _ in 0..bound {
            folder.bonds.push((self.number()?, self.number()?));
        }
        folder.packed_streams = inputs.saturating_sub(bound);
        if folder.packed_streams > 1 {
            for _ in 0..folder.packed_streams {
                self.number()?;
            }
        }
        Ok(folder)
    }

    /// How many contents each folder holds, and their sizes; the last of a folder takes what is left.
    fn contents(&mut self, streams: &mut Streams) -> Read<()> {
        let mut counts = vec![1usize; streams.folders.len()];
        let mut next = self.byte()?;
        if next == 0x0d {
            for count in &mut counts {
                *count = self.things()?;
            }
            next = self.byte()?;
        }
        if counts.iter().copied().fold(0, usize::saturating_add) > THINGS_MAX {
            return Err("it has more members than are read");
        }
        let sized = next == 0x09;
        for (folder, count) in streams.folders.iter().zip(&counts) {
            let mut left = folder.unpacked_size();
            let mut sizes = Vec::new();
            for n in 0..*count {
                let size = match n + 1 == *count {
                    true => left,
                    false if sized => self.number()?,
                    false => return Err("sizes of contents are missing"),
                };
                left = left.checked_sub(size).ok_or("contents are longer than their folder")?;
                sizes.push(size);
            }
            streams.sizes.push(sizes);
        }
        if sized {
            next = self.byte()?;
        }
        while next != 0 {
            if next != 0x0a {
                return Err("its contents hold a record that is not known");
            }
            // Those with a checksum of their folder have none of their own, and nothing needs any: the rest is skipped by
            // trying what ends the record.
            self.skip_digests(&counts)?;
            next = self.byte()?;
        }
        Ok(())
    }

    /// Checksums of contents: of all, or of those whose folder has none; which it is shows in what follows.
    fn skip_digests(&mut self, counts: &[usize]) -> Read<()> {
        let all: usize = counts.iter().sum();
        let several: usize = counts.iter().filter(|count| **count != 1).sum();
        let here = self.bytes;
        for n in [several, all] {
            self.bytes = here;
            if self.digests(n).is_ok() && self.bytes.starts_with(&[0, 0]) {
                return Ok(());
            }
        }
        Err("checksums of contents do not end")
    }

    fn entries(&mut self) -> Read<Vec<Entry>> {
        let n = self.things()?;
        let mut entries: Vec<Entry> = Vec::new();
        entries.resize_with(n, Entry::default);
        loop {
            let kind = self.number()?;
            if kind == 0 {
                return Ok(entries);
            }
            let len = self.count()?;
            let mut record = Fields { bytes: self.take(len)?, len: self.len };
            match kind {
                0x0e => {
                    for (entry, empty) in entries.iter_mut().zip(record.bits(n)?) {
                        entry.is_empty = empty;
                    }
                }
                0x11 => record.names(&mut entries)?,
                0x15 => record.attributes(&mut entries)?,
                _ => {}
            }
        }
    }

    fn names(&mut self, entries: &mut [Entry]) -> Read<()> {
        if self.byte()? != 0 {
            return Err("its names lie elsewhere");
        }
        for entry in entries {
            let mut units = Vec::new();
            loop {
                match self.take(2)? {
                    [0, 0] => break,
                    [low, high] => units.push(u16::from_le_bytes([*low, *high])),
                    _ => return Err("its names end early"),
                }
            }
            entry.name = String::from_utf16_lossy(&units);
        }
        Ok(())
    }

    fn attributes(&mut self, entries: &mut [Entry]) -> Read<()> {
        let defined = match self.byte()? {
            0 => self.bits(entries.len())?,
            _ => vec![true; entries.len()],
        };
        if self.byte()? != 0 {
            return Err("its attributes lie elsewhere");
        }
        for (entry, _) in entries.iter_mut().zip(defined).filter(|(_, defined)| *defined) {
            let attributes = u32_le(self.take(4)?, 0).unwrap_or(0);
            // Unix modes stand in the upper half where bit 15 says so; links have type 12.
            entry.is_link = attributes & 0x8000 != 0 && attributes >> 28 == 0xa || attributes & 0x400 != 0;
        }
        Ok(())
    }
}
