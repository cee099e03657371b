//! llamafile: one file that is a program for several systems, and a zip with the model it serves.
//!
//! It is an actually portable executable: Windows reads a PE, Linux, macOS and the BSDs a shell script that becomes their
//! own format, and unzip the archive at its end. That it is a program is said by the detector of programs; members are
//! followed like those of any archive, the GGUF among them. A file that begins so and holds no model is a program like any
//! other, and a zip with any other program in front of it stays what it is: a program hidden where no format has a place.
//!
//! Source: the specification of the actually portable executable of Cosmopolitan, version 0.9; llamafile 0.9.

use casemate_core::SourceExt;

use super::zip::{Zip, closes};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads llamafiles.
pub(crate) struct Llamafile;

/// The first bytes: at once a DOS header and the assignment of a shell variable.
const MAGICS: &[&[u8]] = &[b"MZqFpD='", b"jartsr='", b"APEDBG='"];

impl Format for Llamafile {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "llamafile",
            title: "llamafile",
            extensions: &["llamafile", "exe"],
            runs_code: true,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match MAGICS.iter().any(|magic| probe.starts_with(magic)) && closes(probe) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Zip.parse(object);
        // The program is all that stands before the first member; where it ends for each system, only running it tells.
        if let Some(first) = parsed.claims.ranges().first().cloned() {
            parsed.claims.add(0..first.start);
        }
        let is_model = |source: &casemate_core::SharedSource| source.bytes_at(0, 4).is_ok_and(|head| head == b"GGUF");
        parsed.refined = match parsed.children.iter().any(|child| is_model(&child.source)) {
            true => None,
            false => Some("executable"),
        };
        parsed
    }
}

#[cfg(test)]
mod tests;
