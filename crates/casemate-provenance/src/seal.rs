//! Models at rest: sealed with AES-256-GCM under a data key of their own, opened by whoever holds a key that wraps it.
//!
//! Answers a stolen disk, bucket or backup (MITRE ATLAS AML.T0025): what lies there is of no use without a key kept elsewhere.
//! A sealed file is a [`header`], whose keys can be exchanged without touching the rest ([`place`]), and chunks ([`stream`])
//! that open one by one. Keys and key services are [`wrap::KeyWrapper`]s. HKDF-SHA256 (RFC 5869) makes two keys of the data
//! key: one for the chunks, one for the MAC over the head, which is checked before anything else is believed, since GCM alone
//! does not commit to its key.

mod bech32;
pub mod header;
mod local;
mod metadata;
pub mod place;
mod stream;
pub mod wrap;

pub mod age;
pub mod hybrid;
pub mod key_file;
pub mod passphrase;

#[cfg(test)]
mod tests;

use std::io::{self, Seek, SeekFrom, Write};

use aws_lc_rs::{hkdf, hmac};
use casemate_core::{Digest, Hasher as _, Secret, Source, SourceExt as _};

use crate::hash::Sha256;
use header::{Fixed, Slot, SlotState, Wrapped, damaged};
pub use local::LocalKey;
pub use metadata::{Metadata, NAME_BYTES_MAX};
use stream::{Cipher, Layout, TAG_BYTES, Turnstile, each_chunk, workers};
use wrap::{KeyWrapper, Recipient, WrapError, WrapKind};

/// Log2 of the bytes of a chunk: 1 MiB, where the cipher has reached its speed and a range costs little.
pub const CHUNK_LOG2: u8 = 20;

/// Passphrases tried on one file: each costs a good part of a second, and a head could hold many.
const PASSPHRASE_TRIES_MAX: usize = 4;

/// Why a file was not sealed, opened or rewrapped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin as a sealed file.
    #[error("not a sealed file")]
    NotSealed,
    /// Not as it was sealed.
    #[error("{what}: the file was damaged or changed")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// There is no wrapped key left.
    #[error("its wrapped keys were destroyed: nothing opens it any more")]
    Erased,
    /// None of the keys opens it.
    #[error("{}", no_key(.opens, .refused))]
    NoKey {
        /// Names of the keys that would.
        opens: Vec<String>,
        /// What the given ones said.
        refused: Vec<WrapError>,
    },
    /// A key did not wrap.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// What was to be stored of a wrapped key does not fit its place.
    #[error("{kek_id}: its name or what it wrapped is no wrapped key")]
    BadWrap {
        /// The key.
        kek_id: String,
    },
    /// No key at all, or too many.
    #[error("{count} keys for one file; there must be 1 to {}", header::WRAPS_MAX)]
    Wraps {
        /// How many.
        count: usize,
    },
    /// The wrapped keys do not fit into the head.
    #[error("the head has no room for so many keys: open the file and seal it again")]
    Full,
    /// No wrapped key has this name.
    #[error("no key `{kek_id}` in the file; it has {}", .has.join(", "))]
    NoSuchKey {
        /// The name.
        kek_id: String,
        /// Those there are.
        has: Vec<String>,
    },
    /// A name is too long to be kept.
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// More than the counter counts.
    #[error("{size_bytes} bytes are more than one sealed file holds")]
    TooLong {
        /// Its size.
        size_bytes: u64,
    },
    /// A range past the end.
    #[error("bytes {offset} to {end} are asked for, and there are {size_bytes}")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Past the last byte asked for.
        end: u64,
        /// What there is.
        size_bytes: u64,
    },
    /// The source has fewer bytes than it said.
    #[error("it changed while it was read")]
    Changed,
    /// Reading failed.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// Writing failed.
    #[error("cannot be written: {0}")]
    Write(io::Error),
    /// The cryptographic library gave no randomness or no key.
    #[error("the cryptographic library failed")]
    Random,
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether it says that a file is not what was sealed, or that the keys are not those it was sealed for.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::NotSealed | Self::Damaged { .. } | Self::Erased => true,
            Self::NoKey { refused, .. } => !refused.iter().any(|error| matches!(error, WrapError::Unreachable { .. })),
            _ => false,
        }
    }
}

fn no_key(opens: &[String], refused: &[WrapError]) -> String {
    let mut text = format!("none of the keys given opens it; it opens with {}", opens.join(", "));
    if let Some(first) = refused.first() {
        text.push_str(&format!(" ({first})"));
    }
    text
}

/// Called with the bytes done so far; `false` stops the work.
pub type Progress<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// How a file is sealed.
pub struct SealSettings<'a> {
    /// Its name in what is sealed, kept encrypted.
    pub name: &'a str,
    /// Whether to compute the SHA-256 of the plaintext and keep it, encrypted. It costs more than the cipher does.
    pub digest: bool,
    /// Log2 of the bytes of a chunk; [`CHUNK_LOG2`] unless it is a test.
    pub chunk_log2: u8,
    /// Threads, or 0 for as many as there are cores.
    pub workers: usize,
    /// Progress.
    pub progress: Progress<'a>,
}

/// What was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What is inside.
    pub metadata: Metadata,
    /// The digest of the sealed file, as [`Container::digest`] computes it.
    pub digest: Digest,
    /// Names of the keys that open it.
    pub kek_ids: Vec<String>,
}

/// Where a sealed file is written.
pub trait Output: Write + Seek + Send {}

impl<T: Write + Seek + Send> Output for T {}

/// Seals `source` into `out` under a new data key, wrapped for every one of `recipients`. `out` is whole only when this returns.
///
/// # Errors
/// Those of [`Error`]; nothing that was written may then be kept.
pub fn seal(
    source: &dyn Source,
    out: &mut dyn Output,
    recipients: &[&dyn Recipient],
    settings: &SealSettings<'_>,
) -> Result<Sealed, Error> {
    if settings.name.len() > NAME_BYTES_MAX {
        return Err(Error::NameTooLong);
    }
    let fixed = Fixed::new(settings.chunk_log2)?;
    let layout = Layout::of_plaintext(source.size_bytes(), fixed.chunk_bytes())?;
    let keys = Keys::fresh(&fixed)?;
    let wraps =
        recipients.iter().map(|recipient| wrapped(*recipient, &keys.data, &fixed)).collect::<Result<Vec<_>, _>>()?;
    let kek_ids = wraps.iter().map(|wrap| wrap.kek_id.clone()).collect();
    let slot = Slot::new(1, wraps, &fixed, &keys.mac)?.encode(&fixed)?;

    let empty = vec![0; metadata::PLACE_BYTES];
    let unused = vec![0; slot.len()];
    for part in [&fixed.encode()[..], &empty, &slot, &unused] {
        out.write_all(part).map_err(Error::Write)?;
    }
    let (sha256, digest) = seal_chunks(source, out, (&fixed, layout, &keys.cipher), settings)?;
    let metadata = Metadata { size_bytes: layout.size_bytes, sha256, name: settings.name.into() };
    let mut place = metadata.encode();
    keys.cipher.seal_metadata(&mut place)?;
    out.seek(SeekFrom::Start(header::FIXED_BYTES as u64)).map_err(Error::Write)?;
    out.write_all(&place).and_then(|()| out.flush()).map_err(Error::Write)?;
    Ok(Sealed { metadata, digest: finished(digest, &place), kek_ids })
}

fn seal_chunks(
    source: &dyn Source,
    out: &mut dyn Output,
    (fixed, layout, cipher): (&Fixed, Layout, &Cipher),
    settings: &SealSettings<'_>,
) -> Result<(Option<Digest>, Sha256), Error> {
    let plain = Turnstile::new(0, settings.digest.then(Sha256::default));
    let written = Turnstile::new(0, (out, begun(fixed)));
    let stop = || {
        plain.stop();
        written.stop();
    };
    each_chunk(0..layout.chunks, workers(settings.workers, layout.chunks), &stop, &|n, buffer| {
        let length = layout.len(n);
        buffer.reserve_exact(length + 16);
        buffer.resize(length, 0);
        let filled = source.fill_at(layout.offsets(n).0, buffer).map_err(Error::Read)?;
        if filled != length {
            return Err(Error::Changed);
        }
        if settings.digest {
            plain.pass(n, |hasher| {
                hasher.iter_mut().for_each(|hasher| casemate_core::Hasher::update(hasher, buffer));
                Ok(())
            })?;
        }
        cipher.seal(n, n + 1 == layout.chunks, buffer)?;
        written.pass(n, |(out, digest)| {
            let tag = buffer.get(length..).unwrap_or_default();
            casemate_core::Hasher::update(digest, tag);
            out.write_all(buffer).map_err(Error::Write)?;
            go_on(settings.progress, layout.offsets(n).0 + length as u64)
        })
    })?;
    let sha256 = plain.into_inner().map(|hasher| Box::new(hasher).finish());
    Ok((sha256, written.into_inner().1))
}

fn go_on(progress: Progress<'_>, done: u64) -> Result<(), Error> {
    if progress(done) { Ok(()) } else { Err(Error::Interrupted) }
}

fn wrapped(recipient: &dyn Recipient, key: &Secret<[u8; 32]>, fixed: &Fixed) -> Result<Wrapped, Error> {
    let blob = recipient.wrap(key, &fixed.hash())?;
    Ok(Wrapped { kind: recipient.kind(), kek_id: recipient.kek_id(), blob })
}

/// The keys of one file.
struct Keys {
    data: Secret<[u8; 32]>,
    cipher: Cipher,
    mac: hmac::Key,
}

impl Keys {
    fn fresh(fixed: &Fixed) -> Result<Self, Error> {
        Self::of(random_key()?, fixed)
    }

    fn of(data: Secret<[u8; 32]>, fixed: &Fixed) -> Result<Self, Error> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &fixed.hash());
        let prk = salt.extract(data.expose());
        let derive = |info: &[u8]| {
            let mut key = [0; 32];
            let info = [info];
            let okm = prk.expand(&info, hkdf::HKDF_SHA256).map_err(|_| Error::Random)?;
            okm.fill(&mut key).map_err(|_| Error::Random)?;
            Ok::<_, Error>(Secret::new(key))
        };
        let payload = derive(b"casemate CMV1 payload")?;
        let head = derive(b"casemate CMV1 head")?;
        let cipher = Cipher::new(payload.expose(), fixed.nonce_prefix, fixed.hash())?;
        Ok(Self { data, cipher, mac: hmac::Key::new(hmac::HMAC_SHA256, head.expose()) })
    }
}

/// 32 bytes from the system's random generator.
pub(crate) fn random_key() -> Result<Secret<[u8; 32]>, Error> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Error::Random)?;
    Ok(Secret::new(key))
}

/// A sealed file, not yet opened. What it says is not to be believed before [`Container::unlock`].
pub struct Container<'a> {
    source: &'a dyn Source,
    fixed: Fixed,
    layout: Layout,
    slots: [SlotState; 2],
}

impl<'a> Container<'a> {
    /// Reads the head of `source`.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::Damaged`], [`Error::Read`].
    pub fn read(source: &'a dyn Source) -> Result<Self, Error> {
        let head = source.bytes_at(0, header::FIXED_BYTES as u64).map_err(Error::Read)?;
        let fixed = Fixed::parse(&head)?;
        let payload = source.size_bytes().checked_sub(u64::from(fixed.head_bytes));
        let payload = payload.ok_or_else(|| damaged("the head is longer than the file"))?;
        let layout = Layout::of_payload(payload, fixed.chunk_bytes())?;
        let slots = [fixed.slot(source, 0)?, fixed.slot(source, 1)?];
        Ok(Self { source, fixed, layout, slots })
    }

    /// Its wrapped keys.
    ///
    /// # Errors
    /// [`Error::Erased`], [`Error::Damaged`].
    pub fn wraps(&self) -> Result<&[Wrapped], Error> {
        Ok(&self.current()?.1.wraps)
    }

    /// Whether an interrupted rewrap left something behind that the next one clears away.
    pub fn has_rests(&self) -> bool {
        self.slots.iter().all(|slot| *slot != SlotState::Empty)
    }

    /// What stands for this sealed content: SHA-256 over the fixed part, the tag of every chunk and the encrypted metadata.
    /// Another wrapping of the same content has the same digest. It says which content lies here, not that it is intact.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Changed`].
    pub fn digest(&self) -> Result<Digest, Error> {
        let mut hasher = begun(&self.fixed);
        for n in 0..self.layout.chunks {
            let offset = u64::from(self.fixed.head_bytes) + self.layout.offsets(n).1 + self.layout.len(n) as u64;
            let tag = self.source.bytes_at(offset, TAG_BYTES).map_err(Error::Read)?;
            casemate_core::Hasher::update(&mut hasher, &tag);
        }
        Ok(finished(hasher, &self.place()?))
    }

    /// Opens it with the first of `keys` that can.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::Damaged`], [`Error::Erased`], [`Error::Read`].
    pub fn unlock(self, keys: &[&dyn KeyWrapper]) -> Result<Opened<'a>, Error> {
        let slot = self.current()?.1;
        let opens = slot.wraps.iter().map(|wrap| wrap.kek_id.clone()).collect();
        let context = self.fixed.hash();
        let (mut refused, mut tries) = (Vec::new(), 0);
        for (wrap, key) in candidates(&slot.wraps, keys) {
            if wrap.kind == WrapKind::Passphrase {
                tries += 1;
                if tries > PASSPHRASE_TRIES_MAX {
                    continue;
                }
            }
            match key.unwrap(&wrap.blob, &context) {
                Ok(data) => {
                    let keys = Keys::of(data, &self.fixed)?;
                    if !slot.is_authentic(&self.fixed, &keys.mac) {
                        return Err(damaged("the list of wrapped keys is not what was written"));
                    }
                    return self.opened(keys);
                }
                Err(error) => refused.push(error),
            }
        }
        Err(Error::NoKey { opens, refused })
    }

    fn opened(self, keys: Keys) -> Result<Opened<'a>, Error> {
        let mut place = self.place()?;
        let plain = keys.cipher.open_metadata(&mut place).and_then(Metadata::parse);
        let metadata = plain.ok_or_else(|| damaged("what it says of its content is not what was sealed"))?;
        if metadata.size_bytes != self.layout.size_bytes {
            let what = format!("{} bytes were sealed and {} are here", metadata.size_bytes, self.layout.size_bytes);
            return Err(damaged(what));
        }
        Ok(Opened { container: self, keys, metadata })
    }

    fn place(&self) -> Result<Vec<u8>, Error> {
        let bytes = self.source.bytes_at(header::FIXED_BYTES as u64, metadata::PLACE_BYTES as u64);
        bytes.map_err(Error::Read)
    }

    /// The slot in use and its number: of two whole ones the newer. An older one holds keys that were removed.
    fn current(&self) -> Result<(u64, &Slot), Error> {
        let [first, second] = &self.slots;
        match (first, second) {
            (SlotState::Whole(a), SlotState::Whole(b)) if b.generation > a.generation => Ok((1, b)),
            (SlotState::Whole(slot), _) => Ok((0, slot)),
            (_, SlotState::Whole(slot)) => Ok((1, slot)),
            (SlotState::Empty, SlotState::Empty) => Err(Error::Erased),
            _ => Err(damaged("the list of wrapped keys is not whole")),
        }
    }
}

/// Which key is tried on which blob: first where the names agree, then any other of the same kind that costs no request.
fn candidates<'k>(wraps: &'k [Wrapped], keys: &'k [&dyn KeyWrapper]) -> Vec<(&'k Wrapped, &'k dyn KeyWrapper)> {
    let all = wraps.iter().flat_map(|wrap| keys.iter().map(move |key| (wrap, *key)));
    let of_kind = all.filter(|(wrap, key)| wrap.kind == key.kind());
    let (named, others): (Vec<_>, Vec<_>) = of_kind.partition(|(wrap, key)| wrap.kek_id == key.kek_id());
    named.into_iter().chain(others.into_iter().filter(|(wrap, _)| !wrap.kind.is_remote())).collect()
}

/// A sealed file whose key is known and whose head is authentic.
pub struct Opened<'a> {
    container: Container<'a>,
    keys: Keys,
    metadata: Metadata,
}

impl Opened<'_> {
    /// What it says of its content.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Writes the whole plaintext to `out`, chunk by verified chunk and in order.
    ///
    /// # Errors
    /// [`Error::Damaged`] at the first chunk that is not what was sealed; nothing of it or behind it was written. Then
    /// [`Error::Read`], [`Error::Write`], [`Error::Interrupted`].
    pub fn copy_to(&self, out: &mut (dyn Write + Send), threads: usize, progress: Progress<'_>) -> Result<(), Error> {
        self.copy_range((0, self.metadata.size_bytes), out, threads, progress)
    }

    /// Writes the plaintext `offset..offset + length` to `out`; reads the chunks that hold it and no others.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], and those of [`Opened::copy_to`].
    pub fn open_range(&self, offset: u64, length: u64, out: &mut (dyn Write + Send)) -> Result<(), Error> {
        let end = offset.saturating_add(length);
        if end > self.metadata.size_bytes {
            return Err(Error::OutOfRange { offset, end, size_bytes: self.metadata.size_bytes });
        }
        self.copy_range((offset, length), out, 0, &|_| true)
    }

    fn copy_range(
        &self,
        (offset, length): (u64, u64),
        out: &mut (dyn Write + Send),
        threads: usize,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        let layout = self.container.layout;
        // Also an empty file has a chunk that has to be verified.
        let chunks = if layout.size_bytes == 0 { 0..1 } else { layout.covering(offset, length) };
        let written = Turnstile::new(chunks.start, out);
        each_chunk(chunks.clone(), workers(threads, chunks.end - chunks.start), &|| written.stop(), &|n, buffer| {
            let (plain_offset, sealed_offset) = layout.offsets(n);
            buffer.resize(layout.len(n) + 16, 0);
            let at = u64::from(self.container.fixed.head_bytes) + sealed_offset;
            let filled = self.container.source.fill_at(at, buffer).map_err(Error::Read)?;
            if filled != buffer.len() {
                return Err(Error::Changed);
            }
            let plain = self.keys.cipher.open(n, n + 1 == layout.chunks, buffer)?;
            let from = usize::try_from(offset.saturating_sub(plain_offset)).unwrap_or(usize::MAX);
            let to = (offset + length).saturating_sub(plain_offset).min(plain.len() as u64);
            let wanted = plain.get(from..usize::try_from(to).unwrap_or(usize::MAX)).unwrap_or_default();
            written.pass(n, |out| {
                out.write_all(wanted).map_err(Error::Write)?;
                go_on(progress, plain_offset + plain.len() as u64 - offset.min(plain_offset))
            })
        })
    }
}

fn begun(fixed: &Fixed) -> Sha256 {
    let mut hasher = Sha256::default();
    casemate_core::Hasher::update(&mut hasher, b"casemate CMV1 object\0");
    casemate_core::Hasher::update(&mut hasher, &fixed.encode());
    hasher
}

fn finished(mut hasher: Sha256, place: &[u8]) -> Digest {
    casemate_core::Hasher::update(&mut hasher, place);
    Box::new(hasher).finish()
}
