//! `frameworks.md`: the editions the catalogue maps to, with how much of each is reached.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use toml::Table;

use super::{cell, head};
use crate::toml_file::{self, text};
use crate::tree::File;

/// The page made of the files of frameworks and controls.
pub fn page(frameworks: &[File], controls: &[File]) -> Result<String> {
    let parse = |file: &File| toml_file::parse(file).map_err(|(line, what)| anyhow!("{}:{line}: {what}", file.path));
    let mut mapped: BTreeMap<String, Reached> = BTreeMap::new();
    for control in controls {
        let control = parse(control)?;
        for id in toml_file::texts(&control, "maps") {
            let (edition, id) = id.split_once(':').unwrap_or((id, ""));
            let reached = mapped.entry(edition.to_owned()).or_default();
            reached.ids.insert(id.to_owned());
            reached.controls.insert(text(&control, "id").to_owned());
        }
    }
    let what =
        "Ids are cited with their edition, as in `owasp-ml@2023:ML06`: lists are renumbered from one to the next.";
    let mut page = head("Frameworks", what);
    page.push_str("\n| framework | edition | title | ids | of them mapped | controls | licence | reviewed |\n|---|---|---|---:|---:|---:|---|---|\n");
    for file in frameworks {
        let framework = parse(file)?;
        // A crosswalk between editions has no ids of its own.
        let Some(n_ids) = toml_file::table(&framework, "ids").map(Table::len) else { continue };
        let (id, edition) = (text(&framework, "framework"), text(&framework, "edition"));
        let (n_mapped, n_controls) = mapped
            .get(&format!("{id}@{edition}"))
            .map_or((0, 0), |reached| (reached.ids.len(), reached.controls.len()));
        let _ = writeln!(
            page,
            "| `{id}` | {edition} | [{}]({}) | {n_ids} | {n_mapped} | {n_controls} | {} | {} |",
            cell(text(&framework, "title")),
            text(&framework, "source"),
            cell(text(&framework, "licence")),
            text(&framework, "reviewed_on"),
        );
    }
    Ok(page)
}

/// What controls map to in one edition.
#[derive(Default)]
struct Reached {
    ids: BTreeSet<String>,
    controls: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_controls_are_counted_once() {
        let framework = "framework = \"f\"\nedition = \"1\"\ntitle = \"F\"\nlicence = \"L\"\nsource = \"https://f\"\nreviewed_on = \"2026-01-01\"\n[ids]\na = \"A\"\nb = \"B\"\n";
        let control = |id: &str| File::new("c.toml", format!("id = \"{id}\"\nmaps = [\"f@1:a\", \"g@1:x\"]\n"));
        let frameworks = [File::new("f.toml", framework), File::new("crosswalk.toml", "[map]\na = \"b\"\n")];
        let page = page(&frameworks, &[control("A-1"), control("A-2")]).unwrap();
        assert!(page.ends_with("| `f` | 1 | [F](https://f) | 2 | 1 | 2 | L | 2026-01-01 |\n"), "{page}");
    }
}
