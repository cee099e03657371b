//! CatBoost models (`.cbm`): a FlatBuffer of trees, and parts for categories and texts behind it.
//!
//! The map of texts beside the trees holds the training settings; templates in it are handed on. What a part holds is numbers
//! of CatBoost's own and is looked into only for what is unmistakably something else; parts of unknown names, and bytes
//! behind a model that names none, are told.
//!
//! Source: `catboost/libs/model/flatbuffers/model.fbs` and `model.cpp` (`TFullModel::Save`) of CatBoost 1.2.

use std::sync::Arc;

use casemate_core::{RangeSource, SharedSource};

use super::flatbuffer::Flatbuffer;
use super::reading::{Allowance, quote, text_kind, u32_le};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Parsed, Probe, Role, Text, Trouble};

/// Reads CatBoost models.
pub(crate) struct Catboost;

/// What stands before the FlatBuffer: the magic and its length.
const START_BYTES: u64 = 8;
/// Parts CatBoost writes behind the trees.
const PARTS: &[&str] = &["static_provider_v1", "text_process_v2"];

impl Format for Catboost {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "catboost", title: "CatBoost model", extensions: &["cbm"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(b"CBM1") { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let size = object.source.size_bytes();
        let core = u32_le(&object.probe.head, 4).map(u64::from).filter(|len| START_BYTES + len <= size);
        let Some(len) = core else {
            parsed.claims.add(0..START_BYTES.min(size));
            let what = "the trees are longer than the file";
            parsed.report(object.limits, Malformed::new(Trouble::Undecodable, 4, what));
            return parsed;
        };
        parsed.claims.add(0..START_BYTES + len);
        let trees: SharedSource = Arc::new(RangeSource::new(Arc::clone(object.source), START_BYTES, len));
        match model(&trees, object, &mut parsed) {
            Ok(parts) if parts > 0 && START_BYTES + len < size => {
                parsed.claims.add(START_BYTES + len..size);
                let source = RangeSource::new(Arc::clone(object.source), START_BYTES + len, size);
                parsed.children.push(Child { name: "parts".into(), source: Arc::new(source), role: Role::RawData });
            }
            Ok(_) => {}
            Err(malformed) => {
                let offset = malformed.offset.map(|offset| offset.saturating_add(START_BYTES));
                parsed.report(object.limits, Malformed { offset, ..malformed });
            }
        }
        parsed
    }
}

/// Reads the texts beside the trees; returns how many parts follow.
fn model(trees: &SharedSource, object: &Object<'_>, parsed: &mut Parsed) -> Result<u64, Malformed> {
    let mut buffer = Flatbuffer::new(&**trees, object.limits.entries_max);
    let mut allowance = Allowance::new();
    let root = buffer.root()?;
    let version = buffer.text(root, 0)?.unwrap_or_default();
    if !version.starts_with("FlabuffersModel_v") {
        let what = format!("the model is of version {}", quote(&version));
        return Err(Malformed::new(Trouble::Undecodable, root.at, what));
    }
    buffer.inner(root, 1)?;
    if let Some(texts) = buffer.vector(root, 2, 4)? {
        for n in 0..texts.len {
            let entry = buffer.element(texts, n)?;
            let key = buffer.text(entry, 0)?.unwrap_or_default();
            let text = buffer.text(entry, 1)?.unwrap_or_default();
            if !allowance.take(key.len() + text.len()) {
                return Err(Malformed::new(Trouble::Limit, entry.at, "texts beside the trees need too much memory"));
            }
            let offset = Some(entry.at + START_BYTES);
            parsed.texts.push(Text { kind: text_kind(&text), key, text, offset });
        }
    }
    let parts = buffer.texts(root, 3)?;
    match parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        Some(part) => {
            let what = format!("the model has a part of unknown kind, {}", quote(part));
            Err(Malformed::new(Trouble::Undecodable, root.at, what))
        }
        None => Ok(parts.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{
        any_bytes, assert_bounded, assert_whole, content, hidden, mutants, parse, sniff, troubles,
    };

    /// Saved by CatBoost 1.2.10, with a category, so that a part follows.
    const SAMPLE: &[u8] = include_bytes!("../../../../fuzz/seeds/catboost/category.cbm");

    #[test]
    fn a_saved_model_is_claimed_whole_with_its_part() {
        assert_eq!(sniff(&Catboost, SAMPLE), Sniff::Certain);
        let parsed = parse(&Catboost, SAMPLE);
        assert_whole(&parsed, SAMPLE);
        assert!(parsed.texts.iter().any(|text| text.key == "params"));
        assert!(SAMPLE.ends_with(&content(&parsed.children[0])) && parsed.children[0].role == Role::RawData);
    }

    #[test]
    fn lengths_and_parts_that_lie_are_told() {
        let mut longer = SAMPLE.to_vec();
        longer[7] = 1;
        assert_eq!(troubles(&parse(&Catboost, &longer)), [Trouble::Undecodable]);
        let mut outside = SAMPLE.to_vec();
        outside[10] = 0x7f;
        assert_eq!(troubles(&parse(&Catboost, &outside)), [Trouble::Ambiguous]);
        let mut part = SAMPLE.to_vec();
        let at = part.windows(10).position(|window| window == b"static_pro").unwrap();
        part[at] = b'x';
        let parsed = parse(&Catboost, &part);
        assert_eq!((troubles(&parsed), hidden(&parsed, &part).len()), (vec![Trouble::Undecodable], 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"CBM1\x40\0\0\0\x10\0\0\0")) {
            assert_bounded(&Catboost, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(SAMPLE.to_vec())) {
            assert_bounded(&Catboost, &bytes);
        }
    }
}
