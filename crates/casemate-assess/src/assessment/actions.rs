//! What to do first, and which capability the unknowns wait for.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use casemate_core::Severity;
use serde::Serialize;

use super::Assessment;
use crate::catalogue::Catalogue;
use crate::control::{Effort, weight};
use crate::control_state::{ControlState, PPM, State};
use crate::situation::Situation;

/// Something to do, and what it would settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The command.
    pub command: String,
    /// What to do, of the weightiest control it settles.
    pub text: String,
    /// The controls it speaks to, sorted.
    pub controls: Vec<String>,
    /// The worst severity among them.
    pub severity: Severity,
    /// True when a critical control among them is shown not to hold.
    pub failing_critical: bool,
    /// Weight times missing credit, in parts per million of a weight of one.
    pub gain: u64,
    /// The longest effort among them.
    pub effort: Effort,
    /// True when this build can run the command.
    pub available: bool,
}

/// Controls that wait for evidence of one capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CapabilityGap {
    /// The capability.
    pub capability: String,
    /// The controls, sorted.
    pub controls: Vec<String>,
    /// Their weight together.
    pub weight: u64,
    /// The evidence they wait for.
    pub kinds: Vec<MissingKind>,
}

/// A kind of evidence nobody gathered yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MissingKind {
    /// The kind.
    pub kind: String,
    /// The command that gathers it.
    pub command: String,
    /// True when this build can run it.
    pub available: bool,
}

impl Assessment {
    /// The `n` things to do first: failing criticals, then by severity, then what this build can run, then the most weight
    /// gained per effort.
    pub fn next_actions(&self, catalogue: &Catalogue, situation: &Situation, n: usize) -> Vec<Action> {
        let mut actions: BTreeMap<String, (u64, Action)> = BTreeMap::new();
        for state in self.states().iter().filter(|state| state.is_applicable() && state.credit_ppm < PPM) {
            let Some(action) = action(catalogue, situation, state) else { continue };
            let heaviest = action.gain;
            match actions.get_mut(&action.command) {
                Some((gain, known)) => {
                    if heaviest > *gain {
                        (*gain, known.text) = (heaviest, action.text);
                    }
                    known.controls.extend(action.controls);
                    known.severity = known.severity.max(action.severity);
                    known.failing_critical |= action.failing_critical;
                    known.gain += action.gain;
                    known.effort = known.effort.max(action.effort);
                    known.available |= action.available;
                }
                None => {
                    actions.insert(action.command.clone(), (heaviest, action));
                }
            }
        }
        let mut actions: Vec<Action> = actions.into_values().map(|(_, action)| action).collect();
        actions.sort_by_cached_key(|action| {
            let per_hour = action.gain / action.effort.hours();
            let known = (Reverse(action.failing_critical), Reverse(action.severity), Reverse(action.available));
            (known, Reverse(per_hour), action.command.clone())
        });
        actions.truncate(n);
        actions
    }

    /// Controls that nobody could decide, by the capability whose evidence they wait for.
    pub fn unknown_by_capability(&self, catalogue: &Catalogue, situation: &Situation) -> Vec<CapabilityGap> {
        let mut gaps: BTreeMap<&str, CapabilityGap> = BTreeMap::new();
        for state in self.states().iter().filter(|state| state.beneath == State::Unknown) {
            for check in state.checks.iter().filter(|check| check.state == State::Unknown) {
                let Some(kind) = catalogue.kind(&check.evidence) else { continue };
                let gap = gaps.entry(&kind.capability).or_insert_with(|| CapabilityGap {
                    capability: kind.capability.clone(),
                    controls: Vec::new(),
                    weight: 0,
                    kinds: Vec::new(),
                });
                if gap.controls.last() != Some(&state.id) {
                    gap.controls.push(state.id.clone());
                    gap.weight += weight(state.severity);
                }
                gap.kinds.push(MissingKind {
                    kind: check.evidence.clone(),
                    command: kind.command.clone(),
                    available: situation.kinds_available.contains(&check.evidence),
                });
            }
        }
        let mut gaps: Vec<CapabilityGap> = gaps.into_values().collect();
        for gap in &mut gaps {
            gap.kinds.sort();
            gap.kinds.dedup();
        }
        gaps
    }
}

/// What would settle `state`: its remediation when it fails, the missing evidence when nobody knows.
fn action(catalogue: &Catalogue, situation: &Situation, state: &ControlState) -> Option<Action> {
    let control = catalogue.control(&state.id)?;
    let failing = state.beneath == State::Fail;
    let base = Action {
        command: control.remediation.command.clone(),
        text: control.remediation.text.clone(),
        controls: vec![state.id.clone()],
        severity: state.severity,
        failing_critical: failing && state.severity == Severity::Critical,
        gain: weight(state.severity) * (PPM - state.credit_ppm),
        effort: control.remediation.effort,
        available: true,
    };
    if failing {
        return Some(base);
    }
    let Some(open) = state.open_checks().next() else {
        // Decided by a person where a machine could: nothing is open, and the rest of the credit needs the machine.
        return Some(base);
    };
    let kind = catalogue.kind(&open.evidence)?;
    Some(Action {
        command: kind.command.clone(),
        text: format!("gather `{}`: {}", open.evidence, kind.title),
        available: situation.kinds_available.contains(&open.evidence),
        ..base
    })
}
