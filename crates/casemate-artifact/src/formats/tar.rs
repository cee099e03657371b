//! tar archives: ustar, pax and GNU names, and the tar torch wrote before its first zip.
//!
//! Each header of 512 bytes is checked against its sum under both ways of adding bytes. Names that leave the directory and the
//! targets of links become references; a member behind a link would be written through it. Sparse members are not unfolded.
//! Bytes after the two empty blocks that end an archive stay unclaimed, since some readers go on there.
//!
//! Source: POSIX.1-2024 pax; GNU tar manual, "Basic Tar Format". CVE-2007-4559 (`tarfile` and `..`), CVE-2025-4517.

use std::collections::HashSet;
use std::sync::Arc;

use casemate_core::{RangeSource, SourceExt, Window};

use super::reading::{Allowance, quote, through_link, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Parsed, Probe, Reference, ReferenceKind, Role, Trouble};

mod header;
mod torch;

use header::{Header, pax};

/// Reads tar archives.
pub(crate) struct Tar;

/// A pax record or a GNU long name; no file system takes names of this length.
const NAME_BYTES_MAX: u64 = 64 << 10;

impl Format for Tar {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "tar",
            title: "tar archive",
            extensions: &["tar", "nemo", "pt", "pth"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let header = probe.head.first_chunk().and_then(Header::parse);
        match header {
            Some(_) if probe.has_at(257, b"ustar") => Sniff::Certain,
            // Archives of Unix V7 have no magic, but their sum is right by chance once in 2^17.
            Some(_) => Sniff::Certain,
            None => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut archive = Archive {
            object,
            window: Window::new(&**object.source),
            parsed: &mut parsed,
            names: HashSet::new(),
            links: HashSet::new(),
            allowance: Allowance::new(),
        };
        if let Err(malformed) = archive.read() {
            archive.parsed.report(object.limits, malformed);
        }
        refine(object, &mut parsed);
        parsed
    }
}

/// An archive while it is read.
struct Archive<'a, 'p> {
    object: &'a Object<'a>,
    window: Window<'a>,
    parsed: &'p mut Parsed,
    names: HashSet<String>,
    links: HashSet<String>,
    allowance: Allowance,
}

/// What an extended header says of the member after it.
#[derive(Default)]
struct Overrides {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    sparse: bool,
}

impl Archive<'_, '_> {
    fn read(&mut self) -> Result<(), Malformed> {
        let (mut at, size) = (0u64, self.object.source.size_bytes());
        let mut next = Overrides::default();
        loop {
            let block = self.window.get(at, 512).map_err(|e| unreadable(&e, at))?;
            let Some(block) = block.and_then(|block| block.first_chunk::<512>()) else {
                // Writers end with two empty blocks; readers do not insist.
                return match at < size {
                    true => Err(Malformed::new(Trouble::Undecodable, at, "archive ends inside a header")),
                    false => Ok(()),
                };
            };
            if block.iter().all(|byte| *byte == 0) {
                self.parsed.claims.add(at..at.saturating_add(1024).min(size));
                return Ok(());
            }
            let Some(header) = Header::parse(block) else {
                return Err(Malformed::new(Trouble::Undecodable, at, "header of a member has a wrong sum"));
            };
            self.object.budget.member(self.object.limits)?;
            let len = match header.kind {
                b'L' | b'K' | b'x' | b'g' => header.size,
                _ => next.size.unwrap_or(header.size),
            };
            let start = at + 512;
            let end = start.checked_add(len).filter(|end| *end <= size);
            let Some(end) = end else {
                self.parsed.claims.add(at..size);
                let what = format!("member {} ends past the file's {size} bytes", quote(&header.name));
                self.child(at, header.name, start, size - start.min(size))?;
                return Err(Malformed::new(Trouble::Undecodable, at, what));
            };
            let padded = end.checked_next_multiple_of(512).unwrap_or(end).min(size);
            self.parsed.claims.add(at..end);
            // Padding that is not zero stays unclaimed.
            match header.kind {
                b'L' | b'K' | b'x' | b'g' => self.extend(&header, start, &mut next)?,
                _ => self.member(at, header, start..end, std::mem::take(&mut next))?,
            }
            at = padded;
        }
    }

    /// A long name or pax records: what they say of the next member, or of all.
    fn extend(&mut self, header: &Header, start: u64, next: &mut Overrides) -> Result<(), Malformed> {
        if header.size > NAME_BYTES_MAX {
            return Err(Malformed::new(Trouble::Limit, start, format!("a name or record of {} bytes", header.size)));
        }
        let bytes = self.object.source.bytes_at(start, header.size).map_err(|e| unreadable(&e, start))?;
        match header.kind {
            b'L' => next.name = Some(header::text(&bytes)),
            b'K' => next.link = Some(header::text(&bytes)),
            kind => {
                let Some(records) = pax(&bytes) else {
                    return Err(Malformed::new(Trouble::Undecodable, start, "pax records are malformed"));
                };
                for (key, value) in records {
                    match key.as_str() {
                        "path" => next.name = Some(value),
                        "linkpath" => next.link = Some(value),
                        "size" => match value.parse() {
                            Ok(size) => next.size = Some(size),
                            Err(_) => self.ambiguous(start, "a pax record gives a size that is no number"),
                        },
                        key if key.starts_with("GNU.sparse.") => next.sparse = true,
                        _ => continue,
                    }
                    if kind == b'g' {
                        self.ambiguous(start, "records for all members give a name or size: few readers follow them");
                    }
                }
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        at: u64,
        header: Header,
        range: std::ops::Range<u64>,
        next: Overrides,
    ) -> Result<(), Malformed> {
        let name = next.name.unwrap_or(header.name);
        let shown = quote(&name);
        let plain = name.trim_end_matches('/').to_owned();
        if !self.allowance.take(name.len().saturating_mul(3)) {
            return Err(Malformed::new(Trouble::Limit, at, "names of members need too much memory"));
        }
        if header.signed_only {
            self.ambiguous(at, format!("sum of member {shown} adds signed bytes, as some readers do not"));
        }
        if header.needless_size || next.size.is_some_and(|size| header.size != 0 && size != header.size) {
            self.ambiguous(at, format!("readers disagree about the size of member {shown}"));
        }
        self.refer(ReferenceKind::MemberName, name.clone(), &name, at);
        let directory = header.kind == b'5' || name.ends_with('/') && header.kind == 0;
        if !self.names.insert(plain.clone()) && !directory {
            self.ambiguous(at, format!("two members are called {shown}"));
        }
        if let Some(link) = through_link(&plain, &self.links) {
            self.parsed.references.push(Reference {
                kind: ReferenceKind::ThroughLink,
                target: link.into(),
                from: name.clone(),
                offset: Some(at),
            });
        }
        match header.kind {
            b'1' | b'2' => {
                let target = next.link.unwrap_or(header.link);
                self.refer(ReferenceKind::LinkTarget, target, &name, at);
                if header.kind == b'2' {
                    self.links.insert(plain);
                }
            }
            b'3' | b'4' | b'6' => self.parsed.references.push(Reference {
                kind: ReferenceKind::Device,
                target: name.clone(),
                from: String::new(),
                offset: Some(at),
            }),
            b'5' => {}
            b'S' | b'V' | b'M' => {
                let what = format!("member {shown} is sparse, a volume or a part of one");
                self.parsed.report(self.object.limits, Malformed::new(Trouble::Undecodable, at, what));
            }
            _ if next.sparse => {
                let what = format!("member {shown} is sparse");
                self.parsed.report(self.object.limits, Malformed::new(Trouble::Undecodable, at, what));
            }
            _ => {}
        }
        match range.is_empty() {
            true => Ok(()),
            false => self.child(at, name, range.start, range.end - range.start),
        }
    }

    fn child(&mut self, at: u64, name: String, start: u64, len: u64) -> Result<(), Malformed> {
        if !self.allowance.take(name.len()) {
            return Err(Malformed::new(Trouble::Limit, at, "names of members need too much memory"));
        }
        let source = Arc::new(RangeSource::new(Arc::clone(self.object.source), start, len));
        self.parsed.children.push(Child { name, source, role: Role::Any });
        Ok(())
    }

    fn refer(&mut self, kind: ReferenceKind, target: String, from: &str, at: u64) {
        let leaves =
            target.starts_with('/') || target.contains(['\\', '\0', ':']) || target.split('/').any(|p| p == "..");
        if leaves || kind == ReferenceKind::LinkTarget {
            self.parsed.references.push(Reference { kind, target, from: from.into(), offset: Some(at) });
        }
    }

    fn ambiguous(&mut self, at: u64, what: impl Into<String>) {
        self.parsed.report(self.object.limits, Malformed::new(Trouble::Ambiguous, at, what));
    }
}

/// NeMo's models: a configuration and weights. And `torch.save` before 0.1.10: three members of pickles and numbers, and a pickle about the system.
fn refine(object: &Object<'_>, parsed: &mut Parsed) {
    let plain = |name: &str| name.strip_prefix("./").unwrap_or(name).to_owned();
    let names: HashSet<String> = parsed.children.iter().map(|child| plain(&child.name)).collect();
    if names.contains("model_config.yaml") {
        parsed.refined = Some("nemo");
    }
    if !["pickle", "storages", "tensors", "sys_info"].iter().all(|name| names.contains(*name)) {
        return;
    }
    parsed.refined = Some("torch-tar");
    for mut child in std::mem::take(&mut parsed.children) {
        match plain(&child.name).as_str() {
            "storages" | "tensors" => {
                let (parts, malformed) = torch::split(object, child);
                parsed.children.extend(parts);
                malformed.into_iter().for_each(|malformed| parsed.report(object.limits, malformed));
            }
            name => {
                child.role = if name == "pickle" { Role::TorchPickle } else { child.role };
                parsed.children.push(child);
            }
        }
    }
}

#[cfg(test)]
mod tests;
