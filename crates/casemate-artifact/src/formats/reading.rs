//! What the parsers share: little-endian fields, words for messages, and a report that cannot be flooded.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;

use casemate_core::Limits;

use super::Object;
use crate::{Malformed, Parsed, TextKind, Trouble};

/// Characters of a foreign name shown in a message.
const SHOWN_CHARS_MAX: usize = 80;

/// The little-endian `u16` at `at`, where the bytes reach that far.
pub(crate) fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

/// The little-endian `u32` at `at`, where the bytes reach that far.
pub(crate) fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// The little-endian `u64` at `at`, where the bytes reach that far.
pub(crate) fn u64_le(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// Foreign words on one line: control and direction characters escaped, cut after 80 characters.
pub(crate) fn plain(words: impl Display) -> String {
    let words = words.to_string();
    let mut line = String::new();
    for (n, c) in words.chars().enumerate() {
        match c {
            _ if n >= SHOWN_CHARS_MAX => {
                line.push('…');
                break;
            }
            // Direction and zero-width characters would let a name rewrite the report around it.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                line.extend(c.escape_unicode());
            }
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// A foreign name for a message: in backticks, escaped, cut.
pub(crate) fn quote(name: &str) -> String {
    format!("`{}`", plain(name))
}

/// The trouble of a medium that could not be read.
pub(crate) fn unreadable(error: &io::Error, offset: u64) -> Malformed {
    Malformed::new(Trouble::Unreadable, offset, format!("cannot be read: {}", plain(error)))
}

/// Whether a text has the marks of a Jinja template.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Whether a text is a dotted Python name of plain letters: `package.module.Class`, or a single word.
pub(crate) fn is_dotted_name(text: &str) -> bool {
    let word = |part: &str| {
        !part.starts_with(|c: char| c.is_ascii_digit())
            && !part.is_empty()
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split('.').all(word)
}

/// Template where the text has the marks of one, metadata otherwise.
pub(crate) fn text_kind(text: &str) -> TextKind {
    match is_template(text) {
        true => TextKind::Template,
        false => TextKind::Metadata,
    }
}

/// The link among `links` through which a member of this name would be written.
pub(crate) fn through_link<'a>(name: &'a str, links: &HashSet<String>) -> Option<&'a str> {
    if links.is_empty() {
        return None;
    }
    name.match_indices('/').filter_map(|(at, _)| name.get(..at)).find(|folder| links.contains(*folder))
}

/// Bytes a parser may still hold of one object's tables (names, texts, shapes).
///
/// Tables are read from bytes that exist, but a small record can cost ten times its size in memory, so what is held is
/// counted beside what is read.
pub(crate) struct Allowance(u64);

impl Allowance {
    /// 32 MiB: half of what one object may cost; 250,000 tensors with ordinary names.
    pub(crate) fn new() -> Self {
        Self(32 << 20)
    }

    /// Takes `bytes` and what a record costs beside them; false when there is not so much left.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let cost = (bytes as u64).saturating_add(128);
        let enough = cost <= self.0;
        self.0 = self.0.saturating_sub(cost);
        enough
    }
}

impl Parsed {
    /// What `read` made of an object, and where it broke.
    pub(crate) fn until_it_breaks(
        object: &Object<'_>,
        read: fn(&Object<'_>, &mut Self) -> Result<(), Malformed>,
    ) -> Self {
        let mut parsed = Self::default();
        if let Err(malformed) = read(object, &mut parsed) {
            parsed.report(object.limits, malformed);
        }
        parsed
    }

    /// Notes trouble. After `limits.findings_max` only the first of a kind is still kept, so that a flood of small troubles
    /// can neither fill the memory nor hide a worse one.
    pub(crate) fn report(&mut self, limits: &Limits, malformed: Malformed) {
        let room = (self.malformed.len() as u64) < limits.findings_max;
        if room || !self.malformed.iter().rev().any(|m| m.trouble == malformed.trouble) {
            self.malformed.push(malformed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_one_line_and_short() {
        assert_eq!(quote("a\nb\u{202e}c"), "`a\\nb\\u{202e}c`");
        assert_eq!(plain("x".repeat(200)).chars().count(), 81);
    }

    #[test]
    fn a_flood_of_trouble_cannot_hide_a_worse_one() {
        let limits = Limits { findings_max: 3, ..Limits::default() };
        let mut parsed = Parsed::default();
        for _ in 0..10 {
            parsed.report(&limits, Malformed::new(Trouble::Undecodable, None, "broken"));
        }
        for _ in 0..10 {
            parsed.report(&limits, Malformed::new(Trouble::Ambiguous, None, "two readings"));
        }
        assert_eq!(parsed.malformed.len(), 4);
        assert_eq!(parsed.malformed.last().map(|m| m.trouble), Some(Trouble::Ambiguous));
    }

    #[test]
    fn fields_past_the_end_are_absent() {
        assert_eq!(u16_le(&[1, 2], 0), Some(0x0201));
        assert_eq!(u32_le(&[1, 2, 3], 0), None);
        assert_eq!(u64_le(&[0; 8], 1), None);
        assert_eq!(u64_le(&[0; 8], usize::MAX), None);
    }
}
