//! From a predicate and the fields it reads to a truth, and to the terms that decided it.

use casemate_core::{Evidence, Fact, Measurement, Outcome};
use serde::Serialize;

use super::{Comparison, Field, Measured, Node, Op, Operand, Predicate, Statistic, Value};
use crate::bound;
use crate::truth::Truth;

/// Pairs of values one comparison looks at: two long lists of measurements would otherwise cost their product.
const PAIRS_MAX: usize = 1 << 20;

/// Where a predicate reads its fields.
pub trait Fields {
    /// Every value of `field`; `None` for one that is there but cannot be told, an empty list for a field that is missing.
    fn read(&self, field: &Field) -> Vec<Option<Value>>;
}

/// What a predicate came to, term by term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The whole.
    pub truth: Truth,
    /// Every comparison, in the order written.
    pub terms: Vec<Term>,
}

/// One comparison of a predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    /// As written.
    pub text: String,
    /// What it came to.
    pub truth: Truth,
    /// The values read, or `missing`.
    pub read: String,
    /// True when the whole is what it is because of this term.
    pub decisive: bool,
}

impl Trace {
    /// The decisive terms with the values they read, as one line.
    pub fn decision(&self) -> String {
        let decisive = self.terms.iter().filter(|term| term.decisive);
        let lines: Vec<String> = decisive.map(|term| format!("`{}` ({})", term.text, term.read)).collect();
        lines.join(", ")
    }
}

impl Predicate {
    /// What it comes to over `fields`.
    pub fn evaluate(&self, fields: &dyn Fields) -> Truth {
        truth(&self.root, fields)
    }

    /// What it comes to over `fields`, with the terms that decided.
    pub fn explain(&self, fields: &dyn Fields) -> Trace {
        let mut terms = Vec::new();
        let truth = walk(&self.root, fields, true, &mut terms);
        Trace { truth, terms }
    }
}

fn truth(node: &Node, fields: &dyn Fields) -> Truth {
    match node {
        Node::All(children) => children.iter().fold(Truth::True, |all, child| all.and(truth(child, fields))),
        Node::Any(children) => children.iter().fold(Truth::False, |any, child| any.or(truth(child, fields))),
        Node::Compare(comparison) => comparison.truth(fields),
    }
}

fn walk(node: &Node, fields: &dyn Fields, decisive: bool, terms: &mut Vec<Term>) -> Truth {
    let whole = truth(node, fields);
    match node {
        Node::All(children) | Node::Any(children) => {
            // A child decides when it came to the same as the whole: the rest could change without effect, or agree with it.
            for child in children {
                let decisive = decisive && truth(child, fields) == whole;
                walk(child, fields, decisive, terms);
            }
        }
        Node::Compare(comparison) => terms.push(Term {
            text: comparison.text.clone(),
            truth: whole,
            read: comparison.values_read(fields),
            decisive,
        }),
    }
    whole
}

impl Comparison {
    /// Holds when it holds for every pair of values: the worst case.
    fn truth(&self, fields: &dyn Fields) -> Truth {
        let (left, right) = (self.left.read(fields), self.right.read(fields));
        if left.is_empty() || right.is_empty() || left.len().saturating_mul(right.len()) > PAIRS_MAX {
            return Truth::Unknown;
        }
        let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
        pairs.fold(Truth::True, |all, (left, right)| all.and(compare(left.as_ref(), self.op, right.as_ref())))
    }

    fn values_read(&self, fields: &dyn Fields) -> String {
        let mut read = Vec::new();
        for operand in [&self.left, &self.right] {
            let Operand::Field(field) = operand else { continue };
            let values = fields.read(field);
            if values.is_empty() {
                read.push(format!("{field} missing"));
            }
            let values = values.into_iter().take(8);
            read.extend(
                values.map(|value| value.map_or_else(|| format!("{field} has no bound"), |v| format!("is {v}"))),
            );
        }
        read.join(", ")
    }
}

impl Operand {
    fn read(&self, fields: &dyn Fields) -> Vec<Option<Value>> {
        match self {
            Self::Literal(value) => vec![Some(value.clone())],
            Self::Field(field) => fields.read(field),
        }
    }
}

fn compare(left: Option<&Value>, op: Op, right: Option<&Value>) -> Truth {
    let Some((left, right)) = left.zip(right) else { return Truth::Unknown };
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.partial_cmp(right),
        _ if op.orders() => None,
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Outcome(left), Value::Outcome(right)) => Some(left.cmp(right)),
        _ => None,
    };
    let Some(ordering) = ordering else { return Truth::Unknown };
    Truth::from(match op {
        Op::Equal => ordering.is_eq(),
        Op::NotEqual => ordering.is_ne(),
        Op::Less => ordering.is_lt(),
        Op::LessEqual => ordering.is_le(),
        Op::Greater => ordering.is_gt(),
        Op::GreaterEqual => ordering.is_ge(),
    })
}

impl Fields for Evidence {
    fn read(&self, field: &Field) -> Vec<Option<Value>> {
        match field {
            // What a probe could not find out equals nothing, not even by `!=`.
            Field::Outcome if self.outcome == Outcome::Unknown => vec![None],
            Field::Outcome => vec![Some(Value::Outcome(self.outcome))],
            Field::Fact(name) => self.facts.get(name).map(fact_value).into_iter().collect(),
            Field::Measured(measured) => {
                let matching = self.measurements.iter().filter(|measurement| measured.matches(measurement));
                matching.map(|measurement| measured.statistic.of(measurement)).collect()
            }
        }
    }
}

fn fact_value(fact: &Fact) -> Option<Value> {
    Some(match fact {
        Fact::Bool(value) => Value::Bool(*value),
        Fact::Count(value) => Value::Number(to_f64(*value)),
        Fact::Number(value) if value.is_finite() => Value::Number(*value),
        Fact::Number(_) => return None,
        Fact::Text(value) => Value::Text(value.clone()),
    })
}

impl Measured {
    fn matches(&self, measurement: &Measurement) -> bool {
        let attribute = |(name, value): &(String, String)| measurement.attributes.get(name) == Some(value);
        measurement.name == self.name && self.attributes.iter().all(attribute)
    }
}

impl Statistic {
    fn of(self, measurement: &Measurement) -> Option<Value> {
        let number = match self {
            Self::Value => Some(measurement.value),
            Self::N => Some(to_f64(measurement.n)),
            Self::Lower95 => bound::lower95_of(measurement),
            Self::Upper95 => bound::upper95_of(measurement),
        };
        number.filter(|number| number.is_finite()).map(Value::Number)
    }
}

// Above 2^53 neighbours coincide; no limit of a catalogue lies there.
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use super::*;
    use crate::fixture;
    use casemate_core::Counts;

    fn record() -> Evidence {
        let mut evidence = fixture::evidence("artifact.scan", Outcome::Pass);
        evidence.facts.insert("clean".into(), Fact::Bool(true));
        evidence.facts.insert("files".into(), Fact::Count(3));
        evidence.facts.insert("format".into(), Fact::Text("onnx".into()));
        for (attack, value, counts) in [("fgsm", 0.6, Some((600, 1000))), ("pgd", 0.4, Some((400, 1000)))] {
            let mut measurement = Measurement::exact("robust_accuracy", value, "fraction");
            measurement.n = 1000;
            measurement.counts = counts.map(|(successes, tries)| Counts { successes, tries });
            measurement.attributes.insert("attack".into(), attack.into());
            evidence.measurements.push(measurement);
        }
        evidence.measurements.push(Measurement::exact("gap", 0.2, "fraction"));
        evidence
    }

    fn holds(text: &str) -> Truth {
        Predicate::parse(Dialect::Pass, text).unwrap().evaluate(&record())
    }

    #[test]
    fn comparisons_read_outcome_facts_and_measurements() {
        for (text, truth) in [
            ("outcome == pass", Truth::True),
            ("outcome != fail", Truth::True),
            ("facts.clean", Truth::True),
            ("not facts.clean", Truth::False),
            ("facts.files >= 3 and facts.files < 4", Truth::True),
            ("facts.format == 'onnx' or facts.format == 'safetensors'", Truth::True),
            ("facts.missing == 0", Truth::Unknown),
            ("not facts.missing", Truth::Unknown),
            ("facts.format > 3", Truth::Unknown),
            ("facts.clean == 1", Truth::Unknown),
            ("facts.missing == 0 or outcome == pass", Truth::True),
            ("facts.missing == 0 and outcome == fail", Truth::False),
            ("n(robust_accuracy) >= 1000", Truth::True),
            ("value(nothing) < 1", Truth::Unknown),
            ("-1e0 < 2", Truth::True),
        ] {
            assert_eq!(holds(text), truth, "{text}");
        }
    }

    #[test]
    fn the_worst_matching_measurement_decides() {
        for (text, truth) in [
            ("value(robust_accuracy) >= 0.4", Truth::True),
            ("value(robust_accuracy) >= 0.5", Truth::False),
            ("value(robust_accuracy, attack='fgsm') >= 0.5", Truth::True),
            ("value(robust_accuracy) <= 0.5", Truth::False),
            ("lower95(robust_accuracy, attack='pgd') >= 0.4", Truth::False),
            ("lower95(robust_accuracy, attack='pgd') >= 0.37", Truth::True),
            ("upper95(gap) < 1", Truth::Unknown),
        ] {
            assert_eq!(holds(text), truth, "{text}");
        }
    }

    #[test]
    fn negation_does_not_turn_every_into_some() {
        // One of two values is above 0.5, so "none is above 0.5" does not hold, and neither does "all are".
        assert_eq!(holds("not (value(robust_accuracy) > 0.5)"), Truth::False);
        assert_eq!(holds("value(robust_accuracy) > 0.5"), Truth::False);
        assert_eq!(holds("not (facts.clean and not (outcome == pass))"), Truth::True);
    }

    #[test]
    fn an_unknown_outcome_equals_nothing() {
        let mut evidence = record();
        evidence.outcome = Outcome::Unknown;
        for text in ["outcome == pass", "outcome != fail", "outcome == unknown"] {
            assert_eq!(Predicate::parse(Dialect::Pass, text).unwrap().evaluate(&evidence), Truth::Unknown);
        }
    }

    #[test]
    fn the_trace_names_the_terms_that_decided() {
        let text = "outcome == pass and (facts.files == 0 or facts.missing == 1) and value(gap) < 0.1";
        let trace = Predicate::parse(Dialect::Pass, text).unwrap().explain(&record());
        assert_eq!(trace.truth, Truth::False);
        assert_eq!(trace.decision(), "`value(gap) < 0.1` (is 0.2)");
        assert_eq!(trace.terms.len(), 4);
        assert_eq!(trace.terms[2].read, "missing missing");
    }
}
