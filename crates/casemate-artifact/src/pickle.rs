//! The pickle machine: what a pickle would do, found out without doing it.
//!
//! [`run`] walks one stream with CPython's semantics and lists [`Event`]s; judging them is left to the detectors, finding
//! streams in a file to the formats.

mod event;
mod machine;
mod memo;
mod name;
mod reader;
mod value;

pub use event::{Action, Event, Global, How, Operand};
pub(crate) use machine::EVENTS_BYTES_MAX;
pub use machine::{Embedded, End, Reading, Stream, run};
pub use name::python3_name;
