//! Bytes that can be read by ranges: a file, memory, or a stretch of another source.
//!
//! Reading by ranges lets a header be judged without its gigabytes of tensors. Files are read with `pread`, never
//! mapped: a file truncated under a mapping kills the process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Random access to a sequence of bytes of known length.
pub trait Source: Send + Sync {
    /// Length in bytes.
    fn size_bytes(&self) -> u64;

    /// Reads bytes from `offset` on into `buffer`; returns how many, 0 only at or after the end.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Memory in bytes that reading from it may keep occupied, all sources it reads from included: what an archive in an
    /// archive in an archive costs is the sum.
    fn held_bytes(&self) -> u64 {
        0
    }
}

/// A source shared by the objects found inside it.
pub type SharedSource = Arc<dyn Source>;

/// Reading conveniences on top of [`Source::read_at`].
pub trait SourceExt: Source {
    /// Fills as much of `buffer` as the source has from `offset` on; returns how many bytes.
    ///
    /// # Errors
    /// Whatever the medium reports, interruptions apart.
    fn fill_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(offset.saturating_add(filled as u64), rest) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// The bytes `offset..offset + len`, or fewer where the source ends; `len` is bounded by the caller.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn bytes_at(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let len = len.min(self.size_bytes().saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?];
        let filled = self.fill_at(offset, &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes)
    }
}

impl<T: Source + ?Sized> SourceExt for T {}

/// An open regular file. Its length is taken when it is opened.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size_bytes: u64,
}

impl FileSource {
    /// Opens `path` for reading.
    ///
    /// # Errors
    /// When it cannot be opened, or is not a regular file (a FIFO would block, a directory has no bytes).
    pub fn open(path: &Path) -> io::Result<Self> {
        // Looked at before opening as well: opening a FIFO for reading blocks until somebody writes.
        require_regular(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        require_regular(&metadata)?;
        Ok(Self { size_bytes: metadata.len(), file })
    }
}

fn require_regular(metadata: &std::fs::Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

impl Source for FileSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }
}

/// Bytes in memory.
#[derive(Clone, Debug)]
pub struct MemorySource(Arc<[u8]>);

impl MemorySource {
    /// Takes over `bytes`.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }
}

impl Source for MemorySource {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }
}

/// A stretch of another source, such as a stored member of an archive.
#[derive(Clone)]
pub struct RangeSource {
    inner: SharedSource,
    offset: u64,
    size_bytes: u64,
}

impl RangeSource {
    /// The stretch `offset..offset + size_bytes` of `inner`, cut where `inner` ends.
    pub fn new(inner: SharedSource, offset: u64, size_bytes: u64) -> Self {
        let rest = inner.size_bytes().saturating_sub(offset);
        Self { inner, offset, size_bytes: size_bytes.min(rest) }
    }
}

impl Source for RangeSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.size_bytes.saturating_sub(offset);
        let n = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        match buffer.get_mut(..n) {
            Some(buffer) if n > 0 => self.inner.read_at(self.offset.saturating_add(offset), buffer),
            _ => Ok(0),
        }
    }

    fn held_bytes(&self) -> u64 {
        self.inner.held_bytes()
    }
}

/// A moving window over a source for parsers that mostly read forwards.
///
/// Holds at most [`Window::BYTES`] plus the longest single request, which the caller bounds.
pub struct Window<'a> {
    source: &'a dyn Source,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// Bytes read ahead at once.
    pub const BYTES: u64 = 64 << 10;

    /// A window over `source`, empty until something is asked of it.
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source, start: 0, bytes: Vec::new() }
    }

    /// Length of the source in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.source.size_bytes()
    }

    /// The bytes `offset..offset + len`, or `None` where the source ends before.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn get(&mut self, offset: u64, len: u64) -> io::Result<Option<&[u8]>> {
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.source.size_bytes()) else { return Ok(None) };
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            self.bytes = self.source.bytes_at(offset, len.max(Self::BYTES))?;
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).ok();
        let range = from.zip(usize::try_from(len).ok()).and_then(|(from, len)| Some(from..from.checked_add(len)?));
        Ok(range.and_then(|range| self.bytes.get(range)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(n: usize) -> MemorySource {
        MemorySource::new((0..n).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_range_never_shows_bytes_outside_itself() {
        let range = RangeSource::new(Arc::new(counting(100)), 10, 20);
        assert_eq!(range.bytes_at(0, 1000).unwrap(), (10..30).collect::<Vec<u8>>());
        assert_eq!(range.bytes_at(19, 5).unwrap(), [29]);
        assert!(range.bytes_at(20, 5).unwrap().is_empty());
        assert_eq!(RangeSource::new(Arc::new(counting(5)), 3, u64::MAX).size_bytes(), 2);
        assert_eq!(RangeSource::new(Arc::new(counting(5)), u64::MAX, 1).size_bytes(), 0);
    }

    #[test]
    fn a_window_gives_the_bytes_whatever_the_order() {
        let source = counting(300_000);
        let mut window = Window::new(&source);
        for offset in [0u64, 65_530, 65_536, 3, 299_990, 131_072] {
            let expected: Vec<u8> = (offset..offset + 10).map(|i| u8::try_from(i % 251).unwrap()).collect();
            assert_eq!(window.get(offset, 10).unwrap().unwrap(), expected, "{offset}");
        }
        assert!(window.get(299_995, 10).unwrap().is_none());
        assert!(window.get(u64::MAX, 10).unwrap().is_none());
    }

    #[test]
    fn only_regular_files_are_opened() {
        assert_eq!(FileSource::open(Path::new("/")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
