//! The catalogue as files: names, places and references. What predicates mean is the business of casemate-assess.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use toml::Table;

use super::Violation;
use crate::toml_file;
use crate::tree::{File, Tree};

const CONTROLS: &str = "catalogue/controls/";
const FRAMEWORKS: &str = "catalogue/frameworks/";

/// Checks every TOML file under `catalogue/`.
pub fn check(tree: &Tree) -> Result<Vec<Violation>> {
    Ok(check_files(&tree.files("catalogue", "toml")?))
}

fn check_files(files: &[File]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut tables = Vec::new();
    for file in files {
        match toml_file::parse(file) {
            Ok(table) => tables.push((file, table)),
            Err((line, what)) => violations.push(Violation::new(&file.path, line, format!("{what}; mend the TOML"))),
        }
    }
    let known = framework_ids(&tables);
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (file, control) in tables.iter().filter(|(file, _)| file.path.starts_with(CONTROLS)) {
        violations.extend(check_control(file, control, &known));
        let id = toml_file::text(control, "id");
        if let Some(other) = seen.insert(id, &file.path) {
            let what = format!("id `{id}` is also in {other}; ids live forever, take a new one");
            violations.push(Violation::new(&file.path, file.line_of("id ="), what));
        }
    }
    violations
}

/// `framework@edition:id` of every id of every framework.
fn framework_ids(tables: &[(&File, Table)]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (_, table) in tables.iter().filter(|(file, _)| file.path.starts_with(FRAMEWORKS)) {
        let edition = format!("{}@{}", toml_file::text(table, "framework"), toml_file::text(table, "edition"));
        let ids = toml_file::table(table, "ids").into_iter().flat_map(Table::keys);
        known.extend(ids.map(|id| format!("{edition}:{id}")));
    }
    known
}

fn check_control(file: &File, control: &Table, known: &BTreeSet<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut add = |needle: &str, what: String| violations.push(Violation::new(&file.path, file.line_of(needle), what));
    let id = toml_file::text(control, "id");
    if id != file.stem() {
        add("id =", format!("id is `{id}`, the file says `{}`; make them agree", file.stem()));
    }
    let stage = toml_file::text(control, "stage");
    let directory = file.path.strip_prefix(CONTROLS).and_then(|path| path.split('/').next()).unwrap_or_default();
    if stage != directory {
        add(
            "stage =",
            format!("stage is `{stage}`, the directory says `{directory}`; move the file or mend the stage"),
        );
    }
    let mut mapped = BTreeSet::new();
    for id in toml_file::texts(control, "maps") {
        if !known.contains(id) {
            add("maps =", format!("maps to `{id}`, which no file in {FRAMEWORKS} has; mend the id or its edition"));
        }
        if !mapped.insert(id) {
            add("maps =", format!("maps to `{id}` twice; remove one"));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMEWORK: &str = "framework = \"owasp-ml\"\nedition = \"2023\"\n[ids]\nML06 = \"Supply Chain\"\n";
    const CONTROL: &str = "id = \"SUP-01\"\nstage = \"release\"\nmaps = [\"owasp-ml@2023:ML06\"]\n";

    fn whats(controls: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![File::new("catalogue/frameworks/owasp-ml-2023.toml", FRAMEWORK)];
        files.extend(controls.iter().map(|(path, text)| File::new(format!("{CONTROLS}{path}"), *text)));
        check_files(&files).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_control_in_its_place_passes() {
        assert_eq!(whats(&[("release/SUP-01.toml", CONTROL)]), [""; 0]);
    }

    #[test]
    fn names_places_and_references_are_checked() {
        assert!(whats(&[("release/SUP-02.toml", CONTROL)])[0].starts_with("id is `SUP-01`"));
        assert!(whats(&[("serving/SUP-01.toml", CONTROL)])[0].starts_with("stage is `release`"));
        let edition = CONTROL.replace("2023", "2017");
        assert!(whats(&[("release/SUP-01.toml", &edition)])[0].starts_with("maps to `owasp-ml@2017:ML06`"));
        let twice = CONTROL.replace("ML06\"]", "ML06\", \"owasp-ml@2023:ML06\"]");
        assert!(whats(&[("release/SUP-01.toml", &twice)])[0].ends_with("twice; remove one"));
        let both =
            whats(&[("release/SUP-01.toml", CONTROL), ("serving/SUP-01.toml", &CONTROL.replace("release", "serving"))]);
        assert!(both[0].starts_with("id `SUP-01` is also in"), "{both:?}");
        assert_eq!(whats(&[("release/SUP-01.toml", "id = ")]).len(), 1);
    }
}
