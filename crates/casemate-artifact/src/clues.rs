//! What a text gives away: credentials in it, and machines it points at.
//!
//! Configurations, metadata and constants of published models have carried access tokens of their authors, and addresses a
//! loader or its code would call. Both are looked for only in texts a parser located, never in the bytes of tensors, where
//! chance spells anything. A credential is never kept: only its first four characters and its length are.
//!
//! Source: the issuers' own descriptions of their tokens, named beside each pattern; CWE-798, CWE-532.

mod address;
mod secret;

use casemate_core::Severity;

/// Credentials noted of one object.
const SECRETS_MAX: usize = 256;
/// Addresses noted of one object: a list of thousands says no more than its beginning.
const ADDRESSES_MAX: usize = 16;

/// Something a text gives away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clue {
    /// What kind of thing.
    pub kind: ClueKind,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in words that reveal nothing secret.
    pub what: String,
    /// Key or field it stands in, empty where there is none.
    pub key: String,
    /// Offset in bytes in the object, where known.
    pub offset: Option<u64>,
    /// Line in the text, from 1, where known.
    pub line: Option<u64>,
}

/// Kinds of clues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClueKind {
    /// A credential.
    Secret,
    /// A host on the network.
    Address,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    /// Key or field.
    pub(crate) key: &'a str,
    /// Offset in the object.
    pub(crate) offset: Option<u64>,
    /// Line.
    pub(crate) line: Option<u64>,
}

/// Notes what a text in metadata or among constants gives away.
pub(crate) fn note(clues: &mut Vec<Clue>, text: &str, place: Place<'_>) {
    note_secrets(clues, text, place);
    for found in address::find(text) {
        push(clues, ClueKind::Address, found, place);
    }
}

/// Notes credentials in a text; addresses belong in prose and code.
pub(crate) fn note_secrets(clues: &mut Vec<Clue>, text: &str, place: Place<'_>) {
    for found in secret::find(place.key, text) {
        push(clues, ClueKind::Secret, found, place);
    }
}

/// Notes credentials in a whole file of text, line by line, also those assigned to a telling name.
pub(crate) fn note_lines(clues: &mut Vec<Clue>, text: &str) {
    note_lines_from(clues, text, 1);
}

/// [`note_lines`] of a stretch of a file that begins in line `first`.
pub(crate) fn note_lines_from(clues: &mut Vec<Clue>, text: &str, first: u64) {
    for (line, number) in text.lines().zip(first..) {
        let (key, value) = assignment(line).unwrap_or(("", line));
        let place = Place { key, offset: None, line: Some(number) };
        let before = clues.len();
        note_secrets(clues, value, place);
        if clues.len() == before && value.len() < line.len() {
            note_secrets(clues, line, Place { key: "", ..place });
        }
    }
    // A key of several lines stands in none of them.
    note_secrets(clues, text, Place::default());
}

/// `key = "value"` or `key: value`, where the line is no more than that.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(['=', ':'])?;
    let quotes: &[char] = &['"', '\'', ',', ';', ' ', '\t'];
    let key = key.trim_matches(quotes).trim_start_matches("export ");
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    is_word.then(|| (key, value.trim_matches(quotes)))
}

fn push(clues: &mut Vec<Clue>, kind: ClueKind, (severity, what): (Severity, String), place: Place<'_>) {
    let of_kind = clues.iter().filter(|clue| clue.kind == kind);
    let max = if kind == ClueKind::Secret { SECRETS_MAX } else { ADDRESSES_MAX };
    if of_kind.clone().count() >= max || of_kind.clone().any(|clue| clue.what == what) {
        return;
    }
    let key = place.key.chars().take(200).collect();
    clues.push(Clue { kind, severity, what, key, offset: place.offset, line: place.line });
}

#[cfg(test)]
mod tests;
