//! The report as workflow commands of GitHub Actions, which become annotations: `::error file=…,title=…::message`.
//!
//! A runner obeys every such line in a log, so a name or message must not be able to begin one, nor to add a property: all text
//! is put on one line and escaped as the runner unescapes it (actions/toolkit, `command.ts`): `%`, CR and LF in messages, `:`
//! and `,` besides in properties. Nothing but commands is written. GitHub shows ten annotations of a level for a step, so the
//! worst come first and the last line counts all.

use casemate_artifact::Verdict;
use casemate_assess::gate::Status;
use casemate_core::{Finding, Severity};

use super::sarif::relative;
use super::{files_line, findings, is_objectionable, remarks, safe, unseen};
use crate::report::Report;

/// One command a line.
pub fn render(report: &Report) -> String {
    let mut lines: Vec<(u8, String)> =
        findings(report).into_iter().map(|finding| of_finding(report, finding)).collect();
    lines.extend(unseen(report).iter().map(|what| (0, command("error", &[("title", "not looked at")], what))));
    let gate = report.posture.as_ref().and_then(|posture| posture.gate.as_ref());
    for requirement in gate.into_iter().flat_map(|gate| &gate.requirements) {
        let title = format!("gate: {}", requirement.name);
        let level = match requirement.status {
            Status::Met | Status::Waived => continue,
            Status::Failed | Status::Unknown => "error",
        };
        lines.push((0, command(level, &[("title", &title)], &requirement.detail)));
    }
    lines.sort_by_key(|(rank, _)| *rank);
    lines.extend(remarks(report).iter().map(|remark| (3, command("notice", &[("title", "casemate")], remark))));
    let title = format!("casemate {}: {}", report.command, report.outcome.as_str());
    let whole = match report.artifacts.is_empty() {
        true => "no file was looked at".to_owned(),
        false => files_line(report),
    };
    lines.push((4, command("notice", &[("title", &title)], &whole)));
    lines.into_iter().map(|(_, line)| line).collect()
}

fn of_finding(report: &Report, finding: &Finding) -> (u8, String) {
    let unjudged = Verdict::of(finding) == Verdict::Unscannable;
    let (rank, level) = match finding.severity {
        _ if unjudged || is_objectionable(report, finding) => (0, "error"),
        Severity::Critical | Severity::High | Severity::Medium => (1, "warning"),
        Severity::Low | Severity::Info => (2, "notice"),
    };
    let line = finding.location.line.map(|line| line.max(1).to_string());
    let path = relative(&finding.location.path);
    let title = format!("{} ({})", finding.rule, finding.severity);
    let mut properties = vec![("file", path.as_str())];
    properties.extend(line.as_deref().map(|line| ("line", line)));
    properties.push(("title", &title));
    let mut message = finding.message.clone();
    if let Some(member) = &finding.location.member {
        message.push_str(&format!(" (in {member})"));
    }
    if !finding.remediation.is_empty() {
        message.push_str(&format!(". What to do: {}", finding.remediation));
    }
    (rank, command(level, &properties, &message))
}

fn command(level: &str, properties: &[(&str, &str)], message: &str) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(name, value)| format!("{name}={}", property(value))).collect();
    format!("::{level} {}::{}\n", properties.join(","), data(message))
}

/// `text` as the message of a command. Of CR and LF `safe` leaves none; they are escaped all the same, should that change.
fn data(text: &str) -> String {
    safe(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_ends_a_property_or_a_line() {
        assert_eq!(
            command("error", &[("file", "a,title=x::y%0A.pt"), ("title", "t:1")], "100 %\r\n::set-output name=x::y"),
            "::error file=a%2Ctitle=x%3A%3Ay%250A.pt,title=t%3A1::100 %25\\r\\n::set-output name=x::y\n"
        );
    }
}
