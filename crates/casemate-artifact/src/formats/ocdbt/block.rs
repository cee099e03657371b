//! The frame every block stands in: magic number, length, version, compression; its checksum at the end.

use std::ops::Range;

/// What a manifest begins with.
pub(super) const MANIFEST: &[u8] = b"\x0c\xdb\x3a\x2a";
/// What a node of the tree begins with.
pub(super) const NODE: &[u8] = b"\x0c\xdb\x20\xde";
/// What a node of the tree of versions begins with.
pub(super) const VERSIONS: &[u8] = b"\x0c\xdb\x12\x34";

/// Bytes in which a frame begins: magic, length, version and compression of a byte each.
pub(super) const HEAD_BYTES: u64 = 14;
pub(super) const CHECKSUM_BYTES: u64 = 4;
pub(super) const BYTES_MIN: u64 = HEAD_BYTES + CHECKSUM_BYTES;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest,
    Node,
    Versions,
}

/// The frame of a block.
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) len: u64,
    pub(super) compression: u8,
    /// Where the body begins; it ends where the checksum does.
    pub(super) body: Range<u64>,
}

impl Block {
    /// The frame at the start of `bytes`, which stand at `at`; a manifest has a file to itself.
    pub(super) fn of(bytes: &[u8], at: u64) -> Option<Self> {
        let kind = match bytes.get(..4)? {
            MANIFEST if at == 0 => Kind::Manifest,
            NODE => Kind::Node,
            VERSIONS => Kind::Versions,
            _ => return None,
        };
        let len = u64::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
        let [0, compression] = *bytes.get(12..)?.first_chunk()? else { return None };
        Some(Self { kind, len, compression, body: HEAD_BYTES..len })
    }
}

/// Whether the checksum at the end of a block is that of the rest.
pub(super) fn is_sound(bytes: &[u8]) -> bool {
    bytes.split_last_chunk().is_some_and(|(rest, checksum)| crc32c(rest) == u32::from_le_bytes(*checksum))
}

/// CRC-32C (Castagnoli), RFC 3720 appendix B.4.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, byte: &u8| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        TABLE.get(index as usize).copied().unwrap_or_default() ^ crc >> 8
    };
    !bytes.iter().fold(!0, step)
}

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler; n is below 256"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let (mut crc, mut bit) = (n as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros, and the check value of the catalogue of CRCs.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
