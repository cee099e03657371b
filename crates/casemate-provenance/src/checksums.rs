//! Lists of SHA-256 checksums as publishers put them beside downloads.
//!
//! Sources: the output of GNU coreutils `sha256sum` and of BSD `sha256` (also `sha256sum --tag`). Read strictly: a line that is
//! neither, a name that could mean another file, or one that stands twice refuses the whole list, since a reader who skips
//! what he does not understand verifies less than was stated.

use std::collections::BTreeMap;

use casemate_core::Digest;

/// Files a list may name.
const ENTRIES_MAX: usize = 1 << 20;

/// Why a list is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct ChecksumsError {
    line: usize,
    what: String,
}

/// The digest of each file that `text` names. Empty lines and lines that begin with `#` say nothing.
///
/// # Errors
/// [`ChecksumsError`] names the first line that is no checksum, or a list without any.
pub fn parse(text: &str) -> Result<BTreeMap<String, Digest>, ChecksumsError> {
    let mut files = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let refuse = |what: &str| ChecksumsError { line: i + 1, what: what.into() };
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if files.len() >= ENTRIES_MAX {
            return Err(refuse("names more files than a model may have"));
        }
        let (digest, name) = gnu(line)
            .or_else(|| bsd(line))
            .ok_or_else(|| refuse("is no SHA-256 checksum; expected 64 hexadecimal digits, two spaces and a name"))?;
        let name = name.strip_prefix("./").unwrap_or(name);
        let is_plain = !name.is_empty()
            && !name.starts_with('/')
            && !name.contains(['\\', '\0'])
            && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !is_plain {
            return Err(refuse("names no file below the list's directory in plain words"));
        }
        if files.insert(name.to_owned(), digest).is_some() {
            return Err(refuse("names a file a second time"));
        }
    }
    match files.is_empty() {
        true => Err(ChecksumsError { line: 1, what: "holds no checksum".into() }),
        false => Ok(files),
    }
}

/// `DIGEST  NAME`, or `DIGEST *NAME` for binary mode. A line that begins with a backslash has an escaped name, and is no digest.
fn gnu(line: &str) -> Option<(Digest, &str)> {
    let (hex, rest) = line.split_at_checked(64)?;
    let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?;
    Some((hex.to_ascii_lowercase().parse().ok()?, name))
}

/// `SHA256 (NAME) = DIGEST`.
fn bsd(line: &str) -> Option<(Digest, &str)> {
    let (name, hex) = line.strip_prefix("SHA256 (")?.rsplit_once(") = ")?;
    Some((hex.to_ascii_lowercase().parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_common_forms_are_read() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let text = format!("# sums\n{a}  ./model.safetensors\r\n{b} *sub/two words.bin\n\nSHA256 (c (1).txt) = {a}\n");
        let files = parse(&text).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["c (1).txt", "model.safetensors", "sub/two words.bin"]);
        assert_eq!(files["sub/two words.bin"], b.to_lowercase().parse().unwrap());
    }

    #[test]
    fn anything_else_refuses_the_list() {
        let a = "a".repeat(64);
        for bad in [
            String::new(),
            "# nothing\n".into(),
            format!("{a} x"),
            format!("{a}  "),
            format!("{}  x", &a[1..]),
            format!("{a}  ../x"),
            format!("{a}  /etc/passwd"),
            format!("{a}  a//b"),
            format!("{a}  a/./b"),
            format!("{a}  a\\b"),
            format!("\\{a}  a\\nb"),
            format!("{a}  x\n{a}  ./x"),
            format!("MD5 (x) = {a}"),
            "\u{e9}".repeat(40),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
        let error = parse(&format!("{a}  x\nnonsense")).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }
}
