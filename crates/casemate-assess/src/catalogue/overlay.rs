//! Whether a user's version of a control asks at least as much as the catalogue's.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::{Control, Event, MaxAge};
use crate::predicate::{Field, Fields, Predicate, Value};
use crate::truth::Truth;

/// Most facts for which every combination is tried: 3^9 is 19,683 evaluations. The catalogue's controls read two.
const FACTS_MAX: u32 = 9;

/// Every way in which `tighter` asks less than `base`.
pub(super) fn loosened(base: &Control, tighter: &Control) -> Vec<String> {
    let mut ways = Vec::new();
    if tighter.severity < base.severity {
        ways.push(format!("severity {} is below {}", tighter.severity, base.severity));
    }
    if !at_most_as_old(base.max_age, tighter.max_age) {
        ways.push("evidence may be older".into());
    }
    if tighter.verification != base.verification {
        ways.push(format!("verification {} is not {}", tighter.verification, base.verification));
    }
    if tighter.category != base.category {
        ways.push(format!("category {} is not {}", tighter.category, base.category));
    }
    if tighter.stage != base.stage {
        ways.push(format!("stage {} is not {}", tighter.stage, base.stage));
    }
    for check in base.checks.iter().filter(|check| !tighter.checks.contains(check)) {
        ways.push(format!("the check `{}` is missing or asks for something else", check.evidence));
    }
    for id in base.maps.iter().filter(|id| !tighter.maps.contains(id)) {
        ways.push(format!("the mapping `{id}` is missing"));
    }
    match implies(&base.applies, &tighter.applies) {
        Some(true) => {}
        Some(false) => ways.push("it applies to fewer systems".into()),
        None => ways.push("`applies` reads too many facts to show that it applies to no fewer systems".into()),
    }
    ways
}

fn at_most_as_old(base: MaxAge, tighter: MaxAge) -> bool {
    match (base, tighter) {
        (MaxAge::Days { days: base }, MaxAge::Days { days }) => days <= base,
        (MaxAge::Per { per: base }, MaxAge::Per { per }) => per == base,
        // Evidence about a digest stays bound to it, so a limit in days only comes on top.
        (MaxAge::Per { per: Event::ModelDigest | Event::DatasetDigest }, MaxAge::Days { .. }) => true,
        (MaxAge::Per { .. }, MaxAge::Days { .. }) | (MaxAge::Days { .. }, MaxAge::Per { .. }) => false,
    }
}

/// Whether `wider` applies wherever `base` does, a fact being true, false or unknown; `None` above [`FACTS_MAX`] facts.
fn implies(base: &Predicate, wider: &Predicate) -> Option<bool> {
    let names: BTreeSet<&Field> = base.fields().into_iter().chain(wider.fields()).collect();
    let n_facts = u32::try_from(names.len()).ok().filter(|n| *n <= FACTS_MAX)?;
    let holds = |mut combination: u32| {
        let facts = Assignment(
            names
                .iter()
                .map(|field| {
                    let truth = [Truth::False, Truth::Unknown, Truth::True].get((combination % 3) as usize).copied();
                    combination /= 3;
                    (*field, truth.unwrap_or(Truth::Unknown))
                })
                .collect(),
        );
        base.evaluate(&facts) == Truth::False || wider.evaluate(&facts) != Truth::False
    };
    Some((0..3_u32.pow(n_facts)).all(holds))
}

struct Assignment<'a>(BTreeMap<&'a Field, Truth>);

impl Fields for Assignment<'_> {
    fn read(&self, field: &Field) -> Vec<Option<Value>> {
        match self.0.get(field) {
            Some(Truth::True) => vec![Some(Value::Bool(true))],
            Some(Truth::False) => vec![Some(Value::Bool(false))],
            Some(Truth::Unknown) | None => Vec::new(),
        }
    }
}
