//! `rules.md`: every rule of the artifact scanner, from the description each detector gives of itself.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};

use super::{cell, codes, head};
use crate::rust_struct::{self, Literal};
use crate::tree::File;

/// The page made of the files of the detectors.
pub fn page(detectors: &[File]) -> Result<String> {
    let mut rules = Vec::new();
    for file in detectors {
        match rust_struct::find(&file.text, "static META: Meta = Meta {") {
            Some(Ok(rule)) => rules.push(rule),
            Some(Err((line, what))) => return Err(anyhow!("{}:{line}: {what}", file.path)),
            None => {}
        }
    }
    rules.sort_by(|a, b| a.text("id").cmp(b.text("id")));
    let mut page =
        head("Rules", "What `casemate scan` looks for. Ids live forever; reports, SARIF and waivers name them.");
    page.push_str("\n| rule | severity | what it names |\n|---|---|---|\n");
    for rule in &rules {
        let (id, severity) = (rule.text("id"), rule.text("severity").to_lowercase());
        let _ = writeln!(page, "| [`{id}`](#{id}) | {severity} | {} |", cell(rule.text("title")));
    }
    rules.iter().for_each(|rule| section(&mut page, rule));
    Ok(page)
}

fn section(page: &mut String, rule: &Literal) {
    let (severity, confidence) = (rule.text("severity").to_lowercase(), rule.text("confidence").to_lowercase());
    let references: Vec<_> = rule.texts("references").iter().map(|text| reference(text)).collect();
    let _ = write!(
        page,
        "\n## {}\n\n{}.\n\n{}\n\n",
        rule.text("id"),
        sentence(rule.text("title")),
        rule.text("description")
    );
    let _ = writeln!(page, "- Severity: {severity}, unless a finding says otherwise; confidence: {confidence}");
    let _ = writeln!(page, "- Controls: {}", codes(rule.texts("controls")));
    if !references.is_empty() {
        let _ = writeln!(page, "- References: {}", references.join(", "));
    }
    let _ = writeln!(page, "- What to do: {}", rule.text("remediation"));
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A reference as a link, where its kind says where to.
fn reference(text: &str) -> String {
    if text.starts_with("https://") {
        return format!("<{text}>");
    }
    if let Some(n) = text.strip_prefix("CWE-") {
        return format!("[{text}](https://cwe.mitre.org/data/definitions/{n}.html)");
    }
    match text {
        _ if text.starts_with("CVE-") => format!("[{text}](https://www.cve.org/CVERecord?id={text})"),
        _ if text.starts_with("GHSA-") => format!("[{text}](https://github.com/advisories/{text})"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_row_and_a_section() {
        let text = "static META: Meta = Meta {\n    id: \"a-b\",\n    title: \"one | two\",\n    description: \"Why.\",\n    severity: Severity::High,\n    confidence: Confidence::Low,\n    controls: &[\"SUP-01\"],\n    references: &[\"CWE-502\"],\n    remediation: \"do\",\n};\n";
        let page = page(&[File::new("a_b.rs", text)]).unwrap();
        assert!(page.contains("| [`a-b`](#a-b) | high | one \\| two |\n"), "{page}");
        assert!(page.contains("## a-b\n\nOne | two.\n\nWhy.\n\n- Severity: high"), "{page}");
        assert!(page.contains("[CWE-502](https://cwe.mitre.org/data/definitions/502.html)"), "{page}");
    }
}
