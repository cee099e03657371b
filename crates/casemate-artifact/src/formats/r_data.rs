//! R's serialized objects: `.rds` and `.rda`, in XDR, text and native binary, versions 2 and 3.
//!
//! A promise in the data is an expression R evaluates when somebody first looks at the value (CVE-2024-27322); closures,
//! bytecode and calls are code that runs when the object is used. Fitted models keep their call and their formula, so what
//! decides is which functions the code calls. A file in text encoding is plain ASCII and must not pass as prose.
//!
//! Source: `src/main/serialize.c` of R 4.4 and "Serialization Formats" in *R Internals*.

use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

mod reader;
mod walk;

use reader::{Encoding, Reader};
use walk::Walk;

/// Reads serialized R objects and workspaces.
pub(crate) struct RData;

/// Bytes looked at for the three numbers a stream begins with.
const HEAD_BYTES: usize = 64;

impl Format for RData {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "r-data",
            title: "file of R objects",
            extensions: &["rds", "rda", "rdata"],
            runs_code: true,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if workspace(&probe.head).is_some() {
            return Sniff::Certain;
        }
        match begins(&probe.head) {
            // What R itself writes: a version of R from 2.3 on. Readers accept any numbers.
            Some([2 | 3, writer, minimum]) => {
                let usual = 0x2_0300..0x10_0000;
                let certain = usual.contains(&writer) && usual.contains(&minimum);
                if certain { Sniff::Certain } else { Sniff::Likely }
            }
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let workspace = workspace(&object.probe.head);
        if workspace == Some(b'1') || begins(object.probe.head.get(skipped(workspace)..).unwrap_or_default()).is_none()
        {
            parsed.claims.add(0..object.source.size_bytes());
            let what = "neither version 2 nor version 3 of R's format";
            parsed.report(object.limits, Malformed::new(Trouble::Undecodable, 0, what));
            return parsed;
        }
        let mut walk = Walk::new(Reader::new(&**object.source), object.limits);
        let ended = walk.run(skipped(workspace) as u64, workspace.is_some());
        let end = walk.at();
        parsed.operators = walk.into_operators();
        // Texts that merely begin like it are texts.
        if ended.is_ok() || self.sniff(object.probe) == Sniff::Certain {
            parsed.claims.add(0..end);
            ended.unwrap_or_else(|malformed| parsed.report(object.limits, malformed));
        }
        parsed
    }
}

/// The version of a workspace (`.rda`), as its magic says.
fn workspace(head: &[u8]) -> Option<u8> {
    match head {
        [b'R', b'D', b'A' | b'B' | b'X', version @ b'1'..=b'3', b'\n', ..] => Some(*version),
        _ => None,
    }
}

/// Bytes before the stream.
fn skipped(workspace: Option<u8>) -> usize {
    if workspace.is_some() { 5 } else { 0 }
}

/// The numbers a stream begins with: its version, that of the R that wrote it, and of the oldest that reads it.
fn begins(head: &[u8]) -> Option<[i64; 3]> {
    let (encoding, at) = Encoding::of(head)?;
    let rest = head.get(at..)?;
    let numbers = |number: fn([u8; 4]) -> i32| {
        let mut chunks = rest.chunks_exact(4).filter_map(|chunk| chunk.first_chunk().copied().map(number));
        Some([i64::from(chunks.next()?), i64::from(chunks.next()?), i64::from(chunks.next()?)])
    };
    match encoding {
        Encoding::Text => {
            let text = rest.get(..HEAD_BYTES.min(rest.len()))?;
            let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
            Some([number()?, number()?, number()?])
        }
        Encoding::Big => numbers(i32::from_be_bytes),
        Encoding::Little => numbers(i32::from_le_bytes),
    }
}

#[cfg(test)]
mod tests;
