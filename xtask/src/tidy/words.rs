//! Words that do not belong into a published tree: open ends without an issue, and paths of the machine it was written on.

use anyhow::Result;

use super::Violation;
use crate::tree::{File, Tree};

/// Put together here, or this file would trip over itself.
fn words() -> [(String, &'static str); 4] {
    [
        (["/wo", "rk/"].concat(), "names a directory of somebody's machine; use a path relative to the root"),
        (
            ["/ro", "ot/"].concat(),
            "names a home directory; use a path relative to the root, or `/home/ada` in a sample",
        ),
        (["fa", "rm"].concat(), "is a word of the workplace; say it otherwise"),
        (["TO", "DO"].concat(), "has no issue number; write it as `(#123)` behind the word, or do it"),
    ]
}

/// Checks every tracked text file.
pub fn check(tree: &Tree) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for path in tree.tracked()? {
        let bytes = std::fs::read(tree.root.join(&path))?;
        // Binary samples are no text, and their bytes no words.
        if let Ok(text) = String::from_utf8(bytes) {
            violations.extend(check_file(&File { path, text }));
        }
    }
    Ok(violations)
}

fn check_file(file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (i, line) in file.text.lines().enumerate() {
        for (word, what) in words() {
            if line.match_indices(&word).any(|(at, _)| is_meant(line, at, &word)) {
                violations.push(Violation::new(&file.path, i + 1, format!("`{word}` {what}")));
            }
        }
    }
    violations
}

/// Whether `word` stands alone at `at`: no part of a longer word, and not quoted, and an open end without its issue.
fn is_meant(line: &str, at: usize, word: &str) -> bool {
    let before = line.get(..at).and_then(|text| text.chars().next_back());
    let after = line.get(at + word.len()..).unwrap_or_default();
    let continues = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if word.starts_with('/') {
        // `frame` + the first word is no path, and neither is a part of a URL.
        return !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}'));
    }
    let is_quoted = before == Some('`') && after.starts_with('`');
    if is_quoted || continues(before) || continues(after.chars().next()) {
        return false;
    }
    let has_issue = after.strip_prefix("(#").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    word.to_lowercase() == word || !has_issue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check_file(&File::new("a.md", text)).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn words_are_seen_alone_and_not_inside_others() {
        let [machine, home, word, open] = words().map(|(word, _)| word);
        let text = format!("see {machine}main\n\"{home}x\"\na {word}.\n{open}: later\n// {open}(ada) no\n");
        assert_eq!(lines(&text), [1, 2, 3, 4, 5]);
        let text = format!(
            "frame{machine}x\nnet{machine}\nhttps://a.org{home}x\n{word}er\nplat{word}\n{open}(#12): soon\nMAS{open}\na `{open}` needs one\n"
        );
        assert!(lines(&text).is_empty());
    }
}
