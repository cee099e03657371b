//! The lockfile: one crypto provider, in one version.

use anyhow::Result;

use super::Violation;
use crate::toml_file;
use crate::tree::{File, Tree};

const PATH: &str = "Cargo.lock";

/// Packages that may not be in the tree; a `*` at the end stands for any ending.
const BANNED: &[&str] = &["ring", "openssl-sys", "pqcrypto*"];

/// Packages of which there may be one version only.
const SINGLE: &[&str] = &["aws-lc-rs"];

/// Checks the workspace's lockfile.
pub fn check(tree: &Tree) -> Result<Vec<Violation>> {
    Ok(match tree.file(PATH)? {
        Some(file) => check_lockfile(&file),
        None => vec![Violation::new(PATH, 1, "is missing; run `cargo generate-lockfile` and commit it")],
    })
}

fn check_lockfile(file: &File) -> Vec<Violation> {
    let lock = match toml_file::parse(file) {
        Ok(lock) => lock,
        Err((line, what)) => {
            return vec![Violation::new(&file.path, line, format!("{what}; run `cargo generate-lockfile`"))];
        }
    };
    let packages = toml_file::tables(&lock, "package");
    let names: Vec<&str> = packages.iter().map(|package| toml_file::text(package, "name")).collect();
    let at = |name: &str, what: String| Violation::new(&file.path, file.line_of(&format!("name = \"{name}\"")), what);
    let mut violations = Vec::new();
    for name in names.iter().filter(|name| BANNED.iter().any(|banned| is_match(banned, name))) {
        let what =
            format!("`{name}` is in the tree; `cargo tree -i {name}` names who brings it, turn that feature off");
        violations.push(at(name, what));
    }
    for single in SINGLE {
        let n = names.iter().filter(|name| *name == single).count();
        if n > 1 {
            violations
                .push(at(single, format!("{n} versions of `{single}`; bring all users to one with `cargo update`")));
        }
    }
    violations
}

fn is_match(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str)]) -> File {
        let entry =
            |(name, version): &(&str, &str)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        File::new(PATH, packages.iter().map(entry).collect::<String>())
    }

    #[test]
    fn a_second_provider_or_version_is_seen() {
        assert!(check_lockfile(&lock(&[("aws-lc-rs", "1.0.0"), ("string", "1.0.0")])).is_empty());
        let bad =
            lock(&[("aws-lc-rs", "1.0.0"), ("aws-lc-rs", "2.0.0"), ("ring", "0.17.0"), ("pqcrypto-mldsa", "0.1.0")]);
        let lines: Vec<_> = check_lockfile(&bad).into_iter().map(|violation| violation.line).collect();
        assert_eq!(lines, [8, 11, 2]);
    }
}
