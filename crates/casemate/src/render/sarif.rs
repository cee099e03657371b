//! The report as SARIF 2.1.0, for code scanning.
//!
//! Source: OASIS SARIF 2.1.0, and what GitHub documents beyond it: which fields must be there, severity from the rule
//! property `security-severity`, at most 25,000 results and 20 tags a rule. Where something must be left out, a notification
//! says so. No absolute path, user or host is written, and fingerprints carry no offset, so that an alert survives a file
//! that was saved again or checked out elsewhere.

mod log;
mod results;
mod rules;

use std::collections::BTreeMap;

use casemate_artifact::Verdict;
use casemate_core::{Meta, Severity};
use serde_json::json;

pub use self::results::relative;

use self::log::{
    AutomationDetails, Descriptor, Driver, Invocation, Location, Log, Notification, Run, Text, Tool, VERSION,
};
pub use self::results::fingerprint;
use super::{json, safe};
use crate::report::Report;

/// Results GitHub accepts in one run.
pub const RESULTS_MAX: usize = 25_000;

/// Notifications about files that could not be judged; the count of the others is said.
const NOTIFICATIONS_MAX: usize = 1_000;

/// One log with one run.
pub fn render(report: &Report, metas: &[&Meta]) -> String {
    let (rules, index) = rules::of(report, metas);
    let mut results = results::of(report, &index);
    let left_out = results.len().saturating_sub(RESULTS_MAX);
    results.truncate(RESULTS_MAX);
    let mut notifications = unscannable(report);
    if left_out > 0 {
        let text = format!("{left_out} results were left out: a run may hold {RESULTS_MAX}; the worst are here");
        notifications.push(Notification::new("casemate/results-cut", "warning", text, None));
    }
    let run = Run {
        tool: Tool {
            driver: Driver {
                name: report.tool.name,
                version: report.tool.version,
                semantic_version: report.tool.version,
                notifications: descriptors(),
                rules,
            },
        },
        automation_details: AutomationDetails { id: format!("casemate/{}/", name(report)) },
        invocations: vec![Invocation {
            execution_successful: !interrupted(report),
            start_time_utc: report.started_at,
            end_time_utc: report.finished_at,
            tool_execution_notifications: notifications,
        }],
        column_kind: "unicodeCodePoints",
        properties: properties(report),
        results,
    };
    json::pretty(&Log { schema: log::SCHEMA, version: VERSION, runs: vec![run] })
}

/// The category of the run: the scored model, or the command. It keeps the runs of two models apart.
fn name(report: &Report) -> String {
    let model = report.posture.as_ref().and_then(|posture| posture.scored_model.as_deref());
    let name: String = safe(model.unwrap_or(report.command)).chars().take(100).collect();
    // A slash would begin another level of the category.
    name.replace(['/', '\\'], "-")
}

/// True when the command was stopped before it had seen everything.
fn interrupted(report: &Report) -> bool {
    ["incomplete", "interrupted"].iter().any(|key| report.summary.get(key) == Some(&serde_json::Value::Bool(true)))
}

fn unscannable(report: &Report) -> Vec<Notification> {
    let files: Vec<_> = report.artifacts.iter().filter(|file| file.verdict == Verdict::Unscannable).collect();
    let mut notifications: Vec<Notification> = files
        .iter()
        .take(NOTIFICATIONS_MAX)
        .map(|file| {
            let why =
                file.findings.iter().max_by_key(|finding| finding.severity).map(|finding| finding.message.as_str());
            let path = safe(&relative(&file.path));
            let text =
                format!("{path} could not be judged: {}", safe(why.unwrap_or("not everything in it could be read")));
            Notification::new("casemate/unscannable", "error", text, Some(Location::of_file(&file.path)))
        })
        .collect();
    if files.len() > NOTIFICATIONS_MAX {
        let text = format!("{} more files could not be judged", files.len() - NOTIFICATIONS_MAX);
        notifications.push(Notification::new("casemate/unscannable", "error", text, None));
    }
    for remark in super::remarks(report).into_iter().take(NOTIFICATIONS_MAX) {
        notifications.push(Notification::new("casemate/remark", "warning", remark, None));
    }
    let left_out: u64 = report.artifacts.iter().map(|file| file.findings_left_out).sum();
    if left_out > 0 {
        let text = format!("{left_out} findings were left out above the limit for one file");
        notifications.push(Notification::new("casemate/results-cut", "warning", text, None));
    }
    notifications
}

fn descriptors() -> Vec<Descriptor> {
    vec![
        Descriptor { id: "casemate/unscannable", short_description: Text::new("a file could not be judged".into()) },
        Descriptor { id: "casemate/remark", short_description: Text::new("something to know about this run".into()) },
        Descriptor { id: "casemate/results-cut", short_description: Text::new("results were left out".into()) },
    ]
}

fn properties(report: &Report) -> BTreeMap<&'static str, serde_json::Value> {
    let mut properties = BTreeMap::from([("casemate/outcome", json!(report.outcome))]);
    if let Some(posture) = &report.posture {
        properties.insert("casemate/score", json!(posture.score));
    }
    properties
}

/// The words GitHub sorts by; `info` has none, and is shown as a note.
fn security_severity(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Critical => Some("9.5"),
        Severity::High => Some("8.0"),
        Severity::Medium => Some("5.5"),
        Severity::Low => Some("2.0"),
        Severity::Info => None,
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// `text` as a SARIF message: one safe line, in which nothing reads as a link or a placeholder (2.1.0, 3.11.5 and 3.11.6).
fn message(text: &str) -> String {
    let text = safe(text).replace("](", "] (");
    if text.trim().is_empty() { "no description".to_owned() } else { text }
}
