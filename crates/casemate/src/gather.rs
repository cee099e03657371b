//! Gathering evidence: what `check` and `scan` find out, as records for the ledger.

use std::collections::BTreeMap;

use casemate_artifact::Verdict;
use casemate_artifact::weights::compare::Difference;
use casemate_assess::Catalogue;
use casemate_core::{
    Digest, Evidence, Fact, Finding, Input, Measurement, Method, Outcome, Probe, Record, Subject, SubjectKind,
    Timestamp,
};
use casemate_provenance::{VerifyReport, sha256};

use crate::comparison::WeightBaseline;
use crate::context::Project;
use crate::scanning::{PROBE_VERSION, Scanned, rules_digest};

/// Kinds of evidence this build can gather.
pub const KINDS: &[&str] = &[
    "artifact.scan",
    "assess.freshness",
    "catalogue.mapping",
    "ledger.verify",
    KIND_APPROVAL,
    "provenance.weights-diff",
    casemate_assess::facts::KIND_DECLARED,
    casemate_assess::facts::KIND_FOUND,
];

/// A person's approval of a table of tensors as a model's baseline.
pub const KIND_APPROVAL: &str = "provenance.baseline-approval";

/// Findings one record keeps; a file with more has said enough.
const FINDINGS_MAX: usize = 2000;

/// An empty record: who looked, at what, from when to when.
fn record(kind: &str, probe: &str, subject: Subject, span: (Timestamp, Timestamp)) -> Evidence {
    Evidence {
        kind: kind.into(),
        probe: Probe { id: probe.into(), version: PROBE_VERSION.into() },
        subject,
        method: Method::A,
        outcome: Outcome::Unknown,
        reason: None,
        facts: BTreeMap::new(),
        findings: Vec::new(),
        measurements: Vec::new(),
        inputs: Vec::new(),
        seed: None,
        actor: format!("casemate/{}", env!("CARGO_PKG_VERSION")),
        started_at: span.0,
        finished_at: span.1,
    }
}

fn count(n: usize) -> Fact {
    Fact::Count(n as u64)
}

/// The record of a scan of a whole model.
pub fn scan(
    model: &str,
    digest: Digest,
    scanned: &Scanned,
    self_test: (u64, u64),
    span: (Timestamp, Timestamp),
) -> Evidence {
    let subject = Subject { kind: SubjectKind::Model, name: model.into(), digest };
    let mut evidence = record("artifact.scan", "artifact-scan", subject, span);
    let files = |wanted: &dyn Fn(&crate::scanning::ScannedFile) -> bool| {
        scanned.files.iter().filter(|file| wanted(file)).count()
    };
    let unknown = |file: &crate::scanning::ScannedFile| {
        file.report.findings.iter().any(|finding| finding.rule == "unknown-format")
    };
    let unseen = scanned.skipped.iter().filter(|skipped| skipped.matters).count();
    let verdict = scanned.verdict();
    let facts = [
        ("verdict", Fact::Text(verdict.as_str().into())),
        ("files", count(scanned.files.len() + unseen)),
        ("files_scanned", count(files(&|file| file.report.verdict != Verdict::Unscannable))),
        ("files_unscannable", count(scanned.count(Verdict::Unscannable) + unseen)),
        ("files_unsafe_format", count(files(&|file| file.runs_code_by_design))),
        ("files_unknown_format", count(files(&unknown))),
        ("bytes_unclaimed", Fact::Count(scanned.files.iter().map(|file| file.bytes_unclaimed).sum())),
        ("self_test_planted", Fact::Count(self_test.0)),
        ("self_test_caught", Fact::Count(self_test.1)),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    evidence.inputs = vec![Input { name: "rules".into(), digest: rules_digest() }];
    evidence.findings = scanned.findings();
    let left_out = evidence.findings.len().saturating_sub(FINDINGS_MAX);
    evidence.findings.truncate(FINDINGS_MAX);
    evidence.facts.insert("findings_left_out".into(), count(left_out));
    (evidence.outcome, evidence.reason) = match verdict {
        _ if self_test.0 != self_test.1 => {
            (Outcome::Unknown, Some("a detector missed the defect planted for it".into()))
        }
        _ if scanned.incomplete => (Outcome::Unknown, Some("the scan was interrupted".into())),
        Verdict::Clean => (Outcome::Pass, None),
        Verdict::Unscannable => (Outcome::Unknown, Some("not everything could be judged".into())),
        Verdict::Suspicious | Verdict::Malicious => (Outcome::Fail, Some(format!("the model is {}", verdict.as_str()))),
    };
    evidence
}

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

/// The subject that stands for the project as a whole.
pub fn project_subject(project: &Project) -> Subject {
    Subject { kind: SubjectKind::Project, name: project.name.clone(), digest: sha256(project.config_text.as_bytes()) }
}

/// The record of what was found about the system. Only presence is found; nothing here says that something is absent.
pub fn found_facts(project: &Project, found: &BTreeMap<&'static str, bool>, span: (Timestamp, Timestamp)) -> Evidence {
    let mut evidence = record(casemate_assess::facts::KIND_FOUND, "project-facts", project_subject(project), span);
    evidence.facts = found.iter().map(|(name, value)| ((*name).to_owned(), Fact::Bool(*value))).collect();
    evidence.outcome = Outcome::Pass;
    evidence
}

/// The owner's declaration in `[system]`, as a signed record.
pub fn declaration(project: &Project, span: (Timestamp, Timestamp)) -> Evidence {
    let mut evidence =
        record(casemate_assess::facts::KIND_DECLARED, "system-declaration", project_subject(project), span);
    evidence.facts = project.config.system.iter().map(|(name, value)| (name.clone(), Fact::Bool(*value))).collect();
    evidence.method = Method::P;
    evidence.outcome = Outcome::Pass;
    evidence
}

/// The record of a verification of the ledger itself.
pub fn ledger_verified(origin: &str, report: &VerifyReport, span: (Timestamp, Timestamp)) -> Evidence {
    let digest = report.root.unwrap_or_else(|| sha256(&[]));
    let subject = Subject { kind: SubjectKind::Ledger, name: origin.into(), digest };
    let mut evidence = record("ledger.verify", "ledger-verify", subject, span);
    let invalid = report.tree_size.saturating_sub(report.records).max(report.problems.len() as u64);
    evidence.facts = [("records", Fact::Count(report.records)), ("records_invalid", Fact::Count(invalid))]
        .map(|(name, fact)| (name.to_owned(), fact))
        .into();
    (evidence.outcome, evidence.reason) = match report.is_intact() {
        // A ledger without a record shows nothing about records.
        true if report.records == 0 => (Outcome::Unknown, Some("the ledger holds no record yet".into())),
        true => (Outcome::Pass, None),
        false => (Outcome::Fail, report.problems.first().map(|problem| problem.what.clone())),
    };
    evidence
}

/// The record of the catalogue's mappings: which ids it names, and that all of them exist in their edition.
pub fn mapping(catalogue: &Catalogue, digest: Digest, span: (Timestamp, Timestamp)) -> Evidence {
    let subject = Subject { kind: SubjectKind::Catalogue, name: "catalogue".into(), digest };
    let mut evidence = record("catalogue.mapping", "catalogue-mapping", subject, span);
    let exists = |map: &casemate_assess::control::MapId| {
        catalogue.frameworks().any(|framework| {
            framework.framework == map.framework
                && framework.edition == map.edition
                && framework.ids.contains_key(&map.id)
        })
    };
    let maps: Vec<_> = catalogue.controls().flat_map(|control| &control.maps).collect();
    let unknown = maps.iter().filter(|map| !exists(map)).count();
    let frameworks: std::collections::BTreeSet<_> = maps.iter().map(|map| (&map.framework, &map.edition)).collect();
    evidence.facts =
        [("ids", count(maps.len())), ("ids_unknown", count(unknown)), ("frameworks", count(frameworks.len()))]
            .map(|(name, fact)| (name.to_owned(), fact))
            .into();
    evidence.inputs = vec![Input { name: "catalogue".into(), digest }];
    evidence.outcome = if unknown == 0 { Outcome::Pass } else { Outcome::Fail };
    evidence
}

/// The record of how much of the posture rests on fresh evidence, GOV-13 itself apart.
pub fn freshness(
    project: &Project,
    catalogue: Digest,
    states: &[casemate_assess::ControlState],
    span: (Timestamp, Timestamp),
) -> Evidence {
    let mut evidence = record("assess.freshness", "assess-freshness", project_subject(project), span);
    let applicable = states.iter().filter(|state| state.is_applicable() && state.id != "GOV-13");
    let (mut fresh, mut all) = (0, 0);
    for state in applicable {
        let weight = casemate_assess::control::weight(state.severity);
        all += weight;
        fresh += if state.fresh { weight } else { 0 };
    }
    // Cut, not rounded: a share just below a bound must not reach it.
    #[expect(clippy::cast_precision_loss, reason = "sums of 140 weights of at most 10")]
    let share = if all == 0 { 0.0 } else { (fresh as f64 / all as f64 * 1e4).floor() / 1e4 };
    evidence.measurements = vec![Measurement::exact("fresh_weight_share", share, "fraction")];
    evidence.inputs = vec![Input { name: "catalogue".into(), digest: catalogue }];
    evidence.outcome = Outcome::Pass;
    evidence
}
