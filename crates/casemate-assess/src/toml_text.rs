//! TOML texts into typed values, with the line of the first mistake.

use casemate_core::Timestamp;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

/// Where a text is not the TOML that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TomlError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// The value written in `text`.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        // One line per message, whatever the parser wrote.
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        TomlError { line, message }
    })
}

/// A date, as a TOML date or as a text.
pub(crate) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        toml::Value::Datetime(date) => date.to_string(),
        other => return Err(D::Error::custom(format!("expected a date, found {}", other.type_str()))),
    };
    text.parse().map_err(D::Error::custom)
}

/// An optional date; the field needs `#[serde(default)]`.
pub(crate) fn optional_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    date(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        #[serde(deserialize_with = "date")]
        day: Timestamp,
    }

    #[test]
    fn dates_are_read_quoted_or_bare() {
        for text in ["day = 2026-11-21", "day = \"2026-11-21\"", "day = 2026-11-21T00:00:00Z"] {
            assert_eq!(parse::<Row>(text).unwrap().day.to_string(), "2026-11-21T00:00:00Z");
        }
        assert!(parse::<Row>("day = 3").is_err());
    }

    #[test]
    fn a_mistake_is_named_by_its_line() {
        let error = parse::<Row>("# a comment\nday = 2026-11-21\nnight = 1\n").unwrap_err();
        assert_eq!(error.line, 3);
        assert!(error.message.contains("unknown field `night`"), "{error}");
    }
}
