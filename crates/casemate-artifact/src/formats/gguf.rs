//! GGUF: keys and values, a table of tensors, and the tensors, for llama.cpp and its kin.
//!
//! Answers counts and lengths of 2^60 that overflow a reader's arithmetic (CVE-2024-21802, -21825, -21836, -23496), tables
//! two readers take differently, and chat templates, which llama-cpp-python once rendered without a sandbox
//! (CVE-2024-34359) and which are handed on. Arrays of tokens are walked, never held.
//!
//! Source: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; sizes of types from `ggml.c`.

use std::collections::HashSet;

use casemate_core::{Limits, Window};

use super::reading::{Allowance, quote, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

mod tensors;
pub(super) mod types;
mod values;

const MAGIC: &[u8] = b"GGUF";
const MAGIC_SWAPPED: &[u8] = b"FUGG";
const ALIGNMENT: u64 = 32;

/// Reads GGUF files of versions 1 to 3 in either byte order.
pub(crate) struct Gguf;

impl Format for Gguf {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "gguf", title: "GGUF", extensions: &["gguf"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let version = || matches!(probe.head.get(4..8), Some([1..=3, 0, 0, 0] | [0, 0, 0, 1..=3]));
        match probe.starts_with(MAGIC) || probe.starts_with(MAGIC_SWAPPED) && version() {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut reader = Reader::new(object, &mut parsed);
        if let Err(malformed) = reader.read() {
            // What was walked before it broke is accounted for.
            reader.parsed.claims.add(0..reader.at);
            reader.report(malformed);
        }
        parsed
    }
}

/// A file while it is read, field by field.
struct Reader<'a, 'p> {
    window: Window<'a>,
    limits: &'a Limits,
    parsed: &'p mut Parsed,
    allowance: Allowance,
    at: u64,
    big_endian: bool,
    // Version 1 counts in 32 bits.
    narrow: bool,
    alignment: u64,
}

impl<'a, 'p> Reader<'a, 'p> {
    fn new(object: &Object<'a>, parsed: &'p mut Parsed) -> Self {
        let (window, allowance) = (Window::new(&**object.source), Allowance::new());
        let (limits, alignment) = (object.limits, ALIGNMENT);
        Self { window, limits, parsed, allowance, at: 0, big_endian: false, narrow: false, alignment }
    }

    fn read(&mut self) -> Result<(), Malformed> {
        let swapped = self.bytes(4)? == MAGIC_SWAPPED;
        let version = self.u32()?;
        // The byte order shows in the version, as gguf-py reads it.
        self.big_endian = swapped || version & 0xffff == 0;
        let version = if self.big_endian { version.swap_bytes() } else { version };
        if !(1..=3).contains(&version) {
            return Err(Malformed::new(Trouble::Undecodable, 4, format!("version {version} of the format is unknown")));
        }
        self.narrow = version == 1;
        let (tensors, keys) = (self.count()?, self.count()?);
        let string = if self.narrow { 4 } else { 8 };
        // The least a key or a tensor can take: an empty name, a type, a byte; a name, dimensions, type, offset.
        for (count, each, what) in [(tensors, string + 16, "tensors"), (keys, string + 5, "keys")] {
            if count.checked_mul(each).is_none_or(|bytes| bytes > self.left()) {
                self.ambiguous(8, format!("claims {count} {what}, more than the file can hold"));
            }
        }
        self.keys(keys)?;
        self.tensors(tensors)
    }

    fn keys(&mut self, count: u64) -> Result<(), Malformed> {
        let mut seen = HashSet::new();
        for n in 0..count {
            let start = self.at;
            let key = self.string(u64::from(u16::MAX), "key")?;
            if n >= self.limits.entries_max || !self.allowance.take(key.len()) {
                return Err(Malformed::new(Trouble::Limit, start, format!("keys after the first {n} are not read")));
            }
            self.value(&key)?;
            if let Some(key) = seen.replace(key) {
                self.ambiguous(start, format!("key {} stands twice", quote(&key)));
            }
        }
        Ok(())
    }

    /// Bytes not yet read.
    fn left(&self) -> u64 {
        self.window.size_bytes().saturating_sub(self.at)
    }

    fn bytes(&mut self, len: u64) -> Result<&[u8], Malformed> {
        let at = self.at;
        let bytes = self.window.get(at, len).map_err(|e| unreadable(&e, at))?;
        let bytes = bytes.ok_or_else(|| Malformed::new(Trouble::Undecodable, at, "the file ends inside its header"))?;
        self.at += len;
        Ok(bytes)
    }

    /// Passes over bytes whose content does not matter.
    fn skip(&mut self, len: u64) -> Result<(), Malformed> {
        if len > self.left() {
            let what = format!("{len} bytes are announced, {} are left", self.left());
            return Err(Malformed::new(Trouble::Undecodable, self.at, what));
        }
        self.at += len;
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.bytes(4)?.first_chunk().copied().unwrap_or_default();
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.bytes(8)?.first_chunk().copied().unwrap_or_default();
        Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// A count or length, in the width of the version.
    fn count(&mut self) -> Result<u64, Malformed> {
        match self.narrow {
            true => self.u32().map(u64::from),
            false => self.u64(),
        }
    }

    fn string(&mut self, len_max: u64, what: &str) -> Result<String, Malformed> {
        let len = self.count()?;
        if len > self.left() {
            let what = format!("{what} of {len} bytes, {} are left", self.left());
            return Err(Malformed::new(Trouble::Undecodable, self.at, what));
        }
        if len > len_max {
            let what = format!("{what} of {len} bytes, more than {len_max} are not read");
            return Err(Malformed::new(Trouble::Limit, self.at, what));
        }
        Ok(String::from_utf8_lossy(self.bytes(len)?).into_owned())
    }

    fn ambiguous(&mut self, at: u64, what: String) {
        self.report(Malformed::new(Trouble::Ambiguous, at, what));
    }

    fn report(&mut self, malformed: Malformed) {
        self.parsed.report(self.limits, malformed);
    }
}

#[cfg(test)]
mod tests;
