//! Evidence about weights: a model against its approved baseline, and the approval.

use casemate_artifact::weights::compare::Difference;
use casemate_core::{Digest, Evidence, Fact, Finding, Input, Method, Outcome, Record, Subject, SubjectKind, Timestamp};

use super::{FINDINGS_MAX, count, record};
use crate::comparison::WeightBaseline;
use crate::scanning::rules_digest;

/// A person's approval of a table of tensors as a model's baseline.
pub const KIND_APPROVAL: &str = "provenance.baseline-approval";

/// A model held against its baseline.
pub struct WeightsDiff<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Digest of its manifest.
    pub digest: Digest,
    /// The table it was held against.
    pub baseline: &'a WeightBaseline,
    /// Whether the latest approval for this model is of that table.
    pub approved: bool,
    /// What differs.
    pub difference: &'a Difference,
    /// The same, as findings.
    pub findings: Vec<Finding>,
}

/// The record of a comparison with the baseline. An unapproved baseline shows nothing, however equal the model is to it.
pub fn weights_diff(diff: WeightsDiff<'_>, self_test: (u64, u64), span: (Timestamp, Timestamp)) -> Evidence {
    let subject = Subject { kind: SubjectKind::Model, name: diff.model.into(), digest: diff.digest };
    let mut evidence = record("provenance.weights-diff", "weights-diff", subject, span);
    let found = diff.difference;
    let facts = [
        ("baseline_approved", Fact::Bool(diff.approved)),
        ("tensors", Fact::Count(found.tensors)),
        ("tensors_added", count(found.added.len())),
        ("tensors_removed", count(found.removed.len())),
        ("tensors_changed", count(found.changed.len())),
        ("metadata_changed", count(found.metadata.len())),
        ("self_test_planted", Fact::Count(self_test.0)),
        ("self_test_caught", Fact::Count(self_test.1)),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    evidence.inputs = vec![
        Input { name: "baseline".into(), digest: diff.baseline.digest },
        Input { name: "rules".into(), digest: rules_digest() },
    ];
    evidence.findings = diff.findings;
    evidence.findings.truncate(FINDINGS_MAX);
    (evidence.outcome, evidence.reason) = match () {
        () if self_test.0 != self_test.1 || self_test.0 == 0 => {
            (Outcome::Unknown, Some("the comparison missed a change planted for it".into()))
        }
        () if !found.is_none() => (Outcome::Fail, Some(crate::comparison::words(found))),
        () if found.tensors == 0 => (Outcome::Unknown, Some("no tensor of the model could be listed".into())),
        () if !diff.approved => {
            let what = "nobody approved this baseline; `casemate baseline approve FILE` records that somebody did";
            (Outcome::Unknown, Some(what.into()))
        }
        () => (Outcome::Pass, None),
    };
    evidence
}

/// The record that a model names no baseline, and how it gets one.
pub fn without_baseline(model: &str, digest: Digest, shown: &str, span: (Timestamp, Timestamp)) -> Evidence {
    let subject = Subject { kind: SubjectKind::Model, name: model.into(), digest };
    let mut evidence = record("provenance.weights-diff", "weights-diff", subject, span);
    evidence.reason = Some(format!(
        "the model names no baseline; write one with `casemate scan {shown} --write-baseline approved.tensors.json`, name it \
         as `baseline` in its `[[model]]`, and have it approved with `casemate baseline approve`"
    ));
    evidence
}

/// The record that a person approved a table of tensors for `model`. Its subject is the model as the table has it.
pub fn baseline_approval(
    model: &str,
    baseline: &WeightBaseline,
    (approver, author, reason): (&str, &str, &str),
    now: Timestamp,
) -> Evidence {
    let subject = Subject { kind: SubjectKind::Model, name: model.into(), digest: baseline.table.subject.sha256 };
    let mut evidence = record(KIND_APPROVAL, "baseline-approval", subject, (now, now));
    let tensors = baseline.table.artifacts.iter().map(|file| file.tensors.len()).sum();
    let text = |text: &str| Fact::Text(text.into());
    let facts =
        [("approver", text(approver)), ("author", text(author)), ("reason", text(reason)), ("tensors", count(tensors))];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    evidence.inputs = vec![Input { name: "baseline".into(), digest: baseline.digest }];
    evidence.method = Method::P;
    evidence.outcome = Outcome::Pass;
    evidence.actor = approver.into();
    evidence
}

/// Whether the latest approval for the model called `model` is of `baseline`: an earlier one ends with the next, or an old
/// model could come back with its old table.
pub fn is_approved(records: &[Record], model: &str, baseline: &WeightBaseline) -> bool {
    let mut approvals = records.iter().map(|record| &record.evidence).filter(|evidence| {
        let about = (evidence.kind.as_str(), evidence.subject.kind, evidence.subject.name.as_str());
        about == (KIND_APPROVAL, SubjectKind::Model, model)
            && evidence.method == Method::P
            && evidence.outcome == Outcome::Pass
    });
    approvals.next_back().is_some_and(|latest| latest.input("baseline") == Some(baseline.digest))
}
