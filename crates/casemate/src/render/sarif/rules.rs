//! Rules of a SARIF run: what fired, and the controls that do not hold.

use std::collections::BTreeMap;

use casemate_assess::State;
use casemate_core::{Confidence, Finding, Meta, Severity};

use super::log::{Configuration, Help, Rule, RuleProperties, Text};
use super::{level, message, security_severity};
use crate::render::{confidence_word, findings, title_of};
use crate::report::{Posture, Report};

/// Tags GitHub accepts on a rule.
pub const TAGS_MAX: usize = 20;

/// The rules of `report` and where each stands, rules of findings first, then controls, each in order of id.
pub fn of(report: &Report, metas: &[&Meta]) -> (Vec<Rule>, BTreeMap<String, usize>) {
    let mut fired: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings(report) {
        fired.entry(&finding.rule).or_default().push(finding);
    }
    let mut rules: Vec<Rule> = fired
        .into_iter()
        .filter_map(|(id, found)| {
            let meta = metas.iter().find(|meta| meta.id == id);
            found.first().map(|worst| rule(worst, meta.copied()))
        })
        .collect();
    if let Some(posture) = &report.posture {
        rules.extend(controls(posture));
    }
    let index = rules.iter().enumerate().map(|(n, rule)| (rule.id.clone(), n)).collect();
    (rules, index)
}

/// A rule that fired; `worst` is the worst of its findings and tells the rest where there is no description.
fn rule(worst: &Finding, meta: Option<&Meta>) -> Rule {
    let id = message(&worst.rule);
    let title = meta.map_or(id.as_str(), |meta| meta.title);
    let description = meta.map_or(worst.message.as_str(), |meta| meta.description);
    let remediation = meta.map_or(worst.remediation.as_str(), |meta| meta.remediation);
    Rule {
        name: id.clone(),
        short_description: Text::new(message(title)),
        full_description: Text::new(message(description)),
        help: help(description, remediation, &worst.references),
        help_uri: worst.references.iter().find(|reference| is_link(reference)).cloned(),
        default_configuration: Configuration { level: level(worst.severity) },
        properties: properties(Some(worst.severity), worst.confidence, tags(&worst.controls, &worst.references)),
        id,
    }
}

/// The controls that are failing, stale, unknown or waived.
fn controls(posture: &Posture) -> impl Iterator<Item = Rule> + '_ {
    let open = |state| matches!(state, State::Fail | State::Stale | State::Unknown | State::Waived);
    posture.controls.iter().filter(move |control| open(control.state)).map(|control| {
        let title = title_of(posture, &control.id);
        // GitHub ranks by this number, whatever the level: without it, what is merely unknown stays a warning.
        let ranked = matches!(control.state, State::Fail | State::Waived).then_some(control.severity);
        let category = posture.titles.get(&control.id).map_or("", |title| title.category);
        let stage = posture.titles.get(&control.id).map_or("", |title| title.stage);
        // A category and a stage may have the same name; SARIF wants each tag once.
        let mut tags = tags(&[], &[]);
        for tag in [category, stage] {
            if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
        }
        let id = message(&control.id);
        Rule {
            name: id.clone(),
            short_description: Text::new(message(title)),
            full_description: Text::new(message(&format!("control {} ({}): {title}", control.id, control.severity))),
            help: help(title, &control.remediation, &[]),
            help_uri: None,
            default_configuration: Configuration { level: level(control.severity) },
            properties: properties(ranked, Confidence::High, tags),
            id,
        }
    })
}

fn properties(severity: Option<Severity>, confidence: Confidence, tags: Vec<String>) -> RuleProperties {
    RuleProperties {
        security_severity: severity.and_then(security_severity),
        precision: confidence_word(confidence),
        tags,
    }
}

fn help(description: &str, remediation: &str, references: &[String]) -> Help {
    let mut text = message(description);
    if !remediation.is_empty() {
        text.push_str("\n\nWhat to do: ");
        text.push_str(&message(remediation));
    }
    if !references.is_empty() {
        text.push_str("\n\nSee: ");
        text.push_str(&message(&references.join(", ")));
    }
    Help { text }
}

/// `security`, then weaknesses in GitHub's spelling, then controls.
fn tags(controls: &[String], references: &[String]) -> Vec<String> {
    let weakness = |reference: &String| {
        let number =
            reference.strip_prefix("CWE-").filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))?;
        Some(format!("external/cwe/cwe-{number:0>3}"))
    };
    let mut tags = vec!["security".to_owned(), "machine-learning".to_owned()];
    for tag in references.iter().filter_map(weakness).chain(controls.iter().map(|id| message(id))) {
        if tags.len() < TAGS_MAX && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// True for a link that needs no escaping.
fn is_link(text: &str) -> bool {
    text.starts_with("https://") && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}
