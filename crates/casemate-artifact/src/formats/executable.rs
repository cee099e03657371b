//! Programs and shared libraries: ELF, PE, Mach-O, and scripts that name their interpreter.
//!
//! A program passed off as weights, or a library in an archive, runs when it is loaded. The whole header is checked, as
//! two letters `MZ` also begin ordinary data. Of ELF and PE only the bytes that sections and segments cover are claimed, so
//! that an archive or a model behind them (llamafile) is still looked into.
//!
//! Source: System V ABI, chapter 4; PE format, Microsoft; `mach-o/loader.h`, `mach-o/fat.h`.

use casemate_core::Source;

use super::reading::unreadable;
use super::text::{read_whole, text_prefix};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

mod elf;
mod mach;
mod pe;

/// Recognises programs by their whole header.
pub(crate) struct Executable;

/// The kinds told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Elf,
    Pe,
    MachO,
    Script,
}

impl Format for Executable {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "executable",
            title: "executable",
            extensions: &["so", "exe", "dll", "dylib", "pyd", "sh", "llamafile"],
            runs_code: true,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match kind(&probe.head, probe.size_bytes) {
            Some(_) => Sniff::Certain,
            // The PE header may lie behind the head; parsing goes and looks.
            None if pe::header_is_far(&probe.head, probe.size_bytes) => Sniff::Likely,
            None => Sniff::No,
        }
    }

    fn is_prose(&self) -> bool {
        true
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let (size, far) = (object.source.size_bytes(), pe::header_is_far(&object.probe.head, object.probe.size_bytes));
        let kind = kind(&object.probe.head, size).or(far.then_some(Kind::Pe));
        let is_script = matches!(kind, Some(Kind::Script));
        let end = match kind {
            Some(Kind::Elf) => elf::end(&**object.source),
            Some(Kind::Pe) => pe::end(&**object.source),
            Some(Kind::MachO) => Ok(size),
            Some(Kind::Script) => text_prefix(&**object.source),
            None => Err(Malformed::new(Trouble::Undecodable, 0, "not an executable")),
        };
        match end {
            Ok(end) => {
                if end > size {
                    let what = format!("sections end at byte {end}, past the file's {size}");
                    parsed.report(object.limits, Malformed::new(Trouble::Undecodable, 0, what));
                }
                parsed.claims.add(0..end.min(size));
            }
            Err(malformed) => parsed.report(object.limits, malformed),
        }
        if is_script {
            parsed.refined = Some("script");
            read_whole(object, &mut parsed);
        }
        parsed
    }
}

/// What kind of program `head` begins, with every field of the header that has few values checked.
fn kind(head: &[u8], size: u64) -> Option<Kind> {
    match head {
        head if elf::is_header(head) => Some(Kind::Elf),
        head if pe::is_header(head, size) => Some(Kind::Pe),
        head if mach::is_header(head, size) => Some(Kind::MachO),
        head if is_script(head) => Some(Kind::Script),
        _ => None,
    }
}

/// A `#!` line with an absolute path, as `execve(2)` reads it: at most 255 characters.
fn is_script(head: &[u8]) -> bool {
    let Some(rest) = head.strip_prefix(b"#!") else { return false };
    let line = rest.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let path = line.trim_ascii_start();
    let printable = line.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\t');
    line.len() < 256 && printable && path.starts_with(b"/") && path.get(1).is_some_and(u8::is_ascii_alphabetic)
}

/// Reads `len` bytes of a header at `at`.
fn header(source: &dyn Source, at: u64, len: u64) -> Result<Vec<u8>, Malformed> {
    use casemate_core::SourceExt;
    source.bytes_at(at, len).map_err(|e| unreadable(&e, at))
}

#[cfg(test)]
mod tests;
