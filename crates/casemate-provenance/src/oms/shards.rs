//! Lists that hash files in shards, as the reference writes when asked to: `path:start:end` under `sha256-sharded-SIZE`.
//!
//! They are read and never written: the reference cannot verify its own (it reads the size as a fraction), and it does not say
//! that the shards of a file must be all of it. Here they are: canonical numbers, from the first byte, without gap or overlap,
//! every shard but the last one full, and a file of exactly that length. A file without bytes has no shard, so nothing
//! covers it, and it counts as added.

use std::collections::HashMap;
use std::io;

use casemate_core::{Digest, FileSource, Source as _};
use rayon::prelude::*;

use super::Error;
use super::payload::Resource;
use crate::hash::{self, HashChoice, Hashes};
use crate::manifest::{self, Listing, Stamp};

/// How the files of a list are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharded {
    /// Bytes of every shard but the last of a file.
    pub shard_bytes: u64,
    /// Length of each file by name.
    lengths: HashMap<String, u64>,
}

/// One shard of a list: its name, its algorithm, its hash.
pub(super) type Shard = (String, String, Digest);

/// The files that `shards` make up, each under one digest of its length and all its shards; `declared` is the size of a shard
/// that the list names as a whole.
pub(super) fn files(shards: Vec<Shard>, declared: Option<f64>) -> Result<(Sharded, Vec<Resource>), Error> {
    let refused = |what: String| Err(Error::Payload(what));
    let Some(shard_bytes) = shards.first().and_then(|(_, algorithm, _)| shard_bytes(algorithm)) else {
        return refused("it is said to be in shards and names none of `sha256-sharded-SIZE`".into());
    };
    // The reference writes the number as a fraction.
    #[expect(clippy::cast_precision_loss, reason = "sizes that a fraction cannot hold are refused")]
    if shard_bytes >= 1 << 53 || declared != Some(shard_bytes as f64) {
        return refused("the size of its shards is not the one their algorithm names".into());
    }
    let algorithm = format!("sha256-sharded-{shard_bytes}");
    let mut files: Vec<(String, u64, Vec<u8>)> = Vec::new();
    for (name, of, digest) in shards {
        let shown = || name.chars().take(120).flat_map(char::escape_debug).collect::<String>();
        if of != algorithm {
            return refused(format!("`{}` is not hashed with `{algorithm}`", shown()));
        }
        let Some((path, start, end)) = parts(&name) else {
            return refused(format!("the name `{}` is no `path:start:end`", shown()));
        };
        let fits = start % shard_bytes == 0 && end > start && end - start <= shard_bytes;
        match files.last_mut() {
            Some((last, length, digests)) if last == path && *length == start && fits => {
                *length = end;
                digests.extend(digest.0);
            }
            _ if start == 0 && fits => files.push((path.to_owned(), end, digest.0.to_vec())),
            _ => return refused(format!("the shard `{}` leaves a gap or overlaps", shown())),
        }
    }
    let lengths = files.iter().map(|(path, length, _)| (path.clone(), *length)).collect();
    let resource =
        |(name, length, digests): (String, u64, Vec<u8>)| Resource { name, digest: folded(length, &digests) };
    Ok((Sharded { shard_bytes, lengths }, files.into_iter().map(resource).collect()))
}

/// The digests of the files `wanted` by name, made as [`files`] makes them; none for a file of another length than was signed.
///
/// # Errors
/// Those of [`Listing::hashes`].
pub(super) fn hashes(
    listing: &Listing,
    sharded: &Sharded,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Option<Hashes>>, manifest::Error> {
    let one = |(name, path): &(String, std::path::PathBuf)| {
        if !wanted(name) {
            return Ok(None);
        }
        let unreadable = |source| manifest::Error::Unreadable { path: path.clone(), source };
        let stamp = || std::fs::symlink_metadata(path).map(|metadata| Stamp::of(&metadata)).map_err(unreadable);
        let before = stamp()?;
        let source = FileSource::open(path).map_err(unreadable)?;
        let size_bytes = source.size_bytes();
        // What has another length is another file, and is not read.
        let sha256 = match sharded.lengths.get(name) == Some(&size_bytes) {
            true => Some(digest_of(&source, sharded.shard_bytes, progress).map_err(unreadable)?),
            false => None,
        };
        match before == stamp()? {
            true => Ok(Some(Hashes { size_bytes, sha256, blake3: None })),
            false => Err(manifest::Error::Changed { path: path.clone() }),
        }
    };
    listing.files.par_iter().map(one).collect()
}

fn digest_of(source: &FileSource, shard_bytes: u64, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Digest> {
    let (length, mut start, mut digests) = (source.size_bytes(), 0, Vec::new());
    while start < length {
        let shard = Part { source, start, length: shard_bytes.min(length - start) };
        let hashes = hash::hash(&shard, HashChoice::Sha256, &|done| progress(start + done))?;
        digests.extend(hashes.sha256.ok_or(io::ErrorKind::UnexpectedEof)?.0);
        start += shard.length;
    }
    Ok(folded(length, &digests))
}

/// A stretch of a file that lies within it.
struct Part<'a> {
    source: &'a FileSource,
    start: u64,
    length: u64,
}

impl casemate_core::Source for Part<'_> {
    fn size_bytes(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..left) else { return Ok(0) };
        self.source.read_at(self.start + offset, buffer)
    }
}

/// One digest for a file: of its length and the digests of its shards in order.
fn folded(length: u64, digests: &[u8]) -> Digest {
    hash::sha256(&[&length.to_be_bytes(), digests].concat())
}

fn shard_bytes(algorithm: &str) -> Option<u64> {
    number(algorithm.strip_prefix("sha256-sharded-")?).filter(|bytes| *bytes > 0)
}

/// `path:start:end`, read from the end since a path may hold colons.
fn parts(name: &str) -> Option<(&str, u64, u64)> {
    let mut parts = name.rsplitn(3, ':');
    let (end, start, path) = (parts.next()?, parts.next()?, parts.next()?);
    Some((path, number(start)?, number(end)?))
}

/// A number in its only spelling.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests;
