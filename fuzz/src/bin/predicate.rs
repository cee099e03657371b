//! Predicates of controls, in both dialects.

#![no_main]

use casemate_assess::predicate::{Dialect, Predicate};

libfuzzer_sys::fuzz_target!(|text: &str| {
    drop(Predicate::parse(Dialect::Applies, text));
    drop(Predicate::parse(Dialect::Pass, text));
});
