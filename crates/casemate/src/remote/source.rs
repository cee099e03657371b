//! A file on a server as a [`Source`]: fetched by ranges, kept in blocks, never mixed from two versions.
//!
//! The first request says how large the file is and how a change would show (`ETag`, `Last-Modified`); every later one
//! must say the same (RFC 9110, 13.1.5 and 14). The threat is a server that ignores ranges, lies about them, or serves
//! other bytes the second time: any of that ends all reading of the file, so it becomes unscannable. Once the whole file
//! has been hashed, a digest for each stretch pins what may be served from then on.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use casemate_core::{Digest, Source};
use casemate_provenance::{hash, sha256};

use super::authorization::Authorization;
use super::client::{Client, Response};
use super::error::Error;
use super::range;
use super::url::Url;

/// Bytes of one block, what reading is rounded to: a header with its neighbours, and little of what follows.
pub const BLOCK_BYTES: u64 = 16 << 10;

/// Blocks kept, the ones used last: 8 MiB.
const BLOCKS_MAX: usize = 512;

/// Bytes fetched when a file is opened: head and header of most, in one request.
pub const OPENING_BYTES: u64 = 64 << 10;

/// Most bytes of one request.
const FETCH_BYTES_MAX: u64 = 2 << 20;

/// Largest file taken whole from a server without ranges.
const WHOLE_BYTES_MAX: u64 = 8 << 20;

/// Bytes under one digest once the whole was hashed.
const PIN_BYTES: u64 = 1 << 20;

/// What is known of a file before it is opened.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it is.
    pub url: Url,
    /// Who asks.
    pub authorization: Authorization,
    /// Its size, where a listing named it.
    pub size_bytes: Option<u64>,
    /// Its digest, where a listing or manifest named it.
    pub sha256: Option<Digest>,
    /// Whether the address names content, so that nothing else may ever lie there.
    pub is_immutable: bool,
}

/// A file on a server.
pub struct RemoteSource {
    client: Arc<Client>,
    remote: Remote,
    size_bytes: u64,
    validator: Option<String>,
    /// Where redirects led; asked first until it stops answering.
    resolved: Mutex<Url>,
    blocks: Mutex<Blocks>,
    pins: OnceLock<Vec<Digest>>,
    failure: OnceLock<String>,
    is_other: AtomicBool,
    bytes_fetched: AtomicU64,
}

/// Blocks by number, with when each was used.
#[derive(Default)]
struct Blocks {
    held: HashMap<u64, (u64, Vec<u8>)>,
    by_use: BTreeMap<u64, u64>,
    uses: u64,
}

impl RemoteSource {
    /// Opens `remote`: asks for its beginning, and learns its size.
    ///
    /// # Errors
    /// When it cannot be read, or could not be read by ranges safely.
    pub fn open(client: Arc<Client>, remote: Remote) -> Result<Self, Error> {
        let asked = format!("bytes=0-{}", OPENING_BYTES - 1);
        let response =
            renewing(&client, &remote, || client.get(&remote.url, &[("range", &asked)], &remote.authorization))?;
        let resolved = response.url.clone();
        let validator = range::validator(&response);
        let (size_bytes, bytes) = opening(&client, &remote, response)?;
        if let Some(listed) = remote.size_bytes.filter(|listed| *listed != size_bytes) {
            let what = format!("{listed} bytes in the listing, {size_bytes} now");
            return Err(Error::Changed { url: remote.url.shown(), what });
        }
        let is_whole = bytes.len() as u64 == size_bytes;
        if validator.is_none() && !is_whole && !remote.is_immutable {
            return Err(Error::NoValidator { url: remote.url.shown() });
        }
        let source = Self {
            client,
            remote,
            size_bytes,
            validator,
            resolved: Mutex::new(resolved),
            blocks: Mutex::default(),
            pins: OnceLock::new(),
            failure: OnceLock::new(),
            is_other: AtomicBool::new(false),
            bytes_fetched: AtomicU64::new(bytes.len() as u64),
        };
        lock(&source.blocks).keep(0, &bytes);
        Ok(source)
    }

    /// Why reading ended early, if it did: whatever was concluded then is about part of the file.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Bytes received for this file.
    pub fn bytes_fetched(&self) -> u64 {
        self.bytes_fetched.load(Relaxed)
    }

    /// Reads the whole file; from then on only the bytes that were hashed are given out.
    ///
    /// # Errors
    /// When it cannot be read, or is not what its listing says.
    pub fn hash(&self) -> io::Result<Digest> {
        let pinning = Pinning { source: self, pinned: Mutex::default() };
        let digest = hash::sha256_of(&pinning, &|_| ())?;
        if let Some(named) = self.remote.sha256.filter(|named| *named != digest) {
            self.is_other.store(true, Relaxed);
            let what = format!("the content has the SHA-256 {digest}, not {named} as it is named by");
            return Err(self.fail(&Error::Digest { url: self.remote.url.shown(), what }));
        }
        let _ = self.pins.set(pinning.pinned.into_inner().unwrap_or_else(PoisonError::into_inner).pins);
        // What was read before is given out no longer.
        *lock(&self.blocks) = Blocks::default();
        Ok(digest)
    }

    /// Whether the whole file was read and is not what its name or listing says.
    pub fn is_other_than_named(&self) -> bool {
        self.is_other.load(Relaxed)
    }

    /// Remembers the first failure and gives it as an error of reading.
    fn fail(&self, error: &Error) -> io::Error {
        io::Error::other(self.failure.get_or_init(|| error.to_string()).clone())
    }

    /// The bytes `from..to`, all of them; a connection that breaks off in the middle is tried again.
    fn fetch(&self, from: u64, to: u64) -> Result<Vec<u8>, Error> {
        let bytes = self
            .client
            .retrying(|| self.fetch_once(from, to), |result| result.as_ref().is_err_and(Error::is_transient))?;
        self.bytes_fetched.fetch_add(bytes.len() as u64, Relaxed);
        Ok(bytes)
    }

    fn fetch_once(&self, from: u64, to: u64) -> Result<Vec<u8>, Error> {
        let last = lock(&self.resolved).clone();
        let mut response = self.request(&last, from, to)?;
        // A signed address expires, a token does too: ask again where it began.
        if matches!(response.status, 401 | 403 | 404 | 410) {
            response = renewing(&self.client, &self.remote, || self.request(&self.remote.url, from, to))?;
            *lock(&self.resolved) = response.url.clone();
        }
        let expected = range::Expected { from, to, size_bytes: self.size_bytes, validator: self.validator.as_deref() };
        range::read(&self.client, response, &expected)
    }

    fn request(&self, url: &Url, from: u64, to: u64) -> Result<Response, Error> {
        let asked = format!("bytes={from}-{}", to.saturating_sub(1));
        let mut headers = vec![("range", asked.as_str())];
        // A weak validator may not stand in If-Range; it is compared afterwards all the same.
        if let Some(validator) = self.validator.as_deref().filter(|validator| !validator.starts_with("W/")) {
            headers.push(("if-range", validator));
        }
        // Where redirects led, credentials were not needed the first time either.
        let same = url.origin() == self.remote.url.origin();
        let authorization = if same { &self.remote.authorization } else { &Authorization::None };
        self.client.get_from(&self.remote.url, url, &headers, authorization)
    }

    /// Fetches the blocks from `first` on: at least those up to `wanted`, and as much again as was read before it.
    fn fetch_blocks(&self, blocks: &mut Blocks, first: u64, wanted: u64) -> Result<(), Error> {
        let run = (1..=FETCH_BYTES_MAX / BLOCK_BYTES)
            .take_while(|n| first.checked_sub(*n).is_some_and(|before| blocks.held.contains_key(&before)))
            .count() as u64;
        let blocks_max = FETCH_BYTES_MAX / BLOCK_BYTES;
        let ahead = (wanted.saturating_sub(first) + 1).max(run).min(blocks_max);
        // What is there already is not fetched twice.
        let count = (1..ahead).find(|n| blocks.held.contains_key(&(first + n))).unwrap_or(ahead);
        let (mut from, mut to) =
            (first * BLOCK_BYTES, (first + count).saturating_mul(BLOCK_BYTES).min(self.size_bytes));
        if let Some(pins) = self.pins.get() {
            from -= from % PIN_BYTES;
            to = to.next_multiple_of(PIN_BYTES).min(from + FETCH_BYTES_MAX).min(self.size_bytes);
            let bytes = self.fetch(from, to)?;
            let pins = pins.get(usize::try_from(from / PIN_BYTES).unwrap_or(usize::MAX)..).unwrap_or_default();
            let pieces = bytes.chunks(usize::try_from(PIN_BYTES).unwrap_or(usize::MAX));
            if !pieces.clone().map(sha256).eq(pins.iter().copied().take(pieces.len())) {
                let what = "other bytes than the ones that were hashed".into();
                return Err(Error::Changed { url: self.remote.url.shown(), what });
            }
            blocks.keep(from / BLOCK_BYTES, &bytes);
            return Ok(());
        }
        let bytes = self.fetch(from, to)?;
        blocks.keep(first, &bytes);
        Ok(())
    }
}

impl Source for RemoteSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = self.failure.get() {
            return Err(io::Error::other(failure.clone()));
        }
        let end = offset.saturating_add(buffer.len() as u64).min(self.size_bytes);
        if offset >= end {
            return Ok(0);
        }
        let mut blocks = lock(&self.blocks);
        let first = offset / BLOCK_BYTES;
        if !blocks.held.contains_key(&first) {
            self.fetch_blocks(&mut blocks, first, (end - 1) / BLOCK_BYTES).map_err(|error| self.fail(&error))?;
        }
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset + filled as u64;
            let Some(block) = blocks.get(at / BLOCK_BYTES) else { break };
            let bytes = usize::try_from(at % BLOCK_BYTES).ok().and_then(|skip| block.get(skip..)).unwrap_or_default();
            let n = bytes.len().min(rest.len());
            let (Some(to), Some(from)) = (rest.get_mut(..n), bytes.get(..n)) else { break };
            to.copy_from_slice(from);
            filled += n;
            if n == 0 {
                break;
            }
        }
        Ok(filled)
    }

    fn held_bytes(&self) -> u64 {
        BLOCKS_MAX as u64 * BLOCK_BYTES + FETCH_BYTES_MAX
    }
}

impl Blocks {
    fn get(&mut self, number: u64) -> Option<&[u8]> {
        self.uses += 1;
        let (used, bytes) = self.held.get_mut(&number)?;
        self.by_use.remove(used);
        *used = self.uses;
        self.by_use.insert(self.uses, number);
        Some(bytes)
    }

    /// Keeps `bytes`, which begin where block `first` does, and drops what was used longest ago.
    fn keep(&mut self, first: u64, bytes: &[u8]) {
        let block_bytes = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        for (number, block) in (first..).zip(bytes.chunks(block_bytes)) {
            self.uses += 1;
            self.by_use.insert(self.uses, number);
            if let Some((used, _)) = self.held.insert(number, (self.uses, block.to_vec())) {
                self.by_use.remove(&used);
            }
        }
        while self.held.len() > BLOCKS_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.held.remove(&oldest);
        }
    }
}

/// Reads straight through, a stretch of the pins at a time, and takes the digest of each.
struct Pinning<'a> {
    source: &'a RemoteSource,
    pinned: Mutex<Pinned>,
}

#[derive(Default)]
struct Pinned {
    pins: Vec<Digest>,
    /// The last stretch, to be handed out in whatever pieces are asked for.
    stretch: Vec<u8>,
}

impl Source for Pinning<'_> {
    fn size_bytes(&self) -> u64 {
        self.source.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pinned = lock(&self.pinned);
        let next = pinned.pins.len() as u64 * PIN_BYTES;
        if offset == next && offset < self.source.size_bytes {
            let to = offset.saturating_add(PIN_BYTES).min(self.source.size_bytes);
            pinned.stretch = self.source.fetch(offset, to).map_err(|error| self.source.fail(&error))?;
            let digest = sha256(&pinned.stretch);
            pinned.pins.push(digest);
        }
        let start = (pinned.pins.len() as u64).saturating_sub(1) * PIN_BYTES;
        let Some(from) = offset.checked_sub(start).and_then(|from| usize::try_from(from).ok()) else {
            return Err(io::Error::other("hashing went back to what it had read"));
        };
        let there = pinned.stretch.get(from..).unwrap_or_default();
        let n = there.len().min(buffer.len());
        buffer.iter_mut().zip(there).for_each(|(to, byte)| *to = *byte);
        Ok(n)
    }
}

/// What `ask` gives, with a new token where the old one is no longer taken and another can be had.
fn renewing(client: &Client, remote: &Remote, ask: impl Fn() -> Result<Response, Error>) -> Result<Response, Error> {
    let response = ask()?;
    match &remote.authorization {
        Authorization::Registry(token) if response.status == 401 => {
            token.answer(client, &response)?;
            ask()
        }
        _ => Ok(response),
    }
}

/// The size of the file and its first bytes, as the first answer gives them.
fn opening(client: &Client, remote: &Remote, response: Response) -> Result<(u64, Vec<u8>), Error> {
    let url = remote.url.shown();
    match response.status {
        206 => {
            let Some((0, _, size_bytes)) = range::content_range(&response) else {
                return Err(Error::Range { url, what: range::described(&response) });
            };
            let expected = range::Expected { from: 0, to: OPENING_BYTES.min(size_bytes), size_bytes, validator: None };
            Ok((size_bytes, range::read(client, response, &expected)?))
        }
        // Nothing can be asked of a file that holds nothing.
        416 if response.header("content-range") == Some("bytes */0") => Ok((0, Vec::new())),
        200 => {
            let length = response.number("content-length");
            let size = |n: u64| format!("{n} bytes");
            if length.is_some_and(|length| length > WHOLE_BYTES_MAX) {
                return Err(Error::NoRanges { url, size: length.map(size).unwrap_or_default() });
            }
            let bytes = match response.body(client, length.unwrap_or(WHOLE_BYTES_MAX)) {
                Err(Error::TooLong { .. }) if length.is_none() => {
                    return Err(Error::NoRanges { url, size: format!("more than {WHOLE_BYTES_MAX} bytes") });
                }
                bytes => bytes?,
            };
            match length.filter(|length| *length != bytes.len() as u64) {
                Some(length) => {
                    let what = format!("{} bytes came where {length} were announced", bytes.len());
                    Err(Error::Range { url, what })
                }
                None => Ok((bytes.len() as u64, bytes)),
            }
        }
        status => Err(Error::status(&remote.url, status)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
