//! JSON that has one reading: duplicate keys refused at every depth.
//!
//! Two parsers that keep different ones of two equal keys see two documents under one signature. Typed structs refuse
//! duplicates among their own fields; maps and unknown fields keep the last silently, so this check runs before either.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Refuses `bytes` that are not one JSON value, nest deeper than serde_json's 128 levels, or repeat a key.
pub(crate) fn refuse_duplicate_keys(bytes: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<Unrepeated>(bytes).map(|_| ())
}

struct Unrepeated;

impl<'de> Deserialize<'de> for Unrepeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unrepeated {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Self>()?;
            if let Some(repeated) = seen.replace(key) {
                return Err(A::Error::custom(format!("key `{repeated}` is repeated")));
            }
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self, A::Error> {
        while sequence.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_repeated_at_any_depth_or_through_an_escape_is_refused() {
        for bad in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":[],"a":2}}]"#, r#"{"a":1,"\u0061":2}"#] {
            let message = refuse_duplicate_keys(bad.as_bytes()).unwrap_err().to_string();
            assert!(message.contains("key `a` is repeated"), "{message}");
        }
        refuse_duplicate_keys(br#"{"a":{"a":[null,true,-1,1.5,"a",{"a":18446744073709551615}]},"b":0}"#).unwrap();
    }

    #[test]
    fn nesting_ends_in_an_error() {
        assert!(refuse_duplicate_keys("[".repeat(100_000).as_bytes()).is_err());
    }
}
