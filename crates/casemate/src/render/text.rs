//! The report for a terminal: what a person needs, in the order in which it is needed.
//!
//! Long lists are cut with a count, never silently; failing controls are always all named.

mod inventory;
mod paper;
mod posture;

use std::collections::BTreeSet;

use casemate_artifact::Verdict;
use casemate_core::{Finding, Meta, Outcome, Severity};
use paper::{Ink, Paper};

use super::{
    Style, by_rule, files_line, findings, identity, looked_at, place, plural, safe, severities, size, verdict_mark,
};
use crate::report::{ArtifactReport, Report};

/// Files with a finding that are listed.
const FILES_MAX: usize = 200;

/// Clean files that are listed.
const CLEAN_MAX: usize = 40;

/// Findings listed for one file, and places listed for one rule.
const FINDINGS_MAX: usize = 10;

/// Rules listed for one severity.
const RULES_MAX: usize = 25;

/// Measurements listed.
const MEASUREMENTS_MAX: usize = 30;

/// Lines of at most `style.width` columns.
pub fn render(report: &Report, style: Style, rules: &[&Meta]) -> String {
    let mut paper = Paper::new(style);
    headline(&mut paper, report);
    match &report.posture {
        Some(posture) => posture::write(&mut paper, report, posture),
        None if report.command == "inventory" => inventory::write(&mut paper, report),
        None => scan(&mut paper, report, rules),
    }
    for remark in &report.remarks {
        paper.row(0, &[(Ink::Yellow, "!", 1)], 4, &[(Ink::Yellow, &safe(remark))]);
    }
    paper.into_text()
}

fn headline(paper: &mut Paper, report: &Report) {
    let (name, when) = (safe(&report.subject.name), super::time(report.finished_at));
    let command = format!("casemate {}", report.command);
    paper.flow(0, 2, &[(Ink::Bold, &name), (Ink::Dim, &format!("  ·  {command}  ·  {when}"))]);
    if let Some(digest) = report.subject.digest {
        paper.flow(0, 2, &[(Ink::Dim, &format!("sha256:{}", digest.sha256))]);
    }
}

fn scan(paper: &mut Paper, report: &Report, rules: &[&Meta]) {
    let (clean, rest): (Vec<_>, Vec<_>) =
        report.artifacts.iter().partition(|file| file.verdict == Verdict::Clean && file.findings.is_empty());
    let format_width = report.artifacts.iter().map(|file| paper::columns(&file.format)).max().unwrap_or(0).min(16);
    let mut files: Vec<&ArtifactReport> = rest;
    files.sort_by_key(|file| std::cmp::Reverse(file.verdict));
    for file in files.iter().take(FILES_MAX) {
        paper.gap();
        file_line(paper, file, format_width);
        file_findings(paper, file);
    }
    cut(paper, 2, files.len(), FILES_MAX, "file");
    if !clean.is_empty() {
        paper.gap();
    }
    for file in clean.iter().take(CLEAN_MAX) {
        file_line(paper, file, format_width);
    }
    cut(paper, 2, clean.len(), CLEAN_MAX, "clean file");
    loose_findings(paper, report);
    measurements(paper, report);
    summary(paper, report, rules);
}

/// Findings that lie in no listed file.
fn loose_findings(paper: &mut Paper, report: &Report) {
    let in_files: BTreeSet<_> = report.artifacts.iter().flat_map(|file| &file.findings).map(identity).collect();
    let loose: Vec<&Finding> =
        findings(report).into_iter().filter(|finding| !in_files.contains(&identity(finding))).collect();
    if !loose.is_empty() {
        grouped_findings(paper, &loose);
    }
}

fn file_line(paper: &mut Paper, file: &ArtifactReport, format_width: usize) {
    let ink = verdict_ink(file.verdict);
    let cells = [
        (ink, verdict_mark(file.verdict), 0),
        (ink, file.verdict.as_str(), 11),
        (Ink::Dim, &*file.format, format_width),
        (Ink::Dim, &format!("{:>7}", size(file.size)), 7),
    ];
    paper.row(0, &cells, 4, &[(Ink::Bold, &safe(&file.path))]);
}

fn file_findings(paper: &mut Paper, file: &ArtifactReport) {
    let mut findings: Vec<&Finding> = file.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut fix = "";
    for finding in findings.iter().take(FINDINGS_MAX) {
        // The same advice under ten findings of one rule is read once at best.
        if !fix.is_empty() && fix != finding.remediation {
            advice(paper, fix);
        }
        fix = &finding.remediation;
        let mut inside = finding.location.clone();
        inside.path = String::new();
        let inside = place(&inside);
        let inside = inside.trim_start_matches([' ', '!', ',']);
        let ink = severity_ink(finding.severity);
        let rule = safe(&finding.rule);
        paper.row(
            3,
            &[(ink, finding.severity.as_str(), 8)],
            6,
            &[(Ink::Bold, &rule), (Ink::Dim, &format!(" · {inside}"))],
        );
        paper.flow(13, 13, &[(Ink::Plain, &safe(&super::told(finding)))]);
    }
    advice(paper, fix);
    cut(paper, 3, findings.len(), FINDINGS_MAX, "finding");
    if file.findings_left_out > 0 {
        let more = format!("… {} more findings were left out above the limit", file.findings_left_out);
        paper.flow(3, 5, &[(Ink::Yellow, &more)]);
    }
}

fn advice(paper: &mut Paper, fix: &str) {
    if !fix.is_empty() {
        paper.row(13, &[(Ink::Cyan, "fix", 3)], 13, &[(Ink::Plain, &safe(fix))]);
    }
}

fn summary(paper: &mut Paper, report: &Report, rules: &[&Meta]) {
    paper.gap();
    if report.artifacts.is_empty() {
        let text = "? nothing was scanned: none of the given paths holds a file that could be read";
        paper.flow(0, 2, &[(Ink::Yellow, text)]);
        return;
    }
    paper.flow(0, 2, &[(Ink::Bold, &files_line(report))]);
    if super::is_clean(report) {
        let text = format!("✓ nothing speaks against them. Looked at: {}", looked_at(report, rules));
        paper.flow(0, 2, &[(Ink::Green, &text)]);
        return;
    }
    let counts = severities(&findings(report));
    let (ink, word) = outcome_words(report.outcome);
    let counts = if counts.is_empty() { String::new() } else { format!(" · findings: {counts}") };
    paper.flow(0, 2, &[(ink, word), (Ink::Plain, &counts)]);
    if report.artifacts.iter().any(|file| file.verdict == Verdict::Unscannable) {
        let text = "unscannable is not clean: what could not be read was not judged";
        paper.flow(0, 2, &[(Ink::Dim, text)]);
    }
}

fn outcome_words(outcome: Outcome) -> (Ink, &'static str) {
    match outcome {
        Outcome::Pass => (Ink::Green, "✓ pass"),
        Outcome::Fail => (Ink::RedBold, "✕ fail"),
        Outcome::Unknown => (Ink::Yellow, "? unknown: something could not be judged"),
    }
}

/// Findings by severity, then by rule, with the advice of a rule once.
fn grouped_findings(paper: &mut Paper, findings: &[&Finding]) {
    paper.heading("Findings", &severities(findings));
    for severity in Severity::ALL {
        let groups = by_rule(findings, severity);
        for (rule, group) in groups.iter().take(RULES_MAX) {
            let Some(first) = group.first() else { continue };
            let spoken = super::shortened(&first.controls, 4);
            let spans = [(Ink::Bold, &*safe(rule)), (Ink::Dim, &*format!(" · {spoken}"))];
            paper.row(2, &[(severity_ink(severity), severity.as_str(), 8)], 4, &spans);
            for finding in group.iter().take(FINDINGS_MAX) {
                paper.flow(12, 14, &[(Ink::Cyan, &place(&finding.location))]);
                paper.flow(14, 14, &[(Ink::Plain, &safe(&super::told(finding)))]);
            }
            cut(paper, 12, group.len(), FINDINGS_MAX, "place");
            if !first.remediation.is_empty() {
                paper.row(12, &[(Ink::Cyan, "fix", 3)], 12, &[(Ink::Plain, &safe(&first.remediation))]);
            }
        }
        cut(paper, 2, groups.len(), RULES_MAX, "rule");
    }
}

fn measurements(paper: &mut Paper, report: &Report) {
    if report.measurements.is_empty() {
        return;
    }
    paper.heading("Measured", "");
    for measurement in report.measurements.iter().take(MEASUREMENTS_MAX) {
        let value = super::measured(measurement);
        paper.row(2, &[(Ink::Plain, &safe(&measurement.name), 24)], 4, &[(Ink::Plain, &value)]);
    }
    cut(paper, 2, report.measurements.len(), MEASUREMENTS_MAX, "measurement");
}

/// Says how many were not shown, when `n` is above `limit`.
fn cut(paper: &mut Paper, indent: usize, n: usize, limit: usize, noun: &str) {
    if n > limit {
        let text = format!("… and {} (all of them: --format json)", plural(n - limit, &format!("more {noun}")));
        paper.flow(indent, indent + 2, &[(Ink::Dim, &text)]);
    }
}

fn severity_ink(severity: Severity) -> Ink {
    match severity {
        Severity::Critical => Ink::RedBold,
        Severity::High => Ink::Red,
        Severity::Medium => Ink::Yellow,
        Severity::Low => Ink::Cyan,
        Severity::Info => Ink::Dim,
    }
}

fn verdict_ink(verdict: Verdict) -> Ink {
    match verdict {
        Verdict::Clean => Ink::Green,
        Verdict::Unscannable => Ink::Yellow,
        Verdict::Suspicious => Ink::Red,
        Verdict::Malicious => Ink::RedBold,
    }
}
