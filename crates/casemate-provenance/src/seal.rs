//! Models at rest: sealed with AES-256-GCM under a data key of their own, opened by whoever holds a key that wraps it.
//!
//! Answers a stolen disk, bucket or backup (MITRE ATLAS AML.T0025): what lies there is of no use without a key kept elsewhere.

pub mod wrap;
