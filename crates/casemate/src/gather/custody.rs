//! Evidence about custody: the same model at the end of training, before storage and before deployment (STO-01).
//!
//! Times are the signers' claims. Where the ledger recorded when attestations were made, its order has to agree: a statement that was
//! written later and dated earlier is not in order.

use casemate_core::{Digest, Evidence, Fact, Outcome, Record};
use casemate_provenance::attestation::approval::Stage;
use casemate_provenance::attestation::judge::{Judged, Standing};
use casemate_provenance::attestation::predicate::Predicate;

use super::attestations::{DEFECT_MISSED, KIND_RECORDED, probed};
use super::{ModelProbe, count, record};
use crate::exit::Failure;

/// Statements of one stage that are held against those of the others.
const PER_STAGE_MAX: usize = 100;

/// One statement of a stage.
struct Step {
    stage: Stage,
    at_ms: i64,
    index: Option<u64>,
}

/// The record of the three stages.
///
/// # Errors
/// When a trusted key cannot be read, or there is no randomness.
pub fn custody(probe: &ModelProbe<'_>) -> Result<Evidence, Failure> {
    let mut evidence = record("provenance.custody", "custody", probe.subject(), probe.project.span());
    let probed = match probed(probe)? {
        Ok(probed) => probed,
        Err(reason) => {
            evidence.reason = Some(reason);
            return Ok(evidence);
        }
    };
    probed.begin(&mut evidence);
    // What somebody may say of a stage, about whatever digest: another model at one of the stages is the swap that is looked for.
    let model = probed.attested.subject.manifest;
    let mut distinct: Vec<Digest> = probed.attested.judged.iter().filter_map(|judged| named(judged, model)).collect();
    distinct.sort();
    distinct.dedup();
    let steps: Vec<Step> =
        probed.attested.judged.iter().filter_map(|judged| step(judged, probe.project.records)).collect();
    let of = |stage: Stage| steps.iter().filter(move |step| step.stage == stage);
    let valid = Stage::ALL.into_iter().filter(|stage| of(*stage).next().is_some()).count();
    let missing: Vec<&str> = Stage::ALL.into_iter().filter(|s| of(*s).next().is_none()).map(Stage::as_str).collect();
    let ordered = are_ordered(&steps);
    let facts = [
        ("attestations_valid", count(valid)),
        ("digests_distinct", count(distinct.len())),
        ("times_ordered", Fact::Bool(ordered)),
        ("stages_missing", count(missing.len())),
        ("attestations_recorded", count(steps.iter().filter(|step| step.index.is_some()).count())),
    ];
    evidence.facts.extend(facts.map(|(name, fact)| (name.to_owned(), fact)));
    let too_many = Stage::ALL.into_iter().any(|stage| of(stage).count() > PER_STAGE_MAX);
    let fail = |why: String| (Outcome::Fail, Some(why));
    (evidence.outcome, evidence.reason) = match () {
        () if !probed.self_test.holds() => (Outcome::Unknown, Some(DEFECT_MISSED.into())),
        () if too_many => {
            (Outcome::Unknown, Some(format!("a stage is attested more than {PER_STAGE_MAX} times; begin another file")))
        }
        () if distinct.len() > 1 => fail(format!("the stages name {} different models", distinct.len())),
        () if !missing.is_empty() => fail(format!("nobody who may attests the stage: {}", missing.join(", "))),
        () if !ordered => fail("the stages do not follow each other in time".into()),
        () => (Outcome::Pass, None),
    };
    Ok(evidence)
}

/// The model that a statement of a stage names, where somebody with the role signed it.
fn named(judged: &Judged, model: Digest) -> Option<Digest> {
    let statement = judged.statement.as_ref().filter(|statement| matches!(statement.predicate, Predicate::Stage(_)))?;
    match judged.standing {
        Standing::Good => Some(model),
        Standing::OtherSubject => statement.digest(),
        _ => None,
    }
}

/// A good statement of a stage, with its place in the ledger where it was recorded.
fn step(judged: &Judged, records: &[Record]) -> Option<Step> {
    let Predicate::Stage(reached) = &judged.good()?.predicate else { return None };
    let is_it = |record: &&Record| {
        record.evidence.kind == KIND_RECORDED && record.evidence.input("attestation") == Some(judged.digest)
    };
    let index = records.iter().find(is_it).map(|record| record.index);
    Some(Step { stage: reached.stage, at_ms: reached.reached_at.unix_ms(), index })
}

/// Whether there is one statement of each stage such that they follow each other, by their own times and by the ledger.
fn are_ordered(steps: &[Step]) -> bool {
    let of = |stage: Stage| steps.iter().filter(move |step| step.stage == stage).take(PER_STAGE_MAX);
    let before = |one: &Step, other: &Step| {
        one.at_ms < other.at_ms && one.index.zip(other.index).is_none_or(|(one, other)| one < other)
    };
    of(Stage::AfterTraining).any(|trained| {
        of(Stage::BeforeStorage).filter(|stored| before(trained, stored)).any(|stored| {
            of(Stage::BeforeDeployment).any(|deployed| before(stored, deployed) && before(trained, deployed))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: usize, at_ms: i64, index: Option<u64>) -> Step {
        Step { stage: Stage::ALL[stage], at_ms, index }
    }

    #[test]
    fn stages_follow_each_other_by_clock_and_by_ledger() {
        let ordered = |steps: &[(usize, i64, Option<u64>)]| {
            are_ordered(&steps.iter().map(|(stage, at, index)| step(*stage, *at, *index)).collect::<Vec<_>>())
        };
        assert!(ordered(&[(0, 1, None), (1, 2, None), (2, 3, None)]));
        assert!(ordered(&[(2, 3, Some(9)), (0, 1, Some(4)), (1, 2, None)]));
        // Equal, reversed, missing.
        assert!(!ordered(&[(0, 1, None), (1, 1, None), (2, 3, None)]));
        assert!(!ordered(&[(0, 3, None), (1, 2, None), (2, 1, None)]));
        assert!(!ordered(&[(0, 1, None), (2, 3, None)]));
        // Dated before, recorded after.
        assert!(!ordered(&[(0, 1, Some(7)), (1, 2, Some(5)), (2, 3, Some(8))]));
        assert!(!ordered(&[(0, 1, Some(9)), (1, 2, None), (2, 3, Some(8))]));
        // A stage that was reached again later takes nothing away.
        assert!(ordered(&[(0, 1, None), (1, 2, None), (2, 3, None), (0, 4, None), (2, 5, None)]));
    }
}
