//! The records of a ZIP archive, read one at a time (APPNOTE 4.3).

use std::io;

use casemate_core::Window;

use super::member::Stream;
use crate::formats::reading::{u16_le, u32_le, u64_le};

pub(super) const LOCAL: &[u8; 4] = b"PK\x03\x04";
pub(super) const CENTRAL: &[u8; 4] = b"PK\x01\x02";
pub(super) const END: &[u8; 4] = b"PK\x05\x06";
const DESCRIPTOR_SIGNATURE: &[u8; 4] = b"PK\x07\x08";
const END64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR64: &[u8; 4] = b"PK\x06\x07";

/// General purpose bit 0.
pub(super) const ENCRYPTED: u16 = 1;
/// General purpose bit 3: sizes and checksum follow the data.
pub(super) const DESCRIPTOR: u16 = 8;

/// One entry of the central directory.
pub(super) struct Central {
    pub(super) name: Vec<u8>,
    /// The name in an Info-ZIP Unicode path field, which some readers prefer.
    pub(super) alias: Option<Vec<u8>>,
    pub(super) flags: u16,
    pub(super) stream: Stream,
    /// Offset of the local header, as written.
    pub(super) offset: u64,
    /// What Unix attributes make of it.
    pub(super) kind: Kind,
    /// Length of the record.
    pub(super) len: u64,
}

/// What unpacking a member makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file or directory.
    File,
    /// A symbolic link: S_IFLNK.
    Link,
    /// S_IFIFO, S_IFCHR or S_IFBLK.
    Device,
}

/// A local header.
pub(super) struct Local {
    pub(super) version: u16,
    pub(super) name: Vec<u8>,
    pub(super) alias: Option<Vec<u8>>,
    pub(super) flags: u16,
    pub(super) stream: Stream,
    /// Length of the header: where the data starts.
    pub(super) len: u64,
}

/// The zip64 end record.
pub(super) struct End64 {
    pub(super) count: u64,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// The directory entry at `at`, if one is there and whole.
pub(super) fn central(window: &mut Window<'_>, at: u64) -> io::Result<Option<Central>> {
    let Some(fixed) = window.get(at, 46)? else { return Ok(None) };
    let field = |at| u16_le(fixed, at).map_or(0, u64::from);
    let (name_len, extra_len, comment_len) = (field(28), field(30), field(32));
    let len = 46 + name_len + extra_len + comment_len;
    Ok(window.get(at, len)?.and_then(|bytes| {
        let (name, rest) = bytes.starts_with(CENTRAL).then(|| bytes.get(46..))??.split_at_checked(index(name_len)?)?;
        let extra = rest.get(..index(extra_len)?)?;
        let stream = stream(bytes, 10)?;
        let (written, attributes) = (u32_le(bytes, 42)?, u32_le(bytes, 38)?);
        let wide = widen(extra, [stream.size, stream.compressed, written.into()]);
        Some(Central {
            name: name.to_vec(),
            alias: unicode_path(extra),
            flags: u16_le(bytes, 8)?,
            stream: Stream { size: wide[0], compressed: wide[1], ..stream },
            offset: wide[2],
            kind: match (bytes.get(5), attributes >> 28) {
                // Made on Unix (3) or macOS (19), by the upper bits of the mode.
                (Some(3 | 19), 0o12) => Kind::Link,
                (Some(3 | 19), 0o1 | 0o2 | 0o6) => Kind::Device,
                _ => Kind::File,
            },
            len,
        })
    }))
}

/// The local header at `at`, if one is there and whole.
pub(super) fn local(window: &mut Window<'_>, at: u64) -> io::Result<Option<Local>> {
    let Some(fixed) = window.get(at, 30)? else { return Ok(None) };
    let field = |at| u16_le(fixed, at).map_or(0, u64::from);
    let (name_len, extra_len) = (field(26), field(28));
    let len = 30 + name_len + extra_len;
    Ok(window.get(at, len)?.and_then(|bytes| {
        let (name, extra) = bytes.starts_with(LOCAL).then(|| bytes.get(30..))??.split_at_checked(index(name_len)?)?;
        let stream = stream(bytes, 8)?;
        let wide = widen(extra, [stream.size, stream.compressed, 0]);
        Some(Local {
            version: u16_le(bytes, 4)?,
            name: name.to_vec(),
            alias: unicode_path(extra),
            flags: u16_le(bytes, 6)?,
            stream: Stream { size: wide[0], compressed: wide[1], ..stream },
            len,
        })
    }))
}

/// The length of the data descriptor at `at` that agrees with `stream`: with or without signature, 32 or 64 bits wide.
pub(super) fn descriptor(window: &mut Window<'_>, at: u64, stream: Stream) -> io::Result<Option<u64>> {
    for (signature, wide) in [(4u8, true), (4, false), (0, true), (0, false)] {
        let len = u64::from(signature) + if wide { 20 } else { 12 };
        let Some(bytes) = window.get(at, len)? else { continue };
        let from = usize::from(signature);
        let sizes = match wide {
            true => u64_le(bytes, from + 4).zip(u64_le(bytes, from + 12)),
            false => u32_le(bytes, from + 4).map(u64::from).zip(u32_le(bytes, from + 8).map(u64::from)),
        };
        let signed = signature == 0 || bytes.starts_with(DESCRIPTOR_SIGNATURE);
        if signed && u32_le(bytes, from) == Some(stream.crc) && sizes == Some((stream.compressed, stream.size)) {
            return Ok(Some(len));
        }
    }
    Ok(None)
}

/// Compressed size, size and length of a signed descriptor at `at`, where the compressed size is `distance`.
pub(super) fn descriptor_after(window: &mut Window<'_>, at: u64, distance: u64) -> io::Result<Option<(Stream, u64)>> {
    for (wide, len) in [(true, 24), (false, 16)] {
        let Some(bytes) = window.get(at, len)?.filter(|bytes| bytes.starts_with(DESCRIPTOR_SIGNATURE)) else {
            continue;
        };
        let sizes = match wide {
            true => u64_le(bytes, 8).zip(u64_le(bytes, 16)),
            false => u32_le(bytes, 8).map(u64::from).zip(u32_le(bytes, 12).map(u64::from)),
        };
        if let (Some(crc), Some((compressed, size))) = (u32_le(bytes, 4), sizes)
            && compressed == distance
        {
            return Ok(Some((Stream { method: 0, crc, compressed, size }, len)));
        }
    }
    Ok(None)
}

/// The zip64 end record named by a locator right before `end`: its offset and content.
pub(super) fn end64(window: &mut Window<'_>, end: u64) -> io::Result<Option<(u64, End64)>> {
    let Some(locator_at) = end.checked_sub(20) else { return Ok(None) };
    let locator = window.get(locator_at, 20)?.filter(|bytes| bytes.starts_with(LOCATOR64));
    let Some(written) = locator.and_then(|bytes| u64_le(bytes, 8)) else { return Ok(None) };
    // With bytes in front of the archive the locator is off; the record then stands right before it.
    for at in [Some(written), locator_at.checked_sub(56)].into_iter().flatten() {
        let Some(bytes) = window.get(at, 56)?.filter(|bytes| bytes.starts_with(END64)) else { continue };
        let fields = (u64_le(bytes, 32), u64_le(bytes, 40), u64_le(bytes, 48), u64_le(bytes, 4));
        if let (Some(count), Some(size), Some(offset), Some(rest)) = fields {
            return Ok(Some((at, End64 { count, size, offset, len: rest.saturating_add(12) })));
        }
    }
    Ok(None)
}

/// Method, checksum and sizes, which both headers have in this order from `at` on.
fn stream(bytes: &[u8], at: usize) -> Option<Stream> {
    Some(Stream {
        method: u16_le(bytes, at)?,
        crc: u32_le(bytes, at + 6)?,
        compressed: u32_le(bytes, at + 10)?.into(),
        size: u32_le(bytes, at + 14)?.into(),
    })
}

/// Replaces the values that are all ones by those of the zip64 extra field, which holds only those, in this order.
fn widen(extra: &[u8], mut values: [u64; 3]) -> [u64; 3] {
    let Some(wide) = extra_field(extra, 1) else { return values };
    let saturated = values.iter_mut().filter(|value| **value == u64::from(u32::MAX));
    for (n, value) in saturated.enumerate() {
        *value = u64_le(wide, n * 8).unwrap_or(*value);
    }
    values
}

/// The Info-ZIP Unicode path (0x7075): version, checksum of the plain name, name.
fn unicode_path(extra: &[u8]) -> Option<Vec<u8>> {
    extra_field(extra, 0x7075)?.get(5..).map(<[u8]>::to_vec)
}

fn extra_field(mut extra: &[u8], id: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16_le(extra, 2)?);
        let body = extra.get(4..)?.get(..len)?;
        if u16_le(extra, 0) == Some(id) {
            return Some(body);
        }
        extra = extra.get(4 + len..)?;
    }
}

fn index(len: u64) -> Option<usize> {
    usize::try_from(len).ok()
}
