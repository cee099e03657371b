//! What a model file says and hides.
//!
//! The data's path: a [`Source`](casemate_core::Source) is sniffed by content ([`probe`]), each [`Format`] that recognises
//! it parses it into one common structure ([`Parsed`]: pickle events, operators, references, texts, tensors, nested
//! objects, byte claims), nested objects go through the same path, and every [`Detector`] judges the structure. Nothing
//! from a model is ever executed, parsing never fails (it gives what could be read, and where it broke), and every loop
//! over foreign bytes counts against [`Limits`](casemate_core::Limits).
//!
//! Adding a format or a detector is one file and its two lines in `formats.rs` or `detectors.rs`; a detector that judges
//! references or templates covers a new format without a change.

mod claims;
mod clues;
pub mod detectors;
pub mod formats;
mod keras;
mod parsed;
pub mod pickle;
mod policy;
mod probe;
mod python;
mod r_code;
mod scan;
mod template;
mod verdict;
pub mod weights;
mod yaml;

pub use claims::Claims;
pub use clues::{Clue, ClueKind};
pub use detectors::Detector;
pub use formats::{Budget, Format, FormatMeta, Object, Sniff};
pub use parsed::{
    Active, ActiveKind, Child, Malformed, Operator, Parsed, Reference, ReferenceKind, Role, Serialized, Setting,
    SettingKind, Tensor, Text, TextKind, Trouble,
};
pub use policy::{FILES as RULE_FILES, Imports, PolicyError, Use};
pub use probe::Probe;
pub use python::{CallKind, CodeCall};
pub use scan::{Beside, Scan, ScannedObject, Scanner, formats as formats_of, self_test};
pub use verdict::{Verdict, verdict_unscannable};
