//! What is known about the system: facts the tool found, and facts its owner declared.
//!
//! Facts decide which controls apply, so they are the cheapest lever on the score: declare the model "not served" and
//! forty controls vanish. Hence a fact found true beats one declared false, an unfinished search establishes no absence, a
//! declaration takes something away only beside a finished search, both are renewed every year, and a control about which
//! nobody established whether it applies counts wherever counting it lowers the score.

use std::collections::BTreeMap;

use casemate_core::{Fact, Outcome, Record, SubjectKind, Timestamp};
use serde::Serialize;

use crate::evidence::{self, Time};
use crate::predicate::{Field, Fields, Predicate, Value};
use crate::truth::Truth;

/// Kind of the record with what the tool found about the project.
pub const KIND_FOUND: &str = "project.facts";

/// Kind of the record with what the owner declared.
pub const KIND_DECLARED: &str = "system.declaration";

/// Days after which a declaration, or the search that could have contradicted it, no longer takes anything away.
const ABSENCE_DAYS_MAX: i64 = 365;

/// Every fact a control may depend on.
pub const NAMES: [&str; 27] = [
    "affects-people",
    "agentic",
    "api-served",
    "classifier",
    "continuous-input",
    "edge",
    "ensemble",
    "eu",
    "federated",
    "finetuned",
    "generative",
    "high-risk",
    "image",
    "llm",
    "multi-source",
    "multi-tenant",
    "multimodal",
    "owned",
    "personal-data",
    "rag",
    "security-critical",
    "served",
    "supervised",
    "text",
    "third-party-base",
    "trains",
    "white-box",
];

/// What is known about the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SystemFacts {
    /// Every established fact.
    pub established: BTreeMap<String, Established>,
    /// Facts found and declared differently, with names nobody knows and values that are not true or false.
    pub conflicts: Vec<FactConflict>,
}

/// A fact somebody established.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Established {
    /// Its value.
    pub value: bool,
    /// How it became known.
    pub source: FactSource,
    /// The records it rests on.
    pub evidence: Vec<String>,
}

/// How a fact became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FactSource {
    /// The tool found it.
    Found,
    /// The owner declared it.
    Declared,
}

/// Something about a fact that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FactConflict {
    /// The fact.
    pub fact: String,
    /// What is the matter, in one line.
    pub message: String,
    /// The records that say so.
    pub evidence: Vec<String>,
}

impl SystemFacts {
    /// What `records` establish at `now`. Order and repetition of the records change nothing.
    pub fn gather(records: &[Record], now: Timestamp) -> Self {
        let found = latest(records, KIND_FOUND, now);
        let declared = latest(records, KIND_DECLARED, now);
        let mut facts = Self::default();
        // A declaration beside which nobody looked takes nothing away: not looking must not pay.
        let searched = |declaration: &Record| {
            let subject = &declaration.evidence.subject.name;
            found.iter().any(|search| search.evidence.subject.name == *subject && shows_absence(search, now))
        };
        for name in NAMES {
            let declared = said(&declared, name, |record| shows_absence(record, now) && searched(record));
            facts.establish(name, &said(&found, name, |record| shows_absence(record, now)), &declared);
        }
        for record in found.iter().chain(&declared) {
            facts.note_oddities(record);
        }
        facts.conflicts.sort();
        facts.conflicts.dedup();
        facts
    }

    /// Whether a control with this `applies` applies: true, false, or unknown, which counts as true.
    pub fn applies(&self, applies: &Predicate) -> Truth {
        applies.evaluate(self)
    }

    fn establish(&mut self, name: &str, found: &Said, declared: &Said) {
        let known = |value, source, said: &Said| Established { value, source, evidence: said.by(value) };
        // True from anyone beats false from anyone: it is the answer that takes nothing away.
        let established = match (found.value(), declared.value()) {
            (Some(true), _) => known(true, FactSource::Found, found),
            (_, Some(true)) => known(true, FactSource::Declared, declared),
            (Some(false), _) => known(false, FactSource::Found, found),
            (None, Some(false)) => known(false, FactSource::Declared, declared),
            (None, None) => return,
        };
        if let (Some(seen), Some(word)) = (found.value(), declared.value())
            && seen != word
        {
            self.conflicts.push(FactConflict {
                fact: name.into(),
                message: format!("found {seen}, declared {word}: counts as true"),
                evidence: [found.by(seen), declared.by(word)].concat(),
            });
        }
        self.established.insert(name.into(), established);
    }

    fn note_oddities(&mut self, record: &Record) {
        for (name, value) in &record.evidence.facts {
            // Found facts may carry more than the controls ask for; a declaration exists only for them.
            let known = NAMES.contains(&name.as_str());
            let message = match value {
                _ if !known && record.evidence.kind == KIND_DECLARED => "no control depends on this fact",
                Fact::Count(_) | Fact::Number(_) | Fact::Text(_) if known => "is neither true nor false: ignored",
                _ => continue,
            };
            let evidence = vec![record.id.clone()];
            self.conflicts.push(FactConflict { fact: name.clone(), message: message.into(), evidence });
        }
    }
}

impl Fields for SystemFacts {
    fn read(&self, field: &Field) -> Vec<Option<Value>> {
        match field {
            Field::Fact(name) => {
                self.established.get(name).map(|fact| Some(Value::Bool(fact.value))).into_iter().collect()
            }
            Field::Outcome | Field::Measured(_) => Vec::new(),
        }
    }
}

/// Which records say that a fact is true, and which that it is false.
#[derive(Default)]
struct Said {
    yes: Vec<String>,
    no: Vec<String>,
}

impl Said {
    fn value(&self) -> Option<bool> {
        match (self.yes.is_empty(), self.no.is_empty()) {
            (false, _) => Some(true),
            (true, false) => Some(false),
            (true, true) => None,
        }
    }

    fn by(&self, value: bool) -> Vec<String> {
        if value { self.yes.clone() } else { self.no.clone() }
    }
}

fn said(records: &[&Record], name: &str, shows_absence: impl Fn(&Record) -> bool) -> Said {
    let mut said = Said::default();
    for record in records {
        match record.evidence.facts.get(name) {
            Some(Fact::Bool(true)) => said.yes.push(record.id.clone()),
            Some(Fact::Bool(false)) if shows_absence(record) => said.no.push(record.id.clone()),
            _ => {}
        }
    }
    said
}

/// Whether what a record says is not there is not there: a search that did not finish shows presence only, and nobody's
/// word on absence holds for ever.
fn shows_absence(record: &Record, now: Timestamp) -> bool {
    let evidence = &record.evidence;
    evidence.outcome == Outcome::Pass && evidence.finished_at.plus_days(ABSENCE_DAYS_MAX) >= now
}

/// The latest record of `kind` about each project.
fn latest<'a>(records: &'a [Record], kind: &str, now: Timestamp) -> Vec<&'a Record> {
    let mut latest: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in records {
        let evidence = &record.evidence;
        if evidence.kind != kind
            || evidence.subject.kind != SubjectKind::Project
            || evidence::time(evidence, now) != Time::Past
        {
            continue;
        }
        let newest = latest.entry(&evidence.subject.name).or_insert(record);
        if evidence::order(record) > evidence::order(newest) {
            *newest = record;
        }
    }
    latest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, NOW};
    use crate::predicate::Dialect;

    fn record(kind: &str, outcome: Outcome, facts: &[(&str, bool)]) -> Record {
        let mut evidence = fixture::evidence(kind, outcome);
        evidence.subject.kind = SubjectKind::Project;
        evidence.facts = facts.iter().map(|(name, value)| ((*name).into(), Fact::Bool(*value))).collect();
        fixture::record(evidence)
    }

    fn value(records: &[Record], name: &str) -> Option<bool> {
        SystemFacts::gather(records, NOW()).established.get(name).map(|fact| fact.value)
    }

    #[test]
    fn found_true_beats_declared_false_and_is_reported() {
        let records = [
            record(KIND_FOUND, Outcome::Pass, &[("served", true)]),
            record(KIND_DECLARED, Outcome::Pass, &[("served", false), ("llm", false)]),
        ];
        let facts = SystemFacts::gather(&records, NOW());
        assert!(facts.established["served"].value);
        assert_eq!(facts.established["served"].source, FactSource::Found);
        assert!(!facts.established["llm"].value);
        assert_eq!(facts.conflicts.len(), 1);
        assert_eq!(facts.conflicts[0].message, "found true, declared false: counts as true");
        assert_eq!(facts.conflicts[0].evidence.len(), 2);
    }

    #[test]
    fn a_declaration_beside_which_nobody_looked_takes_nothing_away() {
        let declared = record(KIND_DECLARED, Outcome::Pass, &[("llm", false), ("eu", true)]);
        assert_eq!(value(std::slice::from_ref(&declared), "llm"), None);
        assert_eq!(value(std::slice::from_ref(&declared), "eu"), Some(true));
        let unfinished = record(KIND_FOUND, Outcome::Unknown, &[]);
        assert_eq!(value(&[declared.clone(), unfinished], "llm"), None);
        let mut elsewhere = record(KIND_FOUND, Outcome::Pass, &[]);
        elsewhere.evidence.subject.name = "another".into();
        assert_eq!(value(&[declared.clone(), elsewhere], "llm"), None);
        let mut old = record(KIND_FOUND, Outcome::Pass, &[]);
        old.evidence.finished_at = NOW().plus_days(-366);
        old.evidence.started_at = old.evidence.finished_at;
        assert_eq!(value(&[declared.clone(), old], "llm"), None);
        assert_eq!(value(&[declared, record(KIND_FOUND, Outcome::Pass, &[])], "llm"), Some(false));
    }

    #[test]
    fn declared_true_beats_found_false() {
        let records = [
            record(KIND_FOUND, Outcome::Pass, &[("llm", false)]),
            record(KIND_DECLARED, Outcome::Pass, &[("llm", true)]),
        ];
        assert_eq!(value(&records, "llm"), Some(true));
    }

    #[test]
    fn an_unfinished_search_establishes_presence_but_no_absence() {
        let records = [record(KIND_FOUND, Outcome::Unknown, &[("llm", false), ("served", true)])];
        assert_eq!(value(&records, "llm"), None);
        assert_eq!(value(&records, "served"), Some(true));
    }

    #[test]
    fn a_declaration_takes_nothing_away_after_a_year() {
        let search = record(KIND_FOUND, Outcome::Pass, &[]);
        let mut old = record(KIND_DECLARED, Outcome::Pass, &[("llm", false), ("eu", true)]);
        old.evidence.finished_at = NOW().plus_days(-366);
        old.evidence.started_at = old.evidence.finished_at;
        assert_eq!(value(&[old.clone(), search.clone()], "llm"), None);
        assert_eq!(value(&[old.clone(), search.clone()], "eu"), Some(true));
        old.evidence.finished_at = NOW().plus_days(-364);
        old.evidence.started_at = old.evidence.finished_at;
        assert_eq!(value(&[old, search], "llm"), Some(false));
    }

    #[test]
    fn the_latest_record_counts_and_the_future_does_not() {
        let mut old = record(KIND_FOUND, Outcome::Pass, &[("llm", true)]);
        old.evidence.finished_at = NOW().plus_days(-10);
        old.evidence.started_at = old.evidence.finished_at;
        let new = record(KIND_FOUND, Outcome::Pass, &[("llm", false)]);
        assert_eq!(value(&[new.clone(), old.clone()], "llm"), Some(false));
        let mut future = new;
        future.evidence.finished_at = NOW().plus_days(1);
        assert_eq!(value(&[old, future], "llm"), Some(true));
    }

    #[test]
    fn a_fact_nobody_established_leaves_the_control_applicable() {
        let facts = SystemFacts::gather(&[record(KIND_FOUND, Outcome::Pass, &[("llm", false)])], NOW());
        for (text, truth) in [
            ("llm", Truth::False),
            ("served", Truth::Unknown),
            ("served and llm", Truth::False),
            ("served or llm", Truth::Unknown),
            ("not llm", Truth::True),
            ("all", Truth::True),
        ] {
            assert_eq!(facts.applies(&Predicate::parse(Dialect::Applies, text).unwrap()), truth, "{text}");
        }
    }

    #[test]
    fn unknown_names_and_odd_values_are_reported_and_ignored() {
        let mut declared = record(KIND_DECLARED, Outcome::Pass, &[("servd", false)]);
        declared.evidence.facts.insert("llm".into(), Fact::Text("no".into()));
        let facts = SystemFacts::gather(&[declared], NOW());
        assert!(facts.established.is_empty());
        let named: Vec<&str> = facts.conflicts.iter().map(|conflict| conflict.fact.as_str()).collect();
        assert_eq!(named, ["llm", "servd"]);
    }
}
