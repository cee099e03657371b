//! Budgets of files and functions, and that every file says what it holds.

use anyhow::Result;

use super::Violation;
use crate::rust_text;
use crate::tree::{File, Tree};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Checks every source file of the crates and of xtask.
pub fn check(tree: &Tree) -> Result<Vec<Violation>> {
    let mut files = tree.files("xtask/src", "rs")?;
    for name in tree.directories("crates")? {
        files.extend(tree.files(&format!("crates/{name}/src"), "rs")?);
    }
    Ok(files.iter().flat_map(check_file).collect())
}

fn check_file(file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    if !file.text.starts_with("//!") {
        let what = "does not open with `//!`; say what it holds and why, in a line or more";
        violations.push(Violation::new(&file.path, 1, what));
    }
    let n = rust_text::lines_before_tests(&file.text);
    if n > FILE_LINES_MAX {
        let what = format!("has {n} lines before its tests, of {FILE_LINES_MAX}; look for the seam and split it");
        violations.push(Violation::new(&file.path, FILE_LINES_MAX + 1, what));
    }
    for function in rust_text::functions(&file.text).into_iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
        let what = format!(
            "function `{}` has {} lines of {FUNCTION_LINES_MAX}; take the leaves out of it",
            function.name, function.lines
        );
        violations.push(Violation::new(&file.path, function.line, what));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check_file(&File::new("a.rs", text)).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn budgets_are_met_at_the_limit_and_not_beyond() {
        let function = |n: usize| format!("//! Doc.\nfn f() {{\n{}}}\n", "    x();\n".repeat(n - 2));
        assert!(lines(&function(70)).is_empty());
        assert_eq!(lines(&function(71)), [2]);
        let file =
            |n: usize| format!("//! Doc.\n{}#[cfg(test)]\nmod tests {{\n    // one more\n}}\n", "x;\n".repeat(n - 1));
        assert!(lines(&file(800)).is_empty());
        assert_eq!(lines(&file(801)), [801]);
        assert_eq!(lines("mod a;\n"), [1]);
    }
}
