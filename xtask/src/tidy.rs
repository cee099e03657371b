//! `cargo xtask tidy`: the house rules that neither rustc nor clippy knows.
//!
//! Each check is a function of texts in its own file and returns violations; this file reads the tree and prints.

mod arrows;
mod catalogue;
mod lockfile;
mod registry;
mod sizes;
mod spine;
mod words;

use std::process::ExitCode;

use anyhow::Result;

use crate::codegen;
use crate::tree::Tree;

/// A broken rule: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File, relative to the root.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong; after the semicolon, what to do.
    pub what: String,
}

impl Violation {
    /// A violation at a line.
    pub fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into() }
    }
}

type Check = fn(&Tree) -> Result<Vec<Violation>>;

/// Every check with its name, in the order they run.
const CHECKS: &[(&str, Check)] = &[
    ("dependency arrows", arrows::check),
    ("lockfile", lockfile::check),
    ("registries", registry::check),
    ("spine", spine::check),
    ("sizes", sizes::check),
    ("words", words::check),
    ("catalogue", catalogue::check),
    ("reference docs", reference_docs),
];

/// Runs every check; exit code 1 when a rule is broken.
///
/// # Errors
/// When the tree cannot be read.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    anyhow::ensure!(arguments.is_empty(), "`tidy` takes no arguments");
    let mut total = 0;
    for (name, check) in CHECKS {
        let mut violations = check(tree)?;
        violations.sort();
        violations.dedup();
        for Violation { path, line, what } in &violations {
            println!("{path}:{line}: {what}");
        }
        if !violations.is_empty() {
            println!("{name}: {} to mend\n", violations.len());
        }
        total += violations.len();
    }
    println!("spine: {} of {} lines", spine::lines(tree)?, spine::LINES_MAX);
    match total {
        0 => println!("tidy: {} checks passed", CHECKS.len()),
        n => println!("tidy: {n} violations"),
    }
    Ok(ExitCode::from(u8::from(total > 0)))
}

/// Whether `docs/reference` says what the sources say.
fn reference_docs(tree: &Tree) -> Result<Vec<Violation>> {
    let stale = |path: String| Violation::new(&path, 1, "is stale; run `cargo xtask codegen`");
    match codegen::stale(tree) {
        Ok(paths) => Ok(paths.into_iter().map(stale).collect()),
        Err(error) => {
            let what = format!("cannot be checked: {error:#}; mend that first");
            Ok(vec![Violation::new(codegen::DIRECTORY, 1, what)])
        }
    }
}
