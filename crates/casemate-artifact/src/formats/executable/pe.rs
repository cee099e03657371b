//! PE: DOS header, PE header, section table.

use casemate_core::Source;

use super::header;
use crate::formats::reading::{u16_le, u32_le};
use crate::{Malformed, Trouble};

/// i386, x86-64, ARM, Thumb-2, ARM64, ARM64EC, IA-64, EFI byte code, RISC-V 32 and 64, LoongArch 64.
const MACHINES: &[u16] = &[0x14c, 0x8664, 0x1c0, 0x1c4, 0xaa64, 0xa641, 0x200, 0xebc, 0x5032, 0x5064, 0x6264];

/// Where the PE header lies, if the DOS header says a place inside the file.
fn header_at(head: &[u8], size: u64) -> Option<u64> {
    let at = u32_le(head, 0x3c).filter(|_| head.starts_with(b"MZ"))?;
    (at >= 4 && u64::from(at) + 24 <= size).then_some(at.into())
}

fn is_pe(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PE\0\0") && u16_le(bytes, 4).is_some_and(|machine| MACHINES.contains(&machine))
}

/// Whether both headers stand in the head.
pub(super) fn is_header(head: &[u8], size: u64) -> bool {
    let at = header_at(head, size).and_then(|at| usize::try_from(at).ok());
    at.and_then(|at| head.get(at..)).is_some_and(is_pe)
}

/// Whether the PE header would lie behind the head.
pub(super) fn header_is_far(head: &[u8], size: u64) -> bool {
    header_at(head, size).is_some_and(|at| at + 24 > head.len() as u64)
}

/// Where the last section ends.
pub(super) fn end(source: &dyn Source) -> Result<u64, Malformed> {
    let dos = header(source, 0, 64)?;
    let broken = || Malformed::new(Trouble::Undecodable, 0, "begins like a DOS program without a PE header");
    let at = header_at(&dos, source.size_bytes()).ok_or_else(broken)?;
    let pe = header(source, at, 24)?;
    if !is_pe(&pe) {
        return Err(broken());
    }
    let (sections, optional) = u16_le(&pe, 6).zip(u16_le(&pe, 20)).ok_or_else(broken)?;
    let table_at = at + 24 + u64::from(optional);
    // At most 65,535 sections of 40 bytes: 2.6 MB.
    let table = header(source, table_at, 40 * u64::from(sections))?;
    let ends = table.chunks_exact(40).filter_map(|section| {
        let (len, offset) = u32_le(section, 16).zip(u32_le(section, 20))?;
        Some(u64::from(offset) + u64::from(len))
    });
    Ok(ends.fold(table_at + 40 * u64::from(sections), u64::max))
}
