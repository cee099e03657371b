//! 7z archives: recognised, not read.
//!
//! Published malware came as 7z under the name of a torch file (nullifAI). Whoever unpacks it gets what nobody judged, so such
//! a file is never clean. Source: `7zFormat.txt` of the LZMA SDK.

use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

/// Recognises 7z archives.
pub(crate) struct SevenZip;

impl Format for SevenZip {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "seven-zip", title: "7z archive", extensions: &["7z"], runs_code: false, is_model: false }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(b"7z\xbc\xaf\x27\x1c") { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        parsed.claims.add(0..object.source.size_bytes());
        parsed.report(
            object.limits,
            Malformed::new(Trouble::Undecodable, 0, "7z is not read: unpack it and scan the files"),
        );
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, parse, sniff, troubles};
    use proptest::prelude::*;

    #[test]
    fn an_archive_is_named_and_undecodable() {
        let bytes = b"7z\xbc\xaf\x27\x1c\0\x04";
        assert_eq!(sniff(&SevenZip, bytes), Sniff::Certain);
        assert_eq!(troubles(&parse(&SevenZip, bytes)), [Trouble::Undecodable]);
    }

    proptest! {
        #[test]
        fn parsing_returns_on_any_bytes(bytes in any_bytes(b"7z\xbc\xaf\x27\x1c")) {
            assert_bounded(&SevenZip, &bytes);
        }
    }
}
