//! Score, risk, what to do first, gate, unknowns and models.

use casemate_assess::gate::{GateOutcome, Status};
use casemate_assess::score::{CategoryRisk, RiskLevel};
use maud::{Markup, html};

use super::{bar, chip, heading, id_list, prose, severity_chip, table};
use crate::render::{
    beside, cap_reason, category_title, gap_kinds, gate_word, level_word, oldest, percent, plural, safe, status_mark,
    unavailable,
};
use crate::report::Posture;

/// The number, what limits it, and the numbers that stand beside it.
pub fn score(posture: &Posture) -> Markup {
    let score = &posture.score;
    let cap = cap_reason(posture).unwrap_or_else(|| "no cap: every critical and high control earns something".into());
    let coverage = percent(score.coverage);
    html! {
        (heading("score", "Score", ""))
        div class="card score" {
            p class="figure" { (score.value) small { " / 100" } }
            div {
                div class="meter" {
                    p { b { "Score " (score.value) } span { (cap) } }
                    (score_bar(score.value, score.cap))
                }
                div class="meter" {
                    p {
                        b { "Coverage " (coverage) }
                        span { "of the applicable weight is decided by fresh evidence; the oldest: " (oldest(posture)) }
                    }
                    (bar(score.coverage, "thin", &format!("coverage {coverage}")))
                }
            }
            dl class="counts" {
                @for (word, n) in beside(posture) { div { dt { (word) } dd { (n) } } }
            }
        }
    }
}

/// The score on its scale, with a line where the cap stands.
fn score_bar(value: u64, cap: u64) -> Markup {
    let level = match value {
        80.. => "level-good",
        50..=79 => "level-mid",
        _ => "level-low",
    };
    html! {
        svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img"
            aria-label=(format!("score {value} of 100, cap {cap}")) {
            rect class="track" width="1000" height="10" {}
            rect class=(format!("fill {level}")) width=(value.min(100) * 10) height="10" {}
            @if cap < 100 { rect class="cap" x=(cap * 10) width="3" height="10" {} }
        }
    }
}

/// A card for each category; the five risks first.
pub fn risk(posture: &Posture) -> Markup {
    let mut categories: Vec<&CategoryRisk> = posture.categories.iter().collect();
    categories.sort_by_key(|category| category.id);
    html! {
        (heading("risk", "Risk by category", "The worst severity among the controls that earn nothing, and which they are."))
        ul class="grid" { @for category in categories { (card(category)) } }
    }
}

fn card(category: &CategoryRisk) -> Markup {
    let (class, mark) = match category.level {
        RiskLevel::None => ("good", "✓"),
        level => (level_word(level), "✕"),
    };
    html! {
        li class=(format!("card {class}")) {
            h3 { (category_title(category.id)) }
            div { (chip(class, mark, level_word(category.level))) }
            p class="ids" {
                @if category.set_by.is_empty() { "every applicable control earns something" }
                @else { (id_list(&category.set_by, 6)) }
            }
        }
    }
}

/// The ten things to do first.
pub fn actions(posture: &Posture) -> Option<Markup> {
    if posture.next_actions.is_empty() {
        return None;
    }
    let remark = "What is shown to fail on a critical control, then open criticals, then what earns the most for the least work.";
    Some(html! {
        (heading("first", "Fix first", remark))
        ol class="actions card" {
            @for action in posture.next_actions.iter().take(10) {
                li {
                    div {
                        p { (prose(&action.text)) }
                        code class="command" { (safe(&action.command)) }
                        p class="meta" {
                            (severity_chip(action.severity))
                            @if action.failing_critical { (chip("critical", "✕", "fails now")) }
                            @if let Some(missing) = unavailable(action) { (chip("", "–", missing)) }
                            span { (plural(action.controls.len(), "control")) ": " (id_list(&action.controls, 8)) }
                            span { "effort: " (action.effort) }
                        }
                    }
                }
            }
        }
        @if posture.next_actions.len() > 10 {
            p class="remark" { "… and " (plural(posture.next_actions.len() - 10, "more action")) "." }
        }
    })
}

/// What the gate says, requirement by requirement.
pub fn gate(posture: &Posture) -> Option<Markup> {
    let gate = posture.gate.as_ref()?;
    let class = match gate.outcome {
        GateOutcome::Pass => "good",
        GateOutcome::Failed | GateOutcome::Integrity => "critical",
        GateOutcome::Unknown => "medium",
    };
    let word = gate_word(gate.outcome);
    let (mark, word) = word.split_once(' ').unwrap_or(("", word));
    let rows = html! {
        @for requirement in &gate.requirements {
            tr {
                td { (status_chip(requirement.status)) }
                th scope="row" { (safe(&requirement.name)) }
                td class="wide" { (prose(&requirement.detail)) }
            }
        }
    };
    let header = [("", "Status"), ("", "Requirement"), ("", "Why")];
    Some(html! {
        (heading("gate", &format!("Gate: {}", gate.stage), ""))
        p class="remark" { (chip(&format!("large {class}"), mark, word)) " exit code " (gate.exit_code) }
        div class="card" {
            (table("What the gate requires", &header, &rows))
            @for looser in &gate.loosened { p class="note" { "Asks less than the shipped policy: " (prose(looser)) } }
        }
    })
}

fn status_chip(status: Status) -> Markup {
    let class = match status {
        Status::Met => "good",
        Status::Waived => "low",
        Status::Unknown => "medium",
        Status::Failed => "critical",
    };
    chip(class, status_mark(status), status.as_str())
}

/// What nobody knows yet, by the capability it waits for.
pub fn unknown(posture: &Posture) -> Option<Markup> {
    if posture.unknown.is_empty() {
        return None;
    }
    let rows = html! {
        @for gap in &posture.unknown {
            tr {
                th scope="row" { (safe(&gap.capability)) }
                td class="number" { (gap.controls.len()) }
                td class="number" { (gap.weight) }
                td class="wide ids" { (id_list(&gap.controls, 6)) }
                td class="wide" { (waiting_for(gap)) }
            }
        }
    };
    let remark = format!(
        "{} could not be decided. Unknown earns nothing: it is a gap in what was looked at, not a defect that was found.",
        plural(posture.score.unknown, "control")
    );
    let header =
        [("", "Capability"), ("number", "Controls"), ("number", "Weight"), ("", "Waiting"), ("", "Evidence of kind")];
    Some(html! {
        (heading("unknown", "Not known yet", &remark))
        div class="card" { (table("Unknown controls by the capability whose evidence they wait for", &header, &rows)) }
    })
}

fn waiting_for(gap: &casemate_assess::assessment::CapabilityGap) -> Markup {
    let (names, more) = gap_kinds(&gap.kinds);
    let available = gap.kinds.iter().any(|kind| kind.available);
    html! {
        @for (n, name) in names.iter().enumerate() {
            @if n > 0 { br; }
            code { (safe(name)) }
        }
        @if more > 0 { " " span class="sub" { "+" (more) " more" } }
        @if !available { " " span class="ids nobreak" { "not in this build" } }
    }
}

/// Every model with its score.
pub fn models(posture: &Posture) -> Option<Markup> {
    if !posture.models.iter().any(|model| model.name.is_some()) {
        return None;
    }
    let rows = html! {
        @for model in &posture.models {
            tr {
                th scope="row" { bdi { (safe(model.name.as_deref().unwrap_or("the project"))) } }
                td class="number" { (model.score.value) }
                td { (percent(model.score.coverage)) }
                td { (model.stage.map_or("not declared", |stage| stage.as_str())) }
                td { (if model.counts { "yes" } else { "no, not in use" }) }
                td class="mono hash" { (model.digest.map(|digest| digest.to_string()).unwrap_or_default()) }
            }
        }
    };
    let header = [
        ("", "Model"),
        ("number", "Score"),
        ("", "Coverage"),
        ("", "Stage"),
        ("", "Counts"),
        ("", "SHA-256 of the manifest"),
    ];
    Some(html! {
        (heading("models", "Models", "The worst model in use gives the project's score, never a mean."))
        div class="card" { (table("Models of the project", &header, &rows)) }
    })
}
