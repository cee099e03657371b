//! Gates: whether a model may be merged, released, served or retired.
//!
//! A gate reads the assessment and nothing else. What it requires and cannot know keeps it shut just as a failure does, but
//! with another exit code: whoever is stopped should know whether to mend or to measure. Waivers open a requirement and are
//! named where they do.

mod policy;

use serde::Serialize;

pub use policy::{GatePolicy, Gates};

use crate::assessment::{Assessment, ModelAssessment, OpenFinding};
use crate::control_state::{ControlState, State};
use crate::words::words;
use casemate_core::Severity;

words! {
    /// Where a gate stands.
    GateStage {
        /// Before a change is merged; what `casemate check` uses unless told otherwise.
        Merge = "merge",
        /// Before a version is released.
        Release = "release",
        /// Before a version answers requests.
        Serve = "serve",
        /// Before a version is destroyed.
        Retire = "retire",
    }
}

words! {
    /// What a gate says.
    GateOutcome {
        /// Everything required is met.
        Pass = "pass",
        /// Something required is not met.
        Failed = "failed",
        /// Something required is not known.
        Unknown = "unknown",
        /// Ledger, signatures or digests do not verify.
        Integrity = "integrity",
    }
}

words! {
    /// How one requirement stands. Worse is greater.
    Status {
        /// It is met.
        Met = "met",
        /// It is not met, and a waiver covers it.
        Waived = "waived",
        /// Nobody can say.
        Unknown = "unknown",
        /// It is not met.
        Failed = "failed",
    }
}

/// One thing a gate requires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// What is required: `integrity`, `control SUP-01`, `min-score`, `no-zero-credit-critical`, `findings`.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// Why, in one line.
    pub detail: String,
    /// The controls that decide, sorted.
    pub controls: Vec<String>,
}

/// What a gate says, requirement by requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateVerdict {
    /// Which gate.
    pub stage: GateStage,
    /// What it says.
    pub outcome: GateOutcome,
    /// The exit code of the command contract.
    pub exit_code: u8,
    /// Every requirement.
    pub requirements: Vec<Requirement>,
    /// In which ways the user's policy asks less than the shipped one. To be shown with the outcome.
    pub loosened: Vec<String>,
}

impl GateOutcome {
    /// The exit code of the command contract: 0, 1, 3 or 4.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Failed => 1,
            Self::Unknown => 3,
            Self::Integrity => 4,
        }
    }
}

/// What the gate at `stage` says about `assessment`.
pub fn decide(gates: &Gates, stage: GateStage, assessment: &Assessment) -> GateVerdict {
    let policy = gates.policy(stage);
    let mut requirements = vec![integrity(assessment)];
    requirements.extend(policy.required.iter().map(|id| required(id, policy, assessment, stage)));
    if policy.min_score > 0 {
        requirements.push(min_score(policy.min_score, assessment));
    }
    if policy.no_zero_credit_critical {
        requirements.push(no_zero_credit_critical(assessment, stage));
    }
    if let Some(fail_on) = policy.fail_on {
        requirements.push(findings(fail_on, assessment, stage));
    }
    let worst = requirements.iter().map(|requirement| requirement.status).max();
    let outcome = match worst {
        _ if assessment.integrity_failure.is_some() => GateOutcome::Integrity,
        Some(Status::Failed) => GateOutcome::Failed,
        Some(Status::Unknown) | None => GateOutcome::Unknown,
        Some(Status::Met | Status::Waived) => GateOutcome::Pass,
    };
    GateVerdict {
        stage,
        outcome,
        exit_code: outcome.exit_code(),
        requirements,
        loosened: gates.loosened(stage).to_vec(),
    }
}

fn integrity(assessment: &Assessment) -> Requirement {
    let (status, detail) = match &assessment.integrity_failure {
        None => (Status::Met, "ledger and signatures verify".into()),
        Some(why) => (Status::Failed, why.clone()),
    };
    Requirement { name: "integrity".into(), status, detail, controls: Vec::new() }
}

/// The models a gate looks at: those in use, or all. What is merged comes along whatever stage it is in, so the merge gate
/// looks at every model that is not retired, quarantined or revoked.
fn counting(assessment: &Assessment, stage: GateStage) -> impl Iterator<Item = &ModelAssessment> {
    assessment.models.iter().filter(move |model| match stage {
        GateStage::Merge => model.is_present(),
        GateStage::Release | GateStage::Serve | GateStage::Retire => model.counts,
    })
}

fn required(id: &str, policy: &GatePolicy, assessment: &Assessment, stage: GateStage) -> Requirement {
    let states = counting(assessment, stage).filter_map(|model| model.states.iter().find(|state| state.id == *id));
    let judged = states.map(|state| (status(state, policy.fresh), state));
    // Of equally bad ones the first, so that the reason does not depend on how many models follow.
    let worst = judged.reduce(|worst, next| if next.0 > worst.0 { next } else { worst });
    let (status, detail) = match worst {
        Some((status, state)) => (status, format!("{}: {}", state.state, state.reason)),
        None => (Status::Unknown, "it was not assessed".into()),
    };
    Requirement { name: format!("control {id}"), status, detail, controls: vec![id.into()] }
}

fn status(state: &ControlState, fresh: bool) -> Status {
    match state.beneath {
        State::Pass | State::NotApplicable => Status::Met,
        _ if state.waiver.is_some() => Status::Waived,
        State::Fail => Status::Failed,
        State::Stale if !fresh && state.credit_ppm > 0 => Status::Met,
        State::Stale | State::Unknown | State::Waived => Status::Unknown,
    }
}

fn min_score(wanted: u64, assessment: &Assessment) -> Requirement {
    let value = assessment.score.value;
    let status = if value >= wanted { Status::Met } else { Status::Failed };
    let model = assessment.scored_model.as_deref().unwrap_or("the project");
    let detail = format!("{model} scores {value} of at least {wanted}");
    Requirement { name: "min-score".into(), status, detail, controls: Vec::new() }
}

fn no_zero_credit_critical(assessment: &Assessment, stage: GateStage) -> Requirement {
    let open: Vec<&ControlState> = counting(assessment, stage)
        .flat_map(|model| &model.states)
        .filter(|state| state.severity == Severity::Critical && state.is_applicable() && state.credit_ppm == 0)
        .collect();
    let status = open.iter().map(|state| status(state, true)).max().unwrap_or(Status::Met);
    let mut controls: Vec<String> = open.iter().map(|state| state.id.clone()).collect();
    controls.sort();
    controls.dedup();
    let detail = match controls.len() {
        0 => "every applicable critical control earns something".into(),
        n => format!("{n} critical controls earn nothing: {}", controls.join(", ")),
    };
    Requirement { name: "no-zero-credit-critical".into(), status, detail, controls }
}

fn findings(fail_on: Severity, assessment: &Assessment, stage: GateStage) -> Requirement {
    let looked_at = move |open: &&OpenFinding| open.in_use || stage == GateStage::Merge;
    let severe = || assessment.findings.iter().filter(looked_at).filter(|open| open.finding.severity >= fail_on);
    let open = severe().filter(|open| !open.waived);
    let mut controls: Vec<String> = open.clone().flat_map(|open| open.finding.controls.clone()).collect();
    controls.sort();
    controls.dedup();
    let (status, detail) = match (open.clone().count(), open.clone().next(), severe().count()) {
        (0, _, 0) => (Status::Met, format!("no finding of severity {fail_on} or above")),
        (n, Some(worst), _) => {
            (Status::Failed, format!("{n} findings of severity {fail_on} or above, first: {}", worst.finding.message))
        }
        (_, None, waived) => (Status::Waived, format!("{waived} findings of severity {fail_on} or above are waived")),
    };
    Requirement { name: "findings".into(), status, detail, controls }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assessment::assess;
    use crate::catalogue::Catalogue;
    use crate::fixture::{self, ControlText, NOW, passing};
    use crate::situation::{ModelStage, Situation};
    use casemate_core::{Evidence, Outcome, Record};

    fn catalogue() -> Catalogue {
        fixture::catalogue(&[
            ControlText::new("SUP-01").severity("critical"),
            ControlText::new("SUP-02").severity("high").kind("sign.verify"),
        ])
    }

    fn decide_on(situation: &Situation, evidence: &[Evidence], stage: GateStage) -> GateVerdict {
        let catalogue = catalogue();
        let records: Vec<Record> = evidence.iter().cloned().map(fixture::record).collect();
        decide(catalogue.gates(), stage, &assess(&catalogue, &records, situation))
    }

    fn merge(evidence: &[Evidence]) -> (GateOutcome, u8) {
        let verdict = decide_on(&fixture::situation(), evidence, GateStage::Merge);
        (verdict.outcome, verdict.exit_code)
    }

    fn old(mut evidence: Evidence, days: i64) -> Evidence {
        evidence.finished_at = NOW().plus_days(-days);
        evidence.started_at = evidence.finished_at;
        evidence
    }

    #[test]
    fn pass_fail_unknown_and_integrity_have_their_exit_codes() {
        let (scan, verify) = (passing("artifact.scan"), passing("sign.verify"));
        assert_eq!(merge(&[scan.clone(), verify.clone()]), (GateOutcome::Pass, 0));
        assert_eq!(merge(&[scan.clone(), fixture::evidence("sign.verify", Outcome::Fail)]), (GateOutcome::Failed, 1));
        assert_eq!(merge(std::slice::from_ref(&scan)), (GateOutcome::Unknown, 3));
        assert_eq!(merge(&[fixture::evidence("artifact.scan", Outcome::Fail)]), (GateOutcome::Failed, 1));
        let mut situation = fixture::situation();
        situation.integrity_failure = Some("leaf 7 does not match the checkpoint".into());
        let verdict = decide_on(&situation, &[scan, verify], GateStage::Merge);
        assert_eq!((verdict.outcome, verdict.exit_code), (GateOutcome::Integrity, 4));
    }

    #[test]
    fn the_merge_gate_looks_at_every_model_that_is_not_gone_and_later_gates_at_those_in_use() {
        let mut situation = fixture::situation();
        let in_use = situation.models[0].clone();
        situation.models.push(fixture::model("draft", 9, Some(ModelStage::Draft)));
        situation.models[0].stage = Some(ModelStage::Serving);
        let evidence = [passing("artifact.scan"), passing("sign.verify")];
        let outcome = |situation: &Situation| decide_on(situation, &evidence, GateStage::Merge).outcome;
        assert_eq!(outcome(&situation), GateOutcome::Unknown, "nothing is known of the draft, {in_use:?} alone passes");
        situation.models[1].stage = Some(ModelStage::Retired);
        assert_eq!(outcome(&situation), GateOutcome::Pass);
    }

    #[test]
    fn stale_evidence_of_a_required_control_is_unknown_where_freshness_is_required() {
        assert_eq!(merge(&[old(passing("artifact.scan"), 8), passing("sign.verify")]), (GateOutcome::Unknown, 3));
    }

    #[test]
    fn a_waiver_opens_the_gate_and_leaves_the_score() {
        let evidence = [fixture::evidence("artifact.scan", Outcome::Fail), passing("sign.verify")];
        let mut situation = fixture::situation();
        situation.waivers = fixture::waivers("SUP-01", "*");
        let verdict = decide_on(&situation, &evidence, GateStage::Merge);
        assert_eq!(verdict.outcome, GateOutcome::Pass);
        assert_eq!(verdict.requirements[1].status, Status::Waived);
        assert!(verdict.requirements[1].detail.contains("waived until"));
        let records = evidence.map(fixture::record);
        assert_eq!(assess(&catalogue(), &records, &situation).score.value, 33);
    }

    #[test]
    fn findings_at_or_above_the_limit_fail_and_an_unfinished_run_clears_none() {
        let mut found = old(passing("artifact.scan"), 1);
        found.findings.push(fixture::finding(Severity::High, &["SUP-02"]));
        let verify = passing("sign.verify");
        assert_eq!(merge(&[found.clone(), verify.clone()]).0, GateOutcome::Failed);
        let clean = passing("artifact.scan");
        assert_eq!(merge(&[found.clone(), clean, verify.clone()]).0, GateOutcome::Pass);
        let unfinished = fixture::evidence("artifact.scan", Outcome::Unknown);
        assert_eq!(merge(&[found.clone(), unfinished, verify.clone()]).0, GateOutcome::Failed);
        found.findings = vec![fixture::finding(Severity::Medium, &["SUP-02"])];
        assert_eq!(merge(&[found.clone(), verify.clone()]).0, GateOutcome::Pass);
        // A finding about another digest of the model is about something that is no longer there.
        found.findings = vec![fixture::finding(Severity::Critical, &["SUP-02"])];
        found.subject.digest = fixture::digest(77);
        assert_eq!(merge(&[found, passing("artifact.scan"), verify]).0, GateOutcome::Pass);
    }

    #[test]
    fn a_strict_gate_wants_a_score_and_no_open_critical() {
        let verdict = decide_on(&fixture::situation(), &[passing("sign.verify")], GateStage::Release);
        let status = |name: &str| verdict.requirements.iter().find(|r| r.name == name).unwrap().status;
        assert_eq!(status("min-score"), Status::Failed);
        assert_eq!(status("no-zero-credit-critical"), Status::Unknown);
        let both = [passing("artifact.scan"), passing("sign.verify")];
        assert_eq!(decide_on(&fixture::situation(), &both, GateStage::Release).outcome, GateOutcome::Pass);
    }

    #[test]
    fn every_model_in_use_must_meet_a_required_control() {
        let mut situation = fixture::situation();
        situation.models.push(fixture::model("other", 9, None));
        let verdict = decide_on(&situation, &[passing("artifact.scan"), passing("sign.verify")], GateStage::Merge);
        assert_eq!(verdict.outcome, GateOutcome::Unknown);
    }
}
