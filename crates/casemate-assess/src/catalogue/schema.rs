//! The TOML of a control file, read into a [`Control`] with every mistake named.

use std::collections::{BTreeMap, BTreeSet};

use casemate_core::{Method, Severity, SubjectKind};
use serde::Deserialize;

use super::error::{CatalogueError, Problem};
use super::lists::Lists;
use crate::control::{
    Category, Check, Control, Event, MapId, MaxAge, Remediation, SeveritySource, Stage, Verification, subject_word,
};
use crate::facts;
use crate::predicate::{Dialect, Field, Predicate};
use crate::toml_text;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlToml {
    id: String,
    title: String,
    severity: Severity,
    severity_source: SeveritySource,
    stage: Stage,
    category: Category,
    verification: Verification,
    max_age: MaxAge,
    applies: String,
    producers: Vec<String>,
    asked_by: Vec<String>,
    statement: String,
    rationale: String,
    maps: Vec<String>,
    check: Vec<CheckToml>,
    remediation: Remediation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckToml {
    evidence: String,
    subject: SubjectKind,
    method: Method,
    pass: String,
}

/// Where a control file lies: part of the product, or a user's addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    BuiltIn,
    Overlay,
}

/// The control in `text`, or every reason why it is none.
pub(super) fn control(path: &str, text: &str, origin: Origin, lists: &Lists) -> Result<Control, Vec<CatalogueError>> {
    let at = |problem| CatalogueError { file: path.into(), problem };
    let toml: ControlToml = toml_text::parse(text).map_err(|error| vec![at(Problem::Schema(error))])?;
    let mut problems = Vec::new();
    check_place(path, origin, &toml, &mut problems);
    check_texts(&toml, &mut problems);
    check_methods(&toml, &mut problems);
    let maps = maps(&toml.maps, lists, &mut problems);
    let applies = applies(&toml.applies, &mut problems);
    let checks: Vec<Check> =
        toml.check.into_iter().filter_map(|check| read_check(check, lists, &mut problems)).collect();
    match applies {
        Some(applies) if problems.is_empty() => Ok(Control {
            id: toml.id,
            title: toml.title,
            severity: toml.severity,
            severity_source: toml.severity_source,
            stage: toml.stage,
            category: toml.category,
            verification: toml.verification,
            max_age: toml.max_age,
            applies,
            producers: toml.producers,
            asked_by: toml.asked_by,
            statement: toml.statement,
            rationale: toml.rationale,
            maps,
            checks,
            remediation: toml.remediation,
        }),
        _ => Err(problems.into_iter().map(at).collect()),
    }
}

fn check_place(path: &str, origin: Origin, toml: &ControlToml, problems: &mut Vec<Problem>) {
    let mut parts = path.rsplit('/');
    let stem = parts.next().and_then(|name| name.strip_suffix(".toml")).unwrap_or_default();
    if stem != toml.id {
        problems.push(Problem::FileName { id: toml.id.clone() });
    }
    let directory = parts.next().unwrap_or_default();
    if origin == Origin::BuiltIn && directory != toml.stage.as_str() {
        problems.push(Problem::Directory { stage: toml.stage, directory: directory.into() });
    }
}

fn check_texts(toml: &ControlToml, problems: &mut Vec<Problem>) {
    let texts = [
        ("id", &toml.id),
        ("title", &toml.title),
        ("statement", &toml.statement),
        ("rationale", &toml.rationale),
        ("remediation.text", &toml.remediation.text),
        ("remediation.command", &toml.remediation.command),
    ];
    problems
        .extend(texts.into_iter().filter(|(_, text)| text.trim().is_empty()).map(|(key, _)| Problem::Empty { key }));
    if toml.producers.is_empty() {
        problems.push(Problem::Empty { key: "producers" });
    }
    if toml.severity == Severity::Info {
        problems.push(Problem::SeverityInfo);
    }
    if toml.max_age == (MaxAge::Days { days: 0 }) {
        problems.push(Problem::Empty { key: "max_age.days" });
    }
}

/// `A+P` needs a machine check and a decision, `A` nothing but machine checks, and so on.
fn check_methods(toml: &ControlToml, problems: &mut Vec<Problem>) {
    let wanted: BTreeSet<Method> = toml.verification.methods().iter().copied().collect();
    let given: BTreeSet<Method> = toml.check.iter().map(|check| check.method).collect();
    if wanted != given {
        problems.push(Problem::Methods { verification: toml.verification, given: given.into_iter().collect() });
    }
    let dataset = |check: &CheckToml| check.subject == SubjectKind::Dataset;
    let per_dataset = toml.max_age == MaxAge::Per { per: Event::DatasetDigest };
    if per_dataset && !toml.check.iter().any(dataset) {
        problems.push(Problem::NothingBound);
    }
}

fn applies(text: &str, problems: &mut Vec<Problem>) -> Option<Predicate> {
    let predicate = Predicate::parse(Dialect::Applies, text)
        .map_err(|error| problems.push(Problem::Predicate { key: "applies", text: text.into(), error }))
        .ok()?;
    for field in predicate.fields() {
        if let Field::Fact(name) = field
            && !facts::NAMES.contains(&name.as_str())
        {
            problems.push(Problem::UnknownFact { name: name.clone() });
        }
    }
    Some(predicate)
}

fn maps(texts: &[String], lists: &Lists, problems: &mut Vec<Problem>) -> Vec<MapId> {
    let mut maps = Vec::new();
    for text in texts {
        match MapId::parse(text) {
            Some(id) => match lists.check(&id) {
                Ok(()) if maps.contains(&id) => problems.push(Problem::MapTwice { id: text.clone() }),
                Ok(()) => maps.push(id),
                Err(problem) => problems.push(problem),
            },
            None => problems.push(Problem::MapShape { id: text.clone() }),
        }
    }
    maps
}

fn read_check(check: CheckToml, lists: &Lists, problems: &mut Vec<Problem>) -> Option<Check> {
    match lists.kinds.get(&check.evidence) {
        None => problems.push(Problem::UnknownKind { kind: check.evidence.clone() }),
        // Decisions are the only evidence a person gives, and nothing else is a decision.
        Some(kind) if (kind.capability == "person") != (check.method == Method::P) => {
            problems.push(Problem::MethodOfKind { kind: check.evidence.clone(), method: check.method });
        }
        Some(_) => {}
    }
    let pass = Predicate::parse(Dialect::Pass, &check.pass)
        .map_err(|error| problems.push(Problem::Predicate { key: "pass", text: check.pass.clone(), error }))
        .ok()?;
    if pass.fields().is_empty() {
        problems.push(Problem::ReadsNothing { text: check.pass });
        return None;
    }
    Some(Check { evidence: check.evidence, subject: check.subject, method: check.method, pass })
}

/// A probe looks at one kind of subject by one method: two controls that disagree cannot both be met.
pub(super) fn disagreements(controls: &BTreeMap<String, (String, Control)>) -> Vec<CatalogueError> {
    let mut first: BTreeMap<&str, (&Check, &str)> = BTreeMap::new();
    let mut errors = Vec::new();
    for (path, control) in controls.values() {
        for check in control.checks.iter().filter(|check| check.method != Method::P) {
            let (seen, by) = *first.entry(&check.evidence).or_insert((check, &control.id));
            if seen.subject != check.subject || seen.method != check.method {
                let problem = Problem::Subject {
                    kind: check.evidence.clone(),
                    subject: subject_word(check.subject),
                    other: by.into(),
                    other_subject: subject_word(seen.subject),
                };
                errors.push(CatalogueError { file: path.clone(), problem });
            }
        }
    }
    errors
}
