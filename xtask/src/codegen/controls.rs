//! `controls.md`: the catalogue's controls by stage of the life cycle.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use toml::Table;

use super::{cell, codes, head};
use crate::toml_file::{self, text};
use crate::tree::File;

/// The life cycle; stages not listed follow in alphabetical order.
const STAGES: &[&str] =
    &["govern", "data", "training", "evaluation", "release", "serving", "monitoring", "incident", "retirement"];

/// The page made of the files of the controls.
pub fn page(files: &[File]) -> Result<String> {
    let mut stages: BTreeMap<(usize, String), BTreeMap<String, Table>> = BTreeMap::new();
    for file in files {
        let control = toml_file::parse(file).map_err(|(line, what)| anyhow!("{}:{line}: {what}", file.path))?;
        let stage = text(&control, "stage").to_owned();
        let place = STAGES.iter().position(|known| *known == stage).unwrap_or(STAGES.len());
        stages.entry((place, stage)).or_default().insert(text(&control, "id").to_owned(), control);
    }
    let what = format!(
        "The {} controls of the built-in catalogue, in the order of a model's life. Verification: A by machine, C by live \
         probe, P by a person. Evidence older than its maximum age loses credit.",
        files.len()
    );
    let mut page = head("Controls", &what);
    for ((_, stage), controls) in &stages {
        let _ = write!(
            page,
            "\n## {stage}\n\n| control | severity | verification | max age | applies | maps |\n|---|---|---|---|---|---|\n"
        );
        for (id, control) in controls {
            let maps = codes(&toml_file::texts(control, "maps"));
            let facts =
                [text(control, "severity"), text(control, "verification"), &max_age(control), text(control, "applies")];
            let facts: Vec<_> = facts.into_iter().map(cell).collect();
            let _ = writeln!(page, "| [`{id}`](#{}) | {} | {maps} |", id.to_lowercase(), facts.join(" | "));
        }
        for (id, control) in controls {
            section(&mut page, id, control);
        }
    }
    Ok(page)
}

fn section(page: &mut String, id: &str, control: &Table) {
    let _ = write!(page, "\n### {id}\n\n**{}.** {}\n\n", text(control, "title"), text(control, "statement"));
    let checks: Vec<_> = toml_file::tables(control, "check").iter().map(|check| text(check, "evidence")).collect();
    let _ = writeln!(page, "- Evidence: {}", codes(&checks));
    if let Some(remediation) = toml_file::table(control, "remediation") {
        let _ = writeln!(page, "- Command: {}", codes(&[text(remediation, "command")]));
        let _ = writeln!(page, "- What to do: {}", text(remediation, "text"));
    }
}

/// How long evidence lasts: a number of days, or until something changes.
fn max_age(control: &Table) -> String {
    let age = toml_file::table(control, "max_age");
    let days = age.and_then(|age| age.get("days")?.as_integer());
    match (days, age.map_or("", |age| text(age, "per"))) {
        (Some(days), _) => format!("{days} days"),
        (None, "") => "–".into(),
        (None, per) => format!("per {per}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_stand_in_the_order_of_life() {
        let control = |id: &str, stage: &str| {
            let text = format!(
                "id = \"{id}\"\nstage = \"{stage}\"\ntitle = \"T\"\nstatement = \"S.\"\nseverity = \"low\"\nverification = \"A\"\napplies = \"a | b\"\nmaps = []\nmax_age = {{ days = 7 }}\n[remediation]\ntext = \"Do.\"\ncommand = \"casemate check\"\n"
            );
            File::new(format!("{id}.toml"), text)
        };
        let page = page(&[control("B-2", "serving"), control("B-1", "serving"), control("Z-1", "govern")]).unwrap();
        let at = |needle: &str| page.find(needle).unwrap_or_else(|| panic!("{needle} in {page}"));
        assert!(at("## govern") < at("## serving") && at("### B-1") < at("### B-2"));
        at("| [`B-1`](#b-1) | low | A | 7 days | a \\| b | – |");
    }
}
