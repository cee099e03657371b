//! A bill of materials: a CycloneDX document, which is the predicate itself.
//!
//! Source: cyclonedx.org/docs (JSON, 1.2 to 1.7). The document is bound by its contents and not judged here, beyond being one.

use serde::Serialize;
use serde_json::Value;

use super::Error;

/// A CycloneDX document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Bom(Value);

impl Bom {
    /// The document in `bytes`.
    ///
    /// # Errors
    /// [`Error::Json`] when it is no JSON or a key is repeated, [`Error::Malformed`] when it is no CycloneDX.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        crate::json::refuse_duplicate_keys(bytes).map_err(Error::Json)?;
        Self::of(serde_json::from_slice(bytes).map_err(Error::Json)?)
    }

    pub(super) fn of(value: Value) -> Result<Self, Error> {
        let is_version = |text: &str| text.strip_prefix("1.").is_some_and(|minor| minor.parse::<u8>().is_ok());
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        if text("bomFormat") != Some("CycloneDX") || !text("specVersion").is_some_and(is_version) {
            return Err(Error::Malformed("it is no CycloneDX document (`bomFormat`, `specVersion` 1.x)".into()));
        }
        match value.get("components") {
            None | Some(Value::Array(_)) => Ok(Self(value)),
            Some(_) => Err(Error::Malformed("`components` of the bill of materials is no list".into())),
        }
    }

    /// How many components it lists.
    pub fn components(&self) -> usize {
        self.0.get("components").and_then(Value::as_array).map_or(0, Vec::len)
    }
}
