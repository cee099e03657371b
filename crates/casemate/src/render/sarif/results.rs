//! Results of a SARIF run: findings, and controls that do not hold.

use std::collections::BTreeMap;

use casemate_assess::State;
use casemate_assess::assessment::ControlReport;
use casemate_core::Finding;
use serde_json::json;

use super::log::{Location, LogicalLocation, Outcome, Suppression, Text};
use super::{level, message};
use crate::render::{confidence_word, findings, in_state, safe, waiver_of};
use crate::report::{Posture, Report};

/// Where results about the project as a whole are shown: the file in which it is configured.
const PROJECT_FILE: &str = "casemate.toml";

/// Every result, the most urgent first: what is cut at the end matters least.
pub fn of(report: &Report, rules: &BTreeMap<String, usize>) -> Vec<Outcome> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut results: Vec<Outcome> = Vec::new();
    let posture = report.posture.as_ref();
    let failing = posture.map(|posture| in_state(posture, State::Fail)).unwrap_or_default();
    for control in failing {
        results.extend(posture.map(|posture| of_control(posture, control, rules)));
    }
    for finding in findings(report) {
        let key = key(finding);
        let occurrence = seen.entry(key.clone()).and_modify(|n| *n += 1).or_insert(1);
        results.push(of_finding(finding, &format!("{key}:{occurrence}"), posture, rules));
    }
    for state in [State::Stale, State::Unknown, State::Waived] {
        for control in posture.map(|posture| in_state(posture, state)).unwrap_or_default() {
            results.extend(posture.map(|posture| of_control(posture, control, rules)));
        }
    }
    results
}

fn of_finding(
    finding: &Finding,
    fingerprint: &str,
    posture: Option<&Posture>,
    rules: &BTreeMap<String, usize>,
) -> Outcome {
    let mut location = Location::of_file(&finding.location.path);
    let region = &mut location.physical_location.region;
    match finding.location.line {
        Some(line) => (region.start_line, region.end_line) = (line.max(1), line.max(1)),
        None if finding.location.member.is_none() => region.byte_offset = finding.location.offset,
        // An offset inside a member is no offset of the file; it stands in the properties.
        None => {}
    }
    if let Some(member) = &finding.location.member {
        let path = safe(&relative(&finding.location.path));
        let member = safe(member);
        let name = member.rsplit(['!', '/']).next().unwrap_or(&member).to_owned();
        let fully_qualified_name = format!("{path}!{member}");
        location.logical_locations.push(LogicalLocation { name, fully_qualified_name, kind: "resource" });
    }
    let rule_id = message(&finding.rule);
    Outcome {
        rule_index: rules.get(&rule_id).copied().unwrap_or_default(),
        rule_id,
        kind: "fail",
        level: level(finding.severity),
        message: Text::new(finding_text(finding)),
        locations: vec![location],
        partial_fingerprints: BTreeMap::from([("primaryLocationLineHash", fingerprint.to_owned())]),
        suppressions: suppressed(finding, posture),
        properties: BTreeMap::from([
            ("confidence", json!(confidence_word(finding.confidence))),
            ("controls", json!(finding.controls)),
            ("memberOffset", json!(finding.location.member.as_ref().and(finding.location.offset))),
            ("severity", json!(finding.severity)),
        ]),
    }
}

/// A finding is suppressed where it was accepted itself, or every control it speaks to is waived.
fn suppressed(finding: &Finding, posture: Option<&Posture>) -> Vec<Suppression> {
    let Some(accepted) = &finding.accepted else {
        return posture.map(|posture| suppressions(posture, &finding.controls)).unwrap_or_default();
    };
    let by = accepted.approved_by.as_ref().map(|name| format!(", approved by {name}")).unwrap_or_default();
    let justification = message(&format!("{}; until {}{by}", accepted.reason, accepted.expires));
    vec![Suppression { kind: "external", status: "accepted", justification }]
}

/// The message with where and what to do: GitHub shows little else of a binary file.
fn finding_text(finding: &Finding) -> String {
    let mut text = finding.message.clone();
    if let Some(member) = &finding.location.member {
        text.push_str(&format!(" (in {member})"));
    }
    if !finding.remediation.is_empty() {
        text.push_str(&format!(". What to do: {}", finding.remediation));
    }
    message(&text)
}

fn of_control(posture: &Posture, control: &ControlReport, rules: &BTreeMap<String, usize>) -> Outcome {
    let title = crate::render::title_of(posture, &control.id);
    let text = format!("{} is {}: {title}. {}", control.id, control.state, control.reason);
    let rule_id = message(&control.id);
    let fingerprint = format!("{}:1", short_hash(&format!("control\n{}", control.id)));
    Outcome {
        rule_index: rules.get(&rule_id).copied().unwrap_or_default(),
        rule_id,
        // `open` would be SARIF's word for unknown, but it forces level `none`, which nobody is shown.
        kind: "fail",
        level: match control.state {
            State::Fail | State::Waived => level(control.severity),
            _ => "warning",
        },
        message: Text::new(message(&text)),
        locations: vec![Location::of_file(PROJECT_FILE)],
        partial_fingerprints: BTreeMap::from([("primaryLocationLineHash", fingerprint)]),
        suppressions: suppressions(posture, std::slice::from_ref(&control.id)),
        properties: BTreeMap::from([
            ("credit", json!(control.credit)),
            ("evidence", json!(control.evidence)),
            ("severity", json!(control.severity)),
            ("state", json!(control.state)),
            ("weight", json!(control.weight)),
        ]),
    }
}

/// A suppression when every one of `controls` is waived.
fn suppressions(posture: &Posture, controls: &[String]) -> Vec<Suppression> {
    let waivers: Option<Vec<&str>> = controls.iter().map(|id| waiver_of(posture, id)).collect();
    let Some(waivers) = waivers.filter(|waivers| !waivers.is_empty()) else { return Vec::new() };
    let justification = message(&waivers.join("; "));
    vec![Suppression { kind: "external", status: "accepted", justification }]
}

/// What tells a finding from others and survives a file that is saved again: the fingerprint without its count.
pub fn fingerprint(finding: &Finding) -> String {
    key(finding)
}

/// What a finding keeps when its file is saved again: rule, path, member and words, without numbers, which may be offsets.
fn key(finding: &Finding) -> String {
    let location = &finding.location;
    let member = location.member.as_deref().unwrap_or_default();
    let path = relative(&location.path);
    short_hash(&format!("finding\n{}\n{path}\n{member}\n{}", finding.rule, without_numbers(&finding.message)))
}

/// `text` with each run of digits outside of backticks as `#`: in backticks stand names, which are what was found.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quoted = false;
    for char in text.chars() {
        quoted ^= char == '`';
        match char {
            '0'..='9' if !quoted && out.ends_with('#') => {}
            '0'..='9' if !quoted => out.push('#'),
            _ => out.push(char),
        }
    }
    out
}

fn short_hash(text: &str) -> String {
    casemate_provenance::sha256(text.as_bytes()).to_string().chars().take(32).collect()
}

/// `path` without anything of the machine: relative, `/` between components, no `.` or `..`.
///
/// An absolute path keeps its file name only; what stands before it may name a user.
pub fn relative(path: &str) -> String {
    let path = path.replace('\\', "/");
    let has_drive = path.as_bytes().get(1) == Some(&b':');
    let absolute = path.starts_with('/') || path.starts_with('~') || has_drive || path.starts_with("file:");
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    let kept = match parts.as_slice() {
        [.., last] if absolute => (*last).to_owned(),
        parts => parts.join("/"),
    };
    if kept.is_empty() { "unnamed".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_the_machine() {
        for (path, kept) in [
            ("models/a.pt", "models/a.pt"),
            ("./models//a.pt", "models/a.pt"),
            ("/home/ada/models/a.pt", "a.pt"),
            ("C:\\Users\\ada\\a.pt", "a.pt"),
            ("../../etc/a.pt", "etc/a.pt"),
            ("/", "unnamed"),
            ("-", "-"),
        ] {
            assert_eq!(relative(path), kept);
        }
    }

    #[test]
    fn numbers_outside_of_names_do_not_count() {
        assert_eq!(without_numbers("bytes 12..345 of `conv2d` unclaimed"), "bytes #..# of `conv2d` unclaimed");
    }
}
