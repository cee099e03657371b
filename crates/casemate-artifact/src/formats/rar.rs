//! RAR archives: recognised, not read.
//!
//! There is no reader of RAR that is safe on hostile bytes and free. Whoever unpacks it gets what nobody judged, so such
//! a file is never clean. Source: the RAR 5.0 archive format.

use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

/// Recognises RAR archives.
pub(crate) struct Rar;

impl Format for Rar {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "rar", title: "RAR archive", extensions: &["rar"], runs_code: false, is_model: false }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(b"Rar!\x1a\x07") { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        parsed.claims.add(0..object.source.size_bytes());
        parsed.report(
            object.limits,
            Malformed::new(Trouble::Undecodable, 0, "RAR is not read: unpack it and scan the files"),
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
        let bytes = b"Rar!\x1a\x07\x01\0";
        assert_eq!(sniff(&Rar, bytes), Sniff::Certain);
        assert_eq!(troubles(&parse(&Rar, bytes)), [Trouble::Undecodable]);
    }

    proptest! {
        #[test]
        fn parsing_returns_on_any_bytes(bytes in any_bytes(b"Rar!\x1a\x07")) {
            assert_bounded(&Rar, &bytes);
        }
    }
}
