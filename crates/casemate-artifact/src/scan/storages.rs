//! The weights of one file while it is scanned: how many bytes may still be read, and torch's storages.
//!
//! A torch archive keeps each storage in a member of its own and says in its pickle what type it has; the pickle comes
//! first. Storages are named by their keys, without shapes: which tensors look at them is the pickle's affair, and the
//! pickle's own digest answers for it.

use std::collections::BTreeMap;

use super::Work;
use crate::pickle::Action;
use crate::weights::{WeightObject, WeightReader, rest};
use crate::{Malformed, Parsed, Role, Tensor, Trouble};

/// Storages whose type is kept.
const STORAGES_MAX: usize = 1_000_000;

/// What was read of a file's weights so far.
pub(super) struct Weights {
    reader: &'static dyn WeightReader,
    objects: Vec<WeightObject>,
    /// Bytes that may still be read: members that share their bytes would else be read a thousand times.
    bytes_left: u64,
    /// Types of storages by archive and key.
    types: BTreeMap<(String, String), String>,
}

impl Weights {
    pub(super) fn new(reader: &'static dyn WeightReader, size_bytes: u64) -> Self {
        let bytes_left = size_bytes.saturating_mul(4).saturating_add(1 << 30);
        Self { reader, objects: Vec::new(), bytes_left, types: BTreeMap::new() }
    }

    /// Reads the tensors of an object, and what of it is none.
    pub(super) fn read(&mut self, work: &Work, format: &'static str, parsed: &mut Parsed) {
        if work.in_torch && work.role == Role::TorchPickle {
            self.learn(work, parsed);
        }
        let storage = (work.in_torch && work.role == Role::RawData).then(|| vec![self.storage(work)]);
        let tensors = storage.as_deref().unwrap_or(&parsed.tensors);
        // What only holds other objects is judged by them, and a file that is nothing but itself by its own digest.
        let holds = tensors.is_empty() && (!parsed.children.is_empty() || work.depth == 0);
        // Stretches no parser claimed belong to what they lie in.
        if holds || matches!(work.role, Role::RawData if storage.is_none()) || work.role == Role::Unclaimed {
            return;
        }
        match self.object(work, format, tensors, storage.is_some()) {
            Ok(object) => {
                parsed.weights.clone_from(&object.tensors);
                self.objects.push(object);
            }
            Err(error) => {
                let what = format!("weights cannot be read: {}", crate::formats::reading::plain(error));
                parsed.malformed.push(Malformed::new(Trouble::Unreadable, None, what));
            }
        }
    }

    fn object(
        &mut self,
        work: &Work,
        format: &'static str,
        tensors: &[Tensor],
        is_storage: bool,
    ) -> std::io::Result<WeightObject> {
        let size = work.source.size_bytes();
        let mut allowed = tensors.to_vec();
        for tensor in &mut allowed {
            let bytes = tensor.span.as_ref().map_or(0, |span| span.end.saturating_sub(span.start));
            match self.bytes_left.checked_sub(bytes) {
                Some(left) => self.bytes_left = left,
                None => tensor.span = None,
            }
        }
        let summaries = self.reader.tensors(&*work.source, format, &allowed)?;
        let hasher = self.reader.hasher().filter(|_| !is_storage && size <= self.bytes_left);
        let digest = hasher.map(|hasher| rest(&*work.source, tensors, hasher)).transpose()?;
        self.bytes_left = self.bytes_left.saturating_sub(if digest.is_some() { size } else { 0 });
        Ok(WeightObject { member: work.member.clone(), rest: digest, tensors: summaries })
    }

    /// Notes the types the pickle of an archive gives its storages.
    fn learn(&mut self, work: &Work, parsed: &Parsed) {
        let (archive, _) = split(&work.member);
        for event in &parsed.events {
            if let Action::PersistentId { storage: Some((kind, key, _)), .. } = &event.action
                && self.types.len() < STORAGES_MAX
            {
                self.types.insert((archive.into(), key.clone()), kind.name.clone());
            }
        }
    }

    /// The one tensor of a storage.
    fn storage(&self, work: &Work) -> Tensor {
        let (archive, key) = split(&work.member);
        let bytes = work.source.size_bytes();
        let dtype = self.types.get(&(archive.to_owned(), key.to_owned())).cloned().unwrap_or("unknown".into());
        let width = match dtype.as_str() {
            "DoubleStorage" | "LongStorage" => 8,
            "FloatStorage" | "IntStorage" => 4,
            "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
            _ => 1,
        };
        Tensor { name: key.into(), dtype, shape: vec![bytes / width], span: Some(0..bytes) }
    }

    /// Every object that has tensors or counts as header, in order.
    pub(super) fn into_objects(self) -> Vec<WeightObject> {
        self.objects
    }
}

/// The archive a member lies in, and the member's last name.
fn split(member: &str) -> (&str, &str) {
    let archive = member.rsplit_once('!').map_or("", |(archive, _)| archive);
    (archive, member.rsplit(['/', '!']).next().unwrap_or(member))
}
