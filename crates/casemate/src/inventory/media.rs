//! Files that the scanner has no reader for and that are known to be something other than a model: pictures, sound, documents,
//! fonts, databases, and what version control keeps.
//!
//! A sweep over real directories meets thousands of them, and naming each as "could not be told" would bury what matters. Each
//! is known by an unmistakable beginning, from its format's specification; weak ones of two or three bytes are not listed. What
//! somebody hides behind such a beginning is not found here: a scan of that very file says `unscannable`.

use casemate_core::{Source, SourceExt};

/// Bytes looked at.
const HEAD_BYTES: u64 = 16;

/// Beginnings, each with where it stands.
const BEGINNINGS: &[(usize, &[u8])] = &[
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"\xff\xd8\xff\xe0"),
    (0, b"\xff\xd8\xff\xe1"),
    (0, b"\xff\xd8\xff\xdb"),
    (0, b"\xff\xd8\xff\xee"),
    (8, b"WEBP"),
    (8, b"WAVE"),
    (8, b"AVI "),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"\0\0\x01\0\x01\0"),
    (4, b"ftypmp4"),
    (4, b"ftypisom"),
    (4, b"ftypavif"),
    (4, b"ftypM4A"),
    (4, b"ftypqt"),
    (0, b"OggS\0"),
    (0, b"fLaC\0"),
    (0, b"ID3\x03"),
    (0, b"ID3\x04"),
    (0, b"%PDF-"),
    (0, b"wOFF"),
    (0, b"wOF2"),
    (0, b"OTTO\0"),
    (0, b"\0\x01\0\0\0"),
    (0, b"SQLite format 3\0"),
    (0, b"DIRC\0\0\0"),
    (0, b"\xfftOc\0\0\0"),
];

/// Whether `source` begins like something that is no model.
pub fn holds_no_model(source: &dyn Source) -> bool {
    let Ok(head) = source.bytes_at(0, HEAD_BYTES) else { return false };
    // RIFF is a container for many things; only those named above behind it count.
    let starts = |(at, magic): &(usize, &[u8])| {
        let riff = *at != 8 || head.starts_with(b"RIFF");
        riff && head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
    };
    BEGINNINGS.iter().any(starts)
}

#[cfg(test)]
mod tests {
    use casemate_core::MemorySource;

    use super::*;

    #[test]
    fn media_is_known_by_its_beginning_and_nothing_else_is() {
        let is = |bytes: &[u8]| holds_no_model(&MemorySource::new(bytes));
        assert!(is(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") && is(b"RIFF\x10\0\0\0WEBPVP8 ") && is(b"%PDF-1.7\n"));
        assert!(!is(b"XXXX\x10\0\0\0WEBPVP8 ") && !is(b"\x89PN") && !is(b"") && !is(b"BM") && !is(&[0; 16]));
    }
}
