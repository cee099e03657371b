//! The words every part of casemate speaks, and the traits where parts meet.
//!
//! A capability crate turns bytes, tensors or requests into [`Finding`]s and [`Measurement`]s; the binary binds them to a
//! [`Subject`] as one [`Evidence`] record and hands it to an [`EvidenceSink`]. Reports, score and gates read evidence and
//! nothing else, so what is not in these types cannot influence a verdict.
//!
//! The crate holds no capability and performs no work beyond reading a [`Source`].

mod clock;
mod digest;
mod evidence;
mod finding;
mod limits;
mod measurement;
mod meta;
mod secret;
mod seed;
mod source;

pub use clock::{Clock, SystemClock, TestClock, Timestamp, TimestampError};
pub use digest::{Digest, DigestError, Hasher};
pub use evidence::{
    Evidence, EvidenceSink, Fact, Input, Method, Outcome, Probe, Record, SinkError, Subject, SubjectKind,
};
pub use finding::{Acceptance, Confidence, Finding, Location, Severity};
pub use limits::{Limits, LimitsError};
pub use measurement::{Counts, Measurement};
pub use meta::Meta;
pub use secret::Secret;
pub use seed::Seed;
pub use source::{FileSource, MemorySource, RangeSource, SharedSource, Source, SourceExt, Window};
