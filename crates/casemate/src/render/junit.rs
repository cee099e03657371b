//! The report as JUnit XML, for the test views of CI systems: one test case a file, and one a requirement of the gate.
//!
//! Source: the schema Jenkins reads (junit-10.xsd), which GitLab, GitHub actions and others follow. A file fails on findings at
//! or above the bar, and is an error where it could not be judged, so that no view shows it as passed. One test case has one
//! `failure` or one `error`: readers take the first and ignore the rest. No host, user or property of the machine is written.

use casemate_artifact::Verdict;
use casemate_assess::gate::{GateVerdict, Status};
use casemate_core::Finding;

use super::sarif::relative;
use super::{is_objectionable, place, remarks, safe, unseen};
use crate::report::{ArtifactReport, Report};

/// What became of a test case.
enum Ending {
    Passed,
    Skipped(String),
    Failure(Trouble),
    Error(Trouble),
}

struct Trouble {
    kind: String,
    message: String,
    text: String,
}

struct Case {
    name: String,
    ending: Ending,
}

/// One document with a suite for the files and, where a gate was asked, one for its requirements.
pub fn render(report: &Report) -> String {
    let mut files: Vec<Case> = report.artifacts.iter().map(|file| of_file(report, file)).collect();
    files.push(of_the_whole(report));
    let mut suites = vec![("files".to_owned(), files)];
    if let Some(gate) = report.posture.as_ref().and_then(|posture| posture.gate.as_ref()) {
        suites.push((format!("gate {}", gate.stage.as_str()), of_gate(gate)));
    }
    let all = || suites.iter().flat_map(|(_, cases)| cases);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = text(&format!("casemate {}", report.command));
    // The schema counts what was skipped in suites only.
    let (sums, _) = counts(all());
    out.push_str(&format!("<testsuites name=\"{name}\"{sums}>\n"));
    let notes: Vec<String> = remarks(report).iter().map(|remark| text(remark)).collect();
    for (i, (suite, cases)) in suites.iter().enumerate() {
        let began = report.started_at.to_string();
        let began = began.get(..19).unwrap_or_default();
        let name = text(&format!("casemate {}: {suite}", report.command));
        let (sums, skipped) = counts(cases.iter());
        out.push_str(&format!("  <testsuite name=\"{name}\" timestamp=\"{began}\"{sums} skipped=\"{skipped}\">\n"));
        let class = format!("casemate.{}.{}", report.command, suite.replace(' ', "."));
        cases.iter().for_each(|case| out.push_str(&written(case, &class)));
        if i == 0 && !notes.is_empty() {
            out.push_str(&format!("    <system-out>{}</system-out>\n", notes.join("\n")));
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn of_file(report: &Report, file: &ArtifactReport) -> Case {
    let bad: Vec<&Finding> = file.findings.iter().filter(|finding| is_objectionable(report, finding)).collect();
    let name = relative(&file.path);
    let ending = match (bad.first(), file.verdict) {
        (Some(worst), _) => Ending::Failure(Trouble {
            kind: worst.rule.clone(),
            message: format!("{}: {}", file.verdict.as_str(), worst.message),
            text: lines(&bad, file.findings_left_out),
        }),
        (None, Verdict::Unscannable) => {
            let why: Vec<&Finding> =
                file.findings.iter().filter(|finding| Verdict::of(finding) == Verdict::Unscannable).collect();
            let first = why.first().map_or("not everything in it could be read", |finding| finding.message.as_str());
            Ending::Error(Trouble {
                kind: "unscannable".into(),
                message: format!("could not be judged: {first}"),
                text: lines(&why, file.findings_left_out),
            })
        }
        (None, _) => Ending::Passed,
    };
    Case { name, ending }
}

/// What was not looked at belongs to no file, and must not vanish for that.
fn of_the_whole(report: &Report) -> Case {
    let unseen = unseen(report);
    let ending = match unseen.first() {
        None => Ending::Passed,
        Some(first) => Ending::Error(Trouble {
            kind: "not-looked-at".into(),
            message: first.clone(),
            text: unseen.iter().map(|line| text(line)).collect::<Vec<_>>().join("\n"),
        }),
    };
    Case { name: "everything was looked at".into(), ending }
}

fn of_gate(gate: &GateVerdict) -> Vec<Case> {
    let case = |requirement: &casemate_assess::gate::Requirement| {
        let trouble = |kind: &str| Trouble {
            kind: kind.into(),
            message: requirement.detail.clone(),
            text: text(&requirement.controls.join(", ")),
        };
        let ending = match requirement.status {
            Status::Met => Ending::Passed,
            Status::Waived => Ending::Skipped(requirement.detail.clone()),
            Status::Unknown => Ending::Error(trouble("unknown")),
            Status::Failed => Ending::Failure(trouble("failed")),
        };
        Case { name: requirement.name.clone(), ending }
    };
    gate.requirements.iter().map(case).collect()
}

fn lines(findings: &[&Finding], left_out: u64) -> String {
    let line = |finding: &&Finding| {
        let mut location = finding.location.clone();
        location.path = relative(&location.path);
        let advice = match finding.remediation.as_str() {
            "" => String::new(),
            advice => format!(". What to do: {advice}"),
        };
        text(&format!("{} {} at {}: {}{advice}", finding.severity, finding.rule, place(&location), finding.message))
    };
    let mut lines: Vec<String> = findings.iter().map(line).collect();
    if left_out > 0 {
        lines.push(format!("{left_out} more findings were left out above the limit"));
    }
    lines.join("\n")
}

fn written(case: &Case, class: &str) -> String {
    let head = format!("    <testcase name=\"{}\" classname=\"{}\"", text(&case.name), text(class));
    let body = |element: &str, trouble: &Trouble| {
        format!(
            "{head}>\n      <{element} type=\"{}\" message=\"{}\">{}</{element}>\n    </testcase>\n",
            text(&trouble.kind),
            text(&trouble.message),
            trouble.text
        )
    };
    match &case.ending {
        Ending::Passed => format!("{head}/>\n"),
        Ending::Skipped(why) => format!("{head}>\n      <skipped message=\"{}\"/>\n    </testcase>\n", text(why)),
        Ending::Failure(trouble) => body("failure", trouble),
        Ending::Error(trouble) => body("error", trouble),
    }
}

/// The counting attributes of suites, and how many cases were skipped.
fn counts<'a>(cases: impl Iterator<Item = &'a Case>) -> (String, usize) {
    let (mut tests, mut failures, mut errors, mut skipped) = (0, 0, 0, 0);
    for case in cases {
        tests += 1;
        match case.ending {
            Ending::Passed => {}
            Ending::Skipped(_) => skipped += 1,
            Ending::Failure(_) => failures += 1,
            Ending::Error(_) => errors += 1,
        }
    }
    (format!(" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\""), skipped)
}

/// `raw` for an attribute or an element: on one safe line, markup escaped, without the two characters XML 1.0 has no way to say.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for char in safe(raw).chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.extend(char.escape_unicode()),
            char => out.push(char),
        }
    }
    out
}
