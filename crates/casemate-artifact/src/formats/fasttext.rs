//! fastText models (`.bin`, `.ftz`): settings, a dictionary, two matrices, plain or quantised.
//!
//! Every length follows from the one before, so a walk accounts for every byte; loaders allocate from the same numbers,
//! which is why those that do not fit are told. Words are data.
//!
//! Source: `src/fasttext.cc`, `dictionary.cc`, `densematrix.cc`, `quantmatrix.cc` and `productquantizer.cc` of fastText 0.9.

use casemate_core::Window;

use super::reading::{u32_le, u64_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Tensor, Trouble};

/// Reads fastText models.
pub(crate) struct Fasttext;

const MAGIC: [u8; 4] = 793_712_314_u32.to_le_bytes();
/// The longest word of a dictionary; fastText splits at blanks.
const WORD_BYTES_MAX: u64 = 64 << 10;
/// Settings behind magic and version: twelve numbers of four bytes and one of eight.
const SETTINGS_BYTES: u64 = 56;

impl Format for Fasttext {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "fasttext",
            title: "fastText model",
            extensions: &["ftz", "bin"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let version = u32_le(&probe.head, 4).unwrap_or(0);
        if probe.starts_with(&MAGIC) && (1..=64).contains(&version) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut walk = Walk { window: Window::new(&**object.source), parsed: &mut parsed, at: 8 };
        let outcome = walk.model();
        let end = walk.at;
        parsed.claims.add(0..end.min(object.source.size_bytes()));
        if let Err(malformed) = outcome {
            parsed.report(object.limits, malformed);
        }
        parsed
    }
}

struct Walk<'a, 'p> {
    window: Window<'a>,
    parsed: &'p mut Parsed,
    at: u64,
}

impl Walk<'_, '_> {
    fn model(&mut self) -> Result<(), Malformed> {
        self.skip(Some(SETTINGS_BYTES))?;
        let words = self.count()?;
        // Words, labels and tokens are counted once more.
        self.skip(Some(16))?;
        let pruned = self.long()?;
        for _ in 0..words {
            self.word()?;
        }
        if pruned != u64::MAX {
            self.skip(pruned.checked_mul(8))?;
        }
        self.matrix("input")?;
        self.matrix("output")
    }

    /// A word, its count and its kind.
    fn word(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        loop {
            let at = self.at;
            let len = 256.min(self.window.size_bytes().saturating_sub(at));
            let bytes = self.window.get(at, len).map_err(|error| unreadable(&error, at))?.unwrap_or_default();
            match bytes.iter().position(|byte| *byte == 0) {
                Some(n) => return self.skip(Some(n as u64 + 10)),
                None if bytes.is_empty() || at - start > WORD_BYTES_MAX => {
                    return Err(Malformed::new(Trouble::Undecodable, start, "a word of the dictionary does not end"));
                }
                None => self.at += bytes.len() as u64,
            }
        }
    }

    fn matrix(&mut self, name: &str) -> Result<(), Malformed> {
        let quantised = self.flag()?;
        let normed = quantised && self.flag()?;
        let (rows, columns) = (self.long()?, self.long()?);
        let start = self.at;
        if quantised {
            let codes = self.count()?;
            self.skip(Some(codes))?;
            self.quantiser()?;
            if normed {
                self.skip(Some(rows))?;
                self.quantiser()?;
            }
        } else {
            self.skip(rows.checked_mul(columns).and_then(|n| n.checked_mul(4)))?;
        }
        let dtype = if quantised { "product-quantised" } else { "f32" };
        let span = Some(start..self.at);
        self.parsed.tensors.push(Tensor { name: name.into(), dtype: dtype.into(), shape: vec![rows, columns], span });
        Ok(())
    }

    /// Four numbers, and 256 centroids for each dimension.
    fn quantiser(&mut self) -> Result<(), Malformed> {
        let dimensions = self.count()?;
        self.skip(Some(12))?;
        self.skip(dimensions.checked_mul(4 * 256))
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        let at = self.at;
        self.skip(Some(1))?;
        let bytes = self.window.get(at, 1).map_err(|error| unreadable(&error, at))?;
        match bytes.and_then(|bytes| bytes.first()) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(Malformed::new(Trouble::Undecodable, at, "a flag is neither 0 nor 1")),
        }
    }

    /// A number of four bytes that is not negative.
    fn count(&mut self) -> Result<u64, Malformed> {
        let at = self.at;
        self.skip(Some(4))?;
        let bytes = self.window.get(at, 4).map_err(|error| unreadable(&error, at))?.unwrap_or_default();
        match u32_le(bytes, 0).map(u32::cast_signed).map(u64::try_from) {
            Some(Ok(n)) => Ok(n),
            _ => Err(Malformed::new(Trouble::Ambiguous, at, "a length is negative: loaders allocate from it")),
        }
    }

    fn long(&mut self) -> Result<u64, Malformed> {
        let at = self.at;
        self.skip(Some(8))?;
        let bytes = self.window.get(at, 8).map_err(|error| unreadable(&error, at))?.unwrap_or_default();
        Ok(u64_le(bytes, 0).unwrap_or(0))
    }

    fn skip(&mut self, n: Option<u64>) -> Result<(), Malformed> {
        match n.and_then(|n| self.at.checked_add(n)).filter(|end| *end <= self.window.size_bytes()) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => Err(Malformed::new(Trouble::Undecodable, self.at, "the file is shorter than it says")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

    fn sample(words: i32) -> Vec<u8> {
        let mut bytes = [MAGIC, 12u32.to_le_bytes()].concat();
        bytes.resize(64, 0);
        bytes.extend(words.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend((-1i64).to_le_bytes());
        bytes.extend(b"word\0\x01\0\0\0\0\0\0\0\0");
        // Quantised and normed, two rows of one column; then plain.
        bytes.extend([1, 1]);
        bytes.extend([2i64.to_le_bytes(), 1i64.to_le_bytes()].concat());
        bytes.extend([&2i32.to_le_bytes()[..], &[7, 8]].concat());
        let quantiser = [&1i32.to_le_bytes()[..], &[0; 12], &[9; 1024]].concat();
        bytes.extend([&quantiser[..], &[3, 4], &quantiser].concat());
        bytes.push(0);
        bytes.extend([1i64.to_le_bytes(), 2i64.to_le_bytes()].concat());
        bytes.extend([1.5f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat());
        bytes
    }

    #[test]
    fn a_sound_model_is_claimed_whole_with_its_matrices() {
        assert_eq!(sniff(&Fasttext, &sample(1)), Sniff::Certain);
        let parsed = parse(&Fasttext, &sample(1));
        assert_whole(&parsed, &sample(1));
        assert_eq!(parsed.tensors.iter().map(|t| t.shape.clone()).collect::<Vec<_>>(), [[2, 1], [1, 2]]);
    }

    #[test]
    fn lengths_that_lie_are_told_and_appended_bytes_stay() {
        assert_eq!(troubles(&parse(&Fasttext, &sample(-1))), [Trouble::Ambiguous]);
        assert_eq!(troubles(&parse(&Fasttext, &sample(1)[..900])), [Trouble::Undecodable]);
        let appended = [&sample(1)[..], b"\x7fELF"].concat();
        assert_eq!(hidden(&parse(&Fasttext, &appended), &appended).len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\xba\x16\x4f\x2f\x0c\0\0\0")) {
            assert_bounded(&Fasttext, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample(1))) {
            assert_bounded(&Fasttext, &bytes);
        }
    }
}
