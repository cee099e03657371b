//! MessagePack, in which Flax saves parameters: maps of names with arrays as extension objects.
//!
//! There is no magic number, so a file is one when its map reads to the last byte. Answers counts of 2^32 - 1 and nesting
//! that unpackers follow on their stack, keys that stand twice, arrays whose shape does not fit their bytes, and pickles
//! in binary values; those of `msgpack-numpy` are unpickled on reading where the kind of the array says so.
//!
//! Source: <https://github.com/msgpack/msgpack/blob/master/spec.md>; extension types from `flax/serialization.py` 0.10.

use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

mod array;
mod token;
mod walk;

use walk::Walk;

/// Reads maps in MessagePack.
pub(crate) struct Msgpack;

impl Format for Msgpack {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "msgpack",
            title: "MessagePack (Flax)",
            extensions: &["msgpack"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match probe.head.first() {
            Some(0x80..=0x8f | 0xde | 0xdf) => Sniff::Likely,
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut walk = Walk::new(object);
        let ended = walk.run();
        let at = walk.at();
        // A first key that is a plain word is no chance; less has to be right to its end.
        let convincing = walk.has_plain_key() && !matches!(object.probe.head.first(), Some(0xde | 0xdf));
        let whole = ended.is_ok() && at == object.source.size_bytes();
        if !whole && !convincing {
            return Parsed::default();
        }
        let mut parsed = walk.parsed;
        parsed.claims.add(0..at);
        ended.unwrap_or_else(|malformed| parsed.report(object.limits, malformed));
        parsed
    }
}

#[cfg(test)]
mod tests;
