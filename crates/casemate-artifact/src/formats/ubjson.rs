//! Universal Binary JSON, as XGBoost saves its models (`.ubj`).
//!
//! Every value has a marker and a length, so a walk accounts for every byte; names and texts that are templates are handed
//! on. Lengths are compared with what is there, nesting is counted, and nothing is called by a reader of this format.
//!
//! Source: ubjson.org, draft 12; XGBoost's "Introduction to Model IO".

use casemate_core::Window;

use super::reading::{Allowance, text_kind, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Text, TextKind, Trouble};

/// Reads Universal Binary JSON.
pub(crate) struct Ubjson;

/// A text longer than this is passed over; templates are shorter.
const TEXT_BYTES_MAX: u64 = 1 << 20;

impl Format for Ubjson {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "ubjson",
            title: "Universal Binary JSON",
            extensions: &["ubj", "ubjson"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // An object whose first key has a length and begins like a name: no text has the zeros of a length.
        let key = match probe.head.as_slice() {
            [b'{', b'i' | b'U', 1..=64, rest @ ..] => rest,
            [b'{', b'I', 0, 1..=64, rest @ ..] => rest,
            [b'{', b'l', 0, 0, 0, 1..=64, rest @ ..] => rest,
            [b'{', b'L', 0, 0, 0, 0, 0, 0, 0, 1..=64, rest @ ..] => rest,
            _ => return Sniff::No,
        };
        match key.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut walk = Walk {
            object,
            window: Window::new(&**object.source),
            parsed: &mut parsed,
            at: 0,
            open: Vec::new(),
            allowance: Allowance::new(),
        };
        let outcome = walk.value().and_then(|()| walk.rest());
        let end = walk.at;
        parsed.claims.add(0..end.min(object.source.size_bytes()));
        if let Err(malformed) = outcome {
            parsed.report(object.limits, malformed);
        }
        parsed
    }
}

/// An open array or object.
struct Open {
    is_object: bool,
    /// The marker all its values share.
    kind: Option<u8>,
    /// How many are left, where they were counted.
    left: Option<u64>,
}

struct Walk<'a, 'p> {
    object: &'a Object<'a>,
    window: Window<'a>,
    parsed: &'p mut Parsed,
    at: u64,
    open: Vec<Open>,
    allowance: Allowance,
}

/// Bytes of a value by its marker, where that alone tells.
fn width(marker: u8) -> Option<u64> {
    Some(match marker {
        b'Z' | b'T' | b'F' | b'N' => 0,
        b'i' | b'U' | b'C' => 1,
        b'I' => 2,
        b'l' | b'd' => 4,
        b'L' | b'D' => 8,
        _ => return None,
    })
}

impl Walk<'_, '_> {
    /// Walks until everything opened is closed again.
    fn rest(&mut self) -> Result<(), Malformed> {
        while let Some(open) = self.open.last_mut() {
            let (is_object, kind) = (open.is_object, open.kind);
            let done = match &mut open.left {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => {
                    let close = if is_object { b'}' } else { b']' };
                    let done = self.peek()? == close;
                    self.at += u64::from(done);
                    done
                }
            };
            if done {
                self.open.pop();
                continue;
            }
            if is_object {
                self.text()?;
            }
            match kind {
                Some(marker) => self.of(marker)?,
                None => self.value()?,
            }
        }
        Ok(())
    }

    /// A value with its marker.
    fn value(&mut self) -> Result<(), Malformed> {
        let marker = self.byte()?;
        self.of(marker)
    }

    fn of(&mut self, marker: u8) -> Result<(), Malformed> {
        match (width(marker), marker) {
            (Some(width), _) => self.skip(width),
            (None, b'S' | b'H') => self.text(),
            (None, b'[' | b'{') => self.container(marker == b'{'),
            _ => Err(self.broken("a value has a marker that is none")),
        }
    }

    fn container(&mut self, is_object: bool) -> Result<(), Malformed> {
        if self.open.len() >= usize::try_from(self.object.limits.nesting_max).unwrap_or(usize::MAX) {
            return Err(Malformed::new(Trouble::Limit, self.at, "values nest deeper than is followed"));
        }
        let mut open = Open { is_object, kind: None, left: None };
        if self.peek()? == b'$' {
            self.at += 1;
            open.kind = Some(self.byte()?);
        }
        if self.peek()? == b'#' {
            self.at += 1;
            open.left = Some(self.length()?);
        } else if open.kind.is_some() {
            return Err(self.broken("values share a marker and are not counted"));
        }
        match (open.kind.and_then(width), open.left) {
            // Numbers in a row; a million of nothing is nothing.
            (Some(width), Some(n)) if !is_object => {
                self.skip(n.checked_mul(width).ok_or_else(|| self.broken("an array is longer than any file"))?)
            }
            _ => {
                self.open.push(open);
                Ok(())
            }
        }
    }

    /// A number that says how many.
    fn length(&mut self) -> Result<u64, Malformed> {
        let marker = self.byte()?;
        let Some(width) = width(marker).filter(|_| b"iUIlL".contains(&marker)) else {
            return Err(self.broken("a length is no number"));
        };
        let mut n = 0;
        for place in 0..width {
            let byte = self.byte()?;
            if place == 0 && marker != b'U' && byte >= 0x80 {
                return Err(self.broken("a length is negative"));
            }
            n = n << 8 | u64::from(byte);
        }
        Ok(n)
    }

    /// A name or text, without a marker of its own.
    fn text(&mut self) -> Result<(), Malformed> {
        let len = self.length()?;
        let at = self.at;
        self.skip(len)?;
        if !(4..=TEXT_BYTES_MAX).contains(&len) {
            return Ok(());
        }
        let bytes = self.window.get(at, len).map_err(|error| unreadable(&error, at))?.unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        if text_kind(&text) == TextKind::Template && self.allowance.take(text.len()) {
            let (kind, key, text) = (TextKind::Template, String::new(), text.into_owned());
            self.parsed.texts.push(Text { kind, key, text, offset: Some(at) });
        }
        Ok(())
    }

    fn skip(&mut self, n: u64) -> Result<(), Malformed> {
        match self.at.checked_add(n).filter(|end| *end <= self.window.size_bytes()) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => Err(self.broken("a value is longer than the file")),
        }
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&mut self) -> Result<u8, Malformed> {
        let at = self.at;
        let byte =
            self.window.get(at, 1).map_err(|error| unreadable(&error, at))?.and_then(|bytes| bytes.first().copied());
        byte.ok_or_else(|| self.broken("the file ends inside a value"))
    }

    fn broken(&self, what: &str) -> Malformed {
        Malformed::new(Trouble::Undecodable, self.at, what)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

    const SAMPLE: &[u8] = b"{U\x07learner{i\x01a[$d#U\x02\0\0\0\0\0\0\0\0i\x01bSU\x07{{ x }}}U\x01cZ}";

    #[test]
    fn a_sound_model_is_claimed_whole_and_templates_are_handed_on() {
        assert_eq!(sniff(&Ubjson, SAMPLE), Sniff::Certain);
        assert_eq!(troubles(&parse(&Ubjson, &SAMPLE[..SAMPLE.len() - 1])), [Trouble::Undecodable]);
        let parsed = parse(&Ubjson, SAMPLE);
        assert_whole(&parsed, SAMPLE);
        assert_eq!((parsed.texts.len(), parsed.texts[0].text.as_str()), (1, "{{ x }}"));
        let appended = [SAMPLE, b"\x7fELF"].concat();
        assert_eq!(hidden(&parse(&Ubjson, &appended), &appended).len(), 1);
    }

    #[test]
    fn counts_that_lie_and_deep_nesting_end() {
        for broken in [
            &b"{U\x01a[$d#L\x7f\0\0\0\0\0\0\0}"[..],
            b"{U\x01a[$d#L\x80\0\0\0\0\0\0\0}",
            b"{U\x01a[$d]}",
            b"{U\x01a?}",
            b"{U\x01a[#L\x7f\0\0\0\0\0\0\0",
        ] {
            assert_eq!(troubles(&parse(&Ubjson, broken)), [Trouble::Undecodable]);
        }
        let nothing = b"{U\x01a[$Z#L\x7f\0\0\0\0\0\0\0}";
        assert_whole(&parse(&Ubjson, nothing), nothing);
        let deep = [&b"{U\x01a"[..], &b"[".repeat(10_000)].concat();
        assert_eq!(troubles(&parse(&Ubjson, &deep)), [Trouble::Limit]);
    }

    #[test]
    fn json_and_templates_are_not_taken_for_it() {
        for other in [&b"{\"a\": 1}"[..], b"{{ x }}", b"{}", b"{i", b""] {
            assert_eq!(sniff(&Ubjson, other), Sniff::No);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"{U\x07learner{")) {
            assert_bounded(&Ubjson, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(SAMPLE.to_vec())) {
            assert_bounded(&Ubjson, &bytes);
        }
    }
}
