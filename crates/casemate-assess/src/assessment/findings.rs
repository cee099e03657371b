//! The defects that evidence about current subjects still shows.
//!
//! Like a fail, a finding stands until its probe looks again and is done: a run that could not finish clears nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use casemate_core::{Digest, Finding, Outcome, Record, Subject, SubjectKind};

use super::ModelAssessment;
use crate::control_state::{ControlState, Judge};
use crate::evidence::{self, Time};

/// A defect that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenFinding {
    /// What it is about.
    pub subject: Subject,
    /// The record that shows it.
    pub record: String,
    /// The defect.
    pub finding: Finding,
    /// True when every control it speaks to is waived.
    pub waived: bool,
    /// True when it is about a model in use, or about no model.
    pub in_use: bool,
}

/// The findings that stand, the worst first.
pub(super) fn open(judge: &Judge<'_>, models: &[ModelAssessment]) -> Vec<OpenFinding> {
    let current = Current::new(judge, models);
    let mut groups: BTreeMap<(&str, &str, SubjectKind, String), Vec<&Record>> = BTreeMap::new();
    for record in judge.index.all() {
        let evidence = &record.evidence;
        let past = evidence::time(evidence, judge.situation.now) == Time::Past;
        if let Some(key) = current.key(&evidence.subject).filter(|_| past) {
            let group = groups.entry((&evidence.kind, &evidence.probe.id, evidence.subject.kind, key)).or_default();
            group.push(record);
        }
    }
    let mut findings = Vec::new();
    for records in groups.into_values() {
        for record in standing(&records) {
            findings.extend(record.evidence.findings.iter().map(|finding| OpenFinding {
                subject: record.evidence.subject.clone(),
                record: record.id.clone(),
                waived: is_waived(finding, &record.evidence.subject, models),
                in_use: is_in_use(&record.evidence.subject, models),
                finding: finding.clone(),
            }));
        }
    }
    findings.sort_by(|a, b| key(a).cmp(&key(b)));
    findings.dedup_by(|a, b| a.finding == b.finding && a.subject == b.subject);
    findings
}

fn key(open: &OpenFinding) -> impl Ord + '_ {
    let finding = &open.finding;
    (Reverse(finding.severity), &finding.rule, &open.subject, &finding.location, &finding.message, &open.record)
}

/// The last run that was done, and the last that was not, if it came after.
fn standing<'a>(records: &[&'a Record]) -> Vec<&'a Record> {
    let done = |record: &&&Record| record.evidence.outcome != Outcome::Unknown;
    let mut standing: Vec<&Record> = records.iter().rev().find(done).copied().into_iter().collect();
    standing.extend(records.last().filter(|record| !done(record)));
    standing
}

/// A finding is waived when every control it speaks to is, for each model it may concern.
fn is_waived(finding: &Finding, subject: &Subject, models: &[ModelAssessment]) -> bool {
    let concerns = |model: &&ModelAssessment| {
        model.is_present() && (subject.kind != SubjectKind::Model || model.digest == Some(subject.digest))
    };
    let waived = |state: &ControlState| state.waiver.is_some();
    let all_waived = |id: &String| {
        let mut states =
            models.iter().filter(concerns).flat_map(|model| &model.states).filter(|state| state.id == *id).peekable();
        states.peek().is_some() && states.all(waived)
    };
    !finding.controls.is_empty() && finding.controls.iter().all(all_waived)
}

fn is_in_use(subject: &Subject, models: &[ModelAssessment]) -> bool {
    subject.kind != SubjectKind::Model
        || models.iter().any(|model| model.counts && model.digest == Some(subject.digest))
}

struct Current {
    models: BTreeSet<Digest>,
    datasets: BTreeSet<Digest>,
    catalogues: BTreeSet<Digest>,
}

impl Current {
    fn new(judge: &Judge<'_>, models: &[ModelAssessment]) -> Self {
        let situation = judge.situation;
        Self {
            models: models.iter().filter(|model| model.is_present()).filter_map(|model| model.digest).collect(),
            datasets: situation.datasets.iter().map(|dataset| dataset.digest).collect(),
            catalogues: situation.inputs.get("catalogue").cloned().unwrap_or_default(),
        }
    }

    /// What makes two records be about the same thing; `None` when it is no longer there.
    fn key(&self, subject: &Subject) -> Option<String> {
        let bound = match subject.kind {
            SubjectKind::Model => &self.models,
            SubjectKind::Dataset => &self.datasets,
            SubjectKind::Catalogue => &self.catalogues,
            _ => return Some(subject.name.clone()),
        };
        bound.contains(&subject.digest).then(|| subject.digest.to_string())
    }
}
