//! Every control by stage, the frameworks they answer, and the facts that decide which apply.

use casemate_assess::State;
use casemate_assess::assessment::{ControlReport, FrameworkCoverage, FrameworkRow};
use casemate_assess::control::Stage;
use casemate_assess::facts::FactSource;
use maud::{Markup, html};

use super::{bar, chip, heading, id_list, prose, table};
use crate::render::{number, plural, safe, state_mark, title_of, waiver_of};
use crate::report::Posture;

/// Every control in a table for each stage; stages with something shown wrong are open.
pub fn all(posture: &Posture) -> Markup {
    let stages = Stage::ALL.iter().map(|stage| (stage.as_str(), in_stage(posture, Some(stage.as_str()))));
    let others = ("other", in_stage(posture, None));
    let remark = "By stage of the model's life. A control counts as passing only while its evidence is fresh.";
    html! {
        (heading("controls", "Every control", remark))
        div class="stack" {
            @for (stage, controls) in stages.chain([others]).filter(|(_, controls)| !controls.is_empty()) {
                (stage_table(posture, stage, &controls))
            }
        }
    }
}

/// Controls of `stage`, or those without a title.
fn in_stage<'a>(posture: &'a Posture, stage: Option<&str>) -> Vec<&'a ControlReport> {
    let stage_of = |control: &&ControlReport| posture.titles.get(&control.id).map(|title| title.stage) == stage;
    posture.controls.iter().filter(stage_of).collect()
}

fn stage_table(posture: &Posture, stage: &str, controls: &[&ControlReport]) -> Markup {
    let count = |state| controls.iter().filter(|control| control.state == state).count();
    let wrong = count(State::Fail) + count(State::Stale) + count(State::Waived) > 0;
    let counts: Vec<String> = State::ALL
        .iter()
        .map(|state| (count(*state), state))
        .filter(|(n, _)| *n > 0)
        .map(|(n, state)| format!("{n} {state}"))
        .collect();
    let rows = html! { @for control in controls { (control_row(posture, control)) } };
    let header = [
        ("", "Control"),
        ("", "State"),
        ("", "Severity"),
        ("number", "Credit"),
        ("", "What, and why it stands so"),
        ("", "Evidence"),
    ];
    html! {
        details class="card" open[wrong] {
            summary { h3 { (capital(stage)) } span class="ids" { (counts.join(" · ")) } }
            (table(&format!("Controls of the stage {stage}"), &header, &rows))
        }
    }
}

fn control_row(posture: &Posture, control: &ControlReport) -> Markup {
    html! {
        tr id=(safe(&control.id)) {
            th scope="row" { (safe(&control.id)) }
            td { (state_chip(control.state)) }
            td { span class=(format!("word {}", control.severity)) { (control.severity) } }
            td class="number" { (credit(control)) }
            td class="wide" {
                (safe(title_of(posture, &control.id)))
                span class="sub" { (prose(&control.reason)) }
                @if let Some(waiver) = waiver_of(posture, &control.id) { span class="sub" { "waiver: " (prose(waiver)) } }
            }
            td { (evidence(control)) }
        }
    }
}

/// What the control earns of its weight; a dash where it does not count.
fn credit(control: &ControlReport) -> String {
    if control.state == State::NotApplicable {
        return "–".to_owned();
    }
    let weight = f64::from(u32::try_from(control.weight).unwrap_or(u32::MAX));
    format!("{} of {}", number(control.credit * weight), control.weight)
}

fn evidence(control: &ControlReport) -> Markup {
    html! {
        @if control.evidence.is_empty() { span class="ids" { "none" } }
        @else {
            details class="plain" {
                summary class="nobreak" { (plural(control.evidence.len(), "record")) }
                ul class="hashes mono" { @for id in &control.evidence { li { (safe(id)) } } }
            }
        }
    }
}

fn state_chip(state: State) -> Markup {
    let class = match state {
        State::Pass => "good",
        State::Fail => "critical",
        State::Stale => "high",
        State::Unknown => "medium",
        State::Waived => "low",
        State::NotApplicable => "",
    };
    chip(class, state_mark(state), &state.as_str().replace('-', " "))
}

/// The ten risks of OWASP's list for machine learning.
pub fn owasp(posture: &Posture) -> Option<Markup> {
    let coverage = posture.frameworks.iter().find(|one| one.framework == "owasp-ml" && one.edition == "2023")?;
    let rows = html! { @for row in &coverage.rows { (owasp_row(row)) } };
    let header = [("", "Risk"), ("", "Title"), ("", "Hold"), ("", "Passing"), ("", "Controls")];
    let remark = "How many of the applicable controls that answer each risk are shown to hold.";
    Some(html! {
        (heading("owasp", &safe(&coverage.title), remark))
        div class="card" {
            (table(&format!("{}, edition {}", coverage.title, coverage.edition), &header, &rows))
            @if coverage.rows.len() < coverage.ids {
                p class="note" { (coverage.ids - coverage.rows.len()) " risks of the list have no applicable control." }
            }
        }
    })
}

fn owasp_row(row: &FrameworkRow) -> Markup {
    let (n, of) = (row.passing.len(), row.controls.len());
    let (class, mark) = match n {
        0 => ("medium", "?"),
        n if n == of => ("good", "✓"),
        _ => ("low", "◐"),
    };
    html! {
        tr {
            th scope="row" { (safe(&row.id)) }
            td class="wide" { (safe(&row.title)) }
            td { (chip(class, mark, &format!("{n} of {of}"))) }
            td class="ids" { @if row.passing.is_empty() { "none" } @else { (id_list(&row.passing, 8)) } }
            td class="wide ids" { (id_list(&row.controls, 10)) }
        }
    }
}

/// How far each list is covered.
pub fn frameworks(posture: &Posture) -> Option<Markup> {
    if posture.frameworks.is_empty() {
        return None;
    }
    let rows = html! { @for framework in &posture.frameworks { (framework_row(framework)) } };
    let header = [
        ("", "Framework"),
        ("", "Edition"),
        ("number", "Entries"),
        ("number", "Mapped"),
        ("number", "Passing"),
        ("", "Share passing"),
    ];
    let remark = "Entries that an applicable control maps to, and those that a passing control maps to. A mapping is our \
                  reading, not a certificate.";
    Some(html! {
        (heading("frameworks", "Frameworks", remark))
        div class="card" { (table("Coverage of frameworks, each in its pinned edition", &header, &rows)) }
    })
}

fn framework_row(framework: &FrameworkCoverage) -> Markup {
    let whole = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let share = if framework.ids == 0 { 0.0 } else { whole(framework.ids_passing) / whole(framework.ids) };
    html! {
        tr {
            td class="wide" { (safe(&framework.title)) }
            td { (safe(&framework.edition)) }
            td class="number" { (framework.ids) }
            td class="number" { (framework.ids_mapped) }
            td class="number" { (framework.ids_passing) }
            td class="meterish" { (bar(share, "thin", &format!("{} of {} passing", framework.ids_passing, framework.ids))) }
        }
    }
}

/// What is known of the system, and from whom.
pub fn facts(posture: &Posture) -> Option<Markup> {
    let facts = &posture.facts;
    if facts.established.is_empty() && facts.conflicts.is_empty() {
        return None;
    }
    let rows = html! {
        @for (name, fact) in &facts.established {
            tr {
                th scope="row" { (safe(name)) }
                td { (if fact.value { "yes" } else { "no" }) }
                td {
                    (match fact.source { FactSource::Found => "found by casemate", FactSource::Declared => "declared by the owner" })
                }
                td { (plural(fact.evidence.len(), "record")) }
            }
        }
    };
    let remark = "They decide which controls apply. Where nobody established whether a control applies, it counts wherever that lowers the score.";
    let header = [("", "Fact"), ("", "Value"), ("", "Source"), ("", "Evidence")];
    Some(html! {
        (heading("facts", "Facts about the system", remark))
        div class="card" {
            (table("Established facts", &header, &rows))
            @for conflict in &facts.conflicts {
                p class="note" { b { "Look at " (safe(&conflict.fact)) ": " } (safe(&conflict.message)) }
            }
        }
    })
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
