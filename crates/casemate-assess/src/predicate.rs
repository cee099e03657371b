//! The small language of `applies` and `pass`: what a control asks of a system, and what a check asks of evidence.
//!
//! A predicate is data written by strangers (a user's overlay) and decides a verdict, so the language is total: text and
//! nesting are bounded when parsed, and evaluation is one walk over a finite tree that can neither fail nor loop. Missing
//! fields and mismatched types are unknown, never a guess.
//!
//! A comparison with a measurement speaks of its worst case: it holds only when it holds for every matching value. So that
//! `not` cannot turn "all" into "some", negation is pushed down to the comparisons when parsing: `not (value(gap) > 0.1)`
//! is read as `value(gap) <= 0.1`.
//!
//! ```text
//! or         = and { "or" and }
//! and        = not { "and" not }
//! not        = "not" not | "(" or ")" | comparison
//! comparison = operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=") operand ]
//! operand    = number | 'string' | true | false
//!            | fact-name | all                                          in `applies`
//!            | pass | fail | unknown | outcome | facts.NAME             in `pass`
//!            | (value | n | lower95 | upper95)(NAME {, ATTRIBUTE='string'})
//! ```

mod evaluate;
mod parse;

use std::collections::BTreeSet;
use std::fmt;

use casemate_core::Outcome;
use serde::{Serialize, Serializer};

pub use evaluate::{Fields, Term, Trace};

/// Which fields a predicate may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Facts of the system, by bare name.
    Applies,
    /// One evidence record.
    Pass,
}

/// Something a predicate reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A fact: of the system in `applies`, of the record in `pass`.
    Fact(String),
    /// The outcome of the record.
    Outcome,
    /// A number from the measurements of the record.
    Measured(Measured),
}

/// A statistic of the measurements of one name, narrowed by attributes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measured {
    /// Which number of each measurement.
    pub statistic: Statistic,
    /// Name of the measurement.
    pub name: String,
    /// Attributes it must carry, in order of name.
    pub attributes: Vec<(String, String)>,
}

/// Which number of a measurement is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statistic {
    /// The value itself.
    Value,
    /// The number of samples.
    N,
    /// The lower 95 % bound.
    Lower95,
    /// The upper 95 % bound.
    Upper95,
}

impl Statistic {
    const ALL: [Self; 4] = [Self::Value, Self::N, Self::Lower95, Self::Upper95];

    /// The word used in predicates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::N => "n",
            Self::Lower95 => "lower95",
            Self::Upper95 => "upper95",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fact(name) => f.write_str(name),
            Self::Outcome => f.write_str("outcome"),
            Self::Measured(measured) => {
                write!(f, "{}({}", measured.statistic.as_str(), measured.name)?;
                measured.attributes.iter().try_for_each(|(name, value)| write!(f, ", {name}='{value}'"))?;
                f.write_str(")")
            }
        }
    }
}

/// A value a predicate compares.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A word.
    Text(String),
    /// An outcome.
    Outcome(Outcome),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "'{value}'"),
            Self::Outcome(value) => f.write_str(value.as_str()),
        }
    }
}

/// A parsed predicate. Prints and serialises as the text it was parsed from.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    text: String,
    root: Node,
}

/// Where a text stops being a predicate, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: expected {expected}, found {found}")]
pub struct PredicateError {
    /// Column in characters, from 1.
    pub column: usize,
    /// What may stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Compare(Comparison),
}

#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    /// As the author wrote it, with `not` before it where negation was pushed down.
    text: String,
    left: Operand,
    op: Op,
    right: Operand,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Literal(Value),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Predicate {
    /// The predicate written in `text`.
    ///
    /// # Errors
    /// [`PredicateError`] with the column: for a text outside the grammar, a comparison of types that never compare, a text
    /// over 2,000 bytes or nesting over 32.
    pub fn parse(dialect: Dialect, text: &str) -> Result<Self, PredicateError> {
        Ok(Self { text: text.trim().to_owned(), root: parse::parse(dialect, text)? })
    }

    /// The text it was parsed from, trimmed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every field it reads.
    pub fn fields(&self) -> BTreeSet<&Field> {
        let mut fields = BTreeSet::new();
        collect_fields(&self.root, &mut fields);
        fields
    }
}

fn collect_fields<'a>(node: &'a Node, fields: &mut BTreeSet<&'a Field>) {
    match node {
        Node::All(children) | Node::Any(children) => {
            children.iter().for_each(|child| collect_fields(child, fields));
        }
        Node::Compare(comparison) => {
            for operand in [&comparison.left, &comparison.right] {
                if let Operand::Field(field) = operand {
                    fields.insert(field);
                }
            }
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Predicate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
