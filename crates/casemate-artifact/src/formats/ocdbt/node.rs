//! What stands in a block: files it refers to, keys, small values.

use std::sync::Arc;

use casemate_core::MemorySource;

use super::block::Kind;
use super::is_packed;
use crate::formats::Object;
use crate::formats::reading::{Allowance, u32_le};
use crate::{Child, Malformed, Parsed, Reference, ReferenceKind, Role, Trouble};

/// A store's identity; its kind, two sizes, arity and compression follow.
const IDENTITY_BYTES: usize = 16;
/// Entries of one block; with the least key a node of the usual 8 MiB has no more.
const ENTRIES_MAX: usize = 1 << 18;

/// Reads a block's body; `None` where it ends too early.
pub(super) fn read(body: &[u8], kind: Kind, object: &Object<'_>, parsed: &mut Parsed) -> Option<Result<(), Malformed>> {
    let mut rest = Rest(body);
    let mut height = 0;
    match kind {
        Kind::Manifest => {
            rest.bytes(IDENTITY_BYTES)?;
            let manifest_kind = rest.varint()?;
            rest.varint()?;
            rest.varint()?;
            rest.bytes(1)?;
            if rest.varint()? != 0 {
                u32_le(rest.bytes(4)?, 0)?;
            }
            // Numbered manifests keep their versions elsewhere.
            if manifest_kind != 0 {
                return Some(Ok(()));
            }
        }
        Kind::Node => height = *rest.bytes(1)?.first()?,
        Kind::Versions => {
            rest.bytes(1)?;
            rest.bytes(1)?;
        }
    }
    let mut allowance = Allowance::new();
    if let Err(malformed) = files(&mut rest, &mut allowance, parsed)? {
        return Some(Err(malformed));
    }
    // What follows in a manifest and in inner nodes are numbers and keys.
    if kind == Kind::Node && height == 0 { values(&mut rest, &mut allowance, object, parsed) } else { Some(Ok(())) }
}

/// The table of files: each name shares its beginning with the one before.
fn files(rest: &mut Rest<'_>, allowance: &mut Allowance, parsed: &mut Parsed) -> Option<Result<(), Malformed>> {
    let n = rest.count()?;
    let (shared, own) = (rest.shared(n)?, rest.varints(n)?);
    rest.varints(n)?;
    let mut name = Vec::new();
    for (shared, own) in shared.into_iter().zip(own) {
        if shared > name.len() {
            return Some(Err(Malformed::new(Trouble::Undecodable, None, "a name shares more than there is")));
        }
        name.truncate(shared);
        name.extend_from_slice(rest.bytes(own)?);
        if !allowance.take(name.len()) {
            return Some(Err(Malformed::new(Trouble::Limit, None, "more files than can be listed")));
        }
        if !name.is_empty() {
            let target = String::from_utf8_lossy(&name).into_owned();
            let kind = ReferenceKind::ExternalData;
            parsed.references.push(Reference { kind, target, from: "the store".into(), offset: None });
        }
    }
    Some(Ok(()))
}

/// The entries of a leaf; values it holds itself are looked into.
fn values(
    rest: &mut Rest<'_>,
    allowance: &mut Allowance,
    object: &Object<'_>,
    parsed: &mut Parsed,
) -> Option<Result<(), Malformed>> {
    let n = rest.count()?;
    let (shared, own) = (rest.shared(n)?, rest.varints(n)?);
    let (mut key, mut keys) = (Vec::new(), Vec::new());
    for (shared, own) in shared.into_iter().zip(own) {
        key.truncate(shared);
        key.extend_from_slice(rest.bytes(own)?);
        if !allowance.take(key.len()) {
            return Some(Err(Malformed::new(Trouble::Limit, None, "more keys than can be listed")));
        }
        keys.push(String::from_utf8_lossy(&key).into_owned());
    }
    let lengths = rest.varints(n)?;
    let kinds = rest.bytes(n)?;
    let elsewhere = kinds.iter().filter(|kind| **kind != 0).count();
    rest.varints(elsewhere)?;
    rest.varints(elsewhere)?;
    for ((key, len), kind) in keys.into_iter().zip(lengths).zip(kinds) {
        if *kind != 0 {
            continue;
        }
        let value = rest.bytes(len)?;
        if value.is_empty() || is_packed(value) {
            continue;
        }
        if let Err(malformed) = object.budget.member(object.limits) {
            return Some(Err(malformed));
        }
        if !allowance.take(len) {
            return Some(Err(Malformed::new(Trouble::Limit, None, "more values than can be looked into")));
        }
        // Metadata of arrays is text, all else a chunk of numbers.
        let role = if value.starts_with(b"{") { Role::Any } else { Role::RawData };
        parsed.children.push(Child { name: key, source: Arc::new(MemorySource::new(value)), role });
    }
    match rest.0.is_empty() {
        true => Some(Ok(())),
        false => Some(Err(Malformed::new(Trouble::Ambiguous, None, "bytes behind the entries of a node"))),
    }
}

/// What is left of a body.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes(1)?.first()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number of things of which each takes a byte at least.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|n| *n <= self.0.len().min(ENTRIES_MAX))
    }

    fn varints(&mut self, n: usize) -> Option<Vec<usize>> {
        (0..n).map(|_| usize::try_from(self.varint()?).ok()).collect()
    }

    /// How much each of `n` names shares with the one before it: the first nothing.
    fn shared(&mut self, n: usize) -> Option<Vec<usize>> {
        let mut shared = vec![0; n.min(1)];
        shared.extend(self.varints(n.saturating_sub(1))?);
        Some(shared)
    }
}
