//! Encrypted models: casemate's own sealed files (CMV1), recognised, not read.
//!
//! What is inside may be anything, so such a file is never clean: it has to be opened before it can be scanned. Where its
//! chunks lie is checked, so that nothing hides between head and chunks. Source: `casemate-provenance`, module `seal::header`.

use casemate_core::SourceExt as _;

use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

/// Recognises sealed files.
pub(crate) struct Sealed;

/// First bytes.
const MAGIC: &[u8] = b"CMV1";
/// The head: its fixed part, and a page before two lists of keys.
const FIXED_BYTES: u64 = 64;
const PAGE_BYTES: u64 = 4096;
const TAG_BYTES: u64 = 16;

impl Format for Sealed {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "sealed", title: "Sealed model", extensions: &["cmv"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // A version beside the name: four letters alone begin many a text.
        match probe.starts_with(MAGIC) && probe.has_at(8, &[0]) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let size = object.source.size_bytes();
        let head = object.source.bytes_at(0, FIXED_BYTES).unwrap_or_default();
        match shape(&head, size) {
            Ok(()) => {
                parsed.claims.add(0..size);
                parsed.report(
                    object.limits,
                    Malformed::new(Trouble::Encrypted, 0, "sealed: run `casemate open` first and scan what comes out"),
                );
            }
            Err(what) => parsed.report(object.limits, Malformed::new(Trouble::Undecodable, 0, what)),
        }
        parsed
    }
}

/// Whether head and chunks can lie as they are said to.
fn shape(head: &[u8], size: u64) -> Result<(), &'static str> {
    let number = |at: usize| head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let (Some(head_bytes), Some([0, 1, 1, chunk])) = (number(4).map(u64::from), head.get(8..12)) else {
        return Err("a sealed file of a version or cipher that is not known");
    };
    if head_bytes < PAGE_BYTES || head.len() as u64 != FIXED_BYTES {
        return Err("a sealed file whose head is cut off");
    }
    let payload = size.checked_sub(head_bytes).ok_or("a sealed file shorter than its head")?;
    let chunk_bytes = 1u64.checked_shl(u32::from(*chunk)).and_then(|bytes| bytes.checked_add(TAG_BYTES));
    let last = chunk_bytes.filter(|bytes| (4112..=4 << 20 | 16).contains(bytes)).map(|bytes| payload % bytes);
    match last {
        None => Err("a sealed file with chunks of a size that is not known"),
        Some(1..TAG_BYTES) => Err("a sealed file whose last chunk is cut off"),
        Some(_) if payload < TAG_BYTES => Err("a sealed file without a chunk"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, parse, sniff, troubles};
    use proptest::prelude::*;

    fn file(head_bytes: u32, payload: usize) -> Vec<u8> {
        let mut bytes = [MAGIC, &head_bytes.to_be_bytes(), &[0, 1, 1, 12], &[7; 7], &[0], &[9; 32], &[0; 12]].concat();
        bytes.resize(head_bytes as usize + payload, 0x5a);
        bytes
    }

    #[test]
    fn a_sealed_file_is_named_and_encrypted() {
        for payload in [16, 17, 4112, 4112 + 17] {
            let bytes = file(4096 + 8192, payload);
            assert_eq!(sniff(&Sealed, &bytes), Sniff::Certain);
            let parsed = parse(&Sealed, &bytes);
            assert_eq!(troubles(&parsed), [Trouble::Encrypted]);
        }
    }

    #[test]
    fn a_damaged_one_is_undecodable_and_a_text_that_begins_so_is_none() {
        let whole = file(4096 + 8192, 20);
        let mut version = whole.clone();
        version[9] = 2;
        let mut chunk = whole.clone();
        chunk[11] = 60;
        for bytes in [&whole[..64], &whole[..4096], &whole[..whole.len() - 5], &version, &chunk] {
            assert_eq!(troubles(&parse(&Sealed, bytes)), [Trouble::Undecodable]);
        }
        assert_eq!(sniff(&Sealed, b"CMV1 is a format"), Sniff::No);
    }

    proptest! {
        #[test]
        fn parsing_returns_on_any_bytes(bytes in any_bytes(b"CMV1\0\0\x30\0\0\x01\x01\x0c")) {
            assert_bounded(&Sealed, &bytes);
        }
    }
}
