//! `fingerprint.pb` beside a SavedModel: numbers by which TensorFlow tells models apart.
//!
//! Five hashes, a version and a random name: nothing is loaded from it. It is known by all its fields in their order, in a
//! file that holds nothing else. The hashes are no signature and are not compared with anything.
//!
//! Source: `tensorflow/core/protobuf/fingerprint.proto` of TensorFlow 2.15.

use super::messages::Inside::{Data, Message, Name};
use super::messages::{Messages, Schema, conforms};
use super::protobuf::{BYTES, Cursor, VARINT};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

/// Reads fingerprints of SavedModels.
pub(crate) struct TensorflowFingerprint;

/// Five hashes of at most eleven bytes, a version of some numbers, a name: real ones have about 100 bytes.
const BYTES_MAX: u64 = 512;

static FINGERPRINT: Schema = Schema {
    name: "the fingerprint",
    fields: &[
        (1, VARINT, Data),
        (2, VARINT, Data),
        (3, VARINT, Data),
        (4, VARINT, Data),
        (5, VARINT, Data),
        (6, BYTES, Message(&VERSION)),
        (7, BYTES, Name),
    ],
    open: false,
};

static VERSION: Schema = Schema {
    name: "a version",
    fields: &[(1, VARINT, Data), (2, VARINT, Data), (3, VARINT | BYTES, Data)],
    open: false,
};

impl Format for TensorflowFingerprint {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "tensorflow-fingerprint",
            title: "fingerprint of a SavedModel",
            extensions: &["pb"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // A first hash of eight bytes or more, behind which the second begins.
        let second = probe.head.iter().skip(1).position(|byte| byte & 0x80 == 0).map(|last| last + 2);
        let follows = second.is_some_and(|at| (8..=12).contains(&at) && probe.head.get(at) == Some(&0x10));
        let short = probe.starts_with(b"\x08") && follows && probe.size_bytes <= BYTES_MAX;
        match short && conforms(probe, &FINGERPRINT).is_some() {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut messages = Messages::new(object, &mut parsed);
        let mut cursor = Cursor::new(0..object.source.size_bytes());
        let mut last = 0;
        while let Some(field) = messages.next(&mut cursor, &FINGERPRINT) {
            if field.number <= last {
                messages.ambiguous(field.offset, format!("field {} stands twice or out of order", field.number));
            }
            last = field.number;
            messages.parsed.claims.add(field.offset..cursor.at);
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Trouble;
    use crate::formats::testing::{
        any_bytes, assert_bounded, assert_whole, bytes_field, hidden, mutants, number_field, parse, sniff, troubles,
    };

    fn sample() -> Vec<u8> {
        let hashes =
            (1..=5u8).flat_map(|n| number_field(u64::from(n), 0x9e37_79b9_7f4a_7c15_u64.rotate_left(7 * u32::from(n))));
        let uuid = bytes_field(7, b"166318243409364206");
        [hashes.collect(), bytes_field(6, &number_field(1, 1)), uuid].concat()
    }

    #[test]
    fn a_sound_fingerprint_is_claimed_whole() {
        assert_eq!(sniff(&TensorflowFingerprint, &sample()), Sniff::Certain);
        assert_whole(&parse(&TensorflowFingerprint, &sample()), &sample());
    }

    #[test]
    fn what_is_longer_or_other_is_not_taken_for_it_and_what_is_added_is_told() {
        let long = [sample(), bytes_field(7, &[b'x'; 600])].concat();
        let foreign = [sample(), bytes_field(9, b"x")].concat();
        for other in [long, foreign, number_field(1, 1), b"\x08".to_vec(), Vec::new()] {
            assert_eq!(sniff(&TensorflowFingerprint, &other), Sniff::No);
        }
        let twice = [sample(), number_field(1, 1)].concat();
        assert_eq!(troubles(&parse(&TensorflowFingerprint, &twice)), [Trouble::Ambiguous]);
        let appended = [&sample()[..], b"\x7fELF"].concat();
        let parsed = parse(&TensorflowFingerprint, &appended);
        assert!(!troubles(&parsed).is_empty() || !hidden(&parsed, &appended).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x10")) {
            assert_bounded(&TensorflowFingerprint, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
            assert_bounded(&TensorflowFingerprint, &bytes);
        }
    }
}
