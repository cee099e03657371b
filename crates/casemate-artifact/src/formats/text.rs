//! Plain text: configuration, documentation, templates, vocabularies.
//!
//! Text is recognised by content, so that a template is judged whatever its file is called (CVE-2024-34359); what a text
//! says is left to the detectors.

use casemate_core::{Limits, Source, SourceExt, Window};

use super::reading::{is_template, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Setting, SettingKind, Text, TextKind, Trouble, clues, python, yaml};

/// The longest text handed on as a template; the longest chat template we know has 20 KiB.
pub(crate) const TEMPLATE_BYTES_MAX: u64 = 1 << 20;

/// The first line of every Git LFS pointer, its number apart.
const LFS_VERSION: &[u8] = b"version https://git-lfs.github.com/spec/v";

/// Reads UTF-8 text without control characters.
pub(crate) struct PlainText;

impl Format for PlainText {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "text",
            title: "plain text",
            extensions: &["txt", "md", "jinja", "yaml", "yml", "toml", "cfg", "ini", "py", "csv"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.size_bytes == 0 {
            return Sniff::Certain;
        }
        let mut scan = TextScan::default();
        let whole = probe.size_bytes <= probe.head.len() as u64;
        match scan.push(&probe.head) && (!whole || scan.finish()) {
            true => Sniff::Likely,
            false => Sniff::No,
        }
    }

    fn is_prose(&self) -> bool {
        true
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let size = object.source.size_bytes();
        match text_prefix(&**object.source) {
            Ok(end) => {
                parsed.claims.add(0..end);
                if end < size {
                    parsed.report(object.limits, Malformed::new(Trouble::Undecodable, end, "text stops being text"));
                }
            }
            Err(malformed) => parsed.report(object.limits, malformed),
        }
        if object.probe.starts_with(LFS_VERSION) {
            let digest = String::from_utf8_lossy(&object.probe.head).lines().nth(1).unwrap_or_default().to_owned();
            let kind = SettingKind::LfsPointer;
            parsed.settings.push(Setting { kind, path: "oid".into(), value: digest, line: Some(2) });
        }
        read_whole(object, &mut parsed);
        parsed
    }
}

/// Reads an object that is text to its end and of moderate length for what it says.
pub(super) fn read_whole(object: &Object<'_>, parsed: &mut Parsed) {
    let size = object.source.size_bytes();
    if !parsed.malformed.is_empty() {
        return;
    }
    if size > TEMPLATE_BYTES_MAX {
        return note_long(object, parsed);
    }
    match object.source.bytes_at(0, size).map(String::from_utf8) {
        Ok(Ok(text)) => read(text, object.limits, parsed),
        Ok(Err(_)) => {}
        Err(error) => parsed.report(object.limits, unreadable(&error, 0)),
    }
}

/// Searches a text of any length for credentials, piece by piece.
fn note_long(object: &Object<'_>, parsed: &mut Parsed) {
    let (mut at, mut line, size) = (0, 1, object.source.size_bytes());
    while at < size {
        let mut bytes = match object.source.bytes_at(at, TEMPLATE_BYTES_MAX) {
            Ok(bytes) if !bytes.is_empty() => bytes,
            Ok(_) => return,
            Err(error) => return parsed.report(object.limits, unreadable(&error, at)),
        };
        let is_last = at + bytes.len() as u64 >= size;
        let (end, next) = if is_last { (bytes.len(), bytes.len()) } else { seam(&bytes) };
        bytes.truncate(end);
        let text = String::from_utf8_lossy(&bytes);
        clues::note_lines_from(&mut parsed.clues, &text, line);
        line += bytes.iter().take(next).filter(|byte| **byte == b'\n').count() as u64;
        at += next as u64;
    }
}

/// Where a piece of a long text ends and the next one begins: between lines, before a key of several lines that goes on, else
/// between words. Where there are no words the two overlap by more than a credential has.
fn seam(piece: &[u8]) -> (usize, usize) {
    const TAIL_BYTES: usize = 16 << 10;
    const KEY: &[u8] = b"-----BEGIN ";
    let from = piece.len().saturating_sub(TAIL_BYTES);
    let tail = piece.get(from..).unwrap_or_default();
    let last = |wanted: fn(&u8) -> bool, tail: &[u8]| tail.iter().rposition(wanted).map(|n| from + n + 1);
    let key = tail.windows(KEY.len()).rposition(|bytes| bytes == KEY);
    let goes_on = key.filter(|at| !tail.get(*at..).unwrap_or_default().windows(9).any(|bytes| bytes == b"-----END "));
    let tail = tail.get(..goes_on.unwrap_or(tail.len())).unwrap_or_default();
    let between = last(|byte| *byte == b'\n', tail).or_else(|| last(u8::is_ascii_whitespace, tail));
    match between.or(goes_on.map(|at| from + at)).filter(|at| *at > 0) {
        Some(at) => (at, at),
        None => (piece.len(), from.max(1)),
    }
}

/// What a text of moderate length says: calls, settings, a template.
fn read(text: String, limits: &Limits, parsed: &mut Parsed) {
    if python::may_call(&text) {
        parsed.calls = python::calls(&text, limits.findings_max);
    }
    clues::note_lines(&mut parsed.clues, &text);
    parsed.settings.extend(site_hooks(&text));
    parsed.settings.extend(yaml::settings(&text));
    if is_template(&text) {
        parsed.texts.push(Text { kind: TextKind::Template, key: String::new(), text, offset: Some(0) });
    }
}

/// Lines that Python would run at its start, were the text a path file; the first few say enough.
fn site_hooks(text: &str) -> impl Iterator<Item = Setting> {
    // `site` strips no indentation, but a byte order mark.
    let lines = text.trim_start_matches('\u{feff}').split(['\n', '\r']).zip(1..);
    let hooks = lines.filter(|(line, _)| line.starts_with("import ") || line.starts_with("import\t"));
    hooks.take(4).map(|(line, number)| Setting {
        kind: SettingKind::SiteHook,
        path: String::new(),
        value: line.chars().take(200).collect(),
        line: Some(number),
    })
}

/// How many bytes from the start are text.
///
/// # Errors
/// When the medium cannot be read.
pub(super) fn text_prefix(source: &dyn Source) -> Result<u64, Malformed> {
    let (mut scan, mut at, size) = (TextScan::default(), 0, source.size_bytes());
    while at < size {
        let bytes = source.bytes_at(at, Window::BYTES).map_err(|e| unreadable(&e, at))?;
        if bytes.is_empty() || !scan.push(&bytes) {
            break;
        }
        at += bytes.len() as u64;
    }
    scan.finish();
    Ok(scan.text_bytes)
}

/// Text seen in pieces.
#[derive(Default)]
struct TextScan {
    text_bytes: u64,
    // The beginning of a character whose rest is in the next piece.
    split: Vec<u8>,
}

impl TextScan {
    /// Takes the next piece; false once something in it is not text.
    fn push(&mut self, piece: &[u8]) -> bool {
        let joined;
        let mut bytes = piece;
        if !self.split.is_empty() {
            joined = [&self.split, piece].concat();
            bytes = &joined;
        }
        let (valid, rest, broken) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, &[][..], false),
            Err(error) => {
                let (valid, rest) = bytes.split_at_checked(error.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(valid).unwrap_or_default(), rest, error.error_len().is_some())
            }
        };
        let control =
            valid.bytes().position(|byte| (byte < 0x20 && !b"\t\n\r\x0c\x1b".contains(&byte)) || byte == 0x7f);
        self.text_bytes += control.unwrap_or(valid.len()) as u64;
        self.split = if broken || control.is_some() { Vec::new() } else { rest.to_vec() };
        !broken && control.is_none()
    }

    /// Whether nothing is left open.
    fn finish(&mut self) -> bool {
        self.split.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

    #[test]
    fn text_is_claimed_whole_across_pieces() {
        // Three bytes a character, so that one lies across the windows.
        let long = "€".repeat(100_000);
        for text in ["", "plain\tänd\r\n\x1b[0m", long.as_str()] {
            assert_whole(&parse(&PlainText, text.as_bytes()), text.as_bytes());
        }
        assert_eq!(sniff(&PlainText, b""), Sniff::Certain);
        assert_eq!(sniff(&PlainText, long.as_bytes()), Sniff::Likely);
    }

    #[test]
    fn what_is_not_text_is_not_taken_for_it() {
        for bytes in [&b"a\0b"[..], b"\xff\xfe", b"a\x08", b"cut \xe2\x82"] {
            assert_eq!(sniff(&PlainText, bytes), Sniff::No);
        }
    }

    #[test]
    fn text_followed_by_something_else_is_claimed_up_to_there() {
        let bytes = [&b"x".repeat(70_000)[..], b"\x80\x04N."].concat();
        let parsed = parse(&PlainText, &bytes);
        assert_eq!(troubles(&parsed), [Trouble::Undecodable]);
        assert_eq!(hidden(&parsed, &bytes).first(), Some(&(70_000..70_004)));
    }

    #[test]
    fn credentials_are_found_wherever_they_stand_in_a_long_text() {
        let token = "hf_".to_owned() + "aZ3kQ9vLmX2cRt7YpWbN5sDfGh8JuKe4Tq";
        let key = format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{}-----END RSA PRIVATE KEY-----\n",
            "aZ3kQ9vLmX2cRt7Y\n".repeat(150)
        );
        // At the seams of pieces too, where there are lines, words or neither.
        let (mib, tail) = (1 << 20, 16 << 10);
        for (secret, filler, places) in [
            (token.clone(), "plain words ", vec![mib - 20]),
            (format!(" {token}"), "z", vec![mib - 20, mib - tail - 9]),
            (token, "lines\n", vec![5 * mib]),
            (key, "lines\n", vec![mib - 20, mib - tail - 9]),
        ] {
            let first = parse(&PlainText, secret.as_bytes()).clues;
            assert_eq!(first.len(), 1, "{secret}");
            for before in places {
                let mut text = filler.repeat(before / filler.len());
                let line = text.matches('\n').count() as u64 + 1;
                text.push_str(&secret);
                text.push(' ');
                text.push_str(&filler.repeat(100));
                let clues = parse(&PlainText, text.as_bytes()).clues;
                assert_eq!((clues.len(), &clues[0].what), (1, &first[0].what), "{before}");
                assert!(clues[0].line.is_none() || clues[0].line == Some(line), "{:?}", clues[0].line);
            }
        }
    }

    #[test]
    fn templates_are_handed_on_up_to_a_length() {
        let parsed = parse(&PlainText, b"{% for m in messages %}");
        assert_eq!((parsed.texts.len(), parsed.texts[0].kind), (1, TextKind::Template));
        assert!(parse(&PlainText, b"no template").texts.is_empty());
        assert!(parse(&PlainText, "{{ a }}".repeat(200_000).as_bytes()).texts.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"{{ text }}")) {
            assert_bounded(&PlainText, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants("{% text ä €".into())) {
            assert_bounded(&PlainText, &bytes);
        }
    }
}
