//! Parquet: columns between two magics, with a footer that says where. Data only, nothing in it is run.
//!
//! Checks that both magics stand and the footer fits, and claims the whole; rows are left to the readers of datasets.
//!
//! Source: <https://parquet.apache.org/docs/file-format/>.

use casemate_core::SourceExt;

use super::reading::{u32_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

const MAGIC: &[u8] = b"PAR1";
const MAGIC_ENCRYPTED: &[u8] = b"PARE";
/// Length of the footer, and the magic.
const TRAILER_BYTES: u64 = 8;

/// Recognises Parquet files.
pub(crate) struct Parquet;

impl Format for Parquet {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "parquet", title: "Parquet", extensions: &["parquet"], runs_code: false, is_model: false }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let is_magic = |bytes: &[u8]| bytes == MAGIC || bytes == MAGIC_ENCRYPTED;
        let begins = probe.head.get(..4).is_some_and(is_magic);
        match (begins, probe.tail.last_chunk::<4>().is_some_and(|bytes| is_magic(bytes))) {
            (true, true) if probe.size_bytes >= 12 => Sniff::Certain,
            (true, _) => Sniff::Likely,
            (false, _) => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        match footer(object) {
            Ok(()) => drop(parsed.claims.add(0..object.source.size_bytes())),
            Err(malformed) => parsed.report(object.limits, malformed),
        }
        parsed
    }
}

/// Whether both magics stand and the footer lies between them.
fn footer(object: &Object<'_>) -> Result<(), Malformed> {
    let size = object.source.size_bytes();
    let head = object.source.bytes_at(0, 4).map_err(|e| unreadable(&e, 0))?;
    let at = size.saturating_sub(TRAILER_BYTES);
    let trailer = object.source.bytes_at(at, TRAILER_BYTES).map_err(|e| unreadable(&e, at))?;
    let (Some(len), Some(magic)) = (u32_le(&trailer, 0), trailer.get(4..)) else {
        return Err(Malformed::new(Trouble::Undecodable, 0, "too short for a footer"));
    };
    if head == MAGIC_ENCRYPTED && magic == MAGIC_ENCRYPTED {
        return Err(Malformed::new(Trouble::Encrypted, at, "the footer is encrypted"));
    }
    if head != MAGIC || magic != MAGIC {
        return Err(Malformed::new(Trouble::Undecodable, at, "begins like Parquet and does not end like it"));
    }
    if u64::from(len) + TRAILER_BYTES + 4 > size {
        let what = format!("footer of {len} bytes does not fit between the magics of a file of {size}");
        return Err(Malformed::new(Trouble::Ambiguous, at, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, mutants, parse, sniff, troubles};

    const SAMPLE: &[u8] = b"PAR1columnsfooter\x06\0\0\0PAR1";

    #[test]
    fn a_file_with_both_magics_is_claimed_whole() {
        assert_whole(&parse(&Parquet, SAMPLE), SAMPLE);
        assert_eq!(sniff(&Parquet, SAMPLE), Sniff::Certain);
        assert_eq!(sniff(&Parquet, b"PAR1columns"), Sniff::Likely);
        assert_eq!(sniff(&Parquet, b"x"), Sniff::No);
    }

    #[test]
    fn one_magic_a_lying_footer_and_encryption_are_reported() {
        for (bytes, trouble) in [
            (&b"PAR1columns"[..], Trouble::Undecodable),
            (b"PAR1", Trouble::Undecodable),
            (b"xxxxcolumns\x06\0\0\0PAR1", Trouble::Undecodable),
            (b"PAR1\x01\0\0\0PAR1", Trouble::Ambiguous),
            (b"PAR1x\xff\xff\xff\xffPAR1", Trouble::Ambiguous),
            (b"PAREx\x01\0\0\0PARE", Trouble::Encrypted),
        ] {
            assert_eq!(troubles(&parse(&Parquet, bytes)), [trouble]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(MAGIC)) {
            assert_bounded(&Parquet, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(SAMPLE.to_vec())) {
            assert_bounded(&Parquet, &bytes);
        }
    }
}
