//! Objects that a Keras configuration has restored by name: `{"class_name": …, "config": …}` at any depth.
//!
//! Keras restores layers, losses, initializers and functions alike from such objects (CVE-2024-3660, CVE-2025-1550), so the
//! shape decides, not the place. Source: `keras/src/saving/serialization_lib.py` of keras 3.15.1.

use crate::Serialized;

/// Bytes of one name kept; Python names are short, what is longer is on no list anyway.
const NAME_BYTES_MAX: usize = 1024;

/// The fields of one JSON object that matter, as they go by.
#[derive(Default)]
pub(super) struct Frame {
    class_name: Option<String>,
    module: Option<String>,
    registered_name: Option<String>,
    // `config` where it is a text, or the text `function` or `spec_name` in it.
    function: Option<String>,
    vocabulary: Option<String>,
    has_config: bool,
}

impl Frame {
    /// Takes in what stands under `key`: a text, or an object that has closed.
    pub(super) fn field(&mut self, key: &str, text: Option<String>, inner: Option<Frame>) {
        match (key, text) {
            ("class_name", text @ Some(_)) => self.class_name = text,
            ("module", text @ Some(_)) => self.module = text,
            ("registered_name", text @ Some(_)) => self.registered_name = text,
            ("vocabulary", text @ Some(_)) => self.vocabulary = text,
            ("function" | "spec_name", text @ Some(_)) => self.function = text,
            ("config", text) => {
                self.has_config = true;
                self.function = text.or(self.function.take());
                if let Some(inner) = inner {
                    self.function = inner.function.or(self.function.take());
                    self.vocabulary = inner.vocabulary.or(self.vocabulary.take());
                }
            }
            _ => {}
        }
    }

    /// Whether the text under this key is wanted.
    pub(super) fn wants(key: &str) -> bool {
        const WANTED: [&str; 7] =
            ["class_name", "module", "registered_name", "vocabulary", "function", "spec_name", "config"];
        WANTED.contains(&key)
    }

    /// The object to restore, where this is one. Keras leaves alone what lacks either of the two keys.
    pub(super) fn serialized(&self, key: impl FnOnce() -> String) -> Option<Serialized> {
        let restored = self.has_config || self.class_name.as_deref() == Some("__typespec__");
        let class_name = self.class_name.clone().filter(|_| restored)?;
        let (module, registered_name) = (self.module.clone(), self.registered_name.clone());
        let (function, vocabulary) = (self.function.clone(), self.vocabulary.clone());
        Some(Serialized { key: key(), class_name, module, registered_name, function, vocabulary })
    }
}

/// A name, cut where it is too long to be one.
pub(super) fn name(text: &str) -> String {
    let end = (0..=NAME_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().into()
}
