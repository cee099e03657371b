//! The superblock: widths, and where the root group is.

use super::{File, SIGNATURE};
use crate::{Malformed, Trouble};

impl File<'_, '_> {
    /// Reads the superblock; returns the address of the root group's header.
    pub(super) fn superblock(&mut self) -> Result<u64, Malformed> {
        let len = self.object.source.size_bytes().saturating_sub(self.base).min(128);
        let mut fields = self.block(0, len, SIGNATURE)?;
        fields.take(8)?;
        let version = fields.u8()?;
        if version < 2 {
            fields.take(4)?;
        }
        if version > 3 {
            return Err(Malformed::new(Trouble::Undecodable, self.base, format!("superblock of version {version}")));
        }
        let (offsets, lengths) = (u64::from(fields.u8()?), u64::from(fields.u8()?));
        if ![2, 4, 8].contains(&offsets) || ![2, 4, 8].contains(&lengths) {
            let what = format!("addresses of {offsets} and lengths of {lengths} bytes");
            return Err(Malformed::new(Trouble::Undecodable, self.base, what));
        }
        (self.offset_size, self.length_size) = (offsets, lengths);
        (fields.offset_size, fields.length_size) = (offsets, lengths);
        fields.take(1)?;
        if version < 2 {
            (self.leaf_k, self.internal_k) = (u64::from(fields.u16()?), u64::from(fields.u16()?));
            fields.take(4)?;
        }
        if version == 1 {
            self.chunk_k = u64::from(fields.u16()?);
            fields.take(2)?;
        }
        let base = fields.offset_field()?;
        let extension = fields.offset_field()?;
        let end = fields.offset_field()?;
        let driver = if version < 2 { fields.offset_field()? } else { u64::MAX };
        // The first field of the root's table entry is the offset of its name.
        let _ = if version < 2 { fields.offset_field()? } else { 0 };
        let root = fields.offset_field()?;
        let rest = if version < 2 { 24 } else { 4 };
        fields.take(rest)?;
        self.claim(0, fields.at as u64);
        if base != self.base && self.base != 0 {
            let what = format!("addresses count from byte {base}, the signature stands at {}", self.base);
            self.report(Malformed::new(Trouble::Ambiguous, self.base, what));
        }
        if !self.undefined(driver) {
            self.undecoded(self.base, "a driver other than the plain file's is named");
        }
        if version >= 2 && !self.undefined(extension) {
            self.waiting.push(("superblock extension".into(), extension));
        }
        // The end counts from the start of the file, user block and all, which may be cut off here.
        let size = self.object.source.size_bytes().saturating_add(base.saturating_sub(self.base));
        if end > size {
            self.undecoded(self.base, format!("cut: {end} bytes by its superblock, {size} are there"));
        }
        Ok(root)
    }
}
