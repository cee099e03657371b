//! A number that was measured, with how far it can be trusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Successes out of tries, from which exact bounds of a rate are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How often the event happened, at most `tries`.
    pub successes: u64,
    /// How often it could have happened.
    pub tries: u64,
}

/// One measured number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Snake-case name, unit last.
    pub name: String,
    /// The value, finite.
    pub value: f64,
    /// Unit: `fraction`, `count`, `bytes`, `seconds`, …
    pub unit: String,
    /// Number of independent samples behind the value.
    pub n: u64,
    /// Two-sided 95 % interval, low and high; absent for exact values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval95: Option<[f64; 2]>,
    /// For rates: the counts. Gates use the exact one-sided bound from these, not `interval95`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What distinguishes this value from others of the same name, e.g. `attack = pgd`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl Measurement {
    /// An exact value without interval, such as a count or a size.
    pub fn exact(name: &str, value: f64, unit: &str) -> Self {
        assert!(value.is_finite(), "measurement `{name}` must be finite");
        Self {
            name: name.into(),
            value,
            unit: unit.into(),
            n: 1,
            interval95: None,
            counts: None,
            attributes: BTreeMap::new(),
        }
    }
}
