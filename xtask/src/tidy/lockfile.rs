//! The lockfile: one crypto provider, in one version.
//!
//! Cargo locks what a feature could turn on, so a banned package may stand there without being built: rustls-webpki names
//! `ring` as an option that nobody takes. What counts is the resolved tree, on every platform and with every feature.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

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
        Some(file) => {
            let (mut violations, banned) = check_lockfile(&file);
            for (name, violation) in banned {
                if is_built(tree, &name)? {
                    violations.push(violation);
                }
            }
            violations
        }
        None => vec![Violation::new(PATH, 1, "is missing; run `cargo generate-lockfile` and commit it")],
    })
}

/// Whether `name` is part of the build of anything here.
fn is_built(tree: &Tree, name: &str) -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "--workspace", "--all-features", "--target", "all", "--edges", "all", "--invert", name];
    let output =
        Command::new(cargo).args(arguments).current_dir(&tree.root).output().context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    Ok(!output.stdout.is_empty())
}

/// What is wrong for certain, and what is if the package is built.
fn check_lockfile(file: &File) -> (Vec<Violation>, Vec<(String, Violation)>) {
    let lock = match toml_file::parse(file) {
        Ok(lock) => lock,
        Err((line, what)) => {
            return (
                vec![Violation::new(&file.path, line, format!("{what}; run `cargo generate-lockfile`"))],
                Vec::new(),
            );
        }
    };
    let packages = toml_file::tables(&lock, "package");
    let names: Vec<&str> = packages.iter().map(|package| toml_file::text(package, "name")).collect();
    let at = |name: &str, what: String| Violation::new(&file.path, file.line_of(&format!("name = \"{name}\"")), what);
    let (mut violations, mut banned) = (Vec::new(), Vec::new());
    for name in names.iter().filter(|name| BANNED.iter().any(|banned| is_match(banned, name))) {
        let what =
            format!("`{name}` is in the tree; `cargo tree -i {name}` names who brings it, turn that feature off");
        banned.push(((*name).to_owned(), at(name, what)));
    }
    for single in SINGLE {
        let n = names.iter().filter(|name| *name == single).count();
        if n > 1 {
            violations
                .push(at(single, format!("{n} versions of `{single}`; bring all users to one with `cargo update`")));
        }
    }
    (violations, banned)
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
        let (certain, banned) = check_lockfile(&lock(&[("aws-lc-rs", "1.0.0"), ("string", "1.0.0")]));
        assert!(certain.is_empty() && banned.is_empty());
        let bad =
            lock(&[("aws-lc-rs", "1.0.0"), ("aws-lc-rs", "2.0.0"), ("ring", "0.17.0"), ("pqcrypto-mldsa", "0.1.0")]);
        let (certain, banned) = check_lockfile(&bad);
        assert_eq!(certain.iter().map(|violation| violation.line).collect::<Vec<_>>(), [2]);
        let banned: Vec<_> = banned.iter().map(|(name, violation)| (name.as_str(), violation.line)).collect();
        assert_eq!(banned, [("ring", 8), ("pqcrypto-mldsa", 11)]);
    }

    #[test]
    fn what_is_only_locked_is_not_built() {
        let tree = Tree::here().unwrap();
        assert!(is_built(&tree, "aws-lc-rs").unwrap());
        assert!(!is_built(&tree, "ring").unwrap());
    }
}
