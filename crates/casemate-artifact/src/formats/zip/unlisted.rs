//! Members that no directory lists: their local headers are searched in the bytes nobody has claimed.

use std::ops::Range;

use casemate_core::Window;

use super::member::{Member, Stream};
use super::records::{self, Local};
use super::{Archive, Malformed, quote, unreadable};
use crate::formats::unpack::{Ending, Output, Sum, inflate};

/// The newest version an archive can ask of its reader (APPNOTE 4.4.3), times ten.
const VERSION_MAX: u16 = 63;

impl Archive<'_, '_> {
    /// Reads every member whose local header stands in unclaimed bytes.
    pub(super) fn unlisted(&mut self) -> Result<(), Malformed> {
        for gap in self.parsed.claims.gaps(self.object.source.size_bytes()) {
            let mut at = gap.start;
            while let Some((found, _)) = self.find(at..gap.end, &[*records::LOCAL])? {
                at = self.unlisted_member(found, gap.end)?.unwrap_or(found + 4);
            }
        }
        Ok(())
    }

    /// Reads the member at `at`; returns where it ends, or `None` if this is no header after all.
    fn unlisted_member(&mut self, at: u64, gap_end: u64) -> Result<Option<u64>, Malformed> {
        let local = records::local(&mut self.window, at).map_err(|e| unreadable(&e, at))?;
        let Some(local) = local.filter(plausible) else { return Ok(None) };
        let start = at.saturating_add(local.len);
        if start > gap_end {
            return Ok(None);
        }
        let name = self.admit(&local.name, at)?;
        self.ambiguous(at, format!("member {} stands in no directory", quote(&name)));
        let (stream, tail) = match local.flags & records::DESCRIPTOR != 0 && local.stream.compressed == 0 {
            true => self.measure(start..gap_end, local.stream)?,
            false => (local.stream, 0),
        };
        let member = Member { name, start, flags: local.flags, stream, kind: records::Kind::File };
        let used = self.member(&member)?;
        let end = start.saturating_add(used).min(gap_end);
        let shown = quote(&member.name);
        self.claim(at..end, &shown);
        let data_end = start.saturating_add(stream.compressed);
        if tail > 0 {
            self.claim(data_end..data_end.saturating_add(tail), &shown);
        }
        Ok(Some(end.max(start).max(at + 4)))
    }

    /// Finds out how long data is whose length only follows it; returns the stream and the length of its descriptor.
    fn measure(&mut self, data: Range<u64>, stream: Stream) -> Result<(Stream, u64), Malformed> {
        if stream.method == 8 && !self.exhausted {
            let bytes_max = self.object.limits.inflated_member_bytes_max;
            let mut output = Output::counted(bytes_max);
            let inflated = inflate(&**self.object.source, data.clone(), &mut output, Sum::Crc)
                .map_err(|e| unreadable(&e, data.start))?;
            let (crc, size, compressed) = (inflated.sum, inflated.made, inflated.used);
            let stream = match inflated.ending {
                Ending::Whole => Stream { crc, size, compressed, ..stream },
                _ => Stream { compressed, ..stream },
            };
            let after = data.start.saturating_add(compressed);
            let tail = records::descriptor(&mut self.window, after, stream).map_err(|e| unreadable(&e, after))?;
            return Ok((stream, tail.unwrap_or(0)));
        }
        let mut at = data.start;
        while let Some((found, signature)) =
            self.find(at..data.end, &[*b"PK\x07\x08", *records::LOCAL, *records::CENTRAL])?
        {
            let distance = found - data.start;
            if signature != *b"PK\x07\x08" {
                return Ok((Stream { compressed: distance, size: distance, ..stream }, 0));
            }
            let after =
                records::descriptor_after(&mut self.window, found, distance).map_err(|e| unreadable(&e, found))?;
            if let Some((found, len)) = after {
                return Ok((Stream { method: stream.method, ..found }, len));
            }
            at = found + 4;
        }
        let distance = data.end.saturating_sub(data.start);
        Ok((Stream { compressed: distance, size: distance, ..stream }, 0))
    }

    /// The first place in `range` where one of the signatures stands whole.
    fn find(&mut self, range: Range<u64>, signatures: &[[u8; 4]]) -> Result<Option<(u64, [u8; 4])>, Malformed> {
        let mut at = range.start;
        while range.end.saturating_sub(at) >= 4 {
            let len = (range.end - at).min(Window::BYTES);
            let bytes = self.window.get(at, len).map_err(|e| unreadable(&e, at))?.unwrap_or_default();
            for (n, four) in bytes.windows(4).enumerate() {
                if let Some(signature) = signatures.iter().find(|signature| signature.as_slice() == four) {
                    return Ok(Some((at + n as u64, *signature)));
                }
            }
            // Signatures may lie across two windows.
            at += (len - 3).max(1);
        }
        Ok(None)
    }
}

/// Whether a local header found by search can be one: four bytes also occur in data.
fn plausible(local: &Local) -> bool {
    let method = matches!(local.stream.method, 0..=20 | 93..=99);
    method && local.version & 0xff <= VERSION_MAX && !local.name.is_empty()
}
