//! XGBoost's old binary models: `binf`, or nothing, in front of the structures of its C++ as they lie in memory.
//!
//! Written until XGBoost 3.1, read by every version before. Answers counts of nodes and weights that the file cannot hold,
//! which a loader allocates; names, settings and metrics are searched as texts. Beside the magic number, the names of
//! objective and booster behind the fixed header tell the format.
//!
//! Source: `LearnerIO::Load` (`learner.cc`), `gbtree_model.h`, `gblinear_model.h`, `tree_model.h` of XGBoost 2.0.3, compared
//! with what that saves for three boosters and four objectives.

use super::fields::Fields;
use super::reading::{Allowance, text_kind, u64_le};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Tensor, Text, Trouble};

/// Reads old binary models.
pub(crate) struct XgboostBinary;

const MAGIC: &[u8] = b"binf";
/// `LearnerModelParamLegacy`.
const LEARNER_BYTES: usize = 136;
/// `GBTreeModelParam` and `TreeParam`; a node and its statistics.
const TREES_BYTES: u64 = 160;
const TREE_BYTES: u64 = 148;
const NODE_BYTES: u64 = 20 + 16;
/// `DeprecatedGBLinearModelParam`.
const LINEAR_BYTES: u64 = 136;
/// Longest name of an objective or booster.
const NAME_BYTES_MAX: u64 = 64;
const TEXT_BYTES_MAX: u64 = 1 << 20;

impl Format for XgboostBinary {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "xgboost-binary",
            title: "XGBoost binary model",
            extensions: &["model", "bin", "xgb", "deprecated", "bst"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let start = if probe.starts_with(MAGIC) { MAGIC.len() } else { 0 };
        let booster = name_at(&probe.head, start + LEARNER_BYTES)
            .filter(|(objective, _)| objective.contains(&b':'))
            .and_then(|(_, end)| name_at(&probe.head, end));
        match booster {
            Some((b"gbtree" | b"dart" | b"gblinear", _)) => Sniff::Certain,
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let (fields, allowance) = (Fields::new(&**object.source), Allowance::new());
        let mut model = Model { object, fields, allowance, parsed: Parsed::default() };
        let outcome = model.read();
        model.parsed.claims.add(0..model.fields.at);
        outcome.unwrap_or_else(|malformed| model.parsed.report(object.limits, malformed));
        model.parsed
    }
}

/// A name behind its length at `at`, and where it ends.
fn name_at(head: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let len = u64_le(head, at).filter(|len| (1..=NAME_BYTES_MAX).contains(len))?;
    let end = usize::try_from(len).ok()?.checked_add(at + 8)?;
    let name = head.get(at + 8..end)?;
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b":_-".contains(byte)).then_some((name, end))
}

/// A model while it is read.
struct Model<'a> {
    object: &'a Object<'a>,
    fields: Fields<'a>,
    allowance: Allowance,
    parsed: Parsed,
}

impl Model<'_> {
    fn read(&mut self) -> Result<(), Malformed> {
        if self.object.probe.starts_with(MAGIC) {
            self.fields.skip(MAGIC.len() as u64)?;
        }
        // Base score, features, classes; then whether settings and metrics follow at the end.
        self.fields.skip(12)?;
        let (has_settings, has_metrics) = (self.number()? != 0, self.number()? != 0);
        self.fields.skip(LEARNER_BYTES as u64 - 20)?;
        self.name()?;
        let booster = self.name()?;
        match booster.as_slice() {
            b"gbtree" | b"dart" => {
                if self.trees()? && booster == b"dart" {
                    self.floats("weight_drop")?;
                }
            }
            b"gblinear" => {
                self.fields.skip(LINEAR_BYTES)?;
                self.floats("weights")?;
            }
            _ => return Err(self.fields.broken("a booster of unknown name")),
        }
        if has_settings {
            for _ in 0..self.count(16)? {
                let key = self.text("setting")?;
                self.text(&key)?;
            }
        }
        if has_metrics {
            for _ in 0..self.count(8)? {
                self.text("metric")?;
            }
        }
        Ok(())
    }

    /// Reads the trees; returns whether there are any.
    fn trees(&mut self) -> Result<bool, Malformed> {
        let trees = u64::from(self.number()?);
        self.fields.skip(TREES_BYTES - 4)?;
        if trees > (self.fields.left() / (TREE_BYTES + 4)).min(self.object.limits.entries_max) {
            return Err(self.fields.broken(format!("{trees} trees, more than the file can hold")));
        }
        for _ in 0..trees {
            self.fields.skip(4)?;
            let nodes = u64::from(self.number()?);
            self.fields.skip(12)?;
            let vector = self.number()?;
            self.fields.skip(TREE_BYTES - 24)?;
            self.fields.skip(nodes * NODE_BYTES)?;
            // One number a leaf is what every tree has; the vectors some versions before 1.0 wrote stand behind the nodes.
            if vector > 1 {
                let floats = self.count(4)?;
                self.fields.skip(4 * floats)?;
            }
        }
        // The group of each.
        self.fields.skip(4 * trees)?;
        Ok(trees > 0)
    }

    fn floats(&mut self, name: &str) -> Result<(), Malformed> {
        let floats = self.count(4)?;
        let start = self.fields.at;
        self.fields.skip(4 * floats)?;
        let span = Some(start..self.fields.at);
        self.parsed.tensors.push(Tensor { name: name.into(), dtype: "float32".into(), shape: vec![floats], span });
        Ok(())
    }

    /// A count of things of at least `least` bytes.
    fn count(&mut self, least: u64) -> Result<u64, Malformed> {
        let count = u64::from_le_bytes(self.fields.array()?);
        match count <= self.fields.left() / least {
            true => Ok(count),
            false => Err(self.fields.broken(format!("a list of {count}, more than the file can hold"))),
        }
    }

    fn name(&mut self) -> Result<Vec<u8>, Malformed> {
        let len = self.count(1)?;
        match len <= NAME_BYTES_MAX {
            true => self.fields.bytes(len).map(<[u8]>::to_vec),
            false => Err(self.fields.broken(format!("a name of {len} bytes"))),
        }
    }

    /// A text, which is handed on under `key`.
    fn text(&mut self, key: &str) -> Result<String, Malformed> {
        let len = self.count(1)?;
        if len > TEXT_BYTES_MAX {
            self.fields.skip(len)?;
            return Err(Malformed::new(Trouble::Limit, self.fields.at, format!("a text of {len} bytes is not read")));
        }
        let offset = Some(self.fields.at);
        let text = String::from_utf8_lossy(self.fields.bytes(len)?).into_owned();
        if !self.allowance.take(key.len() + 2 * text.len()) {
            return Err(Malformed::new(Trouble::Limit, offset, "more texts than can be held"));
        }
        let key: String = key.chars().take(200).collect();
        self.parsed.texts.push(Text { kind: text_kind(&text), key, text: text.clone(), offset });
        Ok(text)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        self.fields.array().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// A structure whose first numbers are these.
    fn structure(numbers: &[u32], bytes: usize) -> Vec<u8> {
        let mut structure: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        structure.resize(bytes, 0);
        structure
    }

    fn model(magic: &[u8], booster: &str, setting: &str) -> Vec<u8> {
        let head = [magic, &structure(&[0x3f00_0000, 3, 0, 1, 1, 2], 136), &text("binary:logistic"), &text(booster)];
        let tree = [structure(&[1, 3, 0, 1, 3, 1], 148), vec![7; 3 * 36]].concat();
        let body = match booster {
            "gblinear" => [structure(&[3, 1], 136), 4u64.to_le_bytes().to_vec(), vec![7; 16]].concat(),
            _ => [structure(&[1, 1], 160), tree, vec![0; 4]].concat(),
        };
        let drop = if booster == "dart" { [&1u64.to_le_bytes()[..], &[7; 4]].concat() } else { Vec::new() };
        let settings = [&1u64.to_le_bytes()[..], &text("best"), &text(setting)].concat();
        let metrics = [&1u64.to_le_bytes()[..], &text("error")].concat();
        [head.concat(), body, drop, settings, metrics].concat()
    }

    #[test]
    fn models_of_each_booster_are_claimed_whole() {
        for booster in ["gbtree", "dart", "gblinear"] {
            for magic in [&b"binf"[..], b""] {
                let bytes = model(magic, booster, "{{ x }}");
                assert_eq!(sniff(&XgboostBinary, &bytes), Sniff::Certain);
                let parsed = parse(&XgboostBinary, &bytes);
                assert_whole(&parsed, &bytes);
                assert!(parsed.texts.iter().any(|text| text.key == "best" && text.kind == crate::TextKind::Template));
                let appended = [&bytes[..], b"\x7fELF"].concat();
                assert_eq!(hidden(&parse(&XgboostBinary, &appended), &appended).len(), 1);
            }
        }
    }

    #[test]
    fn counts_that_lie_are_told_and_other_names_not_taken_for_it() {
        let sound = model(b"binf", "gbtree", "x");
        let trees = 4 + 136 + 23 + 14;
        for at in [trees, trees + 160 + 4, sound.len() - 13, sound.len() - 21] {
            let mut bytes = sound.clone();
            bytes[at + 2] = 0xff;
            assert_eq!(troubles(&parse(&XgboostBinary, &bytes)), [Trouble::Undecodable], "{at}");
        }
        assert_eq!(troubles(&parse(&XgboostBinary, &sound[..sound.len() - 1])), [Trouble::Undecodable]);
        for other in [model(b"", "gbother", "x"), b"binf".to_vec(), vec![0; 300], Vec::new()] {
            assert_eq!(sniff(&XgboostBinary, &other), Sniff::No);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"binf\0\0\0\x3f\x03\0\0\0")) {
            assert_bounded(&XgboostBinary, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(model(b"", "dart", "{{ x }}"))) {
            assert_bounded(&XgboostBinary, &bytes);
        }
    }
}
