//! What can be wrong with a catalogue, always with the file.

use std::fmt;

use casemate_core::Method;

use crate::control::{Stage, Verification};
use crate::predicate::PredicateError;
use crate::toml_text::TomlError;

/// One mistake in one file of a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct CatalogueError {
    /// Path of the file, as given.
    pub file: String,
    /// What is wrong in it.
    pub problem: Problem,
}

/// What is wrong in a file of a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML, or not the schema.
    #[error("{0}")]
    Schema(TomlError),
    /// Two files with one id.
    #[error("id `{id}` is already taken by `{other}`")]
    Duplicate {
        /// The id.
        id: String,
        /// The file that has it.
        other: String,
    },
    /// The file is not called after the id.
    #[error("control `{id}` must lie in a file `{id}.toml`")]
    FileName {
        /// The id.
        id: String,
    },
    /// The directory is not the stage.
    #[error("a control of stage `{stage}` must lie in a directory `{stage}`, not `{directory}`")]
    Directory {
        /// The stage.
        stage: Stage,
        /// The directory.
        directory: String,
    },
    /// A value that must say something says nothing.
    #[error("`{key}` is empty")]
    Empty {
        /// The key.
        key: &'static str,
    },
    /// A control that would weigh nothing.
    #[error("severity `info` weighs nothing: use critical, high, medium or low")]
    SeverityInfo,
    /// Checks that do not fit the verification.
    #[error("verification `{verification}` does not fit checks of method {}", Methods(.given))]
    Methods {
        /// The verification.
        verification: Verification,
        /// The methods of the checks.
        given: Vec<Method>,
    },
    /// Evidence per dataset, and no check looks at a dataset.
    #[error("`max_age` is per dataset digest, but no check has subject `dataset`")]
    NothingBound,
    /// A predicate that does not parse.
    #[error("`{key}` is `{text}`: {error}")]
    Predicate {
        /// The key.
        key: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it.
        error: PredicateError,
    },
    /// A predicate that would pass or fail whatever the evidence says.
    #[error("`pass` is `{text}`, which reads nothing of the evidence")]
    ReadsNothing {
        /// The text.
        text: String,
    },
    /// A fact nobody can establish.
    #[error("`applies` reads `{name}`, which is no fact of a system")]
    UnknownFact {
        /// The name.
        name: String,
    },
    /// An id without framework or edition.
    #[error("`{id}` is not written `framework@edition:id`")]
    MapShape {
        /// The id.
        id: String,
    },
    /// A framework or edition that is not pinned.
    #[error("`{id}` names the list `{list}`, which the catalogue does not have")]
    UnknownEdition {
        /// The id.
        id: String,
        /// The list.
        list: String,
    },
    /// An id the pinned edition does not have.
    #[error("`{id}` is not in `{list}`")]
    UnknownMapId {
        /// The id.
        id: String,
        /// The list.
        list: String,
    },
    /// The same id twice.
    #[error("`{id}` is mapped twice")]
    MapTwice {
        /// The id.
        id: String,
    },
    /// A kind of evidence nobody produces.
    #[error("evidence kind `{kind}` is not in the list of kinds")]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// A person's check on a machine's evidence, or the reverse.
    #[error("evidence kind `{kind}` cannot have method {method:?}")]
    MethodOfKind {
        /// The kind.
        kind: String,
        /// The method.
        method: Method,
    },
    /// A kind asked about two kinds of subject, or by two methods.
    #[error(
        "evidence kind `{kind}` is asked about a {subject}, but about a {other_subject} or by another method in `{other}`"
    )]
    Subject {
        /// The kind.
        kind: String,
        /// The subject here.
        subject: &'static str,
        /// The other control.
        other: String,
        /// The subject there.
        other_subject: &'static str,
    },
    /// A kind without a command that gathers it.
    #[error("kind `{kind}` has no command")]
    MissingCommand {
        /// The kind.
        kind: String,
    },
    /// An overlay that asks less than the catalogue.
    #[error("`{id}` may only be tightened: {how}")]
    Loosened {
        /// The control.
        id: String,
        /// In which way it would be looser.
        how: String,
    },
    /// A gate that asks for a control that does not exist.
    #[error("gate `{stage}` requires `{id}`, which is no control")]
    GateControl {
        /// The gate.
        stage: &'static str,
        /// The id.
        id: String,
    },
    /// A number outside its range.
    #[error("gate `{stage}`: a score of {score} cannot be reached, the most is 100")]
    GateScore {
        /// The gate.
        stage: &'static str,
        /// The score.
        score: u64,
    },
    /// A stage without policy.
    #[error("no policy for stage `{stage}`")]
    GateMissing {
        /// The stage.
        stage: &'static str,
    },
}

struct Methods<'a>(&'a [Method]);

impl fmt::Display for Methods<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("none"),
            methods => {
                let words: Vec<String> = methods.iter().map(|method| format!("{method:?}")).collect();
                f.write_str(&words.join(", "))
            }
        }
    }
}
