//! Groups: symbol tables (B-tree and local heap), and links as messages.

use super::File;
use super::fields::{Fields, until_nul};
use super::header::Message;
use crate::formats::reading::quote;
use crate::{Malformed, Reference, ReferenceKind, Trouble};

/// Depth of a B-tree; with the smallest nodes, two million links.
const LEVELS_MAX: u8 = 20;

/// The names of a group.
struct LocalHeap {
    address: u64,
    bytes: Vec<u8>,
}

impl File<'_, '_> {
    /// Walks a group's symbol table.
    pub(super) fn symbol_table(&mut self, path: &str, mut data: Fields) -> Result<(), Malformed> {
        let (tree, heap) = (data.offset_field()?, data.offset_field()?);
        let heap = self.local_heap(heap)?;
        let mut waiting = vec![(tree, LEVELS_MAX)];
        while let Some((address, levels)) = waiting.pop() {
            if !self.enter(address)? {
                continue;
            }
            if self.bytes(address, 4)? == b"SNOD" {
                self.symbols(path, address, &heap)?;
                continue;
            }
            let (offset_size, length_size) = (self.offset_size, self.length_size);
            let children = self.tree_node(address, 0, levels, length_size)?;
            let room = 2 * self.internal_k;
            self.claim(address, 8 + 2 * offset_size + (room + 1) * length_size + room * offset_size);
            waiting.extend(children.into_iter().map(|(_, child)| (child, levels.saturating_sub(1))));
        }
        Ok(())
    }

    /// The keys and children of one node of a version 1 B-tree.
    pub(super) fn tree_node(
        &mut self,
        address: u64,
        kind: u8,
        levels: u8,
        key_len: u64,
    ) -> Result<Vec<(Vec<u8>, u64)>, Malformed> {
        let offset_size = self.offset_size;
        let mut head = self.block(address, 8 + 2 * offset_size, b"TREE")?;
        head.take(4)?;
        let (found, level, used) = (head.u8()?, head.u8()?, u64::from(head.u16()?));
        if found != kind || level > levels {
            let what = format!("a tree node of kind {found} and level {level} in the wrong place");
            return Err(Malformed::new(Trouble::Undecodable, head.start, what));
        }
        let len = used * (key_len + offset_size);
        let mut entries = self.fields(address.saturating_add(8 + 2 * offset_size), len)?;
        if !self.allowance.take(entries.bytes.len() * 2) {
            return Err(Malformed::new(Trouble::Limit, head.start, "tree nodes need too much memory"));
        }
        (0..used).map(|_| Ok((entries.take(key_len)?.to_vec(), entries.offset_field()?))).collect()
    }

    fn local_heap(&mut self, address: u64) -> Result<LocalHeap, Malformed> {
        let mut head = self.block(address, 8 + 2 * self.length_size + self.offset_size, b"HEAP")?;
        head.take(8)?;
        let (len, mut free, data) = (head.length_field()?, head.length_field()?, head.offset_field()?);
        let bytes = self.bytes(data, len)?;
        self.claim(address, head.bytes.len() as u64);
        // Free blocks: where the next one is (1 after the last), and how long this one is.
        let pair = 2 * self.length_size;
        let mut segment = self.fields_of(bytes, self.base.saturating_add(data));
        while let Some(at) = usize::try_from(free).ok().filter(|at| *at > 1 && *at < segment.bytes.len()) {
            segment.at = at;
            self.claim(data.saturating_add(free), pair);
            // The list ascends; one that does not could go round for ever.
            let next = segment.length_field()?;
            free = if next > free { next } else { 1 };
        }
        let bytes = segment.bytes;
        Ok(LocalHeap { address: data, bytes })
    }

    fn name(&mut self, heap: &LocalHeap, offset: u64) -> Result<String, Malformed> {
        let at = self.base.saturating_add(heap.address).saturating_add(offset);
        let rest = usize::try_from(offset).ok().and_then(|offset| heap.bytes.get(offset..));
        let Some(rest) = rest else {
            return Err(Malformed::new(Trouble::Undecodable, at, "a name stands outside its heap"));
        };
        let name = until_nul(rest);
        self.claim(heap.address.saturating_add(offset), name.len() as u64 + 1);
        if !self.allowance.take(name.len() * 2) {
            return Err(Malformed::new(Trouble::Limit, at, "names need too much memory"));
        }
        self.names.insert(name.to_vec());
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn symbols(&mut self, path: &str, address: u64, heap: &LocalHeap) -> Result<(), Malformed> {
        let mut head = self.block(address, 8, b"SNOD")?;
        head.take(6)?;
        let (used, entry) = (u64::from(head.u16()?), 2 * self.offset_size + 24);
        self.claim(address, 8 + (2 * self.leaf_k).max(used) * entry);
        let mut entries = self.fields(address.saturating_add(8), used * entry)?;
        for _ in 0..used {
            let (name, object) = (entries.offset_field()?, entries.offset_field()?);
            let (cache, _) = (entries.uint(4)?, entries.uint(4)?);
            let scratch = entries.part(16)?.uint(4)?;
            let name = self.name(heap, name)?;
            let path = self.join(path, &name, entries.start)?;
            // A soft link stays inside the file; its target has a name of its own.
            match cache {
                2 => drop(self.name(heap, scratch)?),
                _ => self.waiting.push((path, object)),
            }
        }
        Ok(())
    }

    /// Reads a link that is a message of its own.
    pub(super) fn link(&mut self, path: &str, mut data: Fields) -> Result<(), Malformed> {
        let (version, flags) = (data.u8()?, data.u8()?);
        if version != 1 {
            return Err(Malformed::new(Trouble::Undecodable, data.start, format!("link of version {version}")));
        }
        let kind = if flags & 8 != 0 { data.u8()? } else { 0 };
        data.take(if flags & 4 != 0 { 8 } else { 0 })?;
        data.take(if flags & 16 != 0 { 1 } else { 0 })?;
        let len = data.uint(1 << (flags & 3))?;
        let name = String::from_utf8_lossy(data.take(len)?).into_owned();
        let path = self.join(path, &name, data.start)?;
        match kind {
            0 => {
                let address = data.offset_field()?;
                self.waiting.push((path, address));
            }
            1 => {}
            64 => {
                let len = u64::from(data.u16()?);
                data.take(1)?;
                let target = data.text(len.saturating_sub(1))?;
                self.refer(&path, &target, data.start);
            }
            _ => self.undecoded(data.start, format!("link {} is of the unknown kind {kind}", quote(&path))),
        }
        Ok(())
    }

    /// A group or list of attributes may lie in a fractal heap, which is not walked.
    pub(super) fn dense(&mut self, path: &str, message: Message) -> Result<(), Malformed> {
        let mut data = message.data;
        let (_, flags) = (data.u8()?, data.u8()?);
        let (group, tracked) = (message.kind == 2, flags & 1 != 0);
        data.take(match (tracked, group) {
            (true, true) => 8,
            (true, false) => 2,
            _ => 0,
        })?;
        let heap = data.offset_field()?;
        if !self.undefined(heap) {
            let what = if group { "links" } else { "attributes" };
            self.undecoded(data.start, format!("{what} of {} lie in a fractal heap, which is not read", quote(path)));
        }
        Ok(())
    }

    pub(super) fn join(&mut self, path: &str, name: &str, at: u64) -> Result<String, Malformed> {
        match self.allowance.take(path.len().saturating_add(name.len())) {
            true if path.is_empty() => Ok(name.into()),
            true => Ok(format!("{path}/{name}")),
            false => Err(Malformed::new(Trouble::Limit, at, "paths of objects need too much memory")),
        }
    }

    /// Notes that data is read from another file.
    pub(super) fn refer(&mut self, from: &str, target: &[u8], offset: u64) {
        let target = String::from_utf8_lossy(target).into_owned();
        if !self.allowance.take(target.len().saturating_add(from.len())) {
            return self.report(Malformed::new(Trouble::Limit, offset, "names of files need too much memory"));
        }
        let (kind, from) = (ReferenceKind::ExternalData, from.to_owned());
        self.parsed.references.push(Reference { kind, target, from, offset: Some(offset) });
    }
}
