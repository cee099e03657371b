//! The state of one check: which records count, and what the last of them says.
//!
//! Evidence counts only for what it is about: a record on another digest of the model, by another method, or a decision
//! about another control is not evidence here.

use std::collections::{BTreeMap, BTreeSet};

use casemate_core::{Digest, Evidence, Fact, Method, Outcome, Record, SubjectKind};

use super::freshness;
use super::{CheckState, Judge, PPM, State, rank};
use crate::control::{Check, Control, Event, MaxAge, subject_word};
use crate::evidence::{self, Time};
use crate::predicate::Trace;
use crate::situation::{INPUTS_BINDING, Model};
use crate::truth::Truth;

/// The fact of a decision that names the control it decides.
const DECIDES: &str = "control";

/// The input that binds evidence about something else to a model.
const MODEL_INPUT: &str = "model";

/// A subject with the records about it, from the earliest to the latest.
struct Group<'a> {
    name: String,
    records: Vec<&'a Record>,
}

/// What one record says about one check.
struct Verdict {
    state: State,
    reason: String,
    attempted: bool,
    trace: Option<Trace>,
}

impl Judge<'_> {
    pub(super) fn check(&self, control: &Control, check: &Check, model: Option<&Model>) -> CheckState {
        let groups = self.groups(control, check, model);
        let mut states: Vec<CheckState> = groups.iter().map(|group| self.group(control, check, group, model)).collect();
        states.sort_by_key(|state| std::cmp::Reverse(rank(state)));
        let mut states = states.into_iter();
        let Some(mut worst) = states.next() else { return self.without_subject(check) };
        for other in states {
            worst.records.extend(other.records);
            worst.freshness_ppm = worst.freshness_ppm.min(other.freshness_ppm);
            worst.fresh &= other.fresh;
            worst.oldest = [worst.oldest, other.oldest].into_iter().flatten().min();
        }
        worst
    }

    /// The records that count for `check`, by subject.
    fn groups(&self, control: &Control, check: &Check, model: Option<&Model>) -> Vec<Group<'_>> {
        let counts = |record: &&&Record| {
            let evidence = &record.evidence;
            evidence.subject.kind == check.subject
                && evidence.method == check.method
                && (check.method != Method::P || decides(evidence, &control.id))
        };
        let records: Vec<&Record> = self.index.of_kind(&check.evidence).iter().filter(counts).copied().collect();
        let about = |name: &str, digest: Digest| Group {
            name: name.into(),
            records: records.iter().filter(|record| record.evidence.subject.digest == digest).copied().collect(),
        };
        match check.subject {
            SubjectKind::Model => model.map(|model| about(&model.name, model.digest)).into_iter().collect(),
            SubjectKind::Dataset => {
                let datasets: BTreeMap<Digest, &str> = self
                    .situation
                    .datasets
                    .iter()
                    .rev()
                    .map(|dataset| (dataset.digest, dataset.name.as_str()))
                    .collect();
                let mut groups: Vec<Group> = datasets.into_iter().map(|(digest, name)| about(name, digest)).collect();
                groups.sort_by(|a, b| a.name.cmp(&b.name));
                groups
            }
            SubjectKind::Catalogue => {
                let current = self.situation.inputs.get("catalogue");
                current.into_iter().flatten().map(|digest| about("catalogue", *digest)).collect()
            }
            SubjectKind::Project | SubjectKind::Route | SubjectKind::Ledger | SubjectKind::Incident => by_name(records),
        }
    }

    fn group(&self, control: &Control, check: &Check, group: &Group<'_>, model: Option<&Model>) -> CheckState {
        let mut state = CheckState {
            evidence: check.evidence.clone(),
            method: check.method,
            subject: check.subject,
            subject_name: Some(group.name.clone()),
            state: State::Unknown,
            reason: String::new(),
            records: Vec::new(),
            freshness_ppm: 0,
            fresh: false,
            oldest: None,
            attempted: false,
            trace: None,
        };
        let Some(latest) = group.records.last() else {
            state.reason = format!(
                "no `{}` evidence about {} `{}`: {}",
                check.evidence,
                subject_word(check.subject),
                group.name,
                self.how_to_gather(&check.evidence)
            );
            return state;
        };
        let (record, verdict) = match self.standing_fail(check, &group.records) {
            Some(standing) => standing,
            None => (*latest, self.judge(check, &latest.evidence)),
        };
        let age_ppm = freshness::ppm(control.max_age, record.evidence.finished_at, self.situation.now);
        let outdated = self.outdated(control, check, &record.evidence, model);
        state.records.push(record.id.clone());
        state.oldest = Some(record.evidence.finished_at);
        state.attempted = verdict.attempted;
        state.trace = verdict.trace;
        state.fresh = verdict.state != State::Unknown && age_ppm == PPM && outdated.is_none();
        let again = self.how_to_gather(&check.evidence);
        (state.state, state.freshness_ppm, state.reason) = match (verdict.state, outdated) {
            (State::Pass, Some(input)) => (State::Stale, 0, format!("`{}` {input}: {again}", check.evidence)),
            (State::Pass, None) if age_ppm == PPM => (State::Pass, PPM, verdict.reason),
            (State::Pass, None) => {
                let ended = record.evidence.finished_at.date();
                (State::Stale, age_ppm, format!("`{}` of {ended} is too old: {again}", check.evidence))
            }
            (State::Unknown, _) => (State::Unknown, 0, format!("{}: {again}", verdict.reason)),
            (other, _) => (other, 0, verdict.reason),
        };
        state
    }

    /// The latest fail that its own probe has not cleared since by a pass.
    fn standing_fail<'r>(&self, check: &Check, records: &[&'r Record]) -> Option<(&'r Record, Verdict)> {
        let mut decided: BTreeSet<&str> = BTreeSet::new();
        for record in records.iter().rev() {
            let probe = record.evidence.probe.id.as_str();
            if decided.contains(probe) {
                continue;
            }
            let verdict = self.judge(check, &record.evidence);
            match verdict.state {
                State::Fail => return Some((record, verdict)),
                State::Pass => {
                    decided.insert(probe);
                }
                _ => {}
            }
        }
        None
    }

    fn judge(&self, check: &Check, evidence: &Evidence) -> Verdict {
        let kind = &check.evidence;
        let unknown = |reason, attempted| Verdict { state: State::Unknown, reason, attempted, trace: None };
        match evidence::time(evidence, self.situation.now) {
            Time::Future => return unknown(format!("`{kind}` ends in the future, at {}", evidence.finished_at), false),
            Time::Backwards => return unknown(format!("`{kind}` ends before it begins"), false),
            Time::Past => {}
        }
        if evidence.outcome == Outcome::Unknown {
            let why = evidence.reason.as_deref().unwrap_or("no reason was recorded");
            return unknown(format!("`{kind}` could not tell: {why}"), true);
        }
        let trace = check.pass.explain(evidence);
        let (state, reason) = match trace.truth {
            Truth::True => (State::Pass, format!("shown by `{kind}` about `{}`", evidence.subject.name)),
            Truth::False => {
                (State::Fail, format!("`{kind}` about `{}` fails {}", evidence.subject.name, trace.decision()))
            }
            Truth::Unknown => (State::Unknown, format!("`{kind}` does not say {}", trace.decision())),
        };
        Verdict { state, reason, attempted: false, trace: Some(trace) }
    }

    /// Which data the evidence rests on that is no longer current.
    fn outdated(&self, control: &Control, check: &Check, evidence: &Evidence, model: Option<&Model>) -> Option<String> {
        for input in evidence.inputs.iter().filter(|input| INPUTS_BINDING.contains(&input.name.as_str())) {
            match self.situation.inputs.get(&input.name) {
                Some(current) if current.contains(&input.digest) => {}
                Some(_) => return Some(format!("rests on `{}` that changed since", input.name)),
                None => return Some(format!("rests on `{}` that cannot be compared now", input.name)),
            }
        }
        // Evidence per model digest is about the model even when its subject is a dataset, so it must name the model.
        let per_model = control.max_age == MaxAge::Per { per: Event::ModelDigest };
        let bound = control.checks.iter().any(|check| check.subject == SubjectKind::Model);
        if !per_model || bound || check.subject == SubjectKind::Model {
            return None;
        }
        match (evidence.input(MODEL_INPUT), model) {
            (Some(digest), Some(model)) if digest == model.digest => None,
            _ => Some("does not name the current model among its inputs".into()),
        }
    }

    fn without_subject(&self, check: &Check) -> CheckState {
        let how = self.how_to_gather(&check.evidence);
        let reason = match check.subject {
            SubjectKind::Model => format!("no model is declared: declare one, then {how}"),
            SubjectKind::Dataset => format!("no dataset is declared: declare one, then {how}"),
            _ => format!("no `{}` evidence: {how}", check.evidence),
        };
        CheckState {
            evidence: check.evidence.clone(),
            method: check.method,
            subject: check.subject,
            subject_name: None,
            state: State::Unknown,
            reason,
            records: Vec::new(),
            freshness_ppm: 0,
            fresh: false,
            oldest: None,
            attempted: false,
            trace: None,
        }
    }

    fn how_to_gather(&self, kind: &str) -> String {
        let command = self.catalogue.kind(kind).map_or("casemate check", |kind| &kind.command);
        if self.can_gather(kind) {
            format!("run `{command}`")
        } else {
            format!("`{command}` gathers it, which this build cannot run")
        }
    }
}

/// A decision speaks for the one control it names: else one signature would settle every `A+P` of the catalogue.
fn decides(evidence: &Evidence, id: &str) -> bool {
    matches!(evidence.facts.get(DECIDES), Some(Fact::Text(named)) if named == id)
}

fn by_name(records: Vec<&Record>) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        groups.entry(&record.evidence.subject.name).or_default().push(record);
    }
    groups.into_iter().map(|(name, records)| Group { name: name.into(), records }).collect()
}
