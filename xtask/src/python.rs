//! Throw-away Python environments, for tests that run other people's programs.
//!
//! An environment lies under `target/`, is made once for a list of pinned packages, and made anew when the list changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::test::{ensure_package, ensure_program};
use crate::tree::Tree;

/// The directory of programs of an environment with exactly these `packages` asked for.
///
/// # Errors
/// When Python or its `venv` module is missing and cannot be installed, or a package cannot be.
pub fn environment(tree: &Tree, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = tree.root.join("target/environments").join(name);
    let (list, programs) = (place.join("packages.txt"), place.join("bin"));
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&list).is_ok_and(|made| made == wanted) {
        return Ok(programs);
    }
    ensure_program("python3", "python3")?;
    println!("making a Python environment with {}", packages.join(", "));
    if !make(&place) {
        // Debian keeps `venv` in a package of its own.
        ensure_package("python3-venv")?;
        ensure!(make(&place), "`python3 -m venv {}` fails", place.display());
    }
    let status = Command::new(programs.join("python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages)
        .status()
        .context("cannot run pip")?;
    ensure!(status.success(), "pip cannot install {}", packages.join(" "));
    std::fs::write(&list, wanted).with_context(|| list.display().to_string())?;
    Ok(programs)
}

fn make(place: &Path) -> bool {
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(place).output();
    made.is_ok_and(|made| made.status.success())
}
