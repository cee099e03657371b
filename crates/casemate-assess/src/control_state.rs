//! The state of one control for one model: what its checks came to, and what that earns.
//!
//! Credit is all or nothing per control, then aged: half a defence earns nothing, since partial credit would lift the caps of
//! the score while the hole is open. A fail stands until its probe passes on the same subject; a pass expires.

mod check;
mod freshness;

use casemate_core::{Method, Record, Severity, SubjectKind, Timestamp};
use serde::Serialize;

use crate::catalogue::Catalogue;
use crate::control::{Control, Verification};
use crate::evidence::Index;
use crate::facts::SystemFacts;
use crate::predicate::Trace;
use crate::situation::{Model, Situation};
use crate::truth::Truth;
use crate::waiver;
use crate::words::words;

/// One, in parts per million: credits and shares are whole numbers, so no order of summing changes a digit.
pub const PPM: u64 = 1_000_000;

/// What a person's word alone earns.
const PERSON_PPM: u64 = PPM / 2;

words! {
    /// What is known about a control.
    State {
        /// Shown to hold, by evidence that counts in full.
        Pass = "pass",
        /// Shown not to hold.
        Fail = "fail",
        /// Was shown to hold; the evidence is too old, or rests on data that changed.
        Stale = "stale",
        /// Not shown either way.
        Unknown = "unknown",
        /// Does not hold or is not known to, and a person took responsibility for a while.
        Waived = "waived",
        /// Does not apply to this system.
        NotApplicable = "not-applicable",
    }
}

/// The state of one control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlState {
    /// Id of the control.
    pub id: String,
    /// Its severity in this catalogue.
    pub severity: Severity,
    /// What is known.
    pub state: State,
    /// Why, in one line; for unknown and stale, with the command that gathers the evidence.
    pub reason: String,
    /// Ids of the records it rests on, sorted.
    pub evidence: Vec<String>,
    /// Method times grade times freshness, in parts per million.
    pub credit_ppm: u64,
    /// What the method earns: a person's word half, in parts per million.
    pub method_ppm: u64,
    /// 1,000,000 when every check passed, else 0.
    pub graded_ppm: u64,
    /// What is left after ageing, in parts per million.
    pub freshness_ppm: u64,
    /// True when every needed check is decided, pass or fail, by evidence that is not too old.
    pub fresh: bool,
    /// True when it counts as applicable only because no fact says otherwise.
    pub perhaps: bool,
    /// When the oldest record it rests on ended.
    pub oldest_evidence: Option<Timestamp>,
    /// What is beneath a waiver: equals `state` for controls that are not waived.
    pub beneath: State,
    /// The waiver that covers it, if one does; it opens gates, whatever the state.
    pub waiver: Option<String>,
    /// Every check, in the order of the control.
    pub checks: Vec<CheckState>,
}

/// The state of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckState {
    /// Kind of evidence.
    pub evidence: String,
    /// How it is gathered.
    pub method: Method,
    /// What it is about.
    pub subject: SubjectKind,
    /// The subject that decided, when there is one.
    pub subject_name: Option<String>,
    /// Pass, fail, stale or unknown.
    pub state: State,
    /// Why.
    pub reason: String,
    /// The records it rests on.
    pub records: Vec<String>,
    /// What is left after ageing, in parts per million; 0 unless passed.
    pub freshness_ppm: u64,
    /// True when decided by evidence that is not too old.
    pub fresh: bool,
    /// When the oldest record it rests on ended.
    pub oldest: Option<Timestamp>,
    /// True when a probe ran and said that it could not tell.
    pub attempted: bool,
    /// The predicate term by term, where a record was judged by it.
    pub trace: Option<Trace>,
}

impl ControlState {
    /// True when the control counts in the score.
    pub fn is_applicable(&self) -> bool {
        self.state != State::NotApplicable
    }

    /// The checks that keep it from passing.
    pub fn open_checks(&self) -> impl Iterator<Item = &CheckState> {
        self.checks.iter().filter(|check| check.state != State::Pass)
    }
}

/// Everything a control's state depends on.
pub(crate) struct Judge<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) index: Index<'a>,
    pub(crate) facts: &'a SystemFacts,
    pub(crate) situation: &'a Situation,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        catalogue: &'a Catalogue,
        records: &'a [Record],
        facts: &'a SystemFacts,
        situation: &'a Situation,
    ) -> Self {
        Self { catalogue, index: Index::new(records), facts, situation }
    }

    /// The state of `control` for `model`, or for a project without models.
    pub(crate) fn control(&self, control: &Control, model: Option<&Model>) -> ControlState {
        let applies = self.facts.applies(&control.applies);
        if applies == Truth::False {
            return self.not_applicable(control);
        }
        let checks: Vec<CheckState> = control.checks.iter().map(|check| self.check(control, check, model)).collect();
        let used = self.used(control.verification, &checks);
        let worst = used.worst();
        let state = worst.map_or(State::Unknown, |check| check.state);
        let freshness_ppm = used.checks.iter().map(|check| check.freshness_ppm).min().unwrap_or(0);
        let graded_ppm = if matches!(state, State::Pass | State::Stale) { PPM } else { 0 };
        let mut evidence: Vec<String> = used.checks.iter().flat_map(|check| check.records.clone()).collect();
        evidence.sort();
        evidence.dedup();
        let mut judged = ControlState {
            id: control.id.clone(),
            severity: control.severity,
            state,
            reason: worst.map_or_else(|| "it has no checks".into(), |check| check.reason.clone()),
            evidence,
            credit_ppm: used.method_ppm * graded_ppm / PPM * freshness_ppm / PPM,
            method_ppm: used.method_ppm,
            graded_ppm,
            freshness_ppm,
            fresh: used.checks.iter().all(|check| check.fresh),
            perhaps: applies == Truth::Unknown,
            oldest_evidence: used.checks.iter().filter_map(|check| check.oldest).min(),
            beneath: state,
            waiver: None,
            checks,
        };
        self.waive(control, model, &mut judged);
        judged
    }

    fn not_applicable(&self, control: &Control) -> ControlState {
        let trace = control.applies.explain(self.facts);
        ControlState {
            id: control.id.clone(),
            severity: control.severity,
            state: State::NotApplicable,
            reason: format!("does not apply: {}", trace.decision()),
            evidence: Vec::new(),
            credit_ppm: 0,
            method_ppm: 0,
            graded_ppm: 0,
            freshness_ppm: 0,
            fresh: false,
            perhaps: false,
            oldest_evidence: None,
            beneath: State::NotApplicable,
            waiver: None,
            checks: Vec::new(),
        }
    }

    /// The checks that count, with what their method earns.
    fn used<'c>(&self, verification: Verification, checks: &'c [CheckState]) -> Used<'c> {
        if !verification.accepts_person_instead() {
            let method_ppm = if verification == Verification::P { PERSON_PPM } else { PPM };
            return Used { checks: checks.iter().collect(), method_ppm };
        }
        let (person, machine): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.method == Method::P);
        let machine = Used { checks: machine, method_ppm: PPM };
        let person = Used { checks: person, method_ppm: PERSON_PPM };
        // A person stands in only where the machine cannot: otherwise not running a probe that would fail pays half.
        let open = machine.checks.iter().filter(|check| check.state == State::Unknown);
        let cannot = open.into_iter().all(|check| check.attempted || !self.can_gather(&check.evidence));
        let machine_state = machine.worst().map(|check| check.state);
        let person_state = person.worst().map(|check| check.state);
        match (machine_state, person_state) {
            (Some(State::Unknown), Some(State::Pass | State::Stale | State::Fail)) if cannot => person,
            _ => machine,
        }
    }

    pub(crate) fn can_gather(&self, kind: &str) -> bool {
        self.situation.kinds_available.contains(kind)
    }

    fn waive(&self, control: &Control, model: Option<&Model>, judged: &mut ControlState) {
        if judged.state == State::Pass {
            return;
        }
        let mut names: Vec<&str> = model.map(|model| model.name.as_str()).into_iter().collect();
        names.extend(judged.open_checks().filter_map(|check| check.subject_name.as_deref()));
        let Some(waiver) = waiver::covering(&self.situation.waivers, control, &names, self.situation.now) else {
            return;
        };
        judged.waiver = Some(waiver.summary());
        // A waiver opens the gate and leaves the score alone, so what still earns something keeps its name.
        if judged.credit_ppm == 0 {
            judged.state = State::Waived;
            judged.reason = format!("{}; beneath it {}: {}", waiver.summary(), judged.beneath, judged.reason);
        }
    }
}

struct Used<'c> {
    checks: Vec<&'c CheckState>,
    method_ppm: u64,
}

impl Used<'_> {
    /// The check that decides: the first of the worst.
    fn worst(&self) -> Option<&CheckState> {
        let mut worst: Option<&CheckState> = None;
        for check in &self.checks {
            if worst.is_none_or(|worst| rank(check) > rank(worst)) {
                worst = Some(check);
            }
        }
        worst
    }
}

/// Worse is greater; of two stale ones, the staler.
fn rank(check: &CheckState) -> (u8, u64) {
    let state = match check.state {
        State::Fail => 3,
        State::Unknown => 2,
        State::Stale => 1,
        State::Pass | State::Waived | State::NotApplicable => 0,
    };
    (state, PPM - check.freshness_ppm.min(PPM))
}

#[cfg(test)]
mod tests;
