//! `casemate assess` and `casemate report`: the posture as the ledger shows it. Nothing is gathered.

use std::fmt::Write as _;

use casemate_assess::gate::GateOutcome;
use casemate_assess::{GateStage, score::Explanation};
use casemate_core::Outcome;
use casemate_provenance::Manifest;
use serde_json::json;

use super::check::{FORMATS, refuse_damaged};
use crate::cli::{AssessArgs, Format, ReportArgs};
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::models::{self, FoundModel};
use crate::posture::{Rules, stage};
use crate::report::{Posture, Report, ReportSubject};
use crate::state::State;

/// Runs `assess`. The exit code is that of the merge gate.
pub fn run(context: &Context, args: &AssessArgs) -> Result<Exit, Failure> {
    let format = context.format(if args.explain { &[Format::Text] } else { FORMATS })?;
    let Assessed { report, explanation, .. } = build(context, "assess", GateStage::Merge)?;
    if args.explain {
        context.emit(&explained(&report, explanation.as_ref()))?;
        return Ok(exit(&report));
    }
    Ok(super::scan::emit(context, &report, format, exit(&report)))
}

/// Runs `report`. Writing it is the job, so it ends with 0 whatever the gate says.
pub fn report(context: &Context, args: &ReportArgs) -> Result<Exit, Failure> {
    let format = context.format(FORMATS)?;
    let report = build(context, "report", stage(&args.stage)?)?.report;
    Ok(super::scan::emit(context, &report, format, Exit::Passed))
}

/// A posture, and what it was computed from.
pub struct Assessed {
    /// The report.
    pub report: Report,
    /// Every term of the score.
    pub explanation: Option<Explanation>,
    /// The project.
    pub project: Project,
    /// Catalogue, gates and waivers.
    pub rules: Rules,
    /// The ledger.
    pub state: State,
    /// The models.
    pub models: Vec<(FoundModel, Manifest)>,
}

/// The report of the project around the working directory, from its ledger alone.
///
/// # Errors
/// When there is no ledger, it does not verify, or models cannot be read.
pub fn build(context: &Context, command: &'static str, stage: GateStage) -> Result<Assessed, Failure> {
    let started = context.now();
    let project = context.project(None)?;
    let rules = Rules::load(&project, started)?;
    let state = State::open_existing(&project)?;
    let verified = state.verify()?;
    refuse_damaged(&verified)?;
    let models = manifests(context, &project)?;
    let digests: Vec<_> = models.iter().map(|(model, manifest)| (model.clone(), manifest.digest())).collect();
    let datasets = models::datasets(&project)?;
    let records = state.records()?;
    let situation = rules.situation(started, &digests, &datasets);
    let assessment = rules.assessment(&records, &situation);
    let explanation = assessment.explain().cloned();
    let findings = assessment.findings.iter().map(|open| open.finding.clone()).collect();
    let posture = rules.posture(&records, &situation, stage);

    let mut report = Report::new(command, ReportSubject { name: project.name.clone(), digest: None }, started);
    report.finished_at = context.now();
    report.findings = findings;
    report.evidence = used(&posture);
    report.summary.insert("models", json!(models.len()));
    report.summary.insert("waivers", json!(rules.waiver_findings));
    report.summary.insert("ledger", json!({"records": verified.records, "notes": verified.notes}));
    report.outcome = match posture.gate.as_ref().map(|gate| gate.outcome) {
        Some(GateOutcome::Pass) => Outcome::Pass,
        Some(GateOutcome::Failed | GateOutcome::Integrity) => Outcome::Fail,
        Some(GateOutcome::Unknown) | None => Outcome::Unknown,
    };
    report.posture = Some(posture);
    Ok(Assessed { report, explanation, project, rules, state, models })
}

/// Ids of the records the controls rest on.
fn used(posture: &Posture) -> Vec<String> {
    let ids: std::collections::BTreeSet<_> =
        posture.controls.iter().flat_map(|control| control.evidence.iter().cloned()).collect();
    ids.into_iter().collect()
}

/// The project's models with their manifests now.
fn manifests(context: &Context, project: &Project) -> Result<Vec<(FoundModel, Manifest)>, Failure> {
    let manifest = |model: FoundModel| match Manifest::of_path(&model.path, &|_| ()) {
        Ok(manifest) => Ok((model, manifest)),
        Err(error) => Err(Failure::not_evaluated(format!("model `{}`: {error}", model.name))),
    };
    models::census(context, project)?.models.into_iter().map(manifest).collect()
}

/// The exit code of a report's gate.
pub fn exit(report: &Report) -> Exit {
    match report.posture.as_ref().and_then(|posture| posture.gate.as_ref()).map(|gate| gate.outcome) {
        Some(GateOutcome::Pass) => Exit::Passed,
        Some(GateOutcome::Failed) => Exit::PolicyFailed,
        Some(GateOutcome::Integrity) => Exit::Integrity,
        Some(GateOutcome::Unknown) | None => Exit::NotEvaluated,
    }
}

/// Every term of the score, so that it can be checked by hand.
fn explained(report: &Report, explanation: Option<&Explanation>) -> String {
    let mut out = String::new();
    let Some(explanation) = explanation else { return out };
    let titles = report.posture.as_ref().map(|posture| &posture.titles);
    let _ = writeln!(
        out,
        "points = 100 · weight · credit / {} (sum of the weights that count)\n",
        explanation.weight_total
    );
    let _ = writeln!(out, "control  state           weight  method  grade  fresh   credit  points  title");
    for term in &explanation.terms {
        let title = titles.and_then(|titles| titles.get(&term.id)).map_or("", |title| title.title.as_str());
        let _ = writeln!(
            out,
            "{:<8} {:<15} {:>6}  {:>6}  {:>5}  {:>5}  {:>6}  {:>6}  {}{title}",
            term.id,
            term.state.as_str(),
            term.weight,
            decimal(term.method_ppm, 2),
            decimal(term.graded_ppm, 2),
            decimal(term.freshness_ppm, 2),
            decimal(term.credit_ppm, 4),
            decimal(term.points_micro, 3),
            if term.counts { "" } else { "(not counted) " },
        );
    }
    if explanation.terms.iter().any(|term| !term.counts) {
        out += "\nnot counted: no fact says whether the control applies, and counting it would raise the score;\n";
        out += "say which in `[system]` of casemate.toml\n";
    }
    let _ = writeln!(out, "\nsum of points            {}", decimal(explanation.points_micro, 3));
    let _ = writeln!(out, "lost to the cap of {:>3}   {}", explanation.cap, decimal(explanation.lost_to_cap_micro, 3));
    let _ = writeln!(out, "lost to rounding down    {}", decimal(explanation.lost_to_rounding_micro, 3));
    let _ = writeln!(out, "score                    {}", explanation.value);
    out
}

/// Millionths as a decimal with `digits` places, cut.
fn decimal(micro: u64, digits: usize) -> String {
    let fraction = format!("{:06}", micro % 1_000_000);
    format!("{}.{}", micro / 1_000_000, fraction.get(..digits).unwrap_or(&fraction))
}
