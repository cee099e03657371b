//! Files, findings, measurements and evidence.

use casemate_artifact::Verdict;
use casemate_core::{Finding, Meta, Outcome, Severity};
use maud::{Markup, html};

use super::{chip, heading, id_list, prose, severity_chip, table};
use crate::render::{
    by_rule, files_line, findings, looked_at, place, plural, safe, severities, size, verdict_mark, verdicts,
};
use crate::report::{ArtifactReport, Report};

/// Places of one rule shown at once; the others fold.
const PLACES_OPEN: usize = 5;

/// Rows of the table of files.
const FILES_MAX: usize = 2_000;

/// What a scan came to.
pub fn result(report: &Report, rules: &[&Meta]) -> Markup {
    let (class, mark) = match report.outcome {
        Outcome::Pass => ("good", "✓"),
        Outcome::Fail => ("critical", "✕"),
        Outcome::Unknown => ("medium", "?"),
    };
    html! {
        (heading("result", "Result", ""))
        div class="card calm" {
            p {
                (chip(&format!("large {class}"), mark, report.outcome.as_str()))
                @if !report.artifacts.is_empty() { " " b { (files_line(report)) } }
            }
            @if report.artifacts.is_empty() {
                p { "Nothing was scanned: none of the given paths holds a file that could be read." }
            } @else if crate::render::is_clean(report) {
                p { "Nothing speaks against these files. Looked at: " (looked_at(report, rules)) "." }
            }
            dl class="counts" {
                @for (verdict, n) in verdicts(report) { div { dt { (verdict.as_str()) } dd { (n) } } }
            }
        }
    }
}

/// Every finding, by severity and rule.
pub fn section(report: &Report) -> Option<Markup> {
    let found = findings(report);
    if found.is_empty() {
        return None;
    }
    let left_out: u64 = report.artifacts.iter().map(|file| file.findings_left_out).sum();
    Some(html! {
        (heading("findings", "Findings", &severities(&found)))
        div class="card" {
            @for severity in Severity::ALL {
                @for (rule, group) in by_rule(&found, severity) { (rule_card(rule, severity, &group)) }
            }
            @if left_out > 0 { p class="note" { (left_out) " more findings were left out above the limit for one file." } }
        }
    })
}

fn rule_card(rule: &str, severity: Severity, group: &[&Finding]) -> Markup {
    let (open, folded) = group.split_at_checked(PLACES_OPEN).unwrap_or((group, &[]));
    let first = group.first();
    let references: Vec<&str> = first.iter().flat_map(|finding| &finding.references).map(String::as_str).collect();
    html! {
        article class="rule" {
            header {
                (severity_chip(severity))
                h3 class="mono" { (safe(rule)) }
                @if let Some(first) = first {
                    span class="ids" { (id_list(&first.controls, 12)) }
                }
            }
            ul { @for finding in open { (place_item(finding)) } }
            @if !folded.is_empty() {
                details class="plain" {
                    summary { "and " (plural(folded.len(), "more place")) }
                    ul { @for finding in folded { (place_item(finding)) } }
                }
            }
            @if let Some(first) = first { @if !first.remediation.is_empty() {
                p class="fix" { b { "What to do: " } (prose(&first.remediation)) }
            } }
            @if !references.is_empty() { p class="refs" { "See " (links(&references)) } }
        }
    }
}

fn place_item(finding: &Finding) -> Markup {
    html! { li { (prose(&crate::render::told(finding))) bdi class="mono" { (place(&finding.location)) } } }
}

/// References, as links where they are links to the web.
fn links(references: &[&str]) -> Markup {
    html! {
        @for (n, reference) in references.iter().enumerate() {
            @if n > 0 { ", " }
            @if reference.starts_with("https://") { a href=(safe(reference)) rel="noreferrer noopener" { (safe(reference)) } }
            @else { (safe(reference)) }
        }
    }
}

/// Every file with its verdict.
pub fn files(report: &Report) -> Option<Markup> {
    if report.artifacts.is_empty() {
        return None;
    }
    let mut files: Vec<&ArtifactReport> = report.artifacts.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.verdict));
    let rows = html! { @for file in files.iter().take(FILES_MAX) { (file_row(file)) } };
    let header =
        [("", "Verdict"), ("", "Path"), ("", "Format"), ("number", "Size"), ("number", "Tensors"), ("", "SHA-256")];
    Some(html! {
        (heading("files", "Files", &files_line(report)))
        div class="card" {
            (table("Files looked at, the worst first", &header, &rows))
            @if files.len() > FILES_MAX {
                p class="note" { "… and " (plural(files.len() - FILES_MAX, "more file")) ": all are in the JSON report." }
            }
        }
    })
}

fn file_row(file: &ArtifactReport) -> Markup {
    let class = match file.verdict {
        Verdict::Clean => "good",
        Verdict::Unscannable => "medium",
        Verdict::Suspicious => "high",
        Verdict::Malicious => "critical",
    };
    let inside: Vec<String> = file.objects.iter().map(|(format, n)| format!("{n} {format}")).collect();
    html! {
        tr {
            td { (chip(class, verdict_mark(file.verdict), file.verdict.as_str())) }
            td class="wide" {
                bdi { (safe(&file.path)) }
                @if !inside.is_empty() { span class="sub" { "holds " (inside.join(", ")) } }
                @if !file.imports.is_empty() {
                    details class="plain" {
                        summary { "imports " (plural(file.imports.len(), "name")) }
                        ul class="hashes mono" { @for import in &file.imports { li { (safe(import)) } } }
                    }
                }
            }
            td class="nobreak" { (&*file.format) }
            td class="number" { (size(file.size)) }
            td class="number" { (file.tensors) }
            td class="mono hash" { (file.digest.map(|digest| digest.sha256.to_string()).unwrap_or_default()) }
        }
    }
}

/// Every measurement with its interval and n.
pub fn measured(report: &Report) -> Option<Markup> {
    if report.measurements.is_empty() {
        return None;
    }
    let rows = html! {
        @for one in &report.measurements {
            tr { th scope="row" class="mono" { (safe(&one.name)) } td class="wide" { (crate::render::measured(one)) } }
        }
    };
    Some(html! {
        (heading("measured", "Measured", ""))
        div class="card" { (table("Measurements with their 95 % intervals", &[("", "Name"), ("", "Value")], &rows)) }
    })
}

/// What a reader has to know besides.
pub fn remarks(report: &Report) -> Option<Markup> {
    if report.remarks.is_empty() {
        return None;
    }
    Some(html! {
        (heading("remarks", "Remarks", "What was not looked at, and what else bears on this report."))
        div class="card" { ul { @for remark in &report.remarks { li { (safe(remark)) } } } }
    })
}

/// Ledger ids.
pub fn evidence(report: &Report) -> Option<Markup> {
    if report.evidence.is_empty() {
        return None;
    }
    let remark = "Every statement above rests on these records of the ledger. Look at one: casemate ledger show ID. \
                  Check them all: casemate ledger verify.";
    Some(html! {
        (heading("evidence", "Evidence", remark))
        details class="card" {
            summary { h3 { (plural(report.evidence.len(), "record")) } }
            ul class="hashes mono" { @for id in &report.evidence { li { (safe(id)) } } }
        }
    })
}
