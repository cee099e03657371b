//! From evidence to posture: which controls hold, what that is worth, and whether a gate opens.
//!
//! [`Catalogue::compile`] checks the controls once; [`assess`] reads the ledger's records against them and gives an
//! [`Assessment`]: the state of every control, the score that no tick-box can raise, risk per category, and what to do
//! first. [`gate::decide`] turns it into a verdict per stage. The crate is a function of its inputs: catalogue texts,
//! records and a [`Situation`] in, values out; the same inputs give the same bytes.
//!
//! Reading order: [`truth`], [`predicate`], [`control`], [`catalogue`], [`facts`], [`control_state`], [`score`],
//! [`assessment`], [`gate`].

pub mod truth;

pub mod bound;
pub mod predicate;

pub mod control;

pub mod catalogue;

pub mod facts;

pub mod situation;

pub mod waiver;

pub mod control_state;

pub mod score;

pub mod assessment;

pub mod gate;

mod evidence;
mod toml_text;
mod words;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod properties;

pub use assessment::{Assessment, assess};
pub use catalogue::{Catalogue, CatalogueError, Sources};
pub use control_state::{ControlState, State};
pub use gate::{GateStage, GateVerdict};
pub use situation::{Dataset, Model, ModelStage, Situation};
pub use toml_text::TomlError;
