//! Where a project stands, for a terminal: score, risk, findings, what to do first, what is unknown, gate, models.

use casemate_assess::State;
use casemate_assess::gate::{GateOutcome, Status};
use casemate_assess::score::RiskLevel;

use super::paper::{Ink, Paper, columns};
use super::{cut, grouped_findings, measurements, severity_ink};
use crate::render::{
    beside, cap_reason, category_title, files_line, findings, gap_kinds, gate_word, in_state, level_word, oldest,
    percent, plural, safe, shortened, state_mark, status_mark, title_of, unavailable, waiver_of,
};
use crate::report::{Posture, Report};

/// Cells of the score bar.
const BAR: usize = 40;

/// Ids named for a category or a capability.
const IDS_MAX: usize = 5;

/// Failing controls shown with their reason; the others are named.
const FAILING_MAX: usize = 15;

/// Actions shown.
const ACTIONS_MAX: usize = 10;

/// Everything below the headline.
pub fn write(paper: &mut Paper, report: &Report, posture: &Posture) {
    score(paper, posture);
    risk(paper, posture);
    if !report.artifacts.is_empty() {
        paper.heading("Files", &files_line(report));
    }
    let found = findings(report);
    if !found.is_empty() {
        grouped_findings(paper, &found);
    }
    failing(paper, posture);
    actions(paper, posture);
    unknown(paper, posture);
    conflicts(paper, posture);
    measurements(paper, report);
    models(paper, posture);
    gate(paper, posture);
    evidence(paper, report, posture);
}

fn score(paper: &mut Paper, posture: &Posture) {
    let score = &posture.score;
    let ink = match score.value {
        80.. => Ink::Green,
        50..=79 => Ink::Yellow,
        _ => Ink::RedBold,
    };
    let value = format!("Score {} / 100", score.value);
    let (full, reachable, above) =
        bar(score.value, score.cap, BAR.min(paper.width().saturating_sub(columns(&value) + 2)));
    paper.gap();
    paper.row(0, &[(Ink::Bold, &value, 0)], 0, &[(ink, &full), (Ink::Dim, &reachable), (Ink::Dim, &above)]);
    let mut first = format!("coverage {}", percent(score.coverage));
    if let Some(why) = cap_reason(posture) {
        first = format!("{why}  ·  {first}");
    }
    paper.flow(2, 2, &[(Ink::Plain, &format!("{first}  ·  oldest evidence {}", oldest(posture)))]);
    let counts: Vec<String> = beside(posture).into_iter().map(|(word, n)| format!("{n} {word}")).collect();
    paper.flow(2, 2, &[(Ink::Plain, &counts.join("  ·  "))]);
}

/// What is reached, what could be, and what the cap keeps out of reach.
fn bar(value: u64, cap: u64, length: usize) -> (String, String, String) {
    let cells = |points: u64| usize::try_from(points.min(100)).unwrap_or(100) * length / 100;
    let full = if value > 0 { cells(value).max(1) } else { 0 };
    let reachable = cells(cap.max(value)).saturating_sub(full);
    let above = length.saturating_sub(full + reachable);
    ("█".repeat(full), "░".repeat(reachable), "·".repeat(above))
}

fn risk(paper: &mut Paper, posture: &Posture) {
    paper.heading("Risk", "the worst control that earns nothing, by category");
    let mut categories: Vec<_> = posture.categories.iter().collect();
    categories.sort_by_key(|category| category.id);
    let wide = paper.width() >= 72;
    for (n, category) in categories.iter().enumerate() {
        if n == 5 {
            paper.flow(2, 2, &[(Ink::Dim, "besides")]);
        }
        let ink = match category.level {
            RiskLevel::Critical => Ink::RedBold,
            RiskLevel::High => Ink::Red,
            RiskLevel::Medium => Ink::Yellow,
            RiskLevel::Low => Ink::Cyan,
            RiskLevel::None => Ink::Green,
        };
        let mark = if category.level == RiskLevel::None { "✓" } else { "✕" };
        let set_by = shortened(&category.set_by, IDS_MAX);
        let cells = [
            (ink, mark, 1),
            (ink, level_word(category.level), 8),
            (Ink::Plain, category_title(category.id), if wide { 32 } else { 0 }),
        ];
        paper.row(2, &cells, 6, &[(Ink::Dim, &set_by)]);
    }
}

fn failing(paper: &mut Paper, posture: &Posture) {
    let failing = in_state(posture, State::Fail);
    if !failing.is_empty() {
        paper.heading("Failing controls", &failing.len().to_string());
    }
    for control in failing.iter().take(FAILING_MAX) {
        let title = safe(title_of(posture, &control.id));
        let cells = [
            (Ink::Red, state_mark(State::Fail), 1),
            (severity_ink(control.severity), control.severity.as_str(), 8),
            (Ink::Bold, &*safe(&control.id), 6),
        ];
        paper.row(2, &cells, 6, &[(Ink::Plain, &title)]);
        paper.flow(23, 23, &[(Ink::Dim, &safe(&control.reason))]);
    }
    if let Some(rest) = failing.get(FAILING_MAX..).filter(|rest| !rest.is_empty()) {
        let ids: Vec<String> = rest.iter().map(|control| safe(&control.id)).collect();
        paper.flow(2, 4, &[(Ink::Plain, &format!("… and {}: {}", rest.len(), ids.join(", ")))]);
    }
    for (state, why) in [(State::Stale, "too old, or resting on data that changed"), (State::Waived, "earning nothing")]
    {
        let controls = in_state(posture, state);
        if controls.is_empty() {
            continue;
        }
        let words = controls.iter().map(|control| match waiver_of(posture, &control.id) {
            Some(waiver) => format!("{} ({})", safe(&control.id), safe(waiver)),
            None => safe(&control.id),
        });
        let words = words.collect::<Vec<_>>().join(", ");
        let spans = [(Ink::Yellow, state.as_str()), (Ink::Dim, &*format!(", {why}: ")), (Ink::Plain, &*words)];
        paper.row(2, &[(Ink::Yellow, state_mark(state), 1)], 4, &spans);
    }
}

fn actions(paper: &mut Paper, posture: &Posture) {
    if posture.next_actions.is_empty() {
        return;
    }
    paper.heading("Fix first", "");
    for (n, action) in posture.next_actions.iter().take(ACTIONS_MAX).enumerate() {
        let number = format!("{:>2}", n + 1);
        let cells = [(Ink::Bold, &*number, 2), (severity_ink(action.severity), action.severity.as_str(), 8)];
        paper.row(1, &cells, 4, &[(Ink::Plain, &safe(&action.text))]);
        let speaks = format!("settles {} · {}", shortened(&action.controls, IDS_MAX), action.effort);
        // Behind a `#`, the line may be pasted as it stands.
        let mut spans = vec![(Ink::Dim, "# ")];
        if let Some(missing) = unavailable(action) {
            spans.extend([(Ink::Yellow, missing), (Ink::Dim, " · ")]);
        }
        spans.push((Ink::Dim, &speaks));
        paper.row(15, &[(Ink::Cyan, &format!("$ {}", safe(&action.command)), 0)], 17, &spans);
    }
    cut(paper, 2, posture.next_actions.len(), ACTIONS_MAX, "action");
}

fn unknown(paper: &mut Paper, posture: &Posture) {
    if posture.unknown.is_empty() {
        return;
    }
    let total = plural(posture.score.unknown, "control");
    paper.heading("Not known yet", &format!("{total}, by the capability whose evidence they wait for"));
    let width = posture.unknown.iter().map(|gap| columns(&gap.capability)).max().unwrap_or(0).clamp(10, 20);
    let header = [(Ink::Dim, "controls", 8), (Ink::Dim, "weight", 6), (Ink::Dim, "capability", width)];
    paper.row(2, &header, 4, &[(Ink::Dim, "evidence of kind")]);
    for gap in &posture.unknown {
        let (controls, weight) = (format!("{:>8}", gap.controls.len()), format!("{:>6}", gap.weight));
        let (names, more) = gap_kinds(&gap.kinds);
        let names = safe(&names.join(", "));
        let more = if more > 0 { format!(" +{more}") } else { String::new() };
        let mut spans = vec![(Ink::Cyan, names.as_str()), (Ink::Dim, &more)];
        if gap.kinds.iter().all(|kind| !kind.available) {
            spans.push((Ink::Yellow, " · not in this build"));
        }
        let capability = safe(&gap.capability);
        let cells = [(Ink::Plain, &*controls, 8), (Ink::Plain, &*weight, 6), (Ink::Plain, &*capability, width)];
        paper.row(2, &cells, 4, &spans);
    }
}

fn conflicts(paper: &mut Paper, posture: &Posture) {
    if posture.facts.conflicts.is_empty() {
        return;
    }
    paper.heading("Facts to look at", "they decide which controls apply");
    for conflict in &posture.facts.conflicts {
        let fact = safe(&conflict.fact);
        paper.row(2, &[(Ink::Yellow, "!", 1), (Ink::Plain, &fact, 16)], 4, &[(Ink::Plain, &safe(&conflict.message))]);
    }
}

fn models(paper: &mut Paper, posture: &Posture) {
    let named = posture.models.iter().filter(|model| model.name.is_some()).count();
    if named == 0 {
        return;
    }
    paper.heading("Models", "the worst in use gives the score");
    for model in &posture.models {
        let name = safe(model.name.as_deref().unwrap_or("the project"));
        let stage = model.stage.map_or("stage not declared", |stage| stage.as_str());
        let mut words = format!("{stage}, coverage {}", percent(model.score.coverage));
        if !model.counts {
            words.push_str(", not in use: does not count");
        }
        if model.counts && model.name == posture.scored_model {
            words.push_str(", gives the score");
        }
        let value = format!("{:>3}", model.score.value);
        paper.row(2, &[(Ink::Bold, &value, 3), (Ink::Plain, &name, 20)], 4, &[(Ink::Dim, &words)]);
    }
}

fn gate(paper: &mut Paper, posture: &Posture) {
    let Some(gate) = &posture.gate else { return };
    let ink = match gate.outcome {
        GateOutcome::Pass => Ink::Green,
        GateOutcome::Failed | GateOutcome::Integrity => Ink::RedBold,
        GateOutcome::Unknown => Ink::Yellow,
    };
    paper.gap();
    let remark = format!(" · exit code {}", gate.exit_code);
    let title = format!("Gate {}", gate.stage);
    paper.row(0, &[(Ink::Bold, &title, 0)], 2, &[(ink, gate_word(gate.outcome)), (Ink::Dim, &remark)]);
    let width = gate.requirements.iter().map(|requirement| columns(&requirement.name)).max().unwrap_or(0).min(24);
    for requirement in &gate.requirements {
        let ink = match requirement.status {
            Status::Met => Ink::Green,
            Status::Waived | Status::Unknown => Ink::Yellow,
            Status::Failed => Ink::Red,
        };
        let name = safe(&requirement.name);
        let cells = [
            (ink, status_mark(requirement.status), 1),
            (ink, requirement.status.as_str(), 7),
            (Ink::Plain, &*name, width),
        ];
        paper.row(2, &cells, 4, &[(Ink::Dim, &safe(&requirement.detail))]);
    }
    for looser in &gate.loosened {
        let text = format!("asks less than the shipped policy: {}", safe(looser));
        paper.row(2, &[(Ink::Yellow, "!", 1)], 4, &[(Ink::Yellow, &text)]);
    }
}

fn evidence(paper: &mut Paper, report: &Report, posture: &Posture) {
    paper.gap();
    let explain =
        in_state(posture, State::Fail).first().map_or_else(|| "SUP-01".to_owned(), |control| safe(&control.id));
    let text = format!(
        "Evidence: {} in the ledger (casemate {at}ledger show). More: casemate {at}controls explain {explain}, \
         casemate {at}{} -o report.html",
        plural(report.evidence.len(), "record"),
        report.command,
        at = safe(&report.at)
    );
    paper.flow(0, 2, &[(Ink::Dim, &text)]);
}
