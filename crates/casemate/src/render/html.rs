//! The report as one page that opens offline and prints.
//!
//! No script, no outside resource: the policy in its head allows nothing but the one style sheet, by its digest. States are
//! told by word and mark, colour only repeats them (WCAG 2.2 AA, 1.4.1). Long parts fold without script and unfold in print.

mod controls;
mod findings;
mod posture;

use casemate_core::{Meta, Outcome, Severity};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{SCORE_MEANING, safe};
use crate::report::Report;

const STYLE: &str = include_str!("html/style.css");

/// A section of the page: its anchor, its name in the contents, and what it holds.
struct Part {
    id: &'static str,
    name: &'static str,
    content: Markup,
}

/// A complete HTML document.
pub fn render(report: &Report, rules: &[&Meta]) -> String {
    let parts: Vec<Part> = parts(report, rules);
    let name = safe(&report.subject.name);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="generator" content=(format!("casemate {}", report.tool.version));
                title { (title(report)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#main" { "Skip to the report" }
                header class="top" {
                    div class="wrap" {
                        p class="brand" { b { "casemate" } " · " (report.command) " report" }
                        h1 { bdi { (name) } }
                        (head_facts(report))
                        nav class="toc" aria-label="Contents" {
                            ul { @for part in &parts { li { a href=(format!("#{}", part.id)) { (part.name) } } } }
                        }
                    }
                }
                main id="main" {
                    div class="wrap" {
                        @for part in &parts {
                            section id=(part.id) aria-labelledby=(format!("{}-title", part.id)) { (part.content) }
                        }
                    }
                }
                footer { div class="wrap" { (foot(report)) } }
            }
        }
        (PreEscaped("\n"))
    };
    page.into_string()
}

fn parts(report: &Report, rules: &[&Meta]) -> Vec<Part> {
    let mut parts = Vec::new();
    match &report.posture {
        Some(posture) => {
            parts.push(Part { id: "score", name: "Score", content: posture::score(posture) });
            parts.push(Part { id: "risk", name: "Risk", content: posture::risk(posture) });
            parts.extend(posture::actions(posture).map(|content| Part { id: "first", name: "Fix first", content }));
            parts.extend(findings::section(report).map(|content| Part { id: "findings", name: "Findings", content }));
            parts.extend(findings::files(report).map(|content| Part { id: "files", name: "Files", content }));
            parts.extend(posture::gate(posture).map(|content| Part { id: "gate", name: "Gate", content }));
            parts.extend(posture::unknown(posture).map(|content| Part { id: "unknown", name: "Unknown", content }));
            parts.push(Part { id: "controls", name: "Controls", content: controls::all(posture) });
            parts.extend(controls::owasp(posture).map(|content| Part { id: "owasp", name: "OWASP", content }));
            parts.extend(controls::frameworks(posture).map(|content| Part {
                id: "frameworks",
                name: "Frameworks",
                content,
            }));
            parts.extend(posture::models(posture).map(|content| Part { id: "models", name: "Models", content }));
            parts.extend(controls::facts(posture).map(|content| Part { id: "facts", name: "Facts", content }));
        }
        None => {
            parts.push(Part { id: "result", name: "Result", content: findings::result(report, rules) });
            parts.extend(findings::section(report).map(|content| Part { id: "findings", name: "Findings", content }));
            parts.extend(findings::files(report).map(|content| Part { id: "files", name: "Files", content }));
        }
    }
    parts.extend(findings::measured(report).map(|content| Part { id: "measured", name: "Measured", content }));
    parts.extend(findings::remarks(report).map(|content| Part { id: "remarks", name: "Remarks", content }));
    parts.extend(findings::evidence(report).map(|content| Part { id: "evidence", name: "Evidence", content }));
    parts
}

fn title(report: &Report) -> String {
    let name = safe(&report.subject.name);
    match &report.posture {
        Some(posture) => format!("{name}: score {} of 100 · casemate", posture.score.value),
        None => format!("{name}: {} · casemate {}", outcome_word(report.outcome), report.command),
    }
}

fn head_facts(report: &Report) -> Markup {
    let model = report.posture.as_ref().and_then(|posture| posture.scored_model.as_deref());
    html! {
        dl class="facts" {
            @if let Some(model) = model { div { dt { "Model" } dd { bdi { (safe(model)) } } } }
            div {
                dt { (if report.posture.is_some() { "Assessed" } else { "Scanned" }) }
                dd { time datetime=(report.finished_at) { (super::time(report.finished_at)) } }
            }
            @if let Some(digest) = report.subject.digest {
                div { dt { "SHA-256" } dd class="mono" { (digest.sha256) } }
            }
        }
    }
}

fn foot(report: &Report) -> Markup {
    html! {
        @if report.posture.is_some() { p { (SCORE_MEANING) } }
        @else { p { "A clean verdict means that everything was read and nothing speaks against it. A file that could not be judged is never called clean." } }
        p {
            "Made by " (report.tool.name) " " (report.tool.version) ", " (super::time(report.finished_at)) ". "
            "The same numbers for machines: " code { "--format json" } "."
        }
    }
}

/// The heading of a section, with one line on what is in it.
fn heading(id: &str, title: &str, remark: &str) -> Markup {
    html! {
        h2 id=(format!("{id}-title")) { (title) }
        @if !remark.is_empty() { p class="remark" { (remark) } }
    }
}

fn severity_chip(severity: Severity) -> Markup {
    let class = match severity {
        Severity::Info => "chip",
        Severity::Low => "chip low",
        Severity::Medium => "chip medium",
        Severity::High => "chip high",
        Severity::Critical => "chip critical",
    };
    html! { span class=(class) { (severity) } }
}

/// Text in which `names` in backticks are set as code.
fn prose(text: &str) -> Markup {
    let text = safe(text);
    let parts: Vec<&str> = text.split('`').collect();
    // An odd backtick is no pair: the text stands as it is.
    if parts.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! { @for (n, part) in parts.iter().enumerate() { @if n % 2 == 1 { code { (part) } } @else { (part) } } }
}

/// The first `n` of `ids`, none broken at its hyphen, and how many more there are.
fn id_list(ids: &[String], n: usize) -> Markup {
    html! {
        @for (place, id) in ids.iter().take(n).enumerate() {
            @if place > 0 { ", " }
            span class="nobreak" { (safe(id)) }
        }
        @if ids.len() > n { " +" (ids.len() - n) }
    }
}

/// A word with its mark; the mark is for the eye only.
fn chip(class: &str, mark: &str, word: &str) -> Markup {
    html! { span class=(format!("chip {class}")) { span aria-hidden="true" { (mark) } (word) } }
}

/// A table in a region that scrolls by itself, so that the page never does.
fn table(caption: &str, header: &[(&str, &str)], rows: &Markup) -> Markup {
    html! {
        div class="scroll" role="region" tabindex="0" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for (class, name) in header { th scope="col" class=(class) { (name) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A bar from 0 to 1, with words for those who do not see it.
fn bar(fraction: f64, class: &str, words: &str) -> Markup {
    let width = (fraction.clamp(0.0, 1.0) * 1000.0).round();
    html! {
        svg class=(format!("bar {class}")) viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=(words) {
            rect class="track" width="1000" height="10" {}
            rect class="fill" width=(width) height="10" {}
        }
    }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Unknown => "unknown",
    }
}

/// The page's policy: nothing is loaded, nothing runs, and the one style sheet is named by its digest.
fn policy() -> String {
    let digest = base64(&casemate_provenance::sha256(STYLE.as_bytes()).0);
    format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0usize, |word, byte| word << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = ALPHABET.get(word >> (18 - 6 * place) & 63).copied().map_or('=', char::from);
            out.push(if place > group.len() { '=' } else { letter });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_values_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
