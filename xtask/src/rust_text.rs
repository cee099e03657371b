//! Rust source as text: what is code in it, and how long its functions are.
//!
//! Not a parser. Strings, characters and comments are blanked first, so that counting braces is reliable on any code that
//! compiles.

/// A function found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace, both counted.
    pub lines: usize,
}

/// `text` with the inside of strings, characters and comments as spaces; lines stay where they are.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let len = blank_len(bytes, at);
        match len {
            0 => {
                out.extend(bytes.get(at));
                at += 1;
            }
            _ => {
                let blank = bytes.iter().skip(at).take(len).map(|byte| if *byte == b'\n' { b'\n' } else { b' ' });
                out.extend(blank);
                at += len;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Number of bytes of the comment, string or character that begins at `at`; 0 when code does.
fn blank_len(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_len(rest),
        [b'"', ..] => string_len(rest),
        [b'\'', ..] => char_len(rest),
        [b'r', b'"' | b'#', ..] if !continues_word(bytes, at) => raw_string_len(rest),
        _ => 0,
    }
}

/// Whether the byte before `at` belongs to the same word; the prefixes of `br"` and `cr"` do not count.
fn continues_word(bytes: &[u8], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|i| bytes.get(i)).copied();
    let is_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match before(1) {
        Some(b'b' | b'c') => is_word(before(2)),
        other => is_word(other),
    }
}

fn block_comment_len(rest: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string_len(rest: &[u8]) -> usize {
    let hashes = rest.iter().skip(1).take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0; // `r#type`, a raw identifier.
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    let end = rest.get(body..).and_then(|body| body.windows(close.len()).position(|window| window == close));
    end.map_or(rest.len(), |end| body + end + close.len())
}

/// A character has its closing quote after one character or an escape; a lifetime has none.
fn char_len(rest: &[u8]) -> usize {
    let Some(first) = rest.get(1) else { return 0 };
    if *first == b'\\' {
        let close = rest.iter().skip(3).position(|byte| *byte == b'\'');
        return close.map_or(0, |close| close + 4);
    }
    let width = match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

/// The functions with a body in `text`, in order of appearance.
pub fn functions(text: &str) -> Vec<Function> {
    let code = code_only(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code.get(..at).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '#') {
            continue;
        }
        let rest = code.get(at..).unwrap_or_default();
        let name: String = rest.chars().skip(3).take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if let Some(len) = body_end(rest).filter(|_| !name.is_empty()) {
            let newlines = |text: Option<&str>| text.map_or(0, |text| text.matches('\n').count());
            found.push(Function { name, line: newlines(Some(before)) + 1, lines: newlines(rest.get(..len)) + 1 });
        }
    }
    found
}

/// Where the body of the function at the start of `code` ends; `None` for a declaration without one.
fn body_end(code: &str) -> Option<usize> {
    let mut brackets = 0i64;
    let mut braces = 0i64;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            _ => continue,
        }
        if c == '}' && braces == 0 && brackets == 0 {
            return Some(at);
        }
    }
    None
}

/// Number of lines before the unit tests.
pub fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let opens = |pair: &[&str]| matches!(pair, [attribute, module] if *attribute == "#[cfg(test)]" && module.starts_with("mod ") && module.ends_with('{'));
    lines.windows(2).position(opens).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_characters_and_comments_are_no_code() {
        let text = "a(\"{\\\"\"); // {\nb('{', '\\'', '\\u{7f}', 'é'); /* { /* { */ { */ c(r#\"{\"{\"#, br\"{\"); d::<'x>(r#type);";
        let code = code_only(text);
        assert!(!code.contains('{'), "{code}");
        assert_eq!(code.matches('\n').count(), 1);
        for kept in ["a(", "b(", "c(", "d::<'x>(r#type)"] {
            assert!(code.contains(kept), "{kept} in {code}");
        }
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let text = "fn one() { \"}\"; }\n\ntrait T {\n    fn declared(&self) -> [u8; { 3 }];\n    fn two<'a>(x: &'a str)\n    where\n        Self: Sized,\n    {\n        if x == \"{\" {}\n    }\n}\nlet f: fn (u8) = g; // fn commented() {}\n";
        let found: Vec<_> = functions(text).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("one".into(), 1, 1), ("two".into(), 5, 6)]);
    }

    #[test]
    fn helpers_for_tests_do_not_end_a_file() {
        assert_eq!(lines_before_tests("a\n#[cfg(test)]\nmod testing;\nb\n#[cfg(test)]\nmod tests {\n}\n"), 4);
        assert_eq!(lines_before_tests("a\nb\n"), 2);
    }
}
