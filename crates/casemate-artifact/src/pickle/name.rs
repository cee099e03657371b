//! Texts of a pickle as CPython decodes them, and the names Python 2 gave to things.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::value::Spelling;

/// Decodes a constant; `None` where CPython would refuse it.
pub(super) fn decode(bytes: &[u8], spelling: Spelling) -> Option<String> {
    match spelling {
        Spelling::Utf8 => Some(String::from_utf8_lossy(bytes).into_owned()),
        Spelling::RawUnicodeEscape => Some(raw_unicode_escape(bytes)),
        Spelling::Quoted => quoted(bytes).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// STRING's operand: a quoted literal with the escapes of `codecs.escape_decode`.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii_end();
    let (quote, inner) = match line {
        [first @ (b'\'' | b'"'), inner @ .., last] if first == last => (first, inner),
        _ => return None,
    };
    let _ = quote;
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\n' => {}
            b'x' => {
                let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                out.push(high << 4 | low);
            }
            digit @ b'0'..=b'7' => {
                let mut value = u16::from(digit - b'0');
                for _ in 0..2 {
                    let Some(digit) = bytes.next_if(|b| matches!(b, b'0'..=b'7')) else { break };
                    value = value << 3 | u16::from(digit - b'0');
                }
                out.push(value.to_le_bytes()[0]);
            }
            other => match (b"abfnrtv\\'\"").iter().position(|b| *b == other) {
                Some(i) => out.extend(b"\x07\x08\x0c\n\r\t\x0b\\'\"".get(i)),
                None => out.extend([b'\\', other]),
            },
        }
    }
    Some(out)
}

/// UNICODE's operand: Latin-1 in which `\uXXXX` and `\UXXXXXXXX` stand for code points.
fn raw_unicode_escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        let width = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let code = tail.get(1..=width).filter(|_| width > 0).and_then(|digits| {
            digits
                .iter()
                .try_fold(0u32, |code, digit| Some(code << 4 | u32::from(hex(*digit)?)))
                .and_then(char::from_u32)
        });
        match (code.zip(tail.get(width + 1..)), tail) {
            (Some((code, after)), _) => {
                out.push(code);
                rest = after;
            }
            // The second of two backslashes begins no escape.
            (None, [second, after @ ..]) if *byte == b'\\' && width == 0 => {
                out.extend([char::from(*byte), char::from(*second)]);
                rest = after;
            }
            (None, _) => {
                out.push(char::from(*byte));
                rest = tail;
            }
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A decimal operand as Python's `int()` reads it: space around, a sign, single underscores between digits.
pub(super) fn int(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes.trim_ascii()).ok()?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let well_formed = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if !well_formed || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i64 = digits.parse().ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}

/// The operand of INT and LONG: a Python literal (`0x10`, `0o7`, `0b1`, `1_000`), or what C's `strtol` takes (`010`).
/// Anything that does not fit is still a number, clamped to the range of `i128`.
pub(super) fn literal(bytes: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(bytes.trim_ascii()).ok()?;
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match prefix.as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        _ => (10, digits),
    };
    let mut value = 0i128;
    let mut any = false;
    for digit in digits.chars().filter(|c| *c != '_') {
        value = value.saturating_mul(radix.into()).saturating_add(digit.to_digit(radix)?.into());
        any = true;
    }
    any.then_some(if negative { -value } else { value })
}

/// Names of Python 2, as CPython's unpickler maps them below protocol 3: full names first, then modules.
static PYTHON2: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("python2_names.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" -> ")).collect()
});

/// What CPython imports for a Python 2 `(module, name)` (`_compat_pickle.NAME_MAPPING`, then `IMPORT_MAPPING`).
pub fn python3_name(module: &str, name: &str) -> (String, String) {
    if let Some((module, name)) = PYTHON2.get(format!("{module}:{name}").as_str()).and_then(|to| to.split_once(':')) {
        return (module.into(), name.into());
    }
    (PYTHON2.get(module).map_or(module, |to| *to).into(), name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_escapes_decode_as_in_cpython() {
        assert_eq!(quoted(br"'\x6f\163'").unwrap(), b"os");
        assert_eq!(quoted(b"\"o\\\ns\"").unwrap(), b"os");
        assert_eq!(quoted(br"'a\qb\\'").unwrap(), br"a\qb\");
        assert_eq!(quoted(b"'os"), None);
        assert_eq!(quoted(b"'"), None);
        assert_eq!(quoted(br"'\x6'"), None);
    }

    #[test]
    fn unicode_escapes_decode_and_broken_ones_stay() {
        assert_eq!(raw_unicode_escape(br"\u006f\U00000073"), "os");
        assert_eq!(raw_unicode_escape(b"\\u00"), "\\u00");
        assert_eq!(raw_unicode_escape(b"\xe9"), "é");
        assert_eq!(raw_unicode_escape(br"\\u006f"), r"\\u006f");
    }

    #[test]
    fn python_2_names_are_mapped() {
        assert_eq!(python3_name("__builtin__", "eval"), ("builtins".into(), "eval".into()));
        assert_eq!(python3_name("commands", "getoutput"), ("subprocess".into(), "getoutput".into()));
        assert_eq!(python3_name("os", "system"), ("os".into(), "system".into()));
    }

    #[test]
    fn literals_are_read_in_every_base_and_of_any_size() {
        assert_eq!(literal(b"0x10"), Some(16));
        assert_eq!(literal(b"-0B11"), Some(-3));
        assert_eq!(literal(b" 0o17\r"), Some(15));
        assert_eq!(literal(b"1180591620717411303424"), Some(1 << 70));
        for bad in [&b""[..], b"0x", b"1z", b"--1", b"\xff"] {
            assert_eq!(literal(bad), None);
        }
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        assert_eq!(int(b" 1_0\r"), Some(10));
        assert_eq!(int(b"-3"), Some(-3));
        for bad in [&b""[..], b"_1", b"1__0", b"0x1", b"--1", b"99999999999999999999"] {
            assert_eq!(int(bad), None);
        }
    }
}
