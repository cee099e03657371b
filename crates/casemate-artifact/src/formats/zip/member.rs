//! One member: its bytes as a child, and what its name and flags do.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use casemate_core::{RangeSource, SharedSource, SourceExt, Window};
use flate2::Crc;

use super::records::Kind;
use super::{Archive, records};
use crate::formats::reading::{quote, through_link, unreadable};
use crate::formats::unpack::{
    Ending, Inflated, Output, RawDeflate, StreamedSource, Sum, bytes_max, inflate, source_of, streamed_bytes_max,
};
use crate::{Child, Malformed, Reference, ReferenceKind, Role, Trouble};

/// A link's target: PATH_MAX on Linux.
const LINK_BYTES_MAX: u64 = 4096;
const ENCRYPTION_HEADER_BYTES: u64 = 12;

/// How a member's bytes are stored, as one header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
}

/// A member under one reading.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its data starts.
    pub(super) start: u64,
    pub(super) flags: u16,
    pub(super) stream: Stream,
    pub(super) kind: Kind,
}

impl Archive<'_, '_> {
    /// Hands a member on as a child; returns how many bytes of its data are accounted for.
    pub(super) fn member(&mut self, member: &Member) -> Result<u64, Malformed> {
        let (stream, shown) = (member.stream, quote(&member.name));
        if escapes(&member.name) {
            self.refer(ReferenceKind::MemberName, member.name.clone(), member);
        }
        if let Some(link) = through_link(&member.name, &self.links) {
            self.refer(ReferenceKind::ThroughLink, link.to_owned(), member);
        }
        match member.kind {
            Kind::Link => drop(self.links.insert(member.name.trim_end_matches('/').to_owned())),
            Kind::Device => self.refer(ReferenceKind::Device, member.name.clone(), member),
            Kind::File => {}
        }
        if member.name.ends_with('/') && stream.compressed == 0 && stream.size == 0 {
            return Ok(0);
        }
        let range = member.start..member.start.saturating_add(stream.compressed);
        let encrypted = member.flags & records::ENCRYPTED != 0;
        match stream.method {
            0 => self.stored(member, range, encrypted)?,
            8 => return self.deflated(member, range, encrypted),
            _ if encrypted => self.encrypted(member),
            method => {
                let method = method_name(method).map_or(format!("{method}"), |name| format!("{method} ({name})"));
                let what = format!("member {shown} is compressed by method {method}");
                self.report(Malformed::new(Trouble::Undecodable, member.start, what));
            }
        }
        Ok(stream.compressed)
    }

    fn stored(&mut self, member: &Member, range: Range<u64>, encrypted: bool) -> Result<(), Malformed> {
        let (stream, shown) = (member.stream, quote(&member.name));
        // The header of PKWARE's encryption stands before the data (APPNOTE 6.1.3).
        let header = if encrypted { ENCRYPTION_HEADER_BYTES } else { 0 };
        if stream.compressed != stream.size && stream.compressed != stream.size.saturating_add(header) {
            let what = format!("member {shown} is stored, yet {} bytes make {}", stream.compressed, stream.size);
            self.ambiguous(member.start, what);
        }
        // What a flag says is checked whatever it costs; a checksum alone is not worth reading gigabytes of weights.
        if encrypted || stream.compressed <= self.object.limits.inflated_member_bytes_max {
            let agrees = self.stored_crc(range.clone())? == stream.crc;
            if encrypted && !agrees {
                self.encrypted(member);
                return Ok(());
            }
            self.judge_flags(member, encrypted, agrees);
        }
        let source: SharedSource =
            Arc::new(RangeSource::new(Arc::clone(self.object.source), range.start, stream.compressed));
        self.child(member, source)
    }

    fn stored_crc(&mut self, range: Range<u64>) -> Result<u32, Malformed> {
        let (mut crc, mut at) = (Crc::new(), range.start);
        let end = range.end.min(self.object.source.size_bytes());
        while at < end {
            let len = (end - at).min(Window::BYTES);
            crc.update(self.window.get(at, len).map_err(|e| unreadable(&e, at))?.unwrap_or_default());
            at += len;
        }
        Ok(crc.sum())
    }

    fn deflated(&mut self, member: &Member, range: Range<u64>, encrypted: bool) -> Result<u64, Malformed> {
        let stream = member.stream;
        if self.exhausted {
            return Ok(stream.compressed);
        }
        let mut output = Output::kept(bytes_max(self.object));
        let inflated = inflate(&**self.object.source, range.clone(), &mut output, Sum::Crc)
            .map_err(|e| unreadable(&e, range.start))?;
        let (inflated, streamed) = self.whole(inflated, range.clone()).map_err(|e| unreadable(&e, range.start))?;
        if let Err(malformed) = self.object.budget.inflated(inflated.made, self.object.limits) {
            self.exhausted = true;
            self.report(malformed);
        }
        let agrees = inflated.sum == stream.crc;
        if encrypted && !(inflated.ending == Ending::Whole && agrees) {
            self.encrypted(member);
            return Ok(stream.compressed);
        }
        let used = match inflated.ending {
            // Bytes after the end of the stream are nobody's.
            Ending::Whole => inflated.used,
            _ => stream.compressed,
        };
        self.judge_inflated(member, &inflated, encrypted, agrees);
        let source = streamed.unwrap_or_else(|| source_of(self.object, &RawDeflate, range, output.bytes, &self.slot));
        self.child(member, source)?;
        Ok(used)
    }

    /// A member too long to be held, inflated to its end and read as a stream, where that is no bomb.
    fn whole(&self, first: Inflated, range: Range<u64>) -> io::Result<(Inflated, Option<SharedSource>)> {
        let source = self.object.source;
        let bytes_max =
            streamed_bytes_max(self.object, first.made, first.used).filter(|_| first.ending == Ending::TooLong);
        let Some(bytes_max) = bytes_max else { return Ok((first, None)) };
        let all = inflate(&**source, range.clone(), &mut Output::counted(bytes_max), Sum::Crc)?;
        match StreamedSource::open(source, &RawDeflate, vec![range.start], all.made) {
            Some(stream) if all.ending == Ending::Whole => Ok((all, Some(Arc::new(stream)))),
            _ => Ok((first, None)),
        }
    }

    fn judge_inflated(&mut self, member: &Member, inflated: &Inflated, encrypted: bool, agrees: bool) {
        let (shown, len) = (quote(&member.name), inflated.made);
        match inflated.ending {
            Ending::Whole => {
                if len != member.stream.size {
                    let what = format!("member {shown} unpacks to {len} bytes, not {}", member.stream.size);
                    self.ambiguous(member.start, what);
                }
                self.judge_flags(member, encrypted, agrees);
            }
            Ending::TooLong => {
                let what = format!("member {shown} unpacks to more than {len} bytes, only those are read");
                self.report(Malformed::new(Trouble::Limit, member.start, what));
            }
            Ending::Broken => {
                let what = format!("member {shown} breaks after {len} unpacked bytes");
                self.report(Malformed::new(Trouble::Undecodable, member.start, what));
            }
        }
    }

    fn judge_flags(&mut self, member: &Member, encrypted: bool, agrees: bool) {
        let shown = quote(&member.name);
        if encrypted {
            self.ambiguous(member.start, format!("member {shown} has the encrypted flag and is not encrypted"));
        }
        if !agrees {
            self.ambiguous(
                member.start,
                format!("checksum of member {shown} is wrong: some readers read on, others stop"),
            );
        }
    }

    fn encrypted(&mut self, member: &Member) {
        let what = format!("member {} is encrypted", quote(&member.name));
        self.report(Malformed::new(Trouble::Encrypted, member.start, what));
    }

    fn child(&mut self, member: &Member, source: SharedSource) -> Result<(), Malformed> {
        if member.kind == Kind::Link {
            let target = source.bytes_at(0, LINK_BYTES_MAX).map_err(|e| unreadable(&e, member.start))?;
            self.refer(ReferenceKind::LinkTarget, String::from_utf8_lossy(&target).into_owned(), member);
        }
        self.parsed.children.push(Child { name: member.name.clone(), source, role: Role::Any });
        Ok(())
    }

    fn refer(&mut self, kind: ReferenceKind, target: String, member: &Member) {
        if !self.allowance.take(target.len().saturating_add(member.name.len())) {
            let what = "names of members need too much memory";
            return self.report(Malformed::new(Trouble::Limit, member.start, what));
        }
        self.parsed.references.push(Reference { kind, target, from: member.name.clone(), offset: Some(member.start) });
    }
}

/// Whether unpacking under this name could write elsewhere, or under another name.
fn escapes(name: &str) -> bool {
    let drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    drive || name.starts_with('/') || name.contains(['\\', '\0']) || name.split('/').any(|part| part == "..")
}

/// The method's name, APPNOTE 4.4.5.
fn method_name(method: u16) -> Option<&'static str> {
    Some(match method {
        1 => "shrink",
        6 => "implode",
        9 => "deflate64",
        12 => "bzip2",
        14 => "lzma",
        93 => "zstandard",
        95 => "xz",
        98 => "ppmd",
        99 => "aes",
        _ => return None,
    })
}
