//! dlib's `.dat`: shape predictors, which are read to their end, and networks, which only a program of their type can read.
//!
//! A shape predictor is numbers and nothing else, each behind a byte that says how many bytes it takes. What a network holds
//! follows from the C++ type of the program that reads it, so its file is recognised and not judged.
//!
//! Source: `dlib/serialize.h` and `dlib/image_processing/shape_predictor.h` of dlib 19.24.

use casemate_core::MemorySource;

use super::fields::Fields;
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Tensor, Trouble};

/// Reads shape predictors.
pub(crate) struct Dlib;

/// The longest name of a loss layer.
const NAME_BYTES_MAX: u64 = 64;
/// Coordinates of the landmarks of one shape.
const COORDINATES_MAX: u64 = 10_000;

impl Format for Dlib {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "dlib", title: "dlib model", extensions: &["dat"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let source = MemorySource::new(probe.head.as_slice());
        let mut file = File { fields: Fields::new(&source) };
        let cut = probe.size_bytes > probe.head.len() as u64;
        match network(probe).is_some() || file.shape().is_ok_and(|shape| file.floats(shape).is_ok() || cut) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        if let Some(name) = network(object.probe) {
            parsed.claims.add(0..object.source.size_bytes());
            let what = format!("a dlib network that begins with the layer `{name}`: only its own program can read it");
            parsed.report(object.limits, Malformed::new(Trouble::Undecodable, 0, what));
            return parsed;
        }
        let mut file = File { fields: Fields::new(&**object.source) };
        let ended = file.predictor(&mut parsed);
        parsed.claims.add(0..file.fields.at);
        ended.unwrap_or_else(|malformed| parsed.report(object.limits, malformed));
        parsed
    }
}

/// The first layer of a network: its loss, behind the version.
fn network(probe: &Probe) -> Option<String> {
    let source = MemorySource::new(probe.head.as_slice());
    let mut file = File { fields: Fields::new(&source) };
    let version = file.number().ok()?;
    let len = u64::try_from(file.number().ok()?).ok().filter(|len| version == 1 && *len <= NAME_BYTES_MAX)?;
    let name = std::str::from_utf8(file.fields.bytes(len).ok()?).ok()?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (name.starts_with("loss_") && plain).then(|| name.into())
}

struct File<'a> {
    fields: Fields<'a>,
}

impl File<'_> {
    /// A shape predictor: the mean shape, a cascade of forests, and where each tree looks.
    fn predictor(&mut self, parsed: &mut Parsed) -> Result<(), Malformed> {
        let shape = self.shape()?;
        let start = self.fields.at;
        self.floats(shape)?;
        let span = Some(start..self.fields.at);
        parsed.tensors.push(Tensor {
            name: "initial_shape".into(),
            dtype: "float".into(),
            shape: vec![shape, 1],
            span,
        });
        for _ in 0..self.count()? {
            for _ in 0..self.count()? {
                self.tree()?;
            }
        }
        for _ in 0..self.count()? {
            for _ in 0..self.count()? {
                self.number()?;
            }
        }
        for _ in 0..self.count()? {
            let n = self.count()?;
            self.floats(n.saturating_mul(2))?;
        }
        Ok(())
    }

    /// Version, and rows and columns of the mean shape, which are written as negative numbers.
    fn shape(&mut self) -> Result<u64, Malformed> {
        let (version, rows, columns) = (self.number()?, self.number()?, self.number()?);
        let rows = rows.checked_neg().and_then(|rows| u64::try_from(rows).ok());
        match rows {
            Some(rows @ 2..=COORDINATES_MAX) if version == 1 && columns == -1 && rows % 2 == 0 => Ok(rows),
            _ => Err(self.fields.broken("no shape predictor")),
        }
    }

    fn tree(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.count()? {
            self.number()?;
            self.number()?;
            self.floats(1)?;
        }
        for _ in 0..self.count()? {
            let (rows, columns) = (self.number()?.unsigned_abs(), self.number()?.unsigned_abs());
            self.floats(rows.saturating_mul(columns))?;
        }
        Ok(())
    }

    /// Passes over numbers of which each is written as two, its mantissa and its exponent.
    fn floats(&mut self, n: u64) -> Result<(), Malformed> {
        if n > self.fields.left() {
            return Err(self
                .fields
                .broken(format!("{n} numbers are announced, {} bytes are left", self.fields.left())));
        }
        for _ in 0..n {
            self.number()?;
            self.number()?;
        }
        Ok(())
    }

    /// A count of things of which each takes two bytes at least.
    fn count(&mut self) -> Result<u64, Malformed> {
        let n = self.number()?;
        match u64::try_from(n) {
            Ok(n) if n <= self.fields.left() => Ok(n),
            _ => Err(self.fields.broken(format!("{n} things are announced, {} bytes are left", self.fields.left()))),
        }
    }

    /// A whole number: a byte with its sign and its length, and so many bytes.
    fn number(&mut self) -> Result<i64, Malformed> {
        let [control] = self.fields.array()?;
        let len = u64::from(control & 0x7f);
        if !(1..=8).contains(&len) {
            return Err(self.fields.broken("a number belongs here"));
        }
        let mut bytes = [0; 8];
        let read = self.fields.bytes(len)?;
        bytes.iter_mut().zip(read).for_each(|(to, from)| *to = *from);
        let magnitude =
            i64::try_from(u64::from_le_bytes(bytes)).map_err(|_| self.fields.broken("a number too large"))?;
        Ok(if control & 0x80 == 0 { magnitude } else { -magnitude })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::troubles;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, sniff};

    fn numbers(numbers: &[i16]) -> Vec<u8> {
        let number = |n: &i16| {
            let sign = if *n < 0 { 0x80 } else { 0 };
            let bytes = n.unsigned_abs().to_le_bytes();
            if bytes[1] == 0 { vec![1 | sign, bytes[0]] } else { vec![2 | sign, bytes[0], bytes[1]] }
        };
        numbers.iter().flat_map(number).collect()
    }

    /// One landmark, one forest of one tree with a split and two leaves, one point to look at.
    fn sample() -> Vec<u8> {
        let shape = numbers(&[1, -2, -1, 300, -4, 500, -4]);
        let leaf = [-2, -1, 1, 0, -1, 0];
        let tree = [numbers(&[1, 1, 1, 7, 8, 9, -3, 2]), numbers(&leaf), numbers(&leaf)].concat();
        [shape, tree, numbers(&[1, 1, 0, 1, 1, 5, 0, 6, 0])].concat()
    }

    #[test]
    fn shape_predictors_are_read_to_their_end() {
        assert_eq!(sniff(&Dlib, &sample()), Sniff::Certain);
        let parsed = parse(&Dlib, &sample());
        assert_whole(&parsed, &sample());
        assert_eq!(parsed.tensors[0].shape, [2, 1]);
        let appended = [&sample()[..], b"\x7fELF"].concat();
        let parsed = parse(&Dlib, &appended);
        assert_eq!((messages(&parsed).as_str(), hidden(&parsed, &appended).len()), ("", 1));
    }

    #[test]
    fn networks_are_recognised_and_not_judged() {
        let network = [&numbers(&[1, 13])[..], b"loss_metric_2\x03\x0a\xd7\xa3\x81\x1c"].concat();
        assert_eq!(sniff(&Dlib, &network), Sniff::Certain);
        assert_eq!(troubles(&parse(&Dlib, &network)), [Trouble::Undecodable]);
        let other = [&numbers(&[1, 13])[..], b"some_metric_2"].concat();
        assert_eq!(sniff(&Dlib, &other), Sniff::No);
    }

    #[test]
    fn counts_beyond_the_file_and_odd_numbers_are_undecodable() {
        let shape = &sample()[..16];
        for rest in [
            &b"\x08\xff\xff\xff\xff\xff\xff\xff\x7f"[..],
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x81\x01",
            b"\x00",
            b"\x09",
            b"",
        ] {
            assert_eq!(troubles(&parse(&Dlib, &[shape, rest].concat())), [Trouble::Undecodable], "{rest:?}");
        }
        for other in
            [&b"\x01\x01\x81"[..], b"\x01\x01\x81\x03\x81\x01", b"\x01\x01\x01\x02\x81\x01\x01\x01", b"words", b""]
        {
            assert_eq!(sniff(&Dlib, other), Sniff::No);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x01\x01\x81\x02\x81\x01")) {
            assert_bounded(&Dlib, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
            assert_bounded(&Dlib, &bytes);
        }
    }
}
