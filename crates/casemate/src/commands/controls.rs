//! `casemate controls`: the catalogue, and where one control stands.

use std::fmt::Write as _;

use casemate_assess::control::{Control, MaxAge};
use casemate_core::Severity;

use crate::cli::{ControlsCommand, Format};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::posture::Rules;
use crate::state::State;

/// Runs the command.
pub fn run(context: &Context, command: &ControlsCommand) -> Result<Exit, Failure> {
    let project = context.project(None)?;
    let rules = Rules::load(&project, context.now())?;
    match command {
        ControlsCommand::List { stage, severity, framework } => {
            let format = context.format(&[Format::Text, Format::Json, Format::Csv])?;
            known_filters(&rules, stage.as_deref(), framework.as_deref())?;
            let wanted = |control: &&Control| {
                stage.as_deref().is_none_or(|stage| control.stage.as_str() == stage)
                    && severity.is_none_or(|severity| control.severity == severity)
                    && framework.as_deref().is_none_or(|id| control.maps.iter().any(|map| map.to_string() == id))
            };
            let controls: Vec<_> = rules.catalogue.controls().filter(wanted).collect();
            context.emit(&list(&controls, rules.catalogue.controls().count(), format)?)?;
        }
        ControlsCommand::Explain { id } => {
            context.format(&[Format::Text])?;
            let id = id.to_uppercase();
            let control = rules.catalogue.control(&id).ok_or_else(|| {
                Failure::usage(format!("`{id}` is no control; `casemate controls list` names all of them"))
            })?;
            let mut out = explain(control);
            if State::exists(&project) {
                out.push_str(&standing(context, &id)?);
            }
            context.emit(&out)?;
        }
    }
    Ok(Exit::Passed)
}

/// A filter that fits nothing by its name alone is a mistake, not an empty list.
fn known_filters(rules: &Rules, stage: Option<&str>, framework: Option<&str>) -> Result<(), Failure> {
    let stages: std::collections::BTreeSet<_> =
        rules.catalogue.controls().map(|control| control.stage.as_str()).collect();
    if let Some(stage) = stage.filter(|stage| !stages.contains(stage)) {
        let names: Vec<_> = stages.into_iter().collect();
        return Err(Failure::usage(format!("`{stage}` is no stage; use one of {}", names.join(", "))));
    }
    let Some(wanted) = framework else { return Ok(()) };
    let mut ids = rules
        .catalogue
        .frameworks()
        .flat_map(|list| list.ids.keys().map(move |id| format!("{}@{}:{id}", list.framework, list.edition)));
    match ids.any(|id| id == wanted) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "`{wanted}` is in no framework; write `framework@edition:id`, e.g. `owasp-ml@2023:ML06`"
        ))),
    }
}

fn list(controls: &[&Control], all: usize, format: Format) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Text => {
            for control in controls {
                let _ = writeln!(
                    out,
                    "{:<7} {:<9} {:<11} {}",
                    control.id,
                    control.severity,
                    control.stage.as_str(),
                    control.title
                );
            }
            let _ = writeln!(out, "{} of {all} controls", controls.len());
        }
        Format::Json => {
            out = serde_json::to_string_pretty(controls).map_err(Failure::not_evaluated)?;
            out.push('\n');
        }
        Format::Csv => {
            out.push_str("id,severity,stage,category,title\r\n");
            for control in controls {
                let title = control.title.replace('"', "\"\"");
                let (severity, stage, category) = (control.severity, control.stage.as_str(), control.category.as_str());
                let _ = write!(out, "{},{severity},{stage},{category},\"{title}\"\r\n", control.id);
            }
        }
        _ => {}
    }
    Ok(out)
}

fn explain(control: &Control) -> String {
    let mut out = format!("{}  {}\n\n{}\n\n{}\n\n", control.id, control.title, control.statement, control.rationale);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<12} {value}");
    };
    row("severity", &format!("{} (weight {})", control.severity, casemate_assess::control::weight(control.severity)));
    row("stage", control.stage.as_str());
    row("category", control.category.as_str());
    row("applies", control.applies.text());
    row("verified by", control.verification.as_str());
    row("evidence", &age(control.max_age));
    for check in &control.checks {
        row(
            "check",
            &format!(
                "{} on {}: {}",
                check.evidence,
                casemate_assess::control::subject_word(check.subject),
                check.pass.text()
            ),
        );
    }
    row("to do", &control.remediation.text);
    row("command", &control.remediation.command);
    row("effort", control.remediation.effort.as_str());
    row("maps to", &control.maps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    out
}

fn age(age: MaxAge) -> String {
    match age {
        MaxAge::Days { days } => format!("fresh for {days} days"),
        MaxAge::Per { per: event } => format!("valid per {}", event.as_str()),
    }
}

/// Where the control stands in this project's ledger, and every term that decided.
fn standing(context: &Context, id: &str) -> Result<String, Failure> {
    let report = super::assess::build(context, "controls", casemate_assess::GateStage::Merge)?.report;
    let mut out = String::new();
    let state = report.posture.as_ref().and_then(|posture| posture.states.iter().find(|state| state.id == id));
    let Some(state) = state else { return Ok(out) };
    let _ = writeln!(out, "\nhere         {}: {}", state.state.as_str(), state.reason);
    for check in &state.checks {
        let _ = writeln!(out, "  {:<10} {}: {}", check.state.as_str(), check.evidence, check.reason);
        for term in check.trace.iter().flat_map(|trace| &trace.terms) {
            let mark = if term.decisive { "decides" } else { "" };
            let _ = writeln!(out, "             {:<8} {:<7} {} ({})", term.truth.as_str(), mark, term.text, term.read);
        }
        for record in &check.records {
            let _ = writeln!(out, "             record {record}");
        }
    }
    if state.severity == Severity::Critical && state.credit_ppm == 0 && state.is_applicable() {
        let _ = writeln!(out, "  while it earns nothing, the score is capped at 49");
    }
    Ok(out)
}
