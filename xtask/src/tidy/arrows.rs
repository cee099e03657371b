//! Dependency arrows: capability crates know core and numeric, never each other, so that each can be read alone.
//!
//! Also: versions and features stand once in the workspace, and a crate only says `workspace = true`.

use anyhow::Result;
use toml::{Table, Value};

use super::Violation;
use crate::toml_file;
use crate::tree::{File, Tree};

const FOUNDATIONS: &[&str] = &["casemate-core", "casemate-numeric"];

const KINDS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Checks the manifest of every crate.
pub fn check(tree: &Tree) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for name in tree.directories("crates")? {
        match tree.file(&format!("crates/{name}/Cargo.toml"))? {
            Some(file) => violations.extend(check_manifest(&file)),
            None => {
                violations.push(Violation::new(&format!("crates/{name}"), 1, "has no Cargo.toml; add one or remove it"))
            }
        }
    }
    if let Some(file) = tree.file("xtask/Cargo.toml")? {
        violations.extend(check_manifest(&file));
    }
    Ok(violations)
}

fn check_manifest(file: &File) -> Vec<Violation> {
    let manifest = match toml_file::parse(file) {
        Ok(manifest) => manifest,
        Err((line, what)) => return vec![Violation::new(&file.path, line, format!("{what}; mend the TOML"))],
    };
    let name =
        toml_file::table(&manifest, "package").map(|package| toml_file::text(package, "name")).unwrap_or_default();
    let mut violations = Vec::new();
    for (dependency, value) in dependencies(&manifest) {
        let line = file.line_of(&format!("{dependency}.")).max(file.line_of(&format!("{dependency} =")));
        if is_ours(dependency) && !is_allowed(name, dependency) {
            let what = format!(
                "`{name}` depends on `{dependency}`; move what both need to casemate-core, or let the binary join them"
            );
            violations.push(Violation::new(&file.path, line, what));
        }
        if value.get("workspace").and_then(Value::as_bool) != Some(true) {
            let what = format!(
                "`{dependency}` sets its own version; put it in [workspace.dependencies] and write `{dependency}.workspace = true`"
            );
            violations.push(Violation::new(&file.path, line, what));
        }
    }
    violations
}

/// Every dependency of any kind, those of single platforms included.
fn dependencies(manifest: &Table) -> Vec<(&str, &Value)> {
    let targets = toml_file::table(manifest, "target").into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let tables = std::iter::once(manifest).chain(targets);
    let lists = tables.flat_map(|table| KINDS.iter().filter_map(|kind| toml_file::table(table, kind)));
    lists.flatten().map(|(name, value)| (name.as_str(), value)).collect()
}

fn is_ours(name: &str) -> bool {
    name == "casemate" || name.starts_with("casemate-") || name == "xtask"
}

fn is_allowed(from: &str, to: &str) -> bool {
    match from {
        "casemate" => to != "xtask",
        "xtask" => false,
        _ if FOUNDATIONS.contains(&from) => false,
        _ => FOUNDATIONS.contains(&to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(text: &str) -> Vec<(usize, String)> {
        check_manifest(&File::new("Cargo.toml", text)).into_iter().map(|v| (v.line, v.what)).collect()
    }

    #[test]
    fn the_allowed_arrows_pass() {
        let clean = "[package]\nname = \"casemate-data\"\n[dependencies]\ncasemate-core.workspace = true\ncasemate-numeric = { workspace = true }\nserde.workspace = true\n";
        assert!(violations(clean).is_empty());
        assert!(
            violations("[package]\nname = \"casemate\"\n[dependencies]\ncasemate-data.workspace = true\n").is_empty()
        );
    }

    #[test]
    fn an_edge_between_capabilities_is_seen_even_for_tests_and_platforms() {
        let dev = "[package]\nname = \"casemate-data\"\n[dev-dependencies]\ncasemate-artifact.workspace = true\n";
        assert_eq!(violations(dev).first().unwrap().0, 4);
        let unix = "[package]\nname = \"casemate-data\"\n[target.'cfg(unix)'.dependencies]\ncasemate-assess.workspace = true\n";
        assert_eq!(violations(unix).len(), 1);
        let core = "[package]\nname = \"casemate-core\"\n[dependencies]\ncasemate-numeric.workspace = true\n";
        assert_eq!(violations(core).len(), 1);
    }

    #[test]
    fn a_version_outside_the_workspace_is_seen() {
        let own = "[package]\nname = \"casemate-data\"\n[dependencies]\nserde = \"1\"\n";
        assert!(violations(own).first().unwrap().1.contains("workspace = true"));
    }
}
