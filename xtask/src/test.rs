//! `cargo xtask test`: every test, with its own set-up.
//!
//! The pickle machine is compared with CPython, signatures with the reference implementation and wrapped keys with age, so
//! python3, openssl and age have to be there. Tests that need other people's programs are `#[ignore]`d for a plain `cargo test` and always run here.
//! Seeds of the fuzz targets and every sample are replayed by ordinary tests in the crates.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::python;
use crate::tree::Tree;

/// The reference implementation of OpenSSF Model Signing; its plain install lacks pyOpenSSL.
pub const MODEL_SIGNING: &[&str] = &["model-signing==1.1.1", "pyopenssl==26.4.0", "cryptography==50.0.2"];

/// Sets up and runs `cargo test --workspace` with `arguments`; its exit code is the result.
///
/// # Errors
/// When python3 is missing and cannot be installed, or cargo does not start.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    ensure_program("python3", "python3")?;
    ensure_program("openssl", "openssl")?;
    ensure_program("age", "age")?;
    let reference = python::environment(tree, "model-signing", MODEL_SIGNING)?;
    let start = Instant::now();
    let separator = (!arguments.iter().any(|argument| argument == "--")).then_some("--");
    let status = Command::new("cargo")
        .args(["test", "--workspace"])
        .args(arguments)
        .args(separator)
        .arg("--include-ignored")
        .env("CASEMATE_TEST_MODEL_SIGNING", reference.join("model_signing"))
        .current_dir(&tree.root)
        .status()
        .context("cannot run cargo")?;
    let command = ["cargo test --workspace"].into_iter().chain(arguments.iter().map(String::as_str));
    let verdict = if status.success() { "passed" } else { "FAILED" };
    let seconds = start.elapsed().as_secs();
    println!("\n`{}` {verdict} after {seconds} s", command.collect::<Vec<_>>().join(" "));
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// Makes sure `program` runs, installing the Debian package `package` where this is root's own machine.
///
/// # Errors
/// When it is missing and cannot be installed.
pub fn ensure_program(program: &str, package: &str) -> Result<()> {
    if is_runnable(program) {
        return Ok(());
    }
    let is_admin = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !is_admin || !is_runnable("apt-get") {
        bail!(
            "`{program}` is missing; install it (on Debian and Ubuntu: sudo apt-get install {package}) and run this again"
        );
    }
    ensure_package(package)?;
    ensure!(is_runnable(program), "`{program}` does not run although {package} is installed");
    Ok(())
}

/// Installs the Debian package `package`.
///
/// # Errors
/// When it cannot be installed.
pub fn ensure_package(package: &str) -> Result<()> {
    println!("installing {package}");
    apt_get(&["update", "-qq"])?;
    apt_get(&["install", "-qq", "-y", "--no-install-recommends", package])
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
    ensure!(status.is_ok_and(|status| status.success()), "`apt-get {}` failed", arguments.join(" "));
    Ok(())
}

fn is_runnable(program: &str) -> bool {
    // Not every program knows `--version`; that it starts is what counts.
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_runs_is_not_installed_again() {
        assert!(is_runnable("cargo"));
        assert!(!is_runnable("no-such-program-anywhere"));
        ensure_program("cargo", "cargo").unwrap();
    }
}
