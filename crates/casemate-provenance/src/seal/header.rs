//! The head of a sealed file: a fixed part that names the cipher, and two places for wrapped keys.
//!
//! ```text
//! 0     fixed part (64 bytes): `CMV1`, u32 bytes of the whole head, u16 version, u8 cipher, u8 log2 of the chunk,
//!       7 bytes of nonce, 1 zero, 32 random bytes that name the file, 12 zeros
//! 64    encrypted: size, digest and name of what is inside ([`super::metadata`]), up to byte 4096
//! 4096  slot A: u32 length, body, MAC, checksum, zeros
//! …     slot B, as long as slot A; then the chunks
//! ```
//! Numbers are big-endian. A body is u64 generation, u16 count, and for each key u8 kind, u16 length and name, u16 length and
//! blob. Only one slot is in use: [`super::place`] writes the new keys into the other one before it wipes this one, so that a
//! crash leaves at least one whole. The checksum tells a slot torn by a crash from a whole one; the MAC, under a key that only
//! the data key gives, tells whether it was made by somebody who could open the file.

use aws_lc_rs::{digest, hmac};
use casemate_core::{Digest, Source, SourceExt as _};

use super::Error;
use super::wrap::{BLOB_BYTES_MAX, KEK_ID_BYTES_MAX, WrapKind};

/// First bytes of every sealed file.
pub const MAGIC: [u8; 4] = *b"CMV1";
/// Bytes of the fixed part.
pub const FIXED_BYTES: usize = 64;
/// Where the first slot begins.
pub(super) const PAGE_BYTES: u64 = 4096;
/// Bytes of one slot in files written here: a dozen post-quantum recipients, or a hundred keys in files.
pub(super) const SLOT_BYTES: u32 = 16 << 10;
/// Slots of other sizes are read within these bounds.
const SLOT_BYTES_RANGE: std::ops::RangeInclusive<u64> = 4096..=1 << 20;
/// Chunk sizes that are read, as powers of two; 1 MiB is what is written.
const CHUNK_LOG2_RANGE: std::ops::RangeInclusive<u8> = 12..=22;
/// Most wrapped keys of one file.
pub const WRAPS_MAX: usize = 64;
const VERSION: u16 = 1;
const AES_256_GCM_STREAM: u8 = 1;
const MAC_BYTES: usize = 32;

/// The part of the head that never changes. Everything encrypted is bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    /// Bytes before the first chunk.
    pub(super) head_bytes: u32,
    /// Log2 of the plaintext bytes of a chunk.
    pub(super) chunk_log2: u8,
    /// First bytes of every nonce.
    pub(super) nonce_prefix: [u8; 7],
    /// Random name of the file.
    pub(super) file_id: [u8; 32],
}

/// A data key under one key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// How.
    pub kind: WrapKind,
    /// Under which key.
    pub kek_id: String,
    /// The wrapped key.
    pub blob: Vec<u8>,
}

/// A whole slot, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) generation: u64,
    pub(super) wraps: Vec<Wrapped>,
    /// The bytes the MAC is over, and the MAC.
    body: Vec<u8>,
    mac: [u8; MAC_BYTES],
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Zeros.
    Empty,
    /// Something written whole.
    Whole(Slot),
    /// Anything else: half written, or damaged.
    Torn,
}

impl Fixed {
    /// The fixed part of a new file.
    pub(super) fn new(chunk_log2: u8) -> Result<Self, Error> {
        let (mut nonce_prefix, mut file_id) = ([0; 7], [0; 32]);
        aws_lc_rs::rand::fill(&mut nonce_prefix).map_err(|_| Error::Random)?;
        aws_lc_rs::rand::fill(&mut file_id).map_err(|_| Error::Random)?;
        let head_bytes = u32::try_from(PAGE_BYTES).unwrap_or_default() + 2 * SLOT_BYTES;
        Ok(Self { head_bytes, chunk_log2, nonce_prefix, file_id })
    }

    pub(super) fn encode(&self) -> [u8; FIXED_BYTES] {
        let fields = [
            &MAGIC[..],
            &self.head_bytes.to_be_bytes(),
            &VERSION.to_be_bytes(),
            &[AES_256_GCM_STREAM, self.chunk_log2],
            &self.nonce_prefix,
            &[0],
            &self.file_id,
            &[0; 12],
        ]
        .concat();
        let mut bytes = [0; FIXED_BYTES];
        bytes.iter_mut().zip(fields).for_each(|(byte, value)| *byte = value);
        bytes
    }

    /// Reads the fixed part at the beginning of `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        if reader.array() != Some(MAGIC) {
            return Err(Error::NotSealed);
        }
        let fixed = (|| {
            let head_bytes = u32::from_be_bytes(reader.array()?);
            let version = u16::from_be_bytes(reader.array()?);
            let [cipher, chunk_log2] = reader.array()?;
            let fixed =
                Self { head_bytes, chunk_log2, nonce_prefix: reader.skip_zero_after()?, file_id: reader.array()? };
            let rest: [u8; 12] = reader.array()?;
            Some((fixed, version, cipher, rest))
        })();
        let (fixed, version, cipher, rest) = fixed.ok_or_else(|| damaged("the head is cut off"))?;
        let slots = u64::from(fixed.head_bytes).checked_sub(PAGE_BYTES).filter(|slots| slots % 8192 == 0);
        match () {
            () if version != VERSION => Err(damaged(format!("version {version} is not known"))),
            () if cipher != AES_256_GCM_STREAM => Err(damaged(format!("cipher {cipher} is not known"))),
            () if !CHUNK_LOG2_RANGE.contains(&fixed.chunk_log2) => Err(damaged("no chunk has that size")),
            () if rest != [0; 12] => Err(damaged("reserved bytes are in use")),
            () if slots.is_none_or(|slots| !SLOT_BYTES_RANGE.contains(&(slots / 2))) => {
                Err(damaged(format!("no head has {} bytes", fixed.head_bytes)))
            }
            () => Ok(fixed),
        }
    }

    /// What everything encrypted in this file is bound to.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.encode()).as_ref());
        bytes
    }

    pub(super) fn slot_bytes(&self) -> u64 {
        u64::from(self.head_bytes).saturating_sub(PAGE_BYTES) / 2
    }

    /// Where slot `n`, 0 or 1, begins.
    pub(super) fn slot_offset(&self, n: u64) -> u64 {
        PAGE_BYTES + n * self.slot_bytes()
    }

    pub(super) fn chunk_bytes(&self) -> u64 {
        1 << self.chunk_log2
    }

    /// Reads slot `n` of `source`.
    pub(super) fn slot(&self, source: &dyn Source, n: u64) -> Result<SlotState, Error> {
        let bytes = source.bytes_at(self.slot_offset(n), self.slot_bytes()).map_err(Error::Read)?;
        if bytes.len() as u64 != self.slot_bytes() {
            return Err(damaged("the head is longer than the file"));
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(SlotState::Empty);
        }
        Ok(Slot::parse(&bytes, self).map_or(SlotState::Torn, SlotState::Whole))
    }
}

impl Slot {
    /// A slot of these keys under the MAC key of the file.
    pub(super) fn new(generation: u64, wraps: Vec<Wrapped>, fixed: &Fixed, key: &hmac::Key) -> Result<Self, Error> {
        if wraps.is_empty() || wraps.len() > WRAPS_MAX {
            return Err(Error::Wraps { count: wraps.len() });
        }
        let mut body = generation.to_be_bytes().to_vec();
        let short = |n: usize| u16::try_from(n).map_err(|_| Error::Full);
        body.extend(short(wraps.len())?.to_be_bytes());
        for wrap in &wraps {
            if !is_kek_id(&wrap.kek_id) || wrap.blob.is_empty() || wrap.blob.len() > BLOB_BYTES_MAX {
                return Err(Error::BadWrap { kek_id: wrap.kek_id.clone() });
            }
            body.push(wrap.kind.number());
            body.extend(short(wrap.kek_id.len())?.to_be_bytes());
            body.extend(wrap.kek_id.as_bytes());
            body.extend(short(wrap.blob.len())?.to_be_bytes());
            body.extend(&wrap.blob);
        }
        let mac = hmac::sign(key, &mac_input(fixed, &body));
        let mac = mac.as_ref().try_into().map_err(|_| Error::Random)?;
        Ok(Self { generation, wraps, body, mac })
    }

    /// The slot's bytes, as long as every slot of the file.
    pub(super) fn encode(&self, fixed: &Fixed) -> Result<Vec<u8>, Error> {
        let length = u32::try_from(self.body.len()).map_err(|_| Error::Full)?;
        let sum = checksum(fixed, &self.body, &self.mac);
        let mut bytes = [&length.to_be_bytes()[..], &self.body, &self.mac, &sum.0].concat();
        let wanted = usize::try_from(fixed.slot_bytes()).map_err(|_| Error::Full)?;
        if bytes.len() > wanted {
            return Err(Error::Full);
        }
        bytes.resize(wanted, 0);
        Ok(bytes)
    }

    /// Whether the MAC is the one `key` gives.
    pub(super) fn is_authentic(&self, fixed: &Fixed, key: &hmac::Key) -> bool {
        hmac::verify(key, &mac_input(fixed, &self.body), &self.mac).is_ok()
    }

    fn parse(bytes: &[u8], fixed: &Fixed) -> Option<Self> {
        let mut reader = Reader(bytes);
        let length = usize::try_from(u32::from_be_bytes(reader.array()?)).ok()?;
        let body = reader.take(length)?;
        let mac = reader.array()?;
        let sum: [u8; 32] = reader.array()?;
        if reader.0.iter().any(|byte| *byte != 0) || checksum(fixed, body, &mac).0 != sum {
            return None;
        }
        let mut reader = Reader(body);
        let generation = u64::from_be_bytes(reader.array()?);
        let count = usize::from(u16::from_be_bytes(reader.array()?));
        if count == 0 || count > WRAPS_MAX {
            return None;
        }
        let mut wraps = Vec::new();
        for _ in 0..count {
            let [kind] = reader.array()?;
            let kek_id = std::str::from_utf8(reader.counted(KEK_ID_BYTES_MAX)?).ok()?;
            let blob = reader.counted(BLOB_BYTES_MAX)?;
            if !is_kek_id(kek_id) || blob.is_empty() {
                return None;
            }
            wraps.push(Wrapped { kind: WrapKind::from_number(kind)?, kek_id: kek_id.into(), blob: blob.into() });
        }
        reader.0.is_empty().then(|| Self { generation, wraps, body: body.into(), mac })
    }
}

/// Printable ASCII without spaces: names go to terminals.
fn is_kek_id(name: &str) -> bool {
    !name.is_empty() && name.len() <= KEK_ID_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn mac_input(fixed: &Fixed, body: &[u8]) -> Vec<u8> {
    [&b"casemate CMV1 keys\0"[..], &fixed.encode(), body].concat()
}

fn checksum(fixed: &Fixed, body: &[u8], mac: &[u8]) -> Digest {
    crate::hash::sha256(&[&b"casemate CMV1 slot\0"[..], &fixed.encode(), body, mac].concat())
}

pub(super) fn damaged(what: impl Into<String>) -> Error {
    Error::Damaged { what: what.into() }
}

/// Bytes from the front, or nothing where there are too few.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// What a u16 counts, at most `max` bytes.
    fn counted(&mut self, max: usize) -> Option<&'a [u8]> {
        let n = usize::from(u16::from_be_bytes(self.array()?));
        if n <= max { self.take(n) } else { None }
    }

    /// An array that a zero follows.
    fn skip_zero_after<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = self.array()?;
        (self.array()? == [0]).then_some(array)
    }
}
