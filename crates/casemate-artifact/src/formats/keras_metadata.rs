//! `keras_metadata.pb` of a SavedModel: the configuration of every Keras object, as JSON in a protobuf.
//!
//! Keras restores layers from these texts as it does from `config.json`, a `Lambda` with its code among them
//! (CVE-2024-3660), so each becomes an object of its own and is judged as such a configuration is.
//!
//! Source: `tensorflow/python/keras/protobuf/saved_metadata.proto` of TensorFlow 2.15.

use std::ops::Range;
use std::sync::Arc;

use casemate_core::RangeSource;

use super::messages::Inside::{Data, Message, Name};
use super::messages::{Messages, Schema, conforms};
use super::protobuf::{BYTES, Cursor, VARINT, Value};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Parsed, Probe, Role};

/// Reads the metadata of Keras objects.
pub(crate) struct KerasMetadata;

static METADATA: Schema = Schema { name: "the metadata", fields: &[(1, BYTES, Message(&NODE))], open: false };

static NODE: Schema = Schema {
    name: "an object",
    fields: &[(2, VARINT, Data), (3, BYTES, Name), (4, BYTES, Name), (5, BYTES, Data), (6, BYTES, Data)],
    open: false,
};

impl Format for KerasMetadata {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "keras-metadata",
            title: "Keras metadata of a SavedModel",
            extensions: &["pb"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // The kind of every object begins so; the first object is the model.
        let named = probe.head.windows(9).take(256).any(|window| window == b"_tf_keras");
        match probe.starts_with(b"\x0a") && named && conforms(probe, &METADATA).is_some_and(|messages| messages >= 1) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut messages = Messages::new(object, &mut parsed);
        let mut cursor = Cursor::new(0..object.source.size_bytes());
        while let Some(field) = messages.next(&mut cursor, &METADATA) {
            messages.parsed.claims.add(field.offset..cursor.at);
            if let Value::Bytes(range) = field.value {
                node(object, &mut messages, range);
            }
        }
        parsed
    }
}

/// Hands on the configuration of one object.
fn node(object: &Object<'_>, messages: &mut Messages<'_, '_>, range: Range<u64>) {
    let mut cursor = Cursor::new(range);
    while let Some(field) = messages.next(&mut cursor, &NODE) {
        let (5, Value::Bytes(text)) = (field.number, field.value) else { continue };
        if text.is_empty() || !messages.admit(64, field.offset) {
            continue;
        }
        if let Err(malformed) = object.budget.member(object.limits) {
            messages.report(malformed);
            return;
        }
        let source = RangeSource::new(Arc::clone(object.source), text.start, text.end - text.start);
        let name = format!("object@{}", text.start);
        messages.parsed.children.push(Child { name, source: Arc::new(source), role: Role::BesideGraph });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{
        any_bytes, assert_bounded, assert_whole, bytes_field as bytes, content, hidden, mutants,
    };
    use crate::formats::testing::{number_field as number, parse, sniff, troubles};

    const CONFIG: &[u8] = br#"{"class_name": "Dense", "config": {"units": 1}}"#;

    fn sample() -> Vec<u8> {
        let object = |id: u64, kind: &[u8]| {
            let version = bytes(6, &[number(1, 1), number(2, 1)].concat());
            bytes(1, &[number(2, id), bytes(3, b"root"), bytes(4, kind), bytes(5, CONFIG), version].concat())
        };
        [object(1, b"_tf_keras_sequential"), object(2, b"_tf_keras_layer")].concat()
    }

    #[test]
    fn a_sound_file_is_claimed_whole_and_every_configuration_is_an_object() {
        assert_eq!(sniff(&KerasMetadata, &sample()), Sniff::Certain);
        let parsed = parse(&KerasMetadata, &sample());
        assert_whole(&parsed, &sample());
        assert_eq!(parsed.children.iter().map(content).collect::<Vec<_>>(), [CONFIG, CONFIG]);
    }

    #[test]
    fn foreign_fields_and_appended_bytes_are_told_and_other_messages_not_taken_for_it() {
        let foreign = [sample(), bytes(2, b"x")].concat();
        assert!(!troubles(&parse(&KerasMetadata, &foreign)).is_empty());
        let appended = [&sample()[..], b"\x7fELF"].concat();
        assert_eq!(hidden(&parse(&KerasMetadata, &appended), &appended).len(), 1);
        for other in [&bytes(1, b"_tf_keras")[..], b"\n\x08words\n", b"\x0a", b""] {
            assert_eq!(sniff(&KerasMetadata, other), Sniff::No);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x0a\x20\x10\x01\x1a\x04root\x22\x09_tf_keras")) {
            assert_bounded(&KerasMetadata, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
            assert_bounded(&KerasMetadata, &bytes);
        }
    }
}
