//! The report as JSON: the structure as it is, indented.
//!
//! JSON must escape C0 controls only. DEL, C1 controls and bidirectional overrides would reach a terminal through `cat`
//! or `jq`, so they are written as `\u` escapes too: the same value to every reader.

use std::fmt::Write as _;

use serde::Serialize;

use crate::report::Report;

/// The contract `casemate.report/v1`, with a newline at its end.
pub fn render(report: &Report) -> String {
    pretty(report)
}

/// `value` as indented JSON that is safe to print.
pub fn pretty(value: &impl Serialize) -> String {
    // Reports have text keys and their numbers are finite, or null: nothing that serde_json refuses.
    let text = serde_json::to_string_pretty(value).expect("a report is plain data with text keys");
    let mut out = String::with_capacity(text.len() + 1);
    for char in text.chars() {
        // Outside of strings there are only ASCII characters, none of them hostile but the line feeds of the layout.
        if char == '\n' || !super::is_hostile(char) {
            out.push(char);
            continue;
        }
        let mut units = [0; 2];
        for unit in char.encode_utf16(&mut units) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out.push('\n');
    out
}
