//! Global heaps, where texts of variable length lie, and what freed heaps leave behind.

use std::collections::HashMap;
use std::ops::Range;

use super::File;
use super::fields::Fields;
use crate::formats::reading::unreadable;
use crate::{Malformed, Trouble};

/// The longest stretch looked at; a heap of names of a thousand layers has 64 KiB.
const FREED_BYTES_MAX: u64 = 1 << 20;

/// Freed space before a structure that is looked past.
const PAGE_BYTES: u64 = 4096;

impl File<'_, '_> {
    /// The bytes of element `data` points at: a length, a heap and a number in it. Empty where it points nowhere.
    pub(super) fn variable(&mut self, data: &mut Fields) -> Result<(u64, Vec<u8>), Malformed> {
        let (len, address, index) = (data.uint(4)?, data.offset_field()?, data.uint(4)?);
        if len == 0 || address == 0 || self.undefined(address) {
            return Ok((data.offset(), Vec::new()));
        }
        let mut object = self.heap_object(address, index, data.start)?;
        // The length counts elements; of texts and bytes an element is a byte.
        let kept = len.min(object.left());
        let at = object.start;
        Ok((at, object.take(kept)?.to_vec()))
    }

    /// One object of a global heap.
    pub(super) fn heap_object(&mut self, address: u64, index: u64, from: u64) -> Result<Fields, Malformed> {
        if !self.heaps.contains_key(&address) {
            let objects = self.collection(address)?;
            self.heaps.insert(address, objects);
        }
        let index = u16::try_from(index).unwrap_or(0);
        let range = self.heaps.get(&address).and_then(|heap| heap.get(&index)).cloned();
        let Some(range) = range else {
            return Err(Malformed::new(Trouble::Undecodable, from, format!("its heap has no object {index}")));
        };
        self.fields(range.start, range.end - range.start)
    }

    /// Claims what the library leaves behind when a group grows: the old heap of names, old nodes of its tree.
    ///
    /// Freed space keeps its bytes, and every file of Keras with a dozen layers has some (h5py 3.16, HDF5 1.14). Between
    /// zeros such a stretch holds names of links the file still has, signatures, and numbers of up to four bytes; nothing
    /// that could be a program or a stream fits into that. Anything else stays unclaimed.
    pub(super) fn freed(&mut self) -> Result<(), Malformed> {
        self.settle();
        for gap in self.parsed.claims.gaps(self.object.source.size_bytes()) {
            let len = gap.end - gap.start;
            let Some(address) = gap.start.checked_sub(self.base) else { continue };
            // A hole before it may be zero.
            let start = self.bytes(address, len.min(PAGE_BYTES))?;
            let zeros = start.iter().position(|byte| *byte != 0).unwrap_or(0);
            if start.get(zeros..).is_some_and(|start| start.starts_with(b"GCOL")) {
                self.freed_heap(address.saturating_add(zeros as u64))?;
                continue;
            }
            if len > FREED_BYTES_MAX {
                continue;
            }
            let bytes = self.window.get(gap.start, len).map_err(|e| unreadable(&e, gap.start))?.unwrap_or_default();
            let mut words = bytes.split(|byte| *byte == 0);
            let left_behind =
                words.all(|word| word.len() <= 4 || self.names.contains(word) || word.iter().all(|byte| *byte == 0xff));
            if left_behind {
                self.claimed.push(gap);
            }
        }
        Ok(())
    }

    /// Reads a heap nothing points at any more, or only the members of a compound type, which are not followed: a text
    /// that was replaced stays in it (h5py 3.16), and is judged like any other.
    fn freed_heap(&mut self, address: u64) -> Result<(), Malformed> {
        let objects = match self.collection(address) {
            Ok(objects) => objects,
            Err(malformed) if malformed.trouble == Trouble::Undecodable => return Ok(()),
            Err(malformed) => return Err(malformed),
        };
        for range in objects.into_values() {
            let object = self.fields(range.start, range.end - range.start)?;
            match std::str::from_utf8(&object.bytes) {
                Ok(text) => self.text("freed heap", text.trim_end_matches('\0').as_bytes(), object.start)?,
                Err(_) => {
                    let what = "a heap that nothing points at holds bytes that are no text";
                    self.report(Malformed::new(Trouble::Ambiguous, object.start, what));
                }
            }
        }
        Ok(())
    }

    fn collection(&mut self, address: u64) -> Result<HashMap<u16, Range<u64>>, Malformed> {
        self.enter(address)?;
        let head_len = 8 + self.length_size;
        let mut head = self.block(address, head_len, b"GCOL")?;
        head.take(8)?;
        let len = head.length_field()?;
        let end = address.saturating_add(len);
        if self.base.saturating_add(end) > self.object.source.size_bytes() {
            return Err(Malformed::new(Trouble::Undecodable, head.start, "a global heap ends past the file's end"));
        }
        self.claim(address, head_len);
        let (mut objects, mut at) = (HashMap::new(), address.saturating_add(head_len.next_multiple_of(8)));
        let object_len = 8 + self.length_size;
        while at.saturating_add(object_len) <= end {
            let mut fields = self.fields(at, object_len)?;
            let (index, _) = (fields.u16()?, fields.take(6)?.len());
            let len = fields.length_field()?;
            self.claim(at, object_len);
            // What is left of the heap: nothing lies there.
            if index == 0 {
                break;
            }
            let start = at.saturating_add(object_len);
            if start.checked_add(len).is_none_or(|last| last > end) {
                return Err(Malformed::new(Trouble::Undecodable, fields.start, "an object ends outside its heap"));
            }
            self.claim(start, len);
            self.blocks += 1;
            if self.blocks > self.object.limits.entries_max || !self.allowance.take(0) {
                return Err(Malformed::new(
                    Trouble::Limit,
                    fields.start,
                    "objects of heaps after the first are not read",
                ));
            }
            objects.insert(index, start..start + len);
            at = start.saturating_add(len.next_multiple_of(8));
        }
        Ok(objects)
    }
}
