//! The posture of a project: every control of every model, the score, the risks, and what to do first.
//!
//! The printed score is the lower of the shipped catalogue's and the catalogue's with the user's overlay, so forty easy
//! controls of one's own raise nothing. The project's score is that of its worst model in use, so neither does a second,
//! clean model.

mod actions;
mod coverage;
mod findings;

use casemate_core::{Digest, Record, Severity};
use serde::Serialize;

pub use actions::{Action, CapabilityGap, MissingKind};
pub use coverage::{FrameworkCoverage, FrameworkRow, ThreatDepth};
pub use findings::OpenFinding;

use crate::catalogue::Catalogue;
use crate::control::{Control, weight};
use crate::control_state::{ControlState, Judge, State};
use crate::facts::SystemFacts;
use crate::score::{self, CategoryRisk, Explanation, Score};
use crate::situation::{Model, ModelStage, Situation};

/// The posture of a project. Serialises to the `score`, `categories` and `controls` of a report, with the models and facts
/// behind them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// The score of the worst model in use.
    pub score: Score,
    /// Risk per category, over every model that counts.
    pub categories: Vec<CategoryRisk>,
    /// Every control, for the scored model.
    pub controls: Vec<ControlReport>,
    /// Name of the scored model, if there is one.
    pub scored_model: Option<String>,
    /// Every model, in order of name.
    pub models: Vec<ModelAssessment>,
    /// What is known about the system.
    pub facts: SystemFacts,
    /// Defects that evidence about current subjects still shows, the worst first.
    #[serde(skip)]
    pub findings: Vec<OpenFinding>,
    /// Why ledger or signatures did not verify, if they did not.
    pub integrity_failure: Option<String>,
    /// Place of the scored model in `models`: names need not be unique.
    #[serde(skip)]
    scored: usize,
}

/// The posture of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelAssessment {
    /// Its name; none for a project without models.
    pub name: Option<String>,
    /// Digest of its manifest.
    pub digest: Option<Digest>,
    /// Where it stands in its life.
    pub stage: Option<ModelStage>,
    /// True when it counts for the project's score.
    pub counts: bool,
    /// Its score: the lower of catalogue and catalogue with overlay.
    pub score: Score,
    /// Which of the two was lower.
    pub scored_by: ScoredBy,
    /// Risk per category.
    pub categories: Vec<CategoryRisk>,
    /// Every term of the score.
    #[serde(skip)]
    pub explanation: Explanation,
    /// Every control, in order of id, overlay included.
    #[serde(skip)]
    pub states: Vec<ControlState>,
}

/// Which controls gave the printed score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoredBy {
    /// The catalogue as shipped.
    Catalogue,
    /// The catalogue with the user's overlay.
    CatalogueAndOverlay,
}

/// A control as reports show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControlReport {
    /// Id.
    pub id: String,
    /// What is known.
    pub state: State,
    /// How bad it is when it does not hold.
    pub severity: Severity,
    /// Weight in the score.
    pub weight: u64,
    /// What it earns, 0 to 1.
    pub credit: f64,
    /// Records it rests on.
    pub evidence: Vec<String>,
    /// Why.
    pub reason: String,
    /// What to do.
    pub remediation: String,
}

/// The posture of the project in `situation`, as far as `records` show it.
///
/// A function of its arguments: order and repetition of the records, models, datasets and waivers change nothing.
pub fn assess(catalogue: &Catalogue, records: &[Record], situation: &Situation) -> Assessment {
    let facts = SystemFacts::gather(records, situation.now);
    let judge = Judge::new(catalogue, records, &facts, situation);
    let models = models(&judge);
    let counting: Vec<&[ControlState]> =
        models.iter().filter(|model| model.counts).map(|model| model.states.as_slice()).collect();
    let categories = score::categories(catalogue, &counting);
    let findings = findings::open(&judge, &models);
    let counted = models.iter().enumerate().filter(|(_, model)| model.counts);
    let worst = counted.min_by_key(|(n, model)| (model.score.value, model.explanation.points_micro, *n));
    // `models` has an entry even for a project without models, and one of them counts.
    let (scored, worst) = worst.expect("a project has at least one assessed system");
    Assessment {
        scored,
        score: worst.score.clone(),
        controls: worst.states.iter().map(|state| report(catalogue, state)).collect(),
        scored_model: worst.name.clone(),
        categories,
        findings,
        integrity_failure: situation.integrity_failure.clone(),
        models,
        facts,
    }
}

fn models(judge: &Judge<'_>) -> Vec<ModelAssessment> {
    let mut models: Vec<&Model> = judge.situation.models.iter().collect();
    models.sort();
    models.dedup();
    if models.is_empty() {
        return vec![model(judge, None, true)];
    }
    let any_in_use = models.iter().any(|model| model.is_in_use());
    models.into_iter().map(|one| model(judge, Some(one), one.is_in_use() || !any_in_use)).collect()
}

fn model(judge: &Judge<'_>, model: Option<&Model>, counts: bool) -> ModelAssessment {
    let states: Vec<ControlState> = judge.catalogue.controls().map(|control| judge.control(control, model)).collect();
    let (score, explanation, scored_by) = printed(judge, model, &states);
    ModelAssessment {
        name: model.map(|model| model.name.clone()),
        digest: model.map(|model| model.digest),
        stage: model.and_then(|model| model.stage),
        counts,
        score,
        scored_by,
        categories: score::categories(judge.catalogue, &[&states]),
        explanation,
        states,
    }
}

/// The lower of the two scores, with its terms.
fn printed(judge: &Judge<'_>, model: Option<&Model>, states: &[ControlState]) -> (Score, Explanation, ScoredBy) {
    let with_overlay = score::explain(states);
    if judge.catalogue.has_overlay() {
        let shipped: Vec<ControlState> =
            judge.catalogue.builtin_controls().map(|control| judge.control(control, model)).collect();
        let alone = score::explain(&shipped);
        if (alone.value, alone.points_micro) < (with_overlay.value, with_overlay.points_micro) {
            return (score::score(&shipped), alone, ScoredBy::Catalogue);
        }
        return (score::score(states), with_overlay, ScoredBy::CatalogueAndOverlay);
    }
    (score::score(states), with_overlay, ScoredBy::Catalogue)
}

fn report(catalogue: &Catalogue, state: &ControlState) -> ControlReport {
    let remediation = catalogue.control(&state.id).map(|control: &Control| control.remediation.text.clone());
    ControlReport {
        id: state.id.clone(),
        state: state.state,
        severity: state.severity,
        weight: weight(state.severity),
        credit: score::fraction(state.credit_ppm),
        evidence: state.evidence.clone(),
        reason: state.reason.clone(),
        remediation: remediation.unwrap_or_default(),
    }
}

impl ModelAssessment {
    /// True for a model that is part of the project at all: in use, or on its way there. Retired, quarantined and revoked ones
    /// are not.
    pub fn is_present(&self) -> bool {
        let gone = matches!(self.stage, Some(ModelStage::Retired | ModelStage::Quarantined | ModelStage::Revoked));
        self.counts || !gone
    }
}

impl Assessment {
    /// The model whose score is the project's.
    pub fn scored(&self) -> Option<&ModelAssessment> {
        self.models.get(self.scored)
    }

    /// Every control of the scored model.
    pub fn states(&self) -> &[ControlState] {
        self.scored().map_or(&[], |model| &model.states)
    }

    /// The state of control `id` for the scored model.
    pub fn state(&self, id: &str) -> Option<&ControlState> {
        self.states().iter().find(|state| state.id == id)
    }

    /// Every term of the score.
    pub fn explain(&self) -> Option<&Explanation> {
        self.scored().map(|model| &model.explanation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, ControlText, passing};
    use casemate_core::Outcome;

    fn three_controls() -> Catalogue {
        fixture::catalogue(&[
            ControlText::new("SUP-01").severity("critical"),
            ControlText::new("SUP-02").severity("high").kind("sign.verify"),
            ControlText::new("DAT-01")
                .severity("medium")
                .kind("data.check")
                .subject("dataset")
                .category("data-poisoning"),
        ])
    }

    #[test]
    fn the_json_has_the_shapes_of_the_contract() {
        let records = [fixture::record(passing("artifact.scan"))];
        let json = serde_json::to_value(assess(&three_controls(), &records, &fixture::situation())).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let mut score = keys(&json["score"]);
        score.sort();
        assert_eq!(
            score,
            ["cap", "coverage", "failing", "not_applicable", "oldest_evidence", "stale", "unknown", "value", "waived"]
        );
        assert_eq!(keys(&json["categories"][0]).len(), 3);
        assert_eq!(json["categories"].as_array().unwrap().len(), 8);
        assert_eq!(json["categories"][0]["id"], "data-poisoning");
        assert_eq!(json["categories"][0]["level"], "medium");
        assert_eq!(json["categories"][0]["set_by"], serde_json::json!(["DAT-01"]));
        let mut control = keys(&json["controls"][1]);
        control.sort();
        assert_eq!(control, ["credit", "evidence", "id", "reason", "remediation", "severity", "state", "weight"]);
        assert_eq!(json["controls"][1]["state"], "pass");
        assert_eq!(json["controls"][1]["credit"], 1.0);
        assert_eq!(json["score"]["value"], 58);
    }

    #[test]
    fn a_project_is_as_good_as_its_worst_model_in_use() {
        let catalogue = fixture::catalogue(&[ControlText::new("SUP-01")]);
        let mut situation = fixture::situation();
        situation.models.push(fixture::model("other", 9, Some(ModelStage::Staged)));
        let records = [fixture::record(passing("artifact.scan"))];
        let assessment = assess(&catalogue, &records, &situation);
        assert_eq!((assessment.score.value, assessment.scored_model.as_deref()), (0, Some("other")));
        situation.models[1].stage = Some(ModelStage::Draft);
        assert_eq!(assess(&catalogue, &records, &situation).score.value, 100);
        situation.models[0].stage = Some(ModelStage::Retired);
        assert_eq!(assess(&catalogue, &records, &situation).score.value, 0);
    }

    #[test]
    fn a_project_without_models_is_assessed_and_its_model_checks_are_unknown() {
        let mut situation = fixture::situation();
        situation.models.clear();
        let assessment = assess(&three_controls(), &[fixture::record(passing("artifact.scan"))], &situation);
        assert_eq!(assessment.score.value, 0);
        assert!(assessment.state("SUP-01").unwrap().reason.starts_with("no model is declared"));
    }

    #[test]
    fn what_to_do_first_is_the_failing_critical_then_open_criticals_then_the_rest() {
        let catalogue = fixture::catalogue(&[
            ControlText::new("SUP-01").severity("critical").effort("weeks"),
            ControlText::new("SUP-02").severity("low").kind("sign.verify").effort("minutes"),
            ControlText::new("SUP-03").severity("high").kind("route.probe").effort("minutes"),
            ControlText::new("SUP-04").severity("critical").kind("person.decision").method("P").verification("P"),
        ]);
        let mut situation = fixture::situation();
        situation.kinds_available.remove("person.decision");
        let records = [
            fixture::record(fixture::evidence("artifact.scan", Outcome::Fail)),
            fixture::record(passing("sign.verify")),
        ];
        let assessment = assess(&catalogue, &records, &situation);
        let actions = assessment.next_actions(&catalogue, &situation, 10);
        let order: Vec<&str> = actions.iter().flat_map(|action| &action.controls).map(String::as_str).collect();
        assert_eq!(order, ["SUP-01", "SUP-04", "SUP-03"]);
        assert!(!actions[1].available);
        assert_eq!(assessment.next_actions(&catalogue, &situation, 1).len(), 1);
        let gaps = assessment.unknown_by_capability(&catalogue, &situation);
        let capabilities: Vec<(&str, usize)> =
            gaps.iter().map(|gap| (gap.capability.as_str(), gap.controls.len())).collect();
        assert_eq!(capabilities, [("gateway", 1), ("person", 1)]);
        assert!(assessment.state("SUP-04").unwrap().reason.contains("which this build cannot run"));
        assert!(assessment.state("SUP-03").unwrap().reason.contains("run `casemate probe`"));
    }

    #[test]
    fn framework_tables_count_ids_with_passing_controls() {
        let catalogue = three_controls();
        let assessment = assess(&catalogue, &[fixture::record(passing("artifact.scan"))], &fixture::situation());
        let tables = assessment.framework_coverage(&catalogue);
        assert_eq!(tables.len(), 1);
        assert_eq!((tables[0].ids, tables[0].ids_mapped, tables[0].ids_passing), (10, 1, 1));
        let depth = assessment.defence_in_depth(&catalogue, "owasp-ml", "2023");
        assert_eq!((depth.len(), depth[0].id.as_str(), depth[0].holds), (1, "ML06", false));
    }
}
