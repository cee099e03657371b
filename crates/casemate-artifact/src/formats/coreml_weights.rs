//! Core ML's `weight.bin`: a count, then for each tensor a record of 64 bytes and its data, all on 64-byte boundaries.
//!
//! Without it an `.mlpackage` would be bytes nobody can judge; with it, what stands between the tensors is seen.
//!
//! Source: `mlmodel/src/MILBlob/Blob/StorageFormat.hpp` of coremltools (version 2).

use casemate_core::Window;

use super::reading::{u32_le, u64_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Tensor, Trouble};

const SENTINEL: &[u8] = &0xdead_beef_u32.to_le_bytes();
const RECORD_BYTES: u64 = 64;

/// Reads the weights of ML programs.
pub(crate) struct CoremlWeights;

impl Format for CoremlWeights {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "coreml-weights",
            title: "Core ML weights",
            extensions: &["bin"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match probe.has_at(4, &[2, 0, 0, 0]) && probe.has_at(64, SENTINEL) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        Parsed::until_it_breaks(object, walk)
    }
}

fn walk(object: &Object<'_>, parsed: &mut Parsed) -> Result<(), Malformed> {
    let mut window = Window::new(&**object.source);
    let size = object.source.size_bytes();
    let count = u32_le(&object.probe.head, 0).unwrap_or(0);
    parsed.claims.add(0..8.min(size));
    let mut at = RECORD_BYTES;
    for n in 0..u64::from(count) {
        if n >= object.limits.entries_max.min(100_000) {
            return Err(Malformed::new(Trouble::Limit, at, format!("tensors after the first {n} are not read")));
        }
        let record = window.get(at, RECORD_BYTES).map_err(|error| unreadable(&error, at))?;
        let record = record.filter(|record| record.starts_with(SENTINEL));
        let Some(record) = record else {
            let what = format!("the record of tensor {n} of {count} is missing");
            return Err(Malformed::new(Trouble::Undecodable, at, what));
        };
        let field = |at| u64_le(record, at).unwrap_or(u64::MAX);
        let (dtype, len, start) = (u32_le(record, 4).unwrap_or(0), field(8), field(16));
        // The reserved half of a record is written uninitialised: real files have anything there.
        parsed.claims.add(at..(at + RECORD_BYTES).min(size));
        let Some(end) = start.checked_add(len).filter(|end| *end <= size && start >= at + RECORD_BYTES) else {
            return Err(Malformed::new(Trouble::Ambiguous, at, format!("tensor {n} lies outside its place")));
        };
        parsed.claims.add(start..end);
        let (name, dtype) = (format!("@{at}"), dtype.to_string());
        parsed.tensors.push(Tensor { name, dtype, shape: Vec::new(), span: Some(start..end) });
        at = end.next_multiple_of(RECORD_BYTES);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

    fn sample() -> Vec<u8> {
        let mut bytes = [2u32.to_le_bytes(), 2u32.to_le_bytes()].concat();
        for start in [128u64, 256] {
            bytes.resize(usize::try_from(start).unwrap() - 64, 0);
            bytes.extend([SENTINEL, &[2, 0, 0, 0], &8u64.to_le_bytes(), &start.to_le_bytes()].concat());
            bytes.resize(usize::try_from(start).unwrap(), 0);
            bytes.extend([7; 8]);
        }
        bytes
    }

    #[test]
    fn sound_weights_are_claimed_whole() {
        assert_eq!(sniff(&CoremlWeights, &sample()), Sniff::Certain);
        let parsed = parse(&CoremlWeights, &sample());
        assert_whole(&parsed, &sample());
        assert_eq!(parsed.tensors[1].span, Some(256..264));
    }

    #[test]
    fn missing_tensors_places_outside_and_bytes_between_are_reported() {
        let mut bytes = sample();
        bytes[0] = 3;
        assert_eq!(troubles(&parse(&CoremlWeights, &bytes)), [Trouble::Undecodable]);
        bytes = sample();
        bytes[72] = 255;
        bytes[73] = 255;
        assert_eq!(troubles(&parse(&CoremlWeights, &bytes)), [Trouble::Ambiguous]);
        bytes = sample();
        bytes[140] = 1;
        assert_eq!(hidden(&parse(&CoremlWeights, &bytes), &bytes).len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x01\0\0\0\x02\0\0\0")) {
            assert_bounded(&CoremlWeights, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
            assert_bounded(&CoremlWeights, &bytes);
        }
    }
}
