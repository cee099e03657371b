//! A report as text, JSON, Markdown, HTML, SARIF, CSV, JUnit XML, GitHub annotations or badge.
//!
//! Every renderer is a pure function of the [`Report`]: no clock, no files, no environment, so the same report gives the
//! same bytes. File names, member names and messages come from whoever made the file. They pass through [`safe`], so that
//! none can clear a terminal or swap letters on screen, and through the escaping of the format, so that none can leave its
//! cell, attribute or tag.
//!
//! The helpers here give the words all formats share.

mod badge;
mod csv;
mod github;
mod html;
pub mod json;
mod junit;
mod markdown;
mod sarif;
mod text;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use csv::row as csv_row;
use std::collections::BTreeSet;

use casemate_artifact::Verdict;
use casemate_assess::State;
use casemate_assess::assessment::{Action, ControlReport, MissingKind};
use casemate_assess::control::Category;
use casemate_assess::gate::{GateOutcome, Status};
use casemate_assess::score::RiskLevel;
use casemate_core::{Confidence, Finding, Location, Measurement, Meta, Outcome, Severity, Timestamp};

pub use self::sarif::fingerprint;
use crate::cli::Format;
use crate::report::{Posture, Report};

/// JSON Schema (2020-12) of [`Report`] as JSON.
pub const REPORT_SCHEMA: &str = include_str!("render/report.schema.json");

/// How text looks; the other formats have one look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether ANSI colours may be used. Marks and words say the same without them.
    pub color: bool,
    /// Columns to wrap at; held between 40 and 100.
    pub width: usize,
}

/// `report` in `format`. `rules` are the descriptions of the rules that looked, for the formats that explain them.
pub fn render(report: &Report, format: Format, style: Style, rules: &[&Meta]) -> String {
    match format {
        Format::Text => text::render(report, style, rules),
        Format::Json => json::render(report),
        Format::Markdown => markdown::render(report, rules),
        Format::Html => html::render(report, rules),
        Format::Sarif => sarif::render(report, rules),
        Format::Csv => csv::render(report),
        Format::Junit => junit::render(report),
        Format::Github => github::render(report),
        Format::Badge => badge::render(report),
    }
}

/// What a score means, for readers who meet it for the first time.
const SCORE_MEANING: &str = "The score is the share of applicable weight that evidence shows to hold: what is failing, \
     unknown, stale beyond use or waived earns nothing, and it stays at 49 or below while any critical control earns \
     nothing. It speaks only of what was looked at, with the evidence named here, and is comparable only between reports \
     of the same catalogue and the same facts.";

/// `text` on one line, with every character that could steer a terminal or reorder what is read written as an escape.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if is_hostile(char) => out.extend(char.escape_unicode()),
            char => out.push(char),
        }
    }
    out
}

/// True for characters that are not seen but change what is: controls, bidirectional overrides, invisible and tag
/// characters (Unicode TR 36; CVE-2021-42574).
fn is_hostile(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Every finding of `report` once, the worst first.
fn findings(report: &Report) -> Vec<&Finding> {
    let mut seen = BTreeSet::new();
    let inside = report.artifacts.iter().flat_map(|artifact| &artifact.findings);
    let mut all: Vec<&Finding> =
        report.findings.iter().chain(inside).filter(|finding| seen.insert(identity(finding))).collect();
    all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    all
}

/// What makes two findings the same.
fn identity(finding: &Finding) -> (&str, &Location, &str) {
    (&finding.rule, &finding.location, &finding.message)
}

/// Whether `finding` alone fails the run. What only says "not judged" is no failure: it is an error of its own.
fn is_objectionable(report: &Report, finding: &Finding) -> bool {
    finding.severity >= report.fail_on && Verdict::of(finding) != Verdict::Unscannable
}

/// What was not looked at although it could matter, in lines, for formats that show files one by one.
fn unseen(report: &Report) -> Vec<String> {
    let summary = |key: &str| report.summary.get(key);
    let mut lines = Vec::new();
    if summary("incomplete") == Some(&serde_json::Value::Bool(true)) {
        lines.push("interrupted: not everything was looked at".to_owned());
    }
    if report.artifacts.is_empty() {
        lines.push("no file was looked at".to_owned());
    }
    let skipped = summary("skipped").and_then(serde_json::Value::as_array);
    for place in skipped.into_iter().flatten().filter(|place| place.get("matters") == Some(&true.into())) {
        let word = |key| place.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        lines.push(format!("not looked at: {} ({})", sarif::relative(word("path")), word("reason")));
    }
    lines
}

/// The remarks of `report` for formats that leave the machine: paths given from its root keep their file name only.
fn remarks(report: &Report) -> Vec<String> {
    let lists = ["skipped", "left_out"].into_iter().filter_map(|key| report.summary.get(key)?.as_array());
    let paths: Vec<&str> = lists.flatten().filter_map(|place| place.get("path")?.as_str()).collect();
    let absolute = |path: &&&str| path.starts_with(['/', '\\', '~']) || path.as_bytes().get(1) == Some(&b':');
    let absolute: Vec<&str> = paths.iter().filter(absolute).copied().collect();
    let without = |remark: &String| {
        let whole = safe(remark);
        absolute.iter().fold(whole, |text, path| text.replace(&safe(path), &safe(&sarif::relative(path))))
    };
    report.remarks.iter().map(without).collect()
}

/// The findings of one severity, grouped by rule in order of first appearance.
fn by_rule<'a>(findings: &[&'a Finding], severity: Severity) -> Vec<(&'a str, Vec<&'a Finding>)> {
    let mut groups: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.severity == severity) {
        match groups.iter_mut().find(|(rule, _)| *rule == finding.rule) {
            Some((_, group)) => group.push(finding),
            None => groups.push((&finding.rule, vec![finding])),
        }
    }
    groups
}

/// How many findings there are of each severity, in words: `2 critical · 1 high`; empty for none.
fn severities(findings: &[&Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let counts = Severity::ALL.into_iter().map(|severity| (count(severity), severity)).filter(|(n, _)| *n > 0);
    counts.map(|(n, severity)| format!("{n} {severity}")).collect::<Vec<_>>().join(" · ")
}

/// Where a finding lies: `model.pt ! archive/data.pkl, byte 123`.
fn place(location: &Location) -> String {
    let mut place = safe(&location.path);
    if let Some(member) = &location.member {
        place.push_str(" ! ");
        place.push_str(&safe(member));
    }
    match (location.line, location.offset) {
        (Some(line), _) => place.push_str(&format!(", line {line}")),
        (None, Some(offset)) => place.push_str(&format!(", byte {offset}")),
        (None, None) => {}
    }
    place
}

/// The message of a finding, with who lives with it and until when.
fn told(finding: &Finding) -> String {
    let Some(accepted) = &finding.accepted else { return finding.message.clone() };
    let by = accepted.approved_by.as_ref().map(|name| format!(" by {name}")).unwrap_or_default();
    format!("{} (accepted{by} until {}: {})", finding.message, accepted.expires, accepted.reason)
}

/// Verdicts of the worst kind first, each with the number of files that have it.
fn verdicts(report: &Report) -> [(Verdict, usize); 4] {
    [Verdict::Malicious, Verdict::Suspicious, Verdict::Unscannable, Verdict::Clean]
        .map(|verdict| (verdict, report.artifacts.iter().filter(|artifact| artifact.verdict == verdict).count()))
}

/// The worst verdict, or none without files.
fn verdict(report: &Report) -> Option<Verdict> {
    report.artifacts.iter().map(|artifact| artifact.verdict).max()
}

/// `4 files, 46 MB: 1 malicious, 3 clean`.
fn files_line(report: &Report) -> String {
    let bytes = report.artifacts.iter().fold(0u64, |sum, artifact| sum.saturating_add(artifact.size));
    let counts = verdicts(report).into_iter().filter(|(_, n)| *n > 0);
    let counts: Vec<String> = counts.map(|(verdict, n)| format!("{n} {}", verdict.as_str())).collect();
    format!("{}, {}: {}", plural(report.artifacts.len(), "file"), size(bytes), counts.join(", "))
}

/// True when files were looked at, all passed, and not even a remark was made about them.
fn is_clean(report: &Report) -> bool {
    let clean = report.artifacts.iter().all(|file| file.verdict == Verdict::Clean);
    clean && !report.artifacts.is_empty() && report.outcome == Outcome::Pass && findings(report).is_empty()
}

/// What was looked at in clean files, for readers who wonder whether anything was.
fn looked_at(report: &Report, rules: &[&Meta]) -> String {
    let mut objects = std::collections::BTreeMap::new();
    for (format, n) in report.artifacts.iter().flat_map(|artifact| &artifact.objects) {
        *objects.entry(&**format).or_insert(0u64) += n;
    }
    let kinds: Vec<String> = objects.iter().map(|(format, n)| format!("{n} {}", safe(format))).collect();
    let tensors: u64 = report.artifacts.iter().map(|artifact| artifact.tensors).sum();
    let mut parts = vec![match kinds.is_empty() {
        true => "the files themselves".to_owned(),
        false => format!("the objects inside ({})", kinds.join(", ")),
    }];
    if tensors > 0 {
        parts.push(plural(usize::try_from(tensors).unwrap_or(usize::MAX), "tensor"));
    }
    if !rules.is_empty() {
        parts.push(plural(rules.len(), "rule"));
    }
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => parts.concat(),
    }
}

/// Why the score cannot pass its cap, or nothing at cap 100.
fn cap_reason(posture: &Posture) -> Option<String> {
    let severity = match posture.score.cap {
        100.. => return None,
        50..=99 => Severity::High,
        0..=49 => Severity::Critical,
    };
    let open = posture.controls.iter().filter(|control| control.severity == severity && earns_nothing(control)).count();
    let verb = if open == 1 { "earns" } else { "earn" };
    Some(format!("capped at {}: {} {verb} nothing", posture.score.cap, plural(open, &format!("{severity} control"))))
}

fn earns_nothing(control: &ControlReport) -> bool {
    control.state != State::NotApplicable && control.credit <= 0.0
}

/// The numbers that stand beside the score, each with its word.
fn beside(posture: &Posture) -> Vec<(&'static str, String)> {
    let score = &posture.score;
    vec![
        ("passing", posture.count(State::Pass).to_string()),
        ("failing", score.failing.to_string()),
        ("unknown", score.unknown.to_string()),
        ("stale", score.stale.to_string()),
        ("waived", score.waived.to_string()),
        ("not applicable", score.not_applicable.to_string()),
    ]
}

/// When the oldest evidence ended, in words.
fn oldest(posture: &Posture) -> String {
    posture.score.oldest_evidence.map_or_else(|| "none".to_owned(), Timestamp::date)
}

/// A measured number with its unit, interval, n and attributes, in words.
fn measured(measurement: &Measurement) -> String {
    let mut text = format!("{} {}", number(measurement.value), safe(&measurement.unit));
    if let Some([low, high]) = measurement.interval95 {
        text.push_str(&format!(" (95 %: {} to {})", number(low), number(high)));
    }
    if measurement.n > 1 {
        text.push_str(&format!(", n = {}", measurement.n));
    }
    for (name, value) in &measurement.attributes {
        text.push_str(&format!(", {} {}", safe(name), safe(value)));
    }
    text
}

/// At most four decimals, and none that say nothing.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.0001 {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A fraction as a percentage, never rounded up to one that was not reached.
fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent > 0.0 && percent < 1.0 { "<1 %".to_owned() } else { format!("{:.0} %", percent.floor()) }
}

/// `n` with `noun`, in the plural where it belongs.
fn plural(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Bytes in the largest unit that leaves a number of at least one.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            return if unit == "B" || value >= 10.0 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    String::new()
}

/// A time for people: `2026-11-21 12:00 UTC`.
fn time(time: Timestamp) -> String {
    let text = time.to_string();
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} UTC", clock.get(..5).unwrap_or(clock))
}

/// `ids` shortened to the first `n`: `DAT-01, DAT-02 +3`.
fn shortened(ids: &[String], n: usize) -> String {
    let shown: Vec<String> = ids.iter().take(n).map(|id| safe(id)).collect();
    match ids.len().saturating_sub(n) {
        0 => shown.join(", "),
        more => format!("{} +{more}", shown.join(", ")),
    }
}

/// The kinds of evidence a gap waits for, the first few; and how many more.
fn gap_kinds(kinds: &[MissingKind]) -> (Vec<&str>, usize) {
    const SHOWN_MAX: usize = 3;
    let shown = kinds.iter().take(SHOWN_MAX).map(|kind| kind.kind.as_str()).collect();
    (shown, kinds.len().saturating_sub(SHOWN_MAX))
}

/// What is to be said of an action whose command this build does not have.
fn unavailable(action: &Action) -> Option<&'static str> {
    (!action.available).then_some("not in this build")
}

fn confidence_word(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    }
}

fn category_title(category: Category) -> &'static str {
    match category {
        Category::DataPoisoning => "Data poisoning",
        Category::ModelExtraction => "Model extraction and theft",
        Category::AdversarialExamples => "Adversarial examples",
        Category::SupplyChain => "Supply chain",
        Category::MonitoringIncident => "Monitoring and incident response",
        Category::Privacy => "Privacy",
        Category::Serving => "Serving",
        Category::Governance => "Governance",
    }
}

fn level_word(level: RiskLevel) -> &'static str {
    match level {
        RiskLevel::None => "none",
        RiskLevel::Low => "low",
        RiskLevel::Medium => "medium",
        RiskLevel::High => "high",
        RiskLevel::Critical => "critical",
    }
}

fn state_mark(state: State) -> &'static str {
    match state {
        State::Pass => "✓",
        State::Fail => "✕",
        State::Stale => "◷",
        State::Unknown => "?",
        State::Waived => "⚑",
        State::NotApplicable => "–",
    }
}

fn verdict_mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "✓",
        Verdict::Unscannable => "?",
        Verdict::Suspicious => "!",
        Verdict::Malicious => "✕",
    }
}

fn status_mark(status: Status) -> &'static str {
    match status {
        Status::Met => "✓",
        Status::Waived => "⚑",
        Status::Unknown => "?",
        Status::Failed => "✕",
    }
}

/// What a gate's outcome means, in two or three words.
fn gate_word(outcome: GateOutcome) -> &'static str {
    match outcome {
        GateOutcome::Pass => "✓ open",
        GateOutcome::Failed => "✕ shut",
        GateOutcome::Unknown => "? shut: something required is unknown",
        GateOutcome::Integrity => "✕ shut: ledger or signatures do not verify",
    }
}

/// Controls in `state`, the worst severity first, then by id.
fn in_state(posture: &Posture, state: State) -> Vec<&ControlReport> {
    let mut controls: Vec<&ControlReport> = posture.controls.iter().filter(|control| control.state == state).collect();
    controls.sort_by_key(|control| (std::cmp::Reverse(control.severity), &control.id));
    controls
}

/// Title of a control; its id where the catalogue has none.
fn title_of<'a>(posture: &'a Posture, id: &'a str) -> &'a str {
    posture.titles.get(id).map_or(id, |title| &title.title)
}

/// The waiver that covers control `id`, as the assessment words it.
fn waiver_of<'a>(posture: &'a Posture, id: &str) -> Option<&'a str> {
    posture.states.iter().find(|state| state.id == id).and_then(|state| state.waiver.as_deref())
}
