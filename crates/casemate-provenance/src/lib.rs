//! Who made a model, and is it unchanged.
//!
//! [`manifest`] names a model by all its files. Evidence about it becomes a [`statement`], is signed into a [`dsse`] envelope
//! with [`keys`], and is appended to the [`ledger`]: a [`merkle`] tree in [`tiles`] under signed heads ([`note`]). What others
//! say of a model, and what they are told, are [`attestation`]s.
//!
//! Everything here checks bytes against other bytes; who is to be believed, and where files lie, comes from the caller.
//! This crate reads and writes the files it is pointed to and nothing else.

mod json;

pub mod files;
pub mod hash;
pub mod manifest;

pub mod oms;

pub mod keys;
pub mod mac;

pub mod dsse;
pub mod statement;

pub mod attestation;

pub mod merkle;
pub mod note;
pub mod tiles;

pub mod ledger;

#[cfg(test)]
mod testing;

pub use hash::{HashChoice, Hashes, Sha256, sha256};
pub use keys::{KeyPair, PublicKey};
pub use ledger::{Ledger, LedgerSink, Trust, VerifyReport};
pub use mac::MacKey;
pub use manifest::{Listing, Manifest, Snapshot, Stamp};
pub use note::{Checkpoint, NoteKey};
