//! `cargo xtask bench scan|weights|provenance`: what users run, beside the tools they would pick instead, in one run, as ratios.
//!
//! CPU seconds and peak memory are the operating system's own accounting of whole processes (GNU time); the smallest of
//! several runs is printed, since other load can only add. Nothing here is asserted: these machines are noisy.

mod provenance;
mod scan;
mod weights;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::tree::Tree;

/// What one process took, the least of several runs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    cpu_seconds: f64,
    wall_seconds: f64,
    peak_kib: u64,
}

impl Cost {
    /// The lesser of each.
    fn least(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds.min(other.cpu_seconds),
            wall_seconds: self.wall_seconds.min(other.wall_seconds),
            peak_kib: self.peak_kib.min(other.peak_kib),
        }
    }

    /// CPU seconds, to divide by: never nothing.
    fn cpu(self) -> f64 {
        self.cpu_seconds.max(0.01)
    }
}

/// Runs the benchmark named in `arguments`.
///
/// # Errors
/// When a tool is missing and cannot be installed, or a scan does not end as expected.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    match arguments {
        [name] if name == "scan" => scan::run(tree).map(|()| ExitCode::SUCCESS),
        [name] if name == "weights" => weights::run(tree).map(|()| ExitCode::SUCCESS),
        [name, rest @ ..] if name == "provenance" => provenance::run(tree, rest).map(|()| ExitCode::SUCCESS),
        // A peer of the one before, measured as a process of its own.
        [name, files @ ..] if name == "blake3-loop" => provenance::blake3_loop(files).map(|()| ExitCode::SUCCESS),
        _ => bail!("which benchmark? there are `scan`, `weights` and `provenance [--gib N]`"),
    }
}

/// Builds the program and returns its path.
///
/// # Errors
/// When it does not build.
pub fn built_casemate(tree: &Tree) -> Result<String> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "-p", "casemate"])
        .current_dir(&tree.root)
        .status()?;
    ensure!(status.success(), "casemate does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree.root.join("target"), PathBuf::from);
    Ok(target.join("release/casemate").display().to_string())
}

/// Installs a peer in an environment of its own and returns its command, or says why it is left out.
fn peer(work: &Path, name: &str, install: &[&str]) -> Option<String> {
    let environment = work.join(format!("venv-{name}"));
    let command = environment.join("bin").join(name);
    if !command.exists() {
        println!("installing {} for comparison", install.join(" "));
        let quiet = |program: &Path, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let pip = [&["install", "--quiet", "--disable-pip-version-check"][..], install].concat();
        let made = quiet(Path::new("python3"), &["-m", "venv", &environment.display().to_string()]);
        if !made || !quiet(&environment.join("bin/pip"), &pip) {
            println!("{name}: skipped, pip cannot install {}", install.join(" "));
            return None;
        }
    }
    Some(command.display().to_string())
}

fn row(what: &str, runs: usize, ours: &[&str], peer: &[&str]) -> Result<()> {
    let mut best: [Option<Cost>; 2] = [None, None];
    let mut peer_code = 0;
    // In turn, so that a drift of the machine meets both.
    for _ in 0..runs {
        for (best, command) in best.iter_mut().zip([ours, peer]) {
            let (cost, code) = cost(command)?;
            // The files are harmless. A peer that says otherwise is timed all the same, and the row says so.
            ensure!(code == 0 || command == peer, "{command:?} ended with {code}");
            peer_code = code;
            *best = Some(best.map_or(cost, |known| known.least(cost)));
        }
    }
    let [Some(ours), Some(peer)] = best else { bail!("nothing was run") };
    let ratio = ours.cpu_seconds.max(0.001) / peer.cpu_seconds.max(0.001);
    println!(
        "{what:<40} {:>12.3} {:>12.3} {ratio:>8.3}× {:>12} {:>9}{}",
        ours.cpu_seconds,
        peer.cpu_seconds,
        ours.peak_kib,
        peer.peak_kib,
        if peer_code == 0 { String::new() } else { format!("  peer exits {peer_code}") }
    );
    Ok(())
}

/// What one run of `command` took, and its exit code. GNU time counts in hundredths of a second.
fn cost(command: &[&str]) -> Result<(Cost, i32)> {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "TIMES %U %S %e %M"])
        .args(command)
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.strip_prefix("TIMES ")).context("no figures from time")?;
    let mut words = line.split_whitespace();
    let mut seconds = || words.next().and_then(|word| word.parse::<f64>().ok()).context("figures of time");
    let cpu_seconds = seconds()? + seconds()?;
    let wall_seconds = seconds()?;
    let peak_kib = words.next().and_then(|word| word.parse().ok()).context("peak of time")?;
    let code = output.status.code().with_context(|| format!("{command:?} was stopped: {text}"))?;
    Ok((Cost { cpu_seconds, wall_seconds, peak_kib }, code))
}
