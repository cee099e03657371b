//! The score: one number that only evidence can raise.
//!
//! `floor(min(100 · Σ weight · credit / Σ weight over what applies, cap))`, in whole numbers throughout, so that order never
//! changes a digit. The caps are there because the mean alone forgives: with all sixteen criticals failing it still stands
//! at 75. What is unknown stays in the denominator: leaving it out is how other scores reward not looking.
//!
//! Where nobody established whether a control applies, the score is the least that either answer gives: such a control
//! counts unless counting it would raise the mean. Every fact that lapses or is left out only adds answers, so ageing and
//! silence about the system can never pay.

use casemate_core::{Severity, Timestamp};
use serde::Serialize;

use crate::catalogue::Catalogue;
use crate::control::{Category, weight};
use crate::control_state::{ControlState, PPM, State};

/// The most a system reaches while an applicable critical control earns nothing.
const CAP_CRITICAL: u64 = 49;

/// The most a system reaches while an applicable high control earns nothing.
const CAP_HIGH: u64 = 79;

/// Millionths of a point in the full score.
const FULL_MICROPOINTS: u64 = 100 * PPM;

/// The score with what must stand beside it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// 0 to 100.
    pub value: u64,
    /// Share of applicable weight decided by evidence that is not too old, 0 to 1.
    pub coverage: f64,
    /// 49, 79 or 100.
    pub cap: u64,
    /// Controls shown not to hold.
    pub failing: usize,
    /// Controls not shown either way.
    pub unknown: usize,
    /// Controls whose evidence is too old or rests on changed data.
    pub stale: usize,
    /// Controls a person took responsibility for.
    pub waived: usize,
    /// Controls that do not apply.
    pub not_applicable: usize,
    /// When the oldest record the score rests on ended.
    pub oldest_evidence: Option<Timestamp>,
}

/// A score term by term.
///
/// The points of the terms minus the two losses are the value exactly, in millionths of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Every applicable control.
    pub terms: Vec<ScoreTerm>,
    /// Sum of the weights of the terms that count.
    pub weight_total: u64,
    /// Sum of weight times credit, in parts per million of a weight of one.
    pub contribution_total: u64,
    /// The score before cap and rounding, in millionths of a point.
    pub points_micro: u64,
    /// 49, 79 or 100.
    pub cap: u64,
    /// What the cap took, in millionths of a point.
    pub lost_to_cap_micro: u64,
    /// What rounding down took, in millionths of a point.
    pub lost_to_rounding_micro: u64,
    /// The score.
    pub value: u64,
}

/// What one control adds to the score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScoreTerm {
    /// Id of the control.
    pub id: String,
    /// Its state.
    pub state: State,
    /// Its weight.
    pub weight: u64,
    /// Its credit, in parts per million.
    pub credit_ppm: u64,
    /// What its method earns, in parts per million.
    pub method_ppm: u64,
    /// Whether every check passed, in parts per million.
    pub graded_ppm: u64,
    /// What ageing left, in parts per million.
    pub freshness_ppm: u64,
    /// False for a control that may not apply and would raise the score if it did.
    pub counts: bool,
    /// Weight times credit; 0 when it does not count.
    pub contribution: u64,
    /// Its share of the points, in millionths; rounded so that the shares add up.
    pub points_micro: u64,
}

/// Risk of one category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CategoryRisk {
    /// The category.
    pub id: Category,
    /// The worst severity among its applicable controls that earn nothing.
    pub level: RiskLevel,
    /// Those controls, sorted.
    pub set_by: Vec<String>,
}

/// How high a risk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RiskLevel {
    /// Every applicable control earns something.
    None,
    /// A low control earns nothing.
    Low,
    /// A medium control earns nothing.
    Medium,
    /// A high control earns nothing.
    High,
    /// A critical control earns nothing.
    Critical,
}

impl From<Severity> for RiskLevel {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Critical,
            Severity::High => Self::High,
            Severity::Medium => Self::Medium,
            Severity::Low | Severity::Info => Self::Low,
        }
    }
}

/// The score of `states`; 0 when nothing applies.
pub fn score(states: &[ControlState]) -> Score {
    let applicable = || states.iter().filter(|state| state.is_applicable());
    let count = |wanted| states.iter().filter(|state| state.state == wanted).count();
    let explanation = explain(states);
    let fresh: u64 = applicable().filter(|state| state.fresh).map(|state| weight(state.severity)).sum();
    let weight_applicable: u64 = applicable().map(|state| weight(state.severity)).sum();
    let coverage_ppm = (fresh * PPM).checked_div(weight_applicable).unwrap_or(0);
    Score {
        value: explanation.value,
        coverage: fraction(coverage_ppm),
        cap: explanation.cap,
        failing: count(State::Fail),
        unknown: count(State::Unknown),
        stale: count(State::Stale),
        waived: count(State::Waived),
        not_applicable: count(State::NotApplicable),
        oldest_evidence: applicable().filter_map(|state| state.oldest_evidence).min(),
    }
}

/// Every term of the score of `states`.
pub fn explain(states: &[ControlState]) -> Explanation {
    let (weight_total, credit_max) = least_mean(states);
    let mut contribution_total = 0;
    let mut points_micro = 0;
    let mut terms = Vec::new();
    for state in states.iter().filter(|state| state.is_applicable()) {
        let weight = weight(state.severity);
        let counts = !state.perhaps || state.credit_ppm <= credit_max;
        let contribution = if counts { weight * state.credit_ppm } else { 0 };
        contribution_total += contribution;
        // Differences of a rounded running total add up to the rounded total; rounding each share alone would not.
        let before = points_micro;
        points_micro = micropoints(contribution_total, weight_total);
        terms.push(ScoreTerm {
            id: state.id.clone(),
            state: state.state,
            weight,
            credit_ppm: state.credit_ppm,
            method_ppm: state.method_ppm,
            graded_ppm: state.graded_ppm,
            freshness_ppm: state.freshness_ppm,
            counts,
            contribution,
            points_micro: points_micro - before,
        });
    }
    let cap = cap(states);
    let capped = points_micro.min(cap * PPM);
    Explanation {
        terms,
        weight_total,
        contribution_total,
        points_micro,
        cap,
        lost_to_cap_micro: points_micro - capped,
        lost_to_rounding_micro: capped % PPM,
        value: capped / PPM,
    }
}

/// The total weight that gives the least mean, and the most credit with which a control that only perhaps applies is in it.
///
/// Adding a control lowers the mean exactly when its credit is below it, so those with the least credit go first.
fn least_mean(states: &[ControlState]) -> (u64, u64) {
    let (perhaps, sure): (Vec<&ControlState>, Vec<&ControlState>) =
        states.iter().filter(|state| state.is_applicable()).partition(|state| state.perhaps);
    let mut weight_total: u64 = sure.iter().map(|state| weight(state.severity)).sum();
    let mut contribution: u64 = sure.iter().map(|state| weight(state.severity) * state.credit_ppm).sum();
    let mut credit_max = 0;
    let mut by_credit = perhaps;
    by_credit.sort_by_key(|state| state.credit_ppm);
    for state in by_credit {
        // Of no control at all the mean is nothing, and only nothing keeps it there.
        if state.credit_ppm > contribution.checked_div(weight_total).unwrap_or(0) {
            break;
        }
        credit_max = state.credit_ppm;
        weight_total += weight(state.severity);
        contribution += weight(state.severity) * state.credit_ppm;
    }
    (weight_total, credit_max)
}

fn micropoints(contribution: u64, weight_total: u64) -> u64 {
    let points = u128::from(contribution) * u128::from(FULL_MICROPOINTS);
    let whole = u128::from(weight_total) * u128::from(PPM);
    points.checked_div(whole).and_then(|points| u64::try_from(points).ok()).unwrap_or(0)
}

fn cap(states: &[ControlState]) -> u64 {
    match worst_without_credit(states.iter()) {
        Some(Severity::Critical) => CAP_CRITICAL,
        Some(Severity::High) => CAP_HIGH,
        _ => 100,
    }
}

fn worst_without_credit<'a>(states: impl Iterator<Item = &'a ControlState>) -> Option<Severity> {
    states.filter(|state| state.is_applicable() && state.credit_ppm == 0).map(|state| state.severity).max()
}

/// The risk of every category, over all of `systems`: the states of every model that counts.
pub(crate) fn categories(catalogue: &Catalogue, systems: &[&[ControlState]]) -> Vec<CategoryRisk> {
    let risk = |id: &Category| {
        let inside =
            |state: &&ControlState| catalogue.control(&state.id).is_some_and(|control| control.category == *id);
        let open = || {
            systems
                .iter()
                .flat_map(|states| states.iter())
                .filter(inside)
                .filter(|state| state.is_applicable() && state.credit_ppm == 0)
        };
        let worst = worst_without_credit(open());
        let mut set_by: Vec<String> =
            open().filter(|state| Some(state.severity) == worst).map(|state| state.id.clone()).collect();
        set_by.sort();
        set_by.dedup();
        CategoryRisk { id: *id, level: worst.map_or(RiskLevel::None, RiskLevel::from), set_by }
    };
    Category::ALL.iter().map(risk).collect()
}

/// Parts per million as a fraction. One division of two exact numbers, so the same everywhere.
pub(crate) fn fraction(ppm: u64) -> f64 {
    ppm as f64 / PPM as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::state;

    #[test]
    fn the_score_is_the_weighted_mean_rounded_down() {
        let states = [state("A", Severity::Medium, PPM), state("B", Severity::Low, 0)];
        assert_eq!(score(&states).value, 66);
        assert_eq!(score(&[state("A", Severity::Low, PPM)]).value, 100);
        assert_eq!(score(&[state("A", Severity::Low, PPM - 1)]).value, 99);
    }

    #[test]
    fn zero_credit_caps_the_score() {
        let mut states = vec![state("A", Severity::Critical, 0)];
        states.extend((0..99).map(|n| state(&format!("B{n}"), Severity::Critical, PPM)));
        assert_eq!((score(&states).value, score(&states).cap), (49, 49));
        states[0].severity = Severity::High;
        assert_eq!((score(&states).value, score(&states).cap), (79, 79));
        states[0].severity = Severity::Medium;
        assert_eq!((score(&states).value, score(&states).cap), (99, 100));
        states[0].credit_ppm = 1;
        states[0].severity = Severity::Critical;
        assert_eq!(score(&states).cap, 100);
    }

    #[test]
    fn nothing_applicable_is_zero_and_never_a_hundred() {
        assert_eq!(score(&[]).value, 0);
        let mut not_applicable = state("A", Severity::Critical, 0);
        not_applicable.state = State::NotApplicable;
        let score = score(&[not_applicable]);
        assert_eq!((score.value, score.cap, score.not_applicable), (0, 100, 1));
    }

    #[test]
    fn what_perhaps_applies_counts_only_where_it_lowers_the_score() {
        let sure = state("A", Severity::Medium, PPM / 2);
        let mut perhaps = state("B", Severity::Medium, PPM);
        perhaps.perhaps = true;
        let explanation = explain(&[sure.clone(), perhaps.clone()]);
        assert_eq!((explanation.value, explanation.terms[1].counts, explanation.terms[1].contribution), (50, false, 0));
        perhaps.credit_ppm = 0;
        let explanation = explain(&[sure, perhaps.clone()]);
        assert_eq!((explanation.value, explanation.terms[1].counts), (25, true));
        perhaps.credit_ppm = PPM;
        assert_eq!(score(&[perhaps]).value, 0, "perhaps nothing applies at all");
    }

    #[test]
    fn the_score_is_the_least_of_every_way_in_which_controls_may_apply() {
        const SEVERITIES: [Severity; 4] = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];
        for seed in 0..500_u64 {
            let draw = |n: u64, below: u64| casemate_core::Seed(seed).part(n).0 % below;
            let states: Vec<ControlState> = (0..8)
                .map(|n| {
                    let severity = SEVERITIES[usize::try_from(draw(3 * n, 4)).unwrap()];
                    let mut state = state(&format!("C{n}"), severity, draw(3 * n + 1, 4) * PPM / 3);
                    state.perhaps = draw(3 * n + 2, 2) == 1;
                    state
                })
                .collect();
            let worlds = (0..1_u32 << 8).map(|world| {
                let applies = |n: &usize| !states[*n].perhaps || world >> n & 1 == 1;
                let sure = |n: usize| ControlState { perhaps: false, ..states[n].clone() };
                explain(&(0..8).filter(applies).map(sure).collect::<Vec<_>>())
            });
            let (values, points): (Vec<u64>, Vec<u64>) = worlds.map(|world| (world.value, world.points_micro)).unzip();
            let explanation = explain(&states);
            assert_eq!(Some(explanation.value), values.into_iter().min(), "seed {seed}");
            assert_eq!(Some(explanation.points_micro), points.into_iter().min(), "seed {seed}");
        }
    }

    #[test]
    fn the_terms_minus_the_losses_are_the_score_exactly() {
        let credits = [PPM, 333_333, 1, 0, 999_999, 500_000, 123_457];
        let severities = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];
        let states: Vec<ControlState> = credits
            .iter()
            .enumerate()
            .map(|(n, credit)| state(&format!("C{n}"), severities[n % severities.len()], *credit))
            .collect();
        let explanation = explain(&states);
        let sum: u64 = explanation.terms.iter().map(|term| term.points_micro).sum();
        let losses = explanation.lost_to_cap_micro + explanation.lost_to_rounding_micro;
        assert_eq!(sum - losses, explanation.value * PPM);
        assert_eq!(explanation.terms.iter().map(|term| term.contribution).sum::<u64>(), explanation.contribution_total);
        assert_eq!(explanation.value, score(&states).value);
    }
}
