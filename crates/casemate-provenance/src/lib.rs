//! Who made a model, and is it unchanged.
//!
//! [`manifest`] names a model by all its files. Evidence about it becomes a [`statement`], is signed into a [`dsse`] envelope
//! with [`keys`], and is appended to the [`ledger`]: a [`merkle`] tree in [`tiles`] under signed heads ([`note`]), which others
//! may countersign ([`cosignature`]) and date ([`timestamp`]). What others say of a model, and what they are told, are
//! [`attestation`]s.
//!
//! [`seal`] encrypts files for storage.
//!
//! Everything here checks bytes against other bytes; who is to be believed, and where files lie, comes from the caller.
//! This crate reads and writes the files it is pointed to and nothing else.

mod json;

pub mod checksums;
pub mod digests;
pub mod files;
pub mod hash;
pub mod manifest;

pub mod oms;

pub mod keys;
pub mod mac;

pub mod dsse;
pub mod statement;

pub mod attestation;

pub mod cosignature;
pub mod merkle;
pub mod note;
pub mod tiles;
pub mod timestamp;

pub mod ledger;

pub mod seal;

#[cfg(test)]
mod testing;

pub use digests::{Account, Draw, KnownDigests};
pub use hash::{HashChoice, Hashes, Sha256, sha256};
pub use keys::{KeyPair, PublicKey};
pub use ledger::{Ledger, LedgerSink, Trust, VerifyReport};
pub use mac::MacKey;
pub use manifest::{Listing, Look, Manifest, Remembered, Snapshot, Stamp};
pub use note::{Checkpoint, NoteKey};
