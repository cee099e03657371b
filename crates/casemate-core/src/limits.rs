//! Bounds on what a hostile input may cost. Every loop over foreign bytes counts against one of them.

use serde::{Deserialize, Serialize};

/// Bounds for reading untrusted bytes. Reaching one is a finding and makes the object unscannable, never clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Objects inside objects inside …: archives in archives, pickles in pickles.
    pub depth_max: u32,
    /// Members of all archives of one file together.
    pub members_max: u64,
    /// Bytes one compressed member may unpack to in memory.
    pub inflated_member_bytes_max: u64,
    /// Bytes all compressed members of one file may unpack to, read and thrown away included.
    pub inflated_bytes_max: u64,
    /// Live values of the pickle machine (stack and memo), above one for each 16 bytes of input.
    pub pickle_values_max: u64,
    /// Distinct things one pickle may do before the rest is not listed.
    pub pickle_events_max: u64,
    /// Times one stream may be read again under another reading of its frames, and streams of one file.
    pub pickle_streams_max: u64,
    /// Bytes of one structured header (JSON, protobuf message without tensor data, key-value table).
    pub header_bytes_max: u64,
    /// Entries of one table: tensors, operators, keys.
    pub entries_max: u64,
    /// Nesting inside one structure: JSON values, protobuf messages, arrays.
    pub nesting_max: u32,
    /// Findings of one file before the rest is only counted.
    pub findings_max: u64,
}

impl Default for Limits {
    /// Wide enough for every public model we know, tight enough for 64 MiB of working memory.
    fn default() -> Self {
        Self {
            depth_max: 8,
            members_max: 200_000,
            inflated_member_bytes_max: 32 << 20,
            inflated_bytes_max: 16 << 30,
            pickle_values_max: 1 << 20,
            pickle_events_max: 100_000,
            pickle_streams_max: 64,
            header_bytes_max: 16 << 20,
            entries_max: 1 << 20,
            nesting_max: 128,
            findings_max: 1000,
        }
    }
}

/// Why limits cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("limit `{name}` is 0: nothing could be read")]
pub struct LimitsError {
    name: &'static str,
}

impl Limits {
    /// Refuses limits under which nothing at all could be judged.
    ///
    /// # Errors
    /// [`LimitsError`] names the first limit that is zero.
    pub fn check(&self) -> Result<(), LimitsError> {
        let named = [
            ("depth_max", u64::from(self.depth_max)),
            ("members_max", self.members_max),
            ("inflated_member_bytes_max", self.inflated_member_bytes_max),
            ("inflated_bytes_max", self.inflated_bytes_max),
            ("pickle_values_max", self.pickle_values_max),
            ("pickle_events_max", self.pickle_events_max),
            ("pickle_streams_max", self.pickle_streams_max),
            ("header_bytes_max", self.header_bytes_max),
            ("entries_max", self.entries_max),
            ("nesting_max", u64::from(self.nesting_max)),
            ("findings_max", self.findings_max),
        ];
        match named.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(LimitsError { name }),
            None => Ok(()),
        }
    }
}
