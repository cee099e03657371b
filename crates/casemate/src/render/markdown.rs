//! The report as Markdown, for a comment on a pull request.
//!
//! Text from files passes through [`cell`]: a pipe would open a column, a backtick or an asterisk change the type, a `<` begin
//! HTML, `@name` call somebody and `#1` point somewhere.

use std::fmt::Write as _;

use casemate_assess::State;
use casemate_core::{Finding, Meta, Outcome};

use super::{
    beside, cap_reason, category_title, files_line, findings, gap_kinds, gate_word, in_state, level_word, looked_at,
    oldest, percent, place, plural, safe, severities, shortened, size, state_mark, status_mark, title_of, unavailable,
    verdict_mark, waiver_of,
};
use crate::report::{Posture, Report};

/// Rows of a table; a comment may hold 65,536 characters.
const ROWS_MAX: usize = 50;

/// GitHub-flavoured Markdown.
pub fn render(report: &Report, rules: &[&Meta]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "## casemate {}: {}\n", report.command, cell(&report.subject.name));
    match &report.posture {
        Some(posture) => write_posture(&mut out, report, posture),
        None => write_scan(&mut out, report, rules),
    }
    write_remarks(&mut out, report);
    let _ = writeln!(out, "\n<sub>casemate {} · {}</sub>", report.tool.version, super::time(report.finished_at));
    out
}

fn write_posture(out: &mut String, report: &Report, posture: &Posture) {
    let score = &posture.score;
    let cap = cap_reason(posture).map(|why| format!(", {why}")).unwrap_or_default();
    let _ = writeln!(out, "**Score {} / 100**{cap}\n", score.value);
    let counts: Vec<String> = beside(posture).into_iter().map(|(word, n)| format!("{n} {word}")).collect();
    let _ = writeln!(
        out,
        "coverage {} · {} · oldest evidence {}",
        percent(score.coverage),
        counts.join(" · "),
        oldest(posture)
    );
    if let Some(gate) = &posture.gate {
        let _ = writeln!(out, "\n**Gate {}**: {}", gate.stage, gate_word(gate.outcome));
        let rows = gate.requirements.iter().map(|requirement| {
            let status = format!("{} {}", status_mark(requirement.status), requirement.status);
            vec![status, cell(&requirement.name), cell(&requirement.detail)]
        });
        table(out, &["Status", "Requirement", "Why"], rows.collect());
        for looser in &gate.loosened {
            let _ = writeln!(out, "- asks less than the shipped policy: {}", cell(looser));
        }
    }
    heading(out, "Risk");
    let rows = posture.categories.iter().map(|category| {
        vec![
            category_title(category.id).into(),
            level_word(category.level).into(),
            cell(&shortened(&category.set_by, 5)),
        ]
    });
    table(out, &["Category", "Level", "Set by"], rows.collect());
    write_actions(out, posture);
    if !report.artifacts.is_empty() {
        let _ = writeln!(out, "\nFiles: {}", files_line(report));
    }
    write_findings(out, &findings(report));
    write_controls(out, posture);
    write_unknown(out, posture);
    write_rest(out, report, posture);
}

fn write_scan(out: &mut String, report: &Report, rules: &[&Meta]) {
    if report.artifacts.is_empty() {
        out.push_str("**Nothing was scanned**: none of the given paths holds a file that could be read.\n");
        return;
    }
    let word = match report.outcome {
        Outcome::Pass => "✓ pass",
        Outcome::Fail => "✕ fail",
        Outcome::Unknown => "? unknown: something could not be judged",
    };
    let _ = writeln!(out, "**{word}** · {}", files_line(report));
    if super::is_clean(report) {
        let _ = writeln!(out, "\nLooked at: {}", cell(&looked_at(report, rules)));
    }
    let mut files: Vec<_> = report.artifacts.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.verdict));
    heading(out, "Files");
    let rows = files.into_iter().map(|file| {
        let verdict = format!("{} {}", verdict_mark(file.verdict), file.verdict.as_str());
        let left_out = match file.findings_left_out {
            0 => String::new(),
            n => format!(" ({n} findings left out above the limit)"),
        };
        vec![verdict, cell(&file.format), size(file.size), format!("{}{left_out}", cell(&file.path))]
    });
    table(out, &["Verdict", "Format", "Size", "Path"], rows.collect());
    write_findings(out, &findings(report));
}

fn write_findings(out: &mut String, findings: &[&Finding]) {
    if findings.is_empty() {
        return;
    }
    heading(out, &format!("Findings: {}", severities(findings)));
    let rows = findings.iter().map(|finding| {
        vec![
            finding.severity.to_string(),
            cell(&finding.rule),
            cell(&place(&finding.location)),
            cell(&super::told(finding)),
            cell(&finding.remediation),
        ]
    });
    table(out, &["Severity", "Rule", "Where", "What", "What to do"], rows.collect());
}

fn write_actions(out: &mut String, posture: &Posture) {
    if posture.next_actions.is_empty() {
        return;
    }
    heading(out, "Fix first");
    for (n, action) in posture.next_actions.iter().take(10).enumerate() {
        let missing = unavailable(action).map(|missing| format!(", **{missing}**")).unwrap_or_default();
        let _ = writeln!(
            out,
            "{}. **{}** {} {} (settles {}, {}{missing})",
            n + 1,
            action.severity,
            cell(&action.text),
            code(&action.command),
            cell(&shortened(&action.controls, 5)),
            action.effort
        );
    }
}

fn write_controls(out: &mut String, posture: &Posture) {
    for (state, title) in [(State::Fail, "Failing"), (State::Stale, "Stale"), (State::Waived, "Waived")] {
        let controls = in_state(posture, state);
        if controls.is_empty() {
            continue;
        }
        heading(out, &format!("{} {title}: {}", state_mark(state), controls.len()));
        let rows = controls.iter().map(|control| {
            let waiver = waiver_of(posture, &control.id).map(|waiver| format!(" ({waiver})")).unwrap_or_default();
            vec![
                cell(&control.id),
                control.severity.to_string(),
                cell(title_of(posture, &control.id)),
                cell(&format!("{}{waiver}", control.reason)),
            ]
        });
        table(out, &["Control", "Severity", "Title", "Why"], rows.collect());
        if let Some(rest) = controls.get(ROWS_MAX..).filter(|rest| !rest.is_empty()) {
            let ids: Vec<String> = rest.iter().map(|control| cell(&control.id)).collect();
            let _ = writeln!(out, "\nThe others: {}", ids.join(", "));
        }
    }
}

fn write_unknown(out: &mut String, posture: &Posture) {
    if posture.unknown.is_empty() {
        return;
    }
    heading(out, &format!("? Not known yet: {}", plural(posture.score.unknown, "control")));
    let rows = posture.unknown.iter().map(|gap| {
        let (names, more) = gap_kinds(&gap.kinds);
        let words: Vec<String> = names.into_iter().map(code).collect();
        let more = if more > 0 { format!(" +{more}") } else { String::new() };
        let available = gap.kinds.iter().any(|kind| kind.available);
        let where_to = if available { "" } else { " (not in this build)" };
        vec![
            cell(&gap.capability),
            gap.controls.len().to_string(),
            gap.weight.to_string(),
            format!("{}{more}{where_to}", words.join(", ")),
        ]
    });
    table(out, &["Capability", "Controls", "Weight", "Evidence of kind"], rows.collect());
}

fn write_rest(out: &mut String, report: &Report, posture: &Posture) {
    if !posture.facts.conflicts.is_empty() {
        heading(out, "Facts to look at");
        for conflict in &posture.facts.conflicts {
            let _ = writeln!(out, "- **{}**: {}", cell(&conflict.fact), cell(&conflict.message));
        }
    }
    if !report.measurements.is_empty() {
        heading(out, "Measured");
        let rows = report.measurements.iter().map(|one| vec![cell(&one.name), cell(&super::measured(one))]);
        table(out, &["Name", "Value"], rows.collect());
    }
    if posture.models.iter().any(|model| model.name.is_some()) {
        heading(out, "Models");
        let rows = posture.models.iter().map(|model| {
            let stage = model.stage.map_or("not declared", |stage| stage.as_str());
            let name = cell(model.name.as_deref().unwrap_or("the project"));
            let counts = if model.counts { "yes" } else { "no" };
            vec![name, stage.into(), model.score.value.to_string(), percent(model.score.coverage), counts.into()]
        });
        table(out, &["Model", "Stage", "Score", "Coverage", "Counts"], rows.collect());
    }
    let _ = writeln!(out, "\nEvidence: {} in the ledger.", plural(report.evidence.len(), "record"));
}

fn write_remarks(out: &mut String, report: &Report) {
    if !report.remarks.is_empty() {
        out.push('\n');
    }
    for remark in &report.remarks {
        let _ = writeln!(out, "- ! {}", cell(remark));
    }
}

fn heading(out: &mut String, title: &str) {
    let _ = writeln!(out, "\n### {title}\n");
}

/// A table of cells that are Markdown already, cut with a count.
fn table(out: &mut String, header: &[&str], rows: Vec<Vec<String>>) {
    if !out.ends_with("\n\n") {
        out.push('\n');
    }
    let _ = writeln!(out, "| {} |\n|{}", header.join(" | "), " --- |".repeat(header.len()));
    for row in rows.iter().take(ROWS_MAX) {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    if rows.len() > ROWS_MAX {
        let _ = writeln!(out, "\n… and {} more.", rows.len() - ROWS_MAX);
    }
}

/// `text` as plain words of Markdown, on one line.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in safe(text).chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '`' | '*' | '_' | '~' | '[' | ']' | '\\' | '!' | '$' => {
                out.push('\\');
                out.push(char);
            }
            // An empty comment breaks a mention, an issue number and a link without being seen.
            '@' | '#' => {
                out.push(char);
                out.push_str("<!-- -->");
            }
            char => out.push(char),
        }
    }
    out.replace("://", ":<!-- -->//")
}

/// One of our own commands in code type; backticks and pipes would end it.
fn code(command: &str) -> String {
    format!("`{}`", safe(command).replace('`', "'").replace('|', "¦"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_in_names_stays_words() {
        for (text, written) in [
            ("a|b", "a\\|b"),
            ("<script>", "&lt;script&gt;"),
            ("`x`", "\\`x\\`"),
            ("@team", "@<!-- -->team"),
            ("a\nb", "a\\\\nb"),
            ("[x](y)", "\\[x\\](y)"),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
