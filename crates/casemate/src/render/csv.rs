//! The report as CSV (RFC 4180): one row a control where there is a posture, one a model of an inventory, else one a
//! finding and a clean file.
//!
//! Spreadsheets run cells that begin like a formula, and a file name may well be `=cmd|…`: such cells get an apostrophe in
//! front (OWASP, "CSV Injection").

use std::collections::BTreeMap;

use super::{confidence_word, findings, safe};
use crate::report::{Posture, Report};

/// Rows with CRLF, a header first.
pub fn render(report: &Report) -> String {
    match &report.posture {
        Some(posture) => controls(posture),
        None if report.command == "inventory" => models(report),
        None => files(report),
    }
}

fn controls(posture: &Posture) -> String {
    let mut out = row(&[
        "id", "title", "stage", "category", "severity", "state", "weight", "credit", "reason", "command", "evidence",
    ]);
    for control in &posture.controls {
        let title = posture.titles.get(&control.id);
        out.push_str(&row(&[
            &control.id,
            title.map_or("", |title| &title.title),
            title.map_or("", |title| title.stage),
            title.map_or("", |title| title.category),
            control.severity.as_str(),
            control.state.as_str(),
            &control.weight.to_string(),
            &control.credit.to_string(),
            &control.reason,
            title.map_or("", |title| &title.command),
            &control.evidence.join(" "),
        ]));
    }
    // The score is of the whole, so it stands in a row of its own, under an id no control can have, and in no column of numbers.
    let score = &posture.score;
    let words = format!(
        "{} of 100, cap {}, coverage {:.4}, failing {}, unknown {}, stale {}, waived {}, not applicable {}, oldest evidence {}",
        score.value,
        score.cap,
        score.coverage,
        score.failing,
        score.unknown,
        score.stale,
        score.waived,
        score.not_applicable,
        super::oldest(posture)
    );
    out.push_str(&row(&["score", "Score", "", "", "", "", "", "", &words, "", ""]));
    out
}

fn models(report: &Report) -> String {
    let mut out = row(&["path", "member", "format", "size", "sha256", "verdict", "registration", "model", "basis"]);
    for file in &report.artifacts {
        let registration = file.registration.as_ref();
        out.push_str(&row(&[
            &file.path,
            file.member.as_deref().unwrap_or_default(),
            &file.format,
            &file.size.to_string(),
            &file.digest.map(|digest| digest.sha256.to_string()).unwrap_or_default(),
            file.verdict.as_str(),
            registration.map_or("", |registration| registration.status.as_str()),
            registration.and_then(|registration| registration.model.as_deref()).unwrap_or_default(),
            registration.map_or("", |registration| &registration.basis),
        ]));
    }
    out
}

fn files(report: &Report) -> String {
    let mut out = row(&[
        "path",
        "member",
        "offset",
        "line",
        "format",
        "size",
        "sha256",
        "verdict",
        "severity",
        "confidence",
        "rule",
        "message",
        "controls",
        "remediation",
    ]);
    let by_path: BTreeMap<&str, _> = report.artifacts.iter().map(|file| (file.path.as_str(), file)).collect();
    for finding in findings(report) {
        let file = by_path.get(finding.location.path.as_str());
        let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        out.push_str(&row(&[
            &finding.location.path,
            finding.location.member.as_deref().unwrap_or_default(),
            &number(finding.location.offset),
            &number(finding.location.line),
            file.map_or("", |file| &*file.format),
            &number(file.map(|file| file.size)),
            &file.and_then(|file| file.digest).map(|digest| digest.sha256.to_string()).unwrap_or_default(),
            file.map_or("", |file| file.verdict.as_str()),
            finding.severity.as_str(),
            confidence_word(finding.confidence),
            &finding.rule,
            &super::told(finding),
            &finding.controls.join(" "),
            &finding.remediation,
        ]));
    }
    // A file without findings would be missing otherwise, and a file cut short would look complete.
    for file in &report.artifacts {
        let message = match (file.findings.is_empty(), file.findings_left_out) {
            (true, 0) => String::new(),
            (false, 0) => continue,
            (_, n) => format!("{n} more findings were left out above the limit"),
        };
        let digest = file.digest.map(|digest| digest.sha256.to_string()).unwrap_or_default();
        let size = file.size.to_string();
        let verdict = file.verdict.as_str();
        out.push_str(&row(&[
            &file.path,
            "",
            "",
            "",
            &file.format,
            &size,
            &digest,
            verdict,
            "",
            "",
            "",
            &message,
            "",
            "",
        ]));
    }
    out
}

/// One row of a table.
pub fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| field(cell)).collect();
    format!("{}\r\n", cells.join(","))
}

/// One cell: on one line, no formula, quoted where it must be.
fn field(cell: &str) -> String {
    // The check looks at the raw text: after escaping, a tab or a carriage return would begin with a backslash.
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    let text = if formula { format!("'{}", safe(cell)) } else { safe(cell) };
    if text.contains([',', '"']) || text.starts_with(' ') || text.ends_with(' ') {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_and_quotes_doubled() {
        for (cell, written) in [
            ("plain", "plain"),
            ("=cmd|'/c calc'!A0", "'=cmd|'/c calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("\t=1", "'\\t=1"),
            ("\r=1", "'\\r=1"),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("a\r\nb", "a\\r\\nb"),
        ] {
            assert_eq!(field(cell), written);
        }
    }
}
