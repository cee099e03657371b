//! The spine: what a newcomer reads first must stay readable in one afternoon.

use anyhow::Result;

use super::Violation;
use crate::tree::{File, Tree};

/// Most lines of all spine files together.
pub const LINES_MAX: usize = 3000;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const ARCHITECTURE_LINES_MAX: usize = 250;

/// Spine files besides casemate-core and each crate's `lib.rs`.
const FILES: &[&str] = &[
    ARCHITECTURE,
    "crates/casemate-artifact/src/formats.rs",
    "crates/casemate-artifact/src/detectors.rs",
    "crates/casemate/src/main.rs",
    "crates/casemate/src/cli.rs",
];

/// Checks the budgets.
pub fn check(tree: &Tree) -> Result<Vec<Violation>> {
    Ok(check_files(&files(tree)?))
}

/// Lines of all spine files together.
pub fn lines(tree: &Tree) -> Result<usize> {
    Ok(count(&files(tree)?))
}

fn files(tree: &Tree) -> Result<Vec<File>> {
    let mut files = tree.files("crates/casemate-core/src", "rs")?;
    for name in tree.directories("crates")?.iter().filter(|name| *name != "casemate-core") {
        files.extend(tree.file(&format!("crates/{name}/src/lib.rs"))?);
    }
    for path in FILES {
        files.extend(tree.file(path)?);
    }
    Ok(files)
}

fn count(files: &[File]) -> usize {
    files.iter().map(|file| file.text.lines().count()).sum()
}

fn check_files(files: &[File]) -> Vec<Violation> {
    let mut violations = Vec::new();
    match files.iter().find(|file| file.path == ARCHITECTURE).map(|file| file.text.lines().count()) {
        None => violations.push(Violation::new(ARCHITECTURE, 1, "is missing; write the map of the house")),
        Some(n) if n > ARCHITECTURE_LINES_MAX => {
            let what = format!("has {n} lines of {ARCHITECTURE_LINES_MAX}; move detail to docs/explain");
            violations.push(Violation::new(ARCHITECTURE, ARCHITECTURE_LINES_MAX + 1, what));
        }
        Some(_) => {}
    }
    let n = count(files);
    if n > LINES_MAX {
        let longest = files.iter().max_by_key(|file| file.text.lines().count()).map_or("", |file| &file.path);
        let what =
            format!("the spine has {n} lines of {LINES_MAX}, this file most; move what is no vocabulary out of it");
        violations.push(Violation::new(longest, 1, what));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_met_at_the_limit_and_not_beyond() {
        let file = |path: &str, n: usize| File::new(path, "x\n".repeat(n));
        assert!(check_files(&[file(ARCHITECTURE, 250), file("lib.rs", 2750)]).is_empty());
        let over = check_files(&[file(ARCHITECTURE, 251), file("lib.rs", 2750)]);
        assert_eq!(over.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), [ARCHITECTURE, "lib.rs"]);
        assert_eq!(check_files(&[]).len(), 1);
    }
}
