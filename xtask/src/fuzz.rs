//! `cargo xtask fuzz`: builds the fuzz targets with coverage and runs them, on the stable toolchain and without cargo-fuzz.
//!
//! libFuzzer comes as C++ source with libfuzzer-sys; rustc's own LLVM counts edges and traces comparisons when asked to.
//! Seeds are committed; what a run finds is added to `fuzz/corpus`, which is not.

mod outcome;
mod settings;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::test::ensure_program;
use crate::toml_file;
use crate::tree::Tree;
use outcome::Outcome;
use settings::Settings;

/// Where one file is one target.
const TARGETS: &str = "fuzz/src/bin";

/// Memory one target may use; the product promises 64 MiB of its own, the rest is the fuzzer's.
const RSS_MIB_MAX: u32 = 512;

/// What one input may take. Anything near it is a defect in a parser that reads a few kilobytes.
const INPUT_SECONDS_MAX: u32 = 10;

/// Longest input, unless the fuzz crate's manifest says otherwise.
const LEN_BYTES_MAX: i64 = 4096;

/// The flags of `cargo fuzz build`, sanitizers apart, of which a crate without unsafe code has little.
const RUSTFLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg",
    "fuzzing",
];

/// Builds and runs the targets asked for, all when none is named; exit code 1 when one crashes.
///
/// # Errors
/// When arguments make no sense, or the targets do not build.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    let settings = settings::parse(arguments)?;
    let mut targets: Vec<String> = tree.files(TARGETS, "rs")?.iter().map(|file| file.stem().to_owned()).collect();
    if settings.list {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(ExitCode::SUCCESS);
    }
    for wanted in &settings.targets {
        ensure!(targets.contains(wanted), "no target `{wanted}`; `cargo xtask fuzz --list` lists them");
    }
    targets.retain(|target| settings.targets.is_empty() || settings.targets.contains(target));
    ensure_program("g++", "g++")?;
    let binaries = build(tree, &targets)?;
    let lens = max_lens(tree)?;
    println!("{:<16} {:>12} {:>8} {:>9} {:>8}", "target", "executions", "per s", "coverage", "seconds");
    let mut crashed = Vec::new();
    for target in &targets {
        let len = lens.iter().find(|(name, _)| name == target).map_or(LEN_BYTES_MAX, |(_, len)| *len);
        let outcome = fuzz(tree, target, &binaries.join(target), len, &settings)?;
        println!("{outcome}");
        if !outcome.passed {
            crashed.push(target.as_str());
        }
    }
    if !crashed.is_empty() {
        println!("fuzz: {} of {} targets crashed: {}", crashed.len(), targets.len(), crashed.join(", "));
        return Ok(ExitCode::from(1));
    }
    println!("fuzz: {} targets, no crash", targets.len());
    Ok(ExitCode::SUCCESS)
}

/// Builds `targets`; returns the directory of the binaries.
fn build(tree: &Tree, targets: &[String]) -> Result<PathBuf> {
    let host = host()?;
    let fuzz = tree.root.join("fuzz");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--target", &host, "--target-dir", "target"]);
    for target in targets {
        cargo.args(["--bin", target]);
    }
    let status = cargo
        .current_dir(&fuzz)
        // `-Cpasses` and its arguments are no stable interface; a toolchain that drops them fails here and nowhere else.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", RUSTFLAGS.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the fuzz targets do not build");
    Ok(fuzz.join("target").join(host).join("release"))
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Longest inputs, from `[package.metadata.max_len]` of the fuzz crate.
fn max_lens(tree: &Tree) -> Result<Vec<(String, i64)>> {
    let Some(manifest) = tree.file("fuzz/Cargo.toml")? else { return Ok(Vec::new()) };
    let manifest =
        toml_file::parse(&manifest).map_err(|(line, what)| anyhow::anyhow!("fuzz/Cargo.toml:{line}: {what}"))?;
    let lens = ["package", "metadata", "max_len"]
        .iter()
        .try_fold(&manifest, |table, key| toml_file::table(table, key))
        .into_iter()
        .flatten();
    Ok(lens.filter_map(|(name, len)| Some((name.clone(), len.as_integer()?))).collect())
}

/// Runs one target for its time.
fn fuzz(tree: &Tree, target: &str, binary: &Path, len_max: i64, settings: &Settings) -> Result<Outcome> {
    let fuzz = tree.root.join("fuzz");
    let (corpus, artifacts) = (fuzz.join("corpus").join(target), fuzz.join("artifacts").join(target));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(binary);
    command
        .arg(format!("-max_total_time={}", settings.seconds))
        .arg(format!("-rss_limit_mb={RSS_MIB_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-max_len={len_max}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .arg(&corpus);
    let seeds = fuzz.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let start = Instant::now();
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "1").output();
    let output = output.with_context(|| format!("cannot run {}", binary.display()))?;
    let log = String::from_utf8_lossy(&output.stderr);
    Ok(Outcome::read(target, output.status.success(), &log, start.elapsed(), binary))
}
